"""The drawn square: Aachen's layouts, and poses that are those of the images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from descbench.config.posed_datasets import AachenDataset
from descbench.config.toytown import Relocalisation, Toytown
from descbench.datasets.aachen import read_aachen
from descbench.datasets.build import build_manifest
from descbench.datasets.manifest import read_manifest
from descbench.datasets.toytown.draw import _draw_relocalisation
from descbench.datasets.toytown.relocalisation import camera_at, plan_relocalisation
from descbench.errors import DataError

SETTINGS = Relocalisation(width=80, height=64, map=5, day=2, dusk=1)
QUERIES = tuple(f"square/queries/{name}_time_queries_with_intrinsics.txt" for name in ("day", "dusk"))
KEYS = {
    "format": "aachen",
    "images": "square/images_upright",
    "model": "square/3D-models/model",
    "queries": QUERIES,
    "conditions": ("day", "dusk"),
    "pairs": "square/image_pairs.txt",
    "poses": "square/queries/poses.txt",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("town")
    _draw_relocalisation(Toytown(relocalisation=SETTINGS), root / "square", 1)
    return root


def test_sizes_are_those_of_the_settings(folder: Path) -> None:
    manifest, labels = read_aachen(AachenDataset(**KEYS), folder)
    assert (len(manifest.of_role("map")), len(manifest.of_role("query"))) == (5, 3)
    assert labels.conditions == ("day", "day", "dusk")
    for row in manifest.rows:
        with Image.open(folder / row.path) as image:
            assert image.size == (80, 64)


def test_poses_are_those_of_the_cameras(folder: Path) -> None:
    _, labels = read_aachen(AachenDataset(**KEYS), folder)
    maps, queries = plan_relocalisation(SETTINGS, 0)
    for places, poses in ((maps, labels.map_poses), (queries, labels.query_poses)):
        for place, pose in zip(places, poses, strict=True):
            camera = camera_at(place, SETTINGS, 0)
            np.testing.assert_allclose(pose.matrix, camera.R, atol=1e-12)
            np.testing.assert_allclose(pose.centre, camera.centre, atol=1e-9)


def test_both_layouts_say_the_same(folder: Path) -> None:
    text = {
        "model": None,
        "nvm": "square/3D-models/toytown.nvm",
        "intrinsics": "square/3D-models/database_intrinsics.txt",
    }
    one, two = (read_aachen(AachenDataset(**{**KEYS, **keys}), folder)[1] for keys in ({}, text))
    assert one.map_cameras == two.map_cameras
    for ours, theirs in zip(one.map_poses, two.map_poses, strict=True):
        np.testing.assert_allclose(ours.translation, theirs.translation, atol=1e-9)


def test_more_map_images_than_unverified_counts_are_refused(folder: Path, tmp_path: Path) -> None:
    """Shards of the map are cut by the counts: images beyond them would be left out; too few are only a warning."""
    files = (tmp_path / "m.csv", tmp_path / "gt.json")
    block = AachenDataset(**KEYS, counts={"map": 4, "query": 3}, counts_verified=False)
    with pytest.raises(DataError, match=r"set datasets\.square\.counts\.map to 5"):
        build_manifest("square", block, folder, *files)
    block = AachenDataset(**KEYS, counts={"map": 6, "query": 4}, counts_verified=False)
    build_manifest("square", block, folder, *files)
    assert len(read_manifest(files[0])) == 8


def test_pairs_come_once(folder: Path) -> None:
    _, labels = read_aachen(AachenDataset(**KEYS), folder)
    assert len(set(labels.map_pairs)) == len(labels.map_pairs) == 10
    assert all(a < b for a, b in labels.map_pairs)
    assert sorted({query for query, _ in labels.query_pairs}) == [0, 1, 2]


@pytest.mark.parametrize(
    ("keys", "file", "change", "message"),
    [
        ({}, "queries/poses.txt", lambda text: text.split("\n", 1)[1], "no pose of query"),
        ({}, "image_pairs.txt", lambda text: text + "db/9999.jpg db/0000.jpg\n", "not an image of this dataset"),
        (
            {},
            "image_pairs.txt",
            lambda text: text + "query/day/q000.jpg query/day/q001.jpg\n",
            "not a pair with an image",
        ),
        ({}, "image_pairs.txt", lambda text: text + "db/0000.jpg\n", "1 names"),
        ({"conditions": ("day", "night")}, "image_pairs.txt", str, "is in 0 of the folders"),
        ({"queries": QUERIES[:1] * 2}, "image_pairs.txt", str, "in another list too"),
        ({"queries": ("square/3D-models/database_intrinsics.txt",)}, "image_pairs.txt", str, "image of the map too"),
    ],
)
def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path, keys, file, change, message) -> None:
    (tmp_path / "square").symlink_to(folder / "square")
    changed = folder / "square" / file
    before = changed.read_text()
    try:
        changed.write_text(change(before))
        with pytest.raises(DataError, match=message):
            read_aachen(AachenDataset(**{**KEYS, **keys}), tmp_path)
    finally:
        changed.write_text(before)


def test_intrinsics_may_not_be_missing(folder: Path, tmp_path: Path) -> None:
    listed = (folder / "square/3D-models/database_intrinsics.txt").read_text().splitlines(keepends=True)
    (tmp_path / "few.txt").write_text("".join(listed[1:]))
    text = {"model": None, "nvm": "square/3D-models/toytown.nvm", "intrinsics": "few.txt"}
    (tmp_path / "square").symlink_to(folder / "square")
    with pytest.raises(DataError, match="no intrinsics of"):
        read_aachen(AachenDataset(**{**KEYS, **text}), tmp_path)
