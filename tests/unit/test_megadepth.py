"""Single images in the layout of MegaDepth: what is read, what comes with them, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from drawn_crops import DATASET, write_images
from PIL import Image

from descbench.config.datasets import MegaDepthDataset
from descbench.config.toytown import Singles, Toytown
from descbench.datasets.build import build_manifest
from descbench.datasets.crop_labels import CropLabels, Extras, read_crop_labels, read_keypoints, write_crop_labels
from descbench.datasets.manifest import Manifest, read_manifest, rows_of
from descbench.datasets.megadepth import read_megadepth
from descbench.datasets.toytown.draw import draw_toytown
from descbench.errors import DataError

PLAIN = MegaDepthDataset(format="megadepth", images="MegaDepth")


@pytest.fixture
def folder(tmp_path) -> Path:
    write_images(tmp_path, count=3)
    return tmp_path


def test_images_are_sorted_and_hidden_files_are_none(folder):
    for name in ("train/.hidden.jpg", "train/notes.txt", "train/a.png", "test/deep/er/0.jpg"):
        path = folder / "MegaDepth" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    manifest, labels = read_megadepth(PLAIN, folder)
    assert [(row.role, row.image_id, row.path) for row in manifest.rows] == [
        ("train", 0, "MegaDepth/train/train_0/00.jpg"),
        ("train", 1, "MegaDepth/train/train_0/02.jpg"),
        ("train", 2, "MegaDepth/train/train_1/01.jpg"),
        ("val", 0, "MegaDepth/test/deep/er/0.jpg"),
        ("val", 1, "MegaDepth/test/test_0/04.jpg"),
        ("val", 2, "MegaDepth/test/test_0/06.jpg"),
        ("val", 3, "MegaDepth/test/test_1/03.jpg"),
        ("val", 4, "MegaDepth/test/test_1/05.jpg"),
    ]
    assert labels.items == (Extras(None, None),) * 8


def test_copies_may_be_missing_and_are_of_training_images_only(folder):
    (folder / "styled/train/train_0/02.jpg").unlink()
    build_manifest("drawn", DATASET, folder, folder / "m.csv", folder / "m.json")
    manifest = read_manifest(folder / "m.csv")
    labels = read_crop_labels(folder / "m.json", manifest)
    assert labels == read_megadepth(DATASET, folder)[1]
    assert [item.stylised for item in labels.of_role(manifest, "train")] == [
        "styled/train/train_0/00.jpg",
        None,
        "styled/train/train_1/01.jpg",
    ]
    assert [item.stylised for item in labels.of_role(manifest, "val")] == [None] * 4
    assert labels.items[0].keypoints == "points/train_0/00.pkl"
    assert read_keypoints(folder / labels.items[0].keypoints).shape == (221, 2)


def test_every_image_has_keypoints(folder):
    (folder / "points/test_1/05.pkl").unlink()
    with pytest.raises(DataError, match=r"1 of 7 images have no keypoints: points/test_1/05\.pkl"):
        read_megadepth(DATASET, folder)


def test_no_training_images(tmp_path):
    with pytest.raises(DataError, match=r"MegaDepth/train: holds no \.jpg image"):
        read_megadepth(PLAIN, tmp_path)


ROWS = np.array([[1, 2, 1], [3.5, 4, 1]])


@pytest.mark.parametrize("points", [ROWS, ROWS.astype(np.float32), ROWS[:, :, None], ROWS[:0]])
def test_keypoints(tmp_path, points):
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(points))
    found = read_keypoints(tmp_path / "p.pkl")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, points.reshape(-1, 3)[:, :2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROWS[:, :2], "shape .2, 2., not of rows x, y, 1"),
        (ROWS[0], "shape .3,., not of rows"),
        (ROWS.astype(int), "not an array of keypoints"),
        (ROWS.tolist(), "holds list, not an array"),
        (ROWS * [1, 1, 2], "do not end in 1"),
        (ROWS * np.nan, "not finite"),
        (print, "refused and nothing of it was run"),
    ],
)
def test_what_is_no_file_of_keypoints(tmp_path, content, message):
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=message):
        read_keypoints(tmp_path / "p.pkl")


def test_labels_of_other_images(tmp_path):
    manifest = Manifest(tuple(rows_of("train", ["a.jpg", "b.jpg"])))
    write_crop_labels(CropLabels((Extras("s.jpg", None), Extras(None, "k.pkl"))), tmp_path / "l.json")
    assert read_crop_labels(tmp_path / "l.json", manifest).items[1].keypoints == "k.pkl"
    with pytest.raises(DataError, match="is of 2 images, and the manifest of 1"):
        read_crop_labels(tmp_path / "l.json", Manifest(manifest.rows[:1]))
    write_crop_labels(CropLabels((Extras("../s.jpg", None), Extras(None, None))), tmp_path / "l.json")
    with pytest.raises(DataError, match="leaves the dataset's folder"):
        read_crop_labels(tmp_path / "l.json", manifest)


# --- toytown -----------------------------------------------------------------------------------

SMALL = Toytown(
    width=64, height=64, cities=("ham",), landmarks_per_city=2, database_per_city=8, queries_per_city=1,
    clusters=6, images_per_cluster=4, singles=Singles(width=160, height=120, train=7, val=2, keypoints=40),
)  # fmt: skip
DRAWN = MegaDepthDataset(
    format="megadepth",
    images="toytown/singles/MegaDepth",
    stylised="toytown/singles/MegaDepth-stylized",
    keypoints="toytown/singles/MegaDepth-light-features/kpts/superpoint",
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("toytown")
    draw_toytown(SMALL, folder / "toytown", folder / "toytown.json")
    return folder


def edges(path: Path) -> np.ndarray:
    """Where an image has edges, whatever its colours."""
    grey = np.asarray(Image.open(path).convert("L"), float)
    down, right = np.gradient(grey)
    steep = np.hypot(down, right)
    return steep > np.quantile(steep, 0.9)


def test_drawn_images_have_copies_of_the_same_view_and_corners(drawn):
    manifest, labels = read_megadepth(DRAWN, drawn)
    assert [row.role for row in manifest.rows] == ["train"] * 7 + ["val"] * 2
    shares = []
    for row, item in zip(manifest.rows, labels.items, strict=True):
        points, image = read_keypoints(drawn / item.keypoints), edges(drawn / row.path)
        assert 10 < len(points) <= 40
        assert image.shape == (120, 160)
        assert (item.stylised is None) == (row.role == "val")
        if item.stylised:
            copy = edges(drawn / item.stylised)
            shares.append((image & copy).sum() / image.sum())
        columns, rows = points.astype(int).T
        near = np.stack([np.roll(image, shift, (0, 1)) for shift in ((0, 0), (2, 2), (-2, -2), (2, -2), (-2, 2))])
        assert near.any(0)[rows, columns].mean() > 0.7
    # By chance a tenth of the edges would fall on each other.
    assert np.mean(shares) > 0.35


def test_the_same_bytes_whatever_the_number_of_processes(drawn, tmp_path):
    draw_toytown(SMALL, tmp_path / "toytown", tmp_path / "toytown.json", processes=2)
    for file in (path for path in sorted((drawn / "toytown/singles").rglob("*")) if path.is_file()):
        assert (tmp_path / file.relative_to(drawn)).read_bytes() == file.read_bytes(), file
