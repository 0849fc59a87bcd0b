"""Image pairs and patch sets: what is planned, a run by Snakemake itself, and options that need more than one look."""

from __future__ import annotations

import csv
import tarfile

import numpy as np
import pytest
from in_process import RefusedError
from PIL import Image

from descbench.datasets.hpatches_patches import STRIPS
from descbench.datasets.hpatches_tasks import read_splits
from descbench.datasets.image_pairs import read_image_pairs
from descbench.datasets.manifest import read_manifest
from descbench.datasets.patch_sets import read_patches

PAIRS, PATCHES = "results/manifests/facades.pairs.csv", "results/patches/drawn/{}.h5"
STRIP_PATCHES = "results/patches/cut/v_walls03.h5"
FORMATS = {
    "toytown": {
        "sequences": {"width": 64, "height": 48, "illumination": 1, "viewpoint": 1},
        "phototour": {
            "parts": ["quay", "mill"],
            "width": 128,
            "height": 128,
            "buildings": 2,
            "photographs": 2,
            "points": 6,
        },
    },
    "datasets": {"facades": {"format": "hpatches_sequences", "generator": "toytown", "images": "toytown/sequences"}},
    "patch_sets": {
        "drawn": {"format": "phototour", "generator": "toytown", "folder": "toytown/phototour", "parts": ["quay"]},
        "strips": {"format": "hpatches_patches", "folder": "strips", "parts": ["v_wall"]},
    },
}


def test_pairs_and_patches_are_planned(workplace):
    assert workplace.planned(PAIRS, overlay=FORMATS) == {"draw_toytown": 1, "build_manifest": 1, "build_pairs": 1}
    assert workplace.planned(PATCHES.format("quay"), overlay=FORMATS) == {"draw_toytown": 1, "build_patches": 1}
    # Nothing draws these, and nothing is downloaded for them.
    assert workplace.planned("results/patches/strips/v_wall.h5", overlay=FORMATS) == {"build_patches": 1}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("results/manifests/alderford.pairs.csv", "its names are known, but no results/manifests/{dataset}.pairs.csv"),
        ("results/patches/drawn/v_wall.h5", "patch set 'drawn' has no part 'v_wall', only quay."),
        ("results/patches/drawn/quai.h5", "there is no part 'quai'; close names: quay"),
        ("results/patches/drwan/quay.h5", "there is no patch set 'drwan'; close names: drawn"),
    ],
)
def test_targets_that_nothing_makes(workplace, target, message):
    result = workplace.run("-n", target, overlay=FORMATS, check=False)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr


def test_pairs_and_patches_in_one_real_run(workplace):
    patches = PATCHES.format("quay")
    workplace.run("--cores", "2", PAIRS, patches, overlay=FORMATS)
    manifest = read_manifest(workplace.folder / "results/manifests/facades.csv")
    pairs = read_image_pairs(workplace.folder / PAIRS, manifest)
    assert [(pair.image_a, pair.image_b) for pair in pairs] == [(6 * i, 6 * i + k) for i in (0, 1) for k in range(1, 6)]
    written = (workplace.folder / "data/datasets/toytown/sequences/v_facades00/H_1_6").read_text().split()
    assert pairs[-1].relation.values == tuple(map(float, written))
    found = read_patches(workplace.folder / patches)
    info = (workplace.folder / "data/datasets/toytown/phototour/quay/info.txt").read_text().splitlines()
    assert found.labels.points.tolist() == [int(line.split()[0]) for line in info]
    assert found.patches.shape == (len(info), 64, 64)
    assert workplace.planned(PAIRS, patches, overlay=FORMATS) == {}
    # Another part leaves this one as it is.
    more = {**FORMATS["patch_sets"]["drawn"], "parts": ["mill", "quay"], "note": "of a test"}
    both = workplace.planned(patches, PATCHES.format("mill"), overlay={**FORMATS, "patch_sets": {"drawn": more}})
    assert both == {"build_patches": 1}
    # Other sequences are other images and pairs; the patches stay.
    fewer = {**FORMATS, "datasets": {"facades": {**FORMATS["datasets"]["facades"], "exclude": ["v_facades00"]}}}
    assert workplace.planned(PAIRS, patches, overlay=fewer) == {"build_manifest": 1, "build_pairs": 1}


