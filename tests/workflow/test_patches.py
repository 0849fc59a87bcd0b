"""The family of patches through its rules: patch sets, descriptors, scores and tables, each option with what it does."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from workplaces import Workplace, make_workplace

from descbench.features.patch_descriptors import read_descriptors
from descbench.io.jsonfiles import read_json
from descbench.metrics.scores import read_scores

HERE = Path(__file__).parent
CONFIG: dict[str, Any] = yaml.safe_load((HERE / "patches.yaml").read_text())
TABLES = ("results/brown.csv", "results/walls.csv")


@pytest.fixture(scope="module")
def patches(tmp_path_factory, project) -> Workplace:
    """A workplace where both tables were built once; what tests make in it besides has names of its own."""
    work = make_workplace(tmp_path_factory.mktemp("patches") / "work", project)
    (work.folder / "patches.yaml").write_text((HERE / "patches.yaml").read_text())
    work.run("--cores", "2", *TABLES, config="patches.yaml")
    return work


def scores(work: Workplace, method: str, patch_set: str) -> dict[str, float]:
    found = read_scores(work.folder / f"results/scores/{method}/{patch_set}.json", f"{method} on {patch_set}")
    return {name: metric.value for name, metric in found.metrics.items()}


def rows(work: Workplace, table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((work.folder / f"results/{table}.csv").read_text())))


def test_tables_are_whole(patches):
    for name, block in CONFIG["tables"].items():
        lines = rows(patches, name)
        assert len(lines) == len(block["rows"]) * len(block["columns"])
        empty = [line for line in lines if not line["ours"]]
        assert {(line["row"], line["dataset"]) for line in empty} == {
            (row["label"], dataset) for row in block["rows"] for dataset in row.get("leave_empty", ())
        }
        for line in (line for line in lines if line["ours"]):
            assert float(line["low"]) <= float(line["ours"]) <= float(line["high"])
    assert not (patches.folder / "results/scores/trained/brown.json").exists()


def test_nothing_is_left_to_do(patches):
    assert patches.planned(*TABLES, config="patches.yaml") == {}


def test_training_learns(patches):
    """Patches that it has not seen, of a town of their own."""
    untrained, trained = (scores(patches, name, "unseen")["fpr95_mill"] for name in ("untrained", "trained"))
    assert trained < untrained
    history = (patches.folder / "results/training/trained/history.csv").read_text().splitlines()
    assert len(history) == 1 + CONFIG["training"]["tiny"]["epochs"]


def test_provenance_names_patch_sets_and_training(patches):
    record = read_json(patches.folder / "results/provenance/trained/unseen.json")
    assert set(record["configuration"]["patch_sets"]) == {"unseen", "brown"}
    assert set(record["configuration"]["training"]) == {"tiny"}
    assert list(record["configuration"]["models"]) == ["trained", "untrained"]
    assert record["features"]["descriptor"] == "hardnet"


OPTIONS = {
    "another distance": {"describe": "network", "model": "untrained", "distance": "L1"},
    "whitened": {"describe": "network", "model": "untrained", "normalisation": "pca_power"},
    "another descriptor": {"describe": "rootsift"},
}


@pytest.mark.parametrize("method", OPTIONS.values(), ids=OPTIONS)
def test_options_change_scores(patches, method):
    before = "sift" if method["describe"] == "rootsift" else "untrained"
    target = "results/scores/changed/walls.json"
    patches.run("--cores", "1", target, config="patches.yaml", overlay={"methods": {"changed": method}})
    found, known = scores(patches, "changed", "walls"), scores(patches, before, "walls")
    assert found.keys() == known.keys()
    assert found["matching"] != known["matching"]


def test_decimals_round_descriptors(patches):
    overlay = {"methods": {"rounded": {"describe": "network", "model": "untrained", "decimals": 2}}}
    patches.run("--cores", "1", "results/descriptors/rounded/brown/quay.h5", config="patches.yaml", overlay=overlay)
    exact, rounded = (
        read_descriptors(patches.folder / f"results/descriptors/{name}/brown/quay.h5").descriptors
        for name in ("untrained", "rounded")
    )
    np.testing.assert_allclose(rounded, np.round(exact.astype(float), 2), atol=1e-7)
    assert not np.array_equal(rounded, exact)


SETS = {
    "split": ({"split": "view"}, "verification"),
    "pairs": ({"pairs": 100}, "verification"),
    "queries": ({"queries": 5}, "retrieval"),
    "distractors": ({"distractors": 30}, "retrieval"),
}


@pytest.mark.parametrize(("changes", "metric"), SETS.values(), ids=SETS)
def test_keys_of_hpatches_change_scores(patches, changes, metric):
    overlay = {"patch_sets": {"other": {**CONFIG["patch_sets"]["walls"], **changes}}}
    patches.run("--cores", "1", "results/scores/sift/other.json", config="patches.yaml", overlay=overlay)
    assert scores(patches, "sift", "other")[metric] != scores(patches, "sift", "walls")[metric]
    for made in (patches.folder / "results").glob("*/**/other*"):
        if made.is_file():
            made.unlink()


def test_published_lists_are_read_where_they_are(patches):
    """A list that is there counts, and one that is cut short is refused by its name."""
    folder = patches.folder / "data/datasets/lists"
    folder.mkdir()
    block = {**CONFIG["patch_sets"]["walls"], "tasks": "lists"}
    (folder / "retr_queries_split-a.csv").write_text("s,idx\ni_walls01,0\n")
    (folder / "retr_distractors_split-a.csv").write_text("s,idx\nv_walls01,3\nv_walls01,4\n")
    target, overlay = "results/scores/sift/listed.json", {"patch_sets": {"listed": block}}
    patches.run("--cores", "1", target, config="patches.yaml", overlay=overlay)
    found = read_scores(patches.folder / target)
    assert (found.facts["retrieval_queries"], found.facts["retrieval_distractors"]) == (1, 2)
    (patches.folder / target).unlink()
    (folder / "retr_distractors_split-a.csv").write_text("s,idx\nv_walls01,3\nv_wal")
    refused = patches.run("--cores", "1", target, config="patches.yaml", overlay=overlay, check=False)
    assert refused.returncode != 0
    log = (patches.folder / "logs/score_patches/sift/listed.log").read_text()
    assert "retr_distractors_split-a.csv" in log
    assert "Traceback" not in log


def test_descriptors_of_other_patches_are_stale(patches):
    """Of another patch set, with the checksum of its own file."""
    overlay = {"patch_sets": {"again": {**CONFIG["patch_sets"]["brown"], "parts": ["quay"]}}}
    target = "results/scores/pixels/again.json"
    patches.run("--cores", "1", target, config="patches.yaml", overlay=overlay)
    results = patches.folder / "results"
    (results / "descriptors/pixels/again/quay.h5").write_bytes(
        (results / "descriptors/pixels/unseen/mill.h5").read_bytes()
    )
    (patches.folder / target).unlink()
    refused = patches.run("--cores", "1", target, config="patches.yaml", overlay=overlay, check=False)
    assert refused.returncode != 0
    log = (patches.folder / "logs/score_patches/pixels/again.log").read_text()
    assert "describes other patches" in log


REFUSED = {
    "a network without a model": ({"methods": {"x": {"describe": "network"}}}, "needs `model`"),
    "pixels with a model": ({"methods": {"x": {"describe": "pixels", "model": "untrained"}}}, "has no `model`"),
    "a network of images": (
        {
            "models": {"gem": {"architecture": "gem", "backbone": "resnet50", "weights": {"source": "random"}}},
            "methods": {"x": {"describe": "network", "model": "gem"}},
        },
        "describes images, no patches",
    ),
    "patches by images": (
        {"features": {"f": {"kind": "global", "model": "untrained"}}},
        "describes cut-out patches of patch sets, no images",
    ),
    "a name taken twice": (
        {"datasets": {"brown": {"format": "folder", "database": "x"}}},
        "there is a dataset 'brown' too",
    ),
    "a method on a dataset": (
        {
            "datasets": {"photos": {"format": "folder", "database": "x", "ground_truth": "gnd.json"}},
            "tables": {
                "wrong": {
                    "title": "T",
                    "columns": [{"dataset": "photos", "metric": "map", "label": "mAP"}],
                    "rows": [{"label": "sift", "method": "sift"}],
                }
            },
        },
        "'sift' is scored on patch sets, and 'photos' is none of them",
    ),
    "an empty cell that is none": (
        {
            "tables": {
                "wrong": {
                    "title": "T",
                    "columns": [{"dataset": "brown", "metric": "fpr95_quay", "label": "quay"}],
                    "rows": [{"label": "sift", "method": "sift", "leave_empty": ["walls"]}],
                }
            }
        },
        "'walls' is in no column of this table",
    ),
}


@pytest.mark.parametrize(("overlay", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_while_planning(patches, overlay, message):
    refused = patches.run("-n", "results/brown.csv", config="patches.yaml", overlay=overlay, check=False)
    assert refused.returncode != 0
    assert message in refused.stdout + refused.stderr
