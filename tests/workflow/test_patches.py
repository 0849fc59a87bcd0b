"""The family of patches through its rules: patch sets, descriptors, scores and tables, and what each option does."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from descbench.config.load import load_config
from descbench.datasets.patch_sets import read_patches
from descbench.errors import ConfigError
from descbench.features.patch_descriptors import read_descriptors
from descbench.features.patch_pixels import resize_patches
from descbench.io.jsonfiles import read_json
from descbench.metrics.scores import read_scores
from workplaces import Workplace, make_workplace

HERE = Path(__file__).parent
CONFIG: dict[str, Any] = yaml.safe_load((HERE / "patches.yaml").read_text())
TABLES = ("results/brown.csv", "results/walls.csv")


@pytest.fixture(scope="module")
def patches(tmp_path_factory, project) -> PatchWorkplace:
    """A workplace where both tables were built once; what tests make in it besides has names of its own."""
    made = make_workplace(tmp_path_factory.mktemp("patches") / "work", project)
    work = PatchWorkplace(made.folder, made.project)
    (work.folder / "patches.yaml").write_text((HERE / "patches.yaml").read_text())
    work.run("--cores", "2", *TABLES, config="patches.yaml")
    return work


class PatchWorkplace(Workplace):
    """A workplace whose commands read the same configuration."""

    def command_line(
        self, *arguments: str, overlay: dict[str, Any] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run ``descbench``; with ``check``, its failure fails the test."""
        files = ["patches.yaml"]
        if overlay is not None:
            (self.folder / "more.yaml").write_text(yaml.safe_dump(overlay))
            files.append("more.yaml")
        command = [sys.executable, "-m", "descbench.cli", *arguments, "--configfile", *files]
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=200)
        if check:
            assert result.returncode == 0, result.stderr
        return result


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


def test_a_row_of_several_seeds(patches):
    """The mean of both, and their standard deviation."""
    both = [line for line in rows(patches, "walls") if line["row"] == "both untrained"]
    markdown = (patches.folder / "results/walls.md").read_text()
    for line in both:
        values = [100 * scores(patches, name, "walls")[line["metric"]] for name in ("untrained", "another")]
        mean, spread = np.mean(values), np.std(values, ddof=1)
        found = [float(line[name]) for name in ("ours", "low", "high")]
        assert found == pytest.approx([mean, mean - spread, mean + spread], abs=0.006)
        assert line["provenance"].split("; ") == [
            f"results/provenance/{n}/walls.json" for n in ("untrained", "another")
        ]
        assert f"{float(line['ours']):.1f} \u00b1 " in markdown
    assert len(both) == 3
    assert "- both untrained: mean \u00b1 standard deviation of 2 trainings that differ in their seed." in markdown


def test_nothing_is_left_to_do(patches):
    assert patches.planned(*TABLES, config="patches.yaml") == {}


def test_how_descriptors_are_compared_describes_nothing_anew(patches):
    """And what they are, does."""
    for changes, expected in (
        ({"distance": "L1"}, {"score_patches": 2, "build_table": 2}),
        ({"decimals": 3}, {"describe_patches": 3, "score_patches": 2, "build_table": 2}),
    ):
        overlay = {"methods": {"untrained": {"describe": "network", **changes}}}
        planned = patches.planned(
            "results/scores/untrained/unseen.json", *TABLES, config="patches.yaml", overlay=overlay
        )
        assert planned.keys() == expected.keys(), changes


def test_what_decides_nothing_makes_nothing_anew(patches):
    """The seed of the site, where all weights have seeds of their own, and what a reader is told."""
    targets = ["results/scores/trained/unseen.json", "results/scores/another/walls.json"]
    notes = {name: {"note": "Told."} for name in ("brown", "unseen", "walls")}
    for overlay in ({"seed": 3}, {"patch_sets": notes}):
        assert patches.planned(*targets, config="patches.yaml", overlay=overlay) == {}
    planned = patches.planned("results/scores/untrained/walls.json", config="patches.yaml", overlay={"seed": 3})
    assert "convert_checkpoint" in planned