def test_a_town_with_other_sequences_and_patches(bench):
    town = {
        "sequences": {"width": 80, "height": 64, "illumination": 2, "viewpoint": 3},
        "phototour": {
            "parts": ["dock"],
            "width": 150,
            "height": 140,
            "buildings": 3,
            "photographs": 3,
            "points": 4,
            "pairs": 10,
        },
        "strips": {"width": 160, "height": 140, "illumination": 3, "viewpoint": 4, "train": 2, "patches": 5},
    }
    cut = {"format": "hpatches_patches", "generator": "toytown", "folder": "toytown/strips", "parts": ["v_walls03"]}
    drawn = {**FORMATS["patch_sets"]["drawn"], "parts": ["dock"]}
    datasets = FORMATS["datasets"]
    overlay = {"toytown": town, "data_dir": "other", "datasets": datasets, "patch_sets": {"drawn": drawn, "cut": cut}}
    bench.make(PATCHES.format("dock"), PAIRS, STRIP_PATCHES, overlay=overlay)
    walls = read_patches(bench.folder / STRIP_PATCHES)
    assert walls.patches.shape == (16 * 5, 65, 65)
    splits = read_splits(bench.folder / "other/datasets/toytown/strips/splits.json")
    assert splits["a"].train == ("i_walls00", "i_walls01", "v_walls00", "v_walls01")
    assert splits["full"].test == tuple(
        f"{kind}_walls{i:02d}" for kind, count in (("i", 3), ("v", 4)) for i in range(count)
    )
    folder = bench.folder / "other/datasets/toytown"
    names = [path.name for path in sorted((folder / "sequences").iterdir())]
    assert names == [f"i_facades{i:02d}" for i in range(2)] + [f"v_facades{i:02d}" for i in range(3)]
    assert {Image.open(path).size for path in folder.glob("sequences/*/*.ppm")} == {(80, 64)}
    assert [path.name for path in (folder / "phototour").iterdir()] == ["dock"]
    dock = read_patches(bench.folder / PATCHES.format("dock"))
    counts = np.bincount(dock.labels.points)
    assert 8 < len(counts) <= 3 * 4
    assert counts.max() == 3
    assert len(dock.labels.pairs) == 10
    # Patches of the same points, cut from photographs of another size.
    town["phototour"] |= {"width": 320, "height": 141}
    town["strips"] |= {"width": 170}
    bench.make(PATCHES.format("dock"), STRIP_PATCHES, overlay=overlay, anew=["draw_toytown"])
    wider_walls = read_patches(bench.folder / STRIP_PATCHES)
    assert wider_walls.digest != walls.digest
    wider = read_patches(bench.folder / PATCHES.format("dock"))
    assert wider.digest != dock.digest
    town["phototour"]["height"] = 240
    town["strips"]["height"] = 150
    bench.make(PATCHES.format("dock"), STRIP_PATCHES, overlay=overlay, anew=["draw_toytown"])
    assert read_patches(bench.folder / STRIP_PATCHES).digest != wider_walls.digest
    assert read_patches(bench.folder / PATCHES.format("dock")).digest != wider.digest


def test_patch_sets_need_what_their_blocks_name(base, tmp_path):
    """Sources are fetched and unpacked, a town is drawn where it says so, and every part that is named is there."""
    bench = base.copy("patch-needs")
    random = np.random.default_rng(0)
    with tarfile.open(bench.folder / "strips.tar", "w") as pack:
        for name in STRIPS:
            Image.fromarray(random.integers(0, 256, (3 * 65, 65), np.uint8)).save(tmp_path / f"{name}.png")
            pack.add(tmp_path / f"{name}.png", f"v_wall/{name}.png")
    block = {"format": "hpatches_patches", "folder": "strips", "parts": ["v_wall"], "sources": ["strips.tar"]}
    overlay = {
        "sources": {"strips.tar": {"local_copy": "strips.tar", "unpack": {"to": "strips"}}},
        "patch_sets": {"strips": block},
    }
    target = "results/patches/strips/v_wall.h5"
    assert bench.make(target, overlay=overlay) == ["download_source", "unpack_source", "build_patches"]
    found = read_patches(bench.folder / target)
    assert found.patches.shape == (16 * 3, 65, 65)
    assert (found.part, found.labels.view_names) == ("v_wall", STRIPS)
    block["parts"] = ["v_wall", "v_door"]
    with pytest.raises(RefusedError, match=r"strips/v_door/ref\.png: no such file"):
        bench.make("results/patches/strips/v_door.h5", overlay=overlay)
    (bench.folder / "data/datasets/toytown.json").unlink()
    undrawn = {"patch_sets": {"drawn": {"generator": None}}}
    quay = PATCHES.format("quay")
    assert bench.make(quay, overlay=undrawn) == ["build_patches"]
    assert bench.make(quay, anew=["build_patches"]) == ["draw_toytown", "build_patches"]


def test_relations_are_read_by_other_programs(base):
    """The file is a plain CSV; a relation says its kind."""
    base.make(PAIRS)
    with open(base.folder / PAIRS, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["relation"].partition(":")[0] for row in rows} == {"homography"}
    assert all(len(row["relation"].partition(":")[2].split(" ")) == 9 for row in rows)
