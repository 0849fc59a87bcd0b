"""Detectors and descriptors of one's own, those of the example, through the workflow's own rules on a tiny town."""

import csv
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch
import yaml
from in_process import RefusedError, merged

from descbench.cli import main
from descbench.config.load import load_config_files
from descbench.config.networks import CustomModel
from descbench.datasets.manifest import read_manifest
from descbench.errors import ConfigError
from descbench.features.images import load_image
from descbench.features.store import ShardReader
from descbench.metrics.scores import read_scores
from descbench.models.checkpoints import load_network
from descbench.models.points import best_first
from descbench.retrieval.ranking import read_ranking

SMALL = {"image_size": 64, "max_features": 100}
FACTORY = "examples.custom_points.corners"
SIFT = {"kind": "keypoints", "describe": "sift", **SMALL}
CODEBOOK = {"dataset": "toytown_sfm", "size": 16}


@pytest.fixture(scope="module")
def example(project):
    """The example's blocks for small images, with a row of SIFT and searches beside them."""
    content = yaml.safe_load((project / "examples/custom_points/config.yaml").read_text())
    content["features"] = {name: {**block, **SMALL} for name, block in content["features"].items()}
    methods = {
        "facades_sift": {"match": "nearest"},
        "bow": {"search": "bow", "features": "corners_pixels", "n": 50, "codebook": CODEBOOK},
        "verified": {"search": "verify", "ranking": "bow"},
        "reranked": {"search": "rerank", "ranking": "own", "features": "corners_with_pixels", "first": 6},
    }
    cross = {
        "title": "All",
        "rows": {"own points": ["corners_pixels", "bow"], "one whole": ["own"]},
        "datasets": {"facades": ["mma@3"], "alderford": ["map_medium"]},
    }
    more = {"features": {"facades_sift": SIFT}, "methods": methods, "cross_tables": {"all": cross}}
    return merged(content, more)


@pytest.fixture(scope="module")
def made(base, project, example):
    """A folder like a user's: the example is below it."""
    bench = base.copy("own_points")
    shutil.copytree(project / "examples/custom_points", bench.folder / "examples/custom_points")
    ran = bench.make("results/own_points.csv", overlay=example)
    assert (ran.count("convert_checkpoint"), ran.count("match_features"), ran.count("build_table")) == (3, 5, 1)
    return bench


def features(bench, name, dataset="facades", role="database"):
    with ShardReader(bench.folder / f"results/features/{name}/{dataset}/{role}/00000.h5") as shard:
        return shard.read(0, 1)