def test_own_files_that_are_replaced_are_noticed(patches):
    """Of patch sets that are neither downloaded nor drawn, but put in place."""
    datasets, own = patches.folder / "data/datasets", {}
    for name, kind in (("brown", "phototour"), ("walls", "strips")):
        shutil.copytree(datasets / "toytown" / kind, datasets / f"own_{name}")
        own[f"own_{name}"] = {**CONFIG["patch_sets"][name], "folder": f"own_{name}", "generator": None}
    (patches.folder / "list.txt").write_text("Of no use.\n")
    source = {"local_copy": "list.txt", "unpack": {"to": "lists"}}
    own["sourced"] = {**CONFIG["patch_sets"]["brown"], "sources": ["list.txt"]}
    overlay = {"patch_sets": own, "sources": {"list.txt": source}}
    targets, asked = [f"results/scores/pixels/{name}.json" for name in own], {"overlay": overlay}
    patches.run("--cores", "2", *targets, config="patches.yaml", **asked)
    told = {**overlay, "sources": {"list.txt": {**source, "note": "Told.", "licence": "None."}}}
    assert patches.planned(*targets, config="patches.yaml", overlay=told) == {}
    for file, expected in (
        ("own_walls/splits.json", {"score_patches": 1}),
        ("own_walls/i_walls00/t5.png", {"build_patches": 1, "describe_patches": 1, "score_patches": 1}),
        ("own_brown/quay/patches0000.bmp", {"build_patches": 2, "describe_patches": 2, "score_patches": 2}),
    ):
        replaced = datasets / file
        replaced.write_bytes(replaced.read_bytes() + b" ")
        assert patches.planned(*targets, config="patches.yaml", **asked) == expected


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
    assert list(record["configuration"]["models"]) == ["trained", "another"]
    assert record["features"]["descriptor"] == "hardnet"


def test_two_descriptors_are_compared(patches):
    command = [sys.executable, "-m", "descbench.cli", "compare", "untrained", "sift", "walls", "--metric", "matching"]
    done = subprocess.run(
        [*command, "--configfile", "patches.yaml"], cwd=patches.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "sift minus untrained on walls, 2 sequences" in done.stdout
    difference = scores(patches, "sift", "walls")["matching"] - scores(patches, "untrained", "walls")["matching"]
    assert f"{100 * difference:+.1f}" in done.stdout


def test_thresholds_of_all_pairs_are_not_tested(patches):
    command = [sys.executable, "-m", "descbench.cli", "compare", "pixels", "untrained", "unseen"]
    done = subprocess.run(
        [*command, "--configfile", "patches.yaml"], cwd=patches.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "untrained minus pixels on unseen, 80 pairs" in done.stdout
    assert "not tested: fpr95_mill: the threshold is another in each draw of pairs" in done.stdout


# Methods and patch sets that differ from those of the file in one key, and a metric that changes by it.
METHODS = {
    "distance": ({"describe": "network", "model": "untrained", "distance": "L1"}, "untrained", "matching"),
    "whitened": (
        {"describe": "network", "model": "untrained", "normalisation": "pca_power"},
        "untrained",
        "matching",
    ),
    "matlab": (
        {"describe": "network", "model": "untrained", "normalisation": "matlab_zca", "clipped_energy": 0.5},
        "untrained",
        "matlab_matching",
    ),
    "rooted": ({"describe": "rootsift"}, "sift", "matching"),
}
SETS = {
    "split": ({"split": "view"}, "verification"),
    "pairs": ({"pairs": 100}, "verification"),
    "queries": ({"queries": 5}, "retrieval"),
    "distractors": ({"distractors": 30}, "retrieval"),
}


@pytest.fixture(scope="module")
def options(patches) -> Workplace:
    """Everything that differs in one key, in one run."""
    walls = CONFIG["patch_sets"]["walls"]
    methods = {name: block for name, (block, _, _) in METHODS.items()}
    methods["rounded"] = {"describe": "network", "model": "untrained", "decimals": 2}
    overlay = {"methods": methods, "patch_sets": {name: {**walls, **changes} for name, (changes, _) in SETS.items()}}
    targets = [f"results/scores/{name}/walls.json" for name in METHODS]
    targets += [f"results/scores/sift/{name}.json" for name in SETS]
    targets.append("results/descriptors/rounded/brown/quay.h5")
    patches.run("--cores", "2", *targets, config="patches.yaml", overlay=overlay)
    return patches


@pytest.mark.parametrize("name", METHODS)
def test_keys_of_methods_change_scores(options, name):
    _, before, metric = METHODS[name]
    assert scores(options, name, "walls")[metric] != scores(options, before, "walls")[metric]


@pytest.mark.parametrize("name", SETS)
def test_keys_of_patch_sets_change_scores(options, name):
    metric = SETS[name][1]
    assert scores(options, "sift", name)[metric] != scores(options, "sift", "walls")[metric]


def test_decimals_round_descriptors(options):
    exact, rounded = (
        read_descriptors(options.folder / f"results/descriptors/{name}/brown/quay.h5").descriptors
        for name in ("untrained", "rounded")
    )
    np.testing.assert_allclose(rounded, np.round(exact.astype(float), 2), atol=1e-7)
    assert not np.array_equal(rounded, exact)


def test_published_lists_are_read_where_they_are(patches):
    """A list that is there counts, and one that is cut short is refused by its name."""
    folder = patches.folder / "data/datasets/lists"
    folder.mkdir()
    splits = patches.folder / "data/datasets/toytown/strips/splits.json"
    (folder / "other.json").write_bytes(splits.read_bytes())
    block = {**CONFIG["patch_sets"]["walls"], "tasks": "lists", "splits": "lists/other.json"}
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
    assert "retr_distractors_split-a.csv" in (patches.folder / "logs/score_patches/sift/listed.log").read_text()


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


SWAPS = {
    "descriptors of another method": (
        "descriptors/pixels/unseen/mill.h5",
        "descriptors/untrained/unseen/mill.h5",
        "scores/untrained/unseen.json",
        "score_patches/untrained/unseen.log",
        "made by another configuration, or of another method",
    ),
    "patches of another set": (
        "patches/unseen/mill.h5",
        "patches/brown/quay.h5",
        "descriptors/pixels/brown/quay.h5",
        "describe_patches/pixels/brown/quay.log",
        "holds part mill of unseen, not quay of brown",
    ),
    "patches of another set to train on": (
        "patches/unseen/mill.h5",
        "patches/brown/quay.h5",
        "checkpoints/trained.pt",
        "train_on_patches/trained.log",
        "holds part mill of unseen, not quay of brown",
    ),
}


@pytest.mark.parametrize(("source", "place", "target", "log", "message"), SWAPS.values(), ids=SWAPS)
def test_files_in_the_place_of_others_are_refused(patches, tmp_path, source, place, target, log, message):
    shutil.copytree(patches.folder, tmp_path / "work", symlinks=True)
    work = Workplace(tmp_path / "work", patches.project)
    results = work.folder / "results"
    (results / place).write_bytes((results / source).read_bytes())
    (results / target).unlink()
    refused = work.run("--cores", "1", f"results/{target}", config="patches.yaml", check=False)
    assert refused.returncode != 0
    assert message in (work.folder / "logs" / log).read_text()


def test_how_sets_are_scored_and_counted_makes_no_descriptors(patches):
    for changes in ({"split": "view"}, {"pairs": 100}, {"queries": 5}, {"tasks": "lists"}):
        overlay = {"patch_sets": {"walls": changes}}
        planned = patches.planned("results/walls.csv", config="patches.yaml", overlay=overlay)
        assert planned == {"score_patches": 3, "build_table": 1}, changes
    overlay = {"patch_sets": {"brown": {"counts": {"quay": 7}}}}
    planned = patches.planned("results/brown.csv", config="patches.yaml", overlay=overlay)
    assert planned == {"score_patches": 3, "build_table": 1}


def test_more_queries_than_patches(patches):
    overlay = {"patch_sets": {"greedy": {**CONFIG["patch_sets"]["walls"], "queries": 10_000}}}
    target = "results/scores/sift/greedy.json"
    refused = patches.run("--cores", "2", target, config="patches.yaml", overlay=overlay, check=False)
    assert refused.returncode != 0
    assert "lower `queries` of the patch set" in (patches.folder / "logs/score_patches/sift/greedy.log").read_text()


@pytest.fixture(scope="module")
def written(patches) -> Path:
    """Descriptors of SIFT as text files, by the command, all digits."""
    folder = patches.folder / "theirs"
    patches.command_line("descriptors", "sift", "walls", "theirs", "--style", "exact", "--delimiter", ";")
    return folder


def test_files_of_descriptors_are_scored(patches, written):
    """What went out comes in again; another delimiter, other content and other patches are noticed."""
    block = {"describe": "files", "folder": "theirs", "delimiter": ";"}
    run = {"config": "patches.yaml", "overlay": {"methods": {"theirs": block}}}
    target = "results/scores/theirs/walls.json"
    patches.run("--cores", "2", target, **run)
    for part in CONFIG["patch_sets"]["walls"]["parts"]:
        ours, theirs = (
            read_descriptors(patches.folder / f"results/descriptors/{name}/walls/{part}.h5").descriptors
            for name in ("sift", "theirs")
        )
        np.testing.assert_array_equal(ours, theirs)
    assert scores(patches, "theirs", "walls") == scores(patches, "sift", "walls")
    record = read_json(patches.folder / "results/provenance/theirs/walls.json")
    assert list(record["own_files"]) == ["theirs"]
    assert patches.planned(target, **run) == {}
    path = written / "v_walls01/e3.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(reversed(lines)))
    patches.run("--cores", "2", target, **run)
    assert scores(patches, "theirs", "walls")["matching"] < scores(patches, "sift", "walls")["matching"]
    path.write_text("".join(lines[:-1]))
    refused = patches.run("--cores", "1", target, check=False, **run)
    assert refused.returncode != 0
    log = (patches.folder / "logs/import_descriptors/theirs/walls/v_walls01.log").read_text()
    assert f"theirs/v_walls01/e3.csv: {len(lines) - 1} descriptors, but results/patches/walls/v_walls01.h5 has" in log
    path.write_text("".join(lines))
    block["delimiter"] = ","
    refused = patches.run("--cores", "1", target, check=False, **run)
    assert refused.returncode != 0
    log = (patches.folder / "logs/import_descriptors/theirs/walls/i_walls00.log").read_text()
    assert "the delimiter seems to be ';'" in log


def test_files_are_of_sequences(patches, written):
    run = {"config": "patches.yaml", "overlay": {"methods": {"photos": {"describe": "files", "folder": "theirs"}}}}
    refused = patches.run("--cores", "1", "results/scores/photos/brown.json", check=False, **run)
    assert refused.returncode != 0
    log = (patches.folder / "logs/import_descriptors/photos/brown/quay.log").read_text()
    assert "results/patches/brown/quay.h5: patches of brown, whose views are all; text files" in log


def test_a_network_goes_out(patches):
    """A network of the workflow as a file of TorchScript; a strip is described as the workflow describes it."""
    patches.command_line("export", "untrained", "network.pt")
    strip = "data/datasets/toytown/strips/i_walls00/ref.png"
    patches.command_line("describe", strip, "ref.csv", "--model", "untrained", "--separator", ",")
    text = np.loadtxt(patches.folder / "ref.csv", np.float32, delimiter=",")
    made = read_descriptors(patches.folder / "results/descriptors/untrained/walls/i_walls00.h5").descriptors
    np.testing.assert_allclose(text, made[: len(text)], atol=1e-5)
    network = torch.jit.load(str(patches.folder / "network.pt"))
    patch = read_patches(patches.folder / "results/patches/walls/i_walls00.h5").patches[:5]
    pixels = torch.from_numpy(resize_patches(np.asarray(patch), 32)).float()[:, None] / 255
    np.testing.assert_allclose(network(pixels).numpy(), made[:5], atol=1e-5)


def test_page_of_confused_pairs(patches):
    """Of the descriptors that are scored: as many false positives as the scores count."""
    target = "results/pages/pixels/brown.html"
    patches.run("--cores", "1", target, config="patches.yaml")
    page = (patches.folder / target).read_text()
    found = read_scores(patches.folder / "results/scores/pixels/brown.json")
    all_wrong = found.facts["negatives"][0]
    wrong = round(found.metrics["fpr95_quay"].value * all_wrong)
    assert f"So are {wrong} of the {all_wrong} wrong pairs" in page
    assert page.count('src="data:image/png;base64,') >= 2 * min(wrong, 24)
    refused = patches.run("-n", "results/pages/sift/walls.html", config="patches.yaml", check=False)
    assert refused.returncode != 0


WRONG_COMMANDS = {
    "no such method": (
        ["descriptors", "shift", "walls", "x"],
        "there is no 'shift' in section `methods`; close names: sift",
    ),
    "no such patch set": (["descriptors", "sift", "wall", "x"], "there is no 'wall' in section `patch_sets`"),
    "not made yet": (
        ["descriptors", "sift", "unmade", "x"],
        "results/patches/unmade/mill.h5: not there yet; `snakemake",
    ),
    "no sequences": (["descriptors", "untrained", "brown", "x"], "whose views are all"),
    "another ending": (
        ["export", "untrained", "x.bin"],
        "x.bin: the ending says the format; name a file in .pt or .onnx",
    ),
    "no such model": (["describe", "x.png", "x", "--model", "none"], "there is no 'none' in section `models`"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG_COMMANDS.values(), ids=WRONG_COMMANDS)
def test_commands_that_are_refused(patches, arguments, message):
    block = {**CONFIG["patch_sets"]["unseen"]}
    result = patches.command_line(*arguments, overlay={"patch_sets": {"unmade": block}}, check=False)
    assert result.returncode == 1
    assert message in result.stderr


REFUSED = {
    "a network without a model": ({"methods": {"x": {"describe": "network"}}}, "needs `model`"),
    "pixels with a model": ({"methods": {"x": {"describe": "pixels", "model": "untrained"}}}, "has no `model`"),
    "files without a folder": ({"methods": {"x": {"describe": "files"}}}, "methods.x"),
    "a network of images": (
        {
            "models": {"gem": {"architecture": "gem", "backbone": "resnet50", "weights": {"source": "random"}}},
            "methods": {"x": {"describe": "network", "model": "gem"}},
        },
        "'gem' (gem) describes no patches",
    ),
    "patches by images": (
        {"features": {"f": {"kind": "global", "model": "untrained"}}},
        "describes cut-out patches of patch sets, no images",
    ),
    "a name taken twice": (
        {"datasets": {"brown": {"format": "folder", "database": "x"}}},
        "there is a dataset 'brown' too",
    ),
    "a normalisation with nothing to learn it on": (
        {
            "methods": {"x": {"describe": "sift", "normalisation": "pca_power"}},
            "tables": {
                "wrong": {
                    "title": "T",
                    "columns": [{"dataset": "brown", "metric": "fpr95_quay", "label": "quay"}],
                    "rows": [{"label": "x", "method": "x"}],
                }
            },
        },
        "'brown' has no training sequences, which normalisation pca_power is learned on",
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
def test_what_does_not_fit_is_refused(overlay, message):
    values = {**CONFIG, **{section: {**CONFIG.get(section, {}), **blocks} for section, blocks in overlay.items()}}
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(values)