def first_image(bench):
    """(1, 1, H, W) in 0..1 of the first image of the sequences, grey."""
    (row, *_) = read_manifest(bench.folder / "results/manifests/facades.csv").rows
    pixels = load_image(bench.folder / "data/datasets" / row.path, 64).pixels
    return torch.from_numpy(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[None, None].float() / 255


def network(bench, example, name, monkeypatch):
    monkeypatch.chdir(bench.folder)
    return load_network(
        bench.folder / f"results/checkpoints/{name}.pt", CustomModel.model_validate(example["models"][name])
    )


def test_the_table(made):
    """Matches of one's own points are right more often than by chance, and both in one are as each for itself."""
    rows = list(csv.DictReader((made.folder / "results/own_points.csv").open()))
    found = {(row["row"], row["metric"]): float(row["ours"]) for row in rows}
    for metric in ("mma@3", "mma@3_i", "mma@3_v"):
        assert found["both in one", metric] == found["corners, pixels", metric] > 20
    assert found["corners, pixels", "mma@3_i"] > 50
    scores = read_scores(made.folder / "results/scores/corners_pixels/facades.json")
    assert found["corners, pixels", "mma@3"] == pytest.approx(100 * scores.metrics["mma@3"].value, abs=0.01)


def test_places_are_those_of_ones_own_detector(made, example, monkeypatch):
    """Of an image the strongest corners, for every descriptor; and SIFT's places for a descriptor of one's own."""
    finder = network(made, example, "corners", monkeypatch)
    with torch.inference_mode():
        found = finder.module(first_image(made))
    kept = best_first(found[1], 100)
    expected = sorted((found[0][kept] + 0.5).tolist())
    assert 10 < len(expected) <= 100
    for name in ("corners_pixels", "corners_sift", "corners_with_pixels"):
        block = features(made, name)
        assert sorted(block.keypoints.tolist()) == expected
        assert (np.diff(block.strengths) <= 0).all()
        assert set(block.scales.tolist()) == {8.0}
    np.testing.assert_array_equal(features(made, "sift_pixels").keypoints, features(made, "facades_sift").keypoints)


def test_descriptors_are_those_of_ones_own_network(made, example, monkeypatch):
    """At points of SIFT and of corners alike, of unit length."""
    describer = network(made, example, "pixels", monkeypatch)
    for name in ("sift_pixels", "corners_pixels", "corners_with_pixels"):
        block = features(made, name)
        with torch.inference_mode():
            rows = describer.module(first_image(made), torch.from_numpy(block.keypoints - 0.5))
        expected = torch.nn.functional.normalize(rows, dim=1)
        np.testing.assert_allclose(block.descriptors, expected, atol=1e-5)
    assert features(made, "corners_sift").descriptors.shape[1] == 128


def test_searches_and_cross_tables(made, example):
    """Words of one's own features, verified; a ranking in the order of their matches; a row of them all."""
    bench = made.copy("own_points_searches")
    cells = [f"results/scores/{name}/alderford.json" for name in ("bow", "verified", "reranked")]
    ran = bench.make(*cells, "results/cross/all.csv", overlay=example)
    assert {"train_codebook", "search_bow", "verify_geometry", "rerank_shortlist", "build_cross_table"} <= set(ran)
    scores = [read_scores(bench.folder / cell).metrics["map_medium"].value for cell in cells]
    rows = list(csv.DictReader((bench.folder / "results/cross/all.csv").open()))
    assert min(scores) > 0.1
    assert "own points" in {row["row"] for row in rows}
    queries = read_manifest(bench.folder / "results/manifests/alderford.csv").of_role("query").rows
    assert read_ranking(bench.folder / "results/rankings/reranked/alderford.h5").image_ids.shape == (len(queries), 14)


def test_keypoints_for_other_pipelines(made, example, monkeypatch):
    """hloc's file has them where its pixels begin."""
    bench = made.copy("own_points_export")
    monkeypatch.chdir(bench.folder)
    Path("mine.yaml").write_text(yaml.safe_dump(merged(bench.config, example)))
    command = ["export-features", "hloc", "corners_pixels", "facades", "f.h5", "--configfile", "mine.yaml"]
    assert main(command) == 0
    (first, *_) = read_manifest(Path("results/manifests/facades.csv")).rows
    with h5py.File("f.h5") as file:
        found = {name: np.asarray(values) for name, values in file[first.path].items()}
    block = features(made, "corners_pixels")
    np.testing.assert_allclose(found["keypoints"], block.keypoints - 0.5)
    np.testing.assert_allclose(found["descriptors"].T, block.descriptors)


KEYS = {
    "channels": ("corners", "corners_sift", {"channels": 3}, {"factory": "colours:make"}),
    "size": ("corners", "corners_sift", {"size": 15.0}, {}),
    "dim": ("pixels", "sift_pixels", {"dim": 25}, {"arguments": {"side": 5}}),
}


@pytest.mark.parametrize("key", KEYS)
def test_keys_change_features(made, example, key):
    model, name, points, more = KEYS[key]
    bench = made.copy(f"own_points_{key}")
    (bench.folder / "colours.py").write_text(
        "from examples.custom_points.corners import Corners\n\n\nclass Red(Corners):\n    def forward(self, image):\n"
        "        return super().forward(image[:, :1])\n\n\ndef make():\n    return Red(3)\n"
    )
    overlay = merged(example, {"models": {model: {"points": points, **more}}})
    shard = f"results/features/{name}/facades/database/00000.h5"
    assert {"convert_checkpoint", "extract_features"} <= set(
        bench.make(shard, overlay=overlay, anew=["convert_checkpoint"])
    )
    before, after = features(made, name), features(bench, name)
    if key == "dim":
        assert (before.descriptors.shape[1], after.descriptors.shape[1]) == (64, 25)
    elif key == "size":
        assert (set(before.scales.tolist()), set(after.scales.tolist())) == ({8.0}, {15.0})
        assert np.abs(before.descriptors - after.descriptors).max() > 0.05
    else:
        assert after.keypoints.shape != before.keypoints.shape or (after.keypoints != before.keypoints).any()


def test_whether_it_detects_and_what_it_describes(made, example, tmp_path, monkeypatch):
    """`detects: false` finds no points; `describes` says whose points are described, and whether the code can."""
    monkeypatch.chdir(made.folder)

    def refusal(models, features_block):
        block = {"kind": "keypoints", "describe": "sift", **SMALL, **features_block}
        (tmp_path / "x.yaml").write_text(
            yaml.safe_dump({"models": merged(example["models"], models), "features": {"x": block}})
        )
        with pytest.raises(ConfigError) as error:
            load_config_files(tmp_path / "x.yaml")
        return str(error.value)

    finder = {"detector": "network", "detector_model": "pixels"}
    assert "'pixels' (custom) detects no keypoints" in refusal({}, finder)
    both = {"describe": "network", "model": "corners_with_pixels"}
    assert "'corners_with_pixels' describes the points alone that it finds itself" in refusal({}, both)
    bench = made.copy("own_points_describes")
    given = {"models": {"corners_with_pixels": {"points": {"describes": "given"}}}}
    shard = "results/features/corners_with_pixels/facades/database/00000.h5"
    with pytest.raises(
        RefusedError, match=r"corners_with_pixels: the module has no method `describe\(image, points\)`"
    ):
        bench.make(shard, overlay=merged(example, given), anew=["convert_checkpoint"])
    (bench.folder / "able.py").write_text(
        f"from {FACTORY} import CornersWithPixels\n\n\nclass Able(CornersWithPixels):\n"
        "    def describe(self, image, points):\n        return self.describes(image, points)\n\n\n"
        "def make():\n    return Able(3, 8, 2.0)\n"
    )
    able = {"corners_with_pixels": {"points": {"describes": "given"}, "factory": "able:make"}}
    more = {"sift_pixels": {"model": "corners_with_pixels"}}
    overlay = merged(example, {"models": able, "features": more})
    bench.make(shard, shard.replace("corners_with_pixels", "sift_pixels"), overlay=overlay, anew=["convert_checkpoint"])
    np.testing.assert_array_equal(features(bench, "sift_pixels").descriptors, features(made, "sift_pixels").descriptors)
    np.testing.assert_array_equal(
        features(bench, "corners_with_pixels").descriptors, features(made, "corners_with_pixels").descriptors
    )


def test_a_fault_ends_the_job_with_one_sentence(made, example):
    """Which image, whose code, and what is wrong with what it gives."""
    bench = made.copy("own_points_fault")
    (bench.folder / "faulty.py").write_text(
        f"from {FACTORY} import Corners\n\n\nclass Faulty(Corners):\n    def forward(self, image):\n"
        "        points, strengths = super().forward(image)\n        return points.flip(1) + 20, strengths\n\n\n"
        "def make():\n    return Faulty(3)\n"
    )
    overlay = merged(example, {"models": {"corners": {"factory": "faulty:make"}}})
    shard = "results/features/corners_sift/facades/database/00000.h5"
    with pytest.raises(RefusedError) as error:
        bench.make(shard, overlay=overlay, anew=["convert_checkpoint"])
    (line,) = [line for line in str(error.value).splitlines() if "ERROR" in line]
    assert "facades00/1." in line
    assert "faulty:make: of an image (1, 1, 48, 64) it gives" in line
    assert "points outside the image, the first at x" in line


def test_edited_code_makes_features_anew(made, example):
    """The digest is of the file, wherever Snakemake sees it."""
    bench = made.copy("own_points_edited")
    shard = "results/features/corners_sift/facades/database/00000.h5"
    assert bench.planned(shard, overlay=example) == {}
    code = bench.folder / "examples/custom_points/corners.py"
    text = code.read_text()
    code.unlink()
    code.write_text(text + "\n# edited\n")
    planned = bench.planned(shard, overlay=example)
    assert planned["convert_checkpoint"] == 1
    assert planned["extract_features"] == 1
