"""The family of patches through its rules: patch sets, descriptors, scores and tables, and what each option does."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from in_process import Bench, RefusedError
from snakemake.exceptions import MissingRuleException

from descbench.cli import main
from descbench.config.load import load_config
from descbench.datasets.patch_sets import read_patches
from descbench.errors import ConfigError
from descbench.features.patch_descriptors import read_descriptors
from descbench.features.patch_pixels import resize_patches
from descbench.io.jsonfiles import read_json
from descbench.metrics.scores import read_scores

HERE = Path(__file__).parent
CONFIG: dict[str, Any] = yaml.safe_load((HERE / "patches.yaml").read_text())
TABLES = ("results/brown.csv", "results/walls.csv")


@pytest.fixture(scope="module")
def patches(tmp_path_factory, project) -> Bench:
    """A bench where both tables were built once; what tests make on it besides has names of its own."""
    folder = tmp_path_factory.mktemp("patches") / "work"
    shutil.copytree(project / "config", folder / "config")
    shutil.copy(HERE / "patches.yaml", folder)
    bench = Bench(folder, project, CONFIG)
    bench.make(*TABLES)
    return bench


@pytest.fixture
def command_line(patches, monkeypatch, capsys) -> Callable[..., str]:
    """Runs ``descbench`` with the same configuration; gives its output, and with ``refused`` what it says on stderr."""

    def run(*arguments: str, overlay: dict[str, Any] | None = None, refused: bool = False) -> str:
        monkeypatch.chdir(patches.folder)
        files = ["patches.yaml"]
        if overlay is not None:
            Path("more.yaml").write_text(yaml.safe_dump(overlay))
            files.append("more.yaml")
        status = main([*arguments, "--configfile", *files])
        shown = capsys.readouterr()
        assert status == (1 if refused else 0), shown.err
        return shown.err if refused else shown.out

    return run


def refusal(work: Bench, target: str, **options: Any) -> str:
    """The log of the job that was refused on the way to a target."""
    with pytest.raises(RefusedError) as refused:
        work.make(target, **options)
    return str(refused.value)


def scores(work: Bench, method: str, patch_set: str) -> dict[str, float]:
    found = read_scores(work.folder / f"results/scores/{method}/{patch_set}.json", f"{method} on {patch_set}")
    return {name: metric.value for name, metric in found.metrics.items()}


def rows(work: Bench, table: str) -> list[dict[str, str]]:
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
    assert not patches.planned(*TABLES)


def test_how_descriptors_are_compared_describes_nothing_anew(patches):
    """And what they are, does."""
    for changes, expected in (
        ({"distance": "L1"}, {"score_patches", "build_table"}),
        ({"decimals": 3}, {"describe_patches", "score_patches", "build_table"}),
    ):
        overlay = {"methods": {"untrained": {"describe": "network", **changes}}}
        found = patches.planned("results/scores/untrained/unseen.json", *TABLES, overlay=overlay)
        assert found.keys() == expected, changes


def test_what_decides_nothing_makes_nothing_anew(patches):
    """The seed of the site, where all weights have seeds of their own, and what a reader is told."""
    targets = ["results/scores/trained/unseen.json", "results/scores/another/walls.json"]
    notes = {name: {"note": "Told."} for name in ("brown", "unseen", "walls")}
    for overlay in ({"seed": 3}, {"patch_sets": notes}):
        assert patches.planned(*targets, overlay=overlay) == {}
    assert "convert_checkpoint" in patches.planned("results/scores/untrained/walls.json", overlay={"seed": 3})


def test_own_files_that_are_replaced_are_noticed(patches):
    """Of patch sets that are neither downloaded nor drawn, but put in place."""
    datasets, own = patches.folder / "data/datasets", {}
    for name, kind in (("brown", "phototour"), ("walls", "strips")):
        shutil.copytree(datasets / "toytown" / kind, datasets / f"own_{name}")
        own[f"own_{name}"] = {**CONFIG["patch_sets"][name], "folder": f"own_{name}", "generator": None}
    (patches.folder / "list.txt").write_text("Of no use.\n")
    source = {"local_copy": "list.txt", "unpack": {"to": "told"}}
    own["sourced"] = {**CONFIG["patch_sets"]["brown"], "sources": ["list.txt"]}
    overlay = {"patch_sets": own, "sources": {"list.txt": source}}
    targets = [f"results/scores/pixels/{name}.json" for name in own]
    patches.make(*targets, overlay=overlay)
    told = {**overlay, "sources": {"list.txt": {**source, "note": "Told.", "licence": "None."}}}
    assert patches.planned(*targets, overlay=told) == {}
    for file, expected in (
        ("own_walls/splits.json", {"score_patches": 1}),
        ("own_walls/i_walls00/t5.png", {"build_patches": 1, "describe_patches": 1, "score_patches": 1}),
        ("own_brown/quay/patches0000.bmp", {"build_patches": 2, "describe_patches": 2, "score_patches": 2}),
    ):
        replaced = datasets / file
        replaced.write_bytes(replaced.read_bytes() + b" ")
        assert patches.planned(*targets, overlay=overlay) == expected


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


def test_two_descriptors_are_compared(patches, command_line):
    output = command_line("compare", "untrained", "sift", "walls", "--metric", "matching")
    assert "sift minus untrained on walls, 2 sequences" in output
    difference = scores(patches, "sift", "walls")["matching"] - scores(patches, "untrained", "walls")["matching"]
    assert f"{100 * difference:+.1f}" in output


def test_thresholds_of_all_pairs_are_not_tested(patches, command_line):
    output = command_line("compare", "pixels", "untrained", "unseen")
    assert "untrained minus pixels on unseen, 80 pairs" in output
    assert "not tested: fpr95_mill: the threshold is another in each draw of pairs" in output


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
def options(patches) -> Bench:
    """Everything that differs in one key, in one run."""
    walls = CONFIG["patch_sets"]["walls"]
    methods = {name: block for name, (block, _, _) in METHODS.items()}
    methods["rounded"] = {"describe": "network", "model": "untrained", "decimals": 2}
    overlay = {"methods": methods, "patch_sets": {name: {**walls, **changes} for name, (changes, _) in SETS.items()}}
    targets = [f"results/scores/{name}/walls.json" for name in METHODS]
    targets += [f"results/scores/sift/{name}.json" for name in SETS]
    targets.append("results/descriptors/rounded/brown/quay.h5")
    patches.make(*targets, overlay=overlay)
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
    patches.make(target, overlay=overlay)
    found = read_scores(patches.folder / target)
    assert (found.facts["retrieval_queries"], found.facts["retrieval_distractors"]) == (1, 2)
    (patches.folder / target).unlink()
    (folder / "retr_distractors_split-a.csv").write_text("s,idx\nv_walls01,3\nv_wal")
    assert "retr_distractors_split-a.csv" in refusal(patches, target, overlay=overlay)


def test_descriptors_of_other_patches_are_stale(patches):
    """Of another patch set, with the checksum of its own file."""
    overlay = {"patch_sets": {"again": {**CONFIG["patch_sets"]["brown"], "parts": ["quay"]}}}
    target = "results/scores/pixels/again.json"
    patches.make(target, overlay=overlay)
    results = patches.folder / "results"
    replace(results / "descriptors/pixels/again/quay.h5", results / "descriptors/pixels/unseen/mill.h5")
    (patches.folder / target).unlink()
    assert "describes other patches" in refusal(patches, target, overlay=overlay)


def replace(path: Path, source: Path) -> None:
    """Put the content of another file into the place of one, which links of other benches may share."""
    path.unlink()
    path.write_bytes(source.read_bytes())


SWAPS = {
    "descriptors of another method": (
        "descriptors/pixels/unseen/mill.h5",
        "descriptors/untrained/unseen/mill.h5",
        "scores/untrained/unseen.json",
        "made by another configuration, or of another method",
    ),
    "patches of another set": (
        "patches/unseen/mill.h5",
        "patches/brown/quay.h5",
        "descriptors/pixels/brown/quay.h5",
        "holds part mill of unseen, not quay of brown",
    ),
    "patches of another set to train on": (
        "patches/unseen/mill.h5",
        "patches/brown/quay.h5",
        "checkpoints/trained.pt",
        "holds part mill of unseen, not quay of brown",
    ),
}


@pytest.mark.parametrize(("source", "place", "target", "message"), SWAPS.values(), ids=SWAPS)
def test_files_in_the_place_of_others_are_refused(patches, request, source, place, target, message):
    work = patches.copy(request.node.callspec.id.replace(" ", "_"))
    results = work.folder / "results"
    replace(results / place, results / source)
    (results / target).unlink()
    assert message in refusal(work, f"results/{target}")


def test_how_sets_are_scored_and_counted_makes_no_descriptors(patches):
    for changes in ({"split": "view"}, {"pairs": 100}, {"queries": 5}, {"tasks": "lists"}):
        overlay = {"patch_sets": {"walls": changes}}
        assert patches.planned("results/walls.csv", overlay=overlay) == {"score_patches": 3, "build_table": 1}, changes
    overlay = {"patch_sets": {"brown": {"counts": {"quay": 7}}}}
    assert patches.planned("results/brown.csv", overlay=overlay) == {"score_patches": 3, "build_table": 1}


def test_more_queries_than_patches(patches):
    overlay = {"patch_sets": {"greedy": {**CONFIG["patch_sets"]["walls"], "queries": 10_000}}}
    target = "results/scores/sift/greedy.json"
    assert "lower `queries` of the patch set" in refusal(patches, target, overlay=overlay)


@pytest.fixture
def written(patches, command_line) -> Path:
    """Descriptors of SIFT as text files, by the command, all digits."""
    folder = patches.folder / "theirs"
    if not folder.is_dir():
        command_line("descriptors", "sift", "walls", "theirs", "--style", "exact", "--delimiter", ";")
    return folder


def test_a_folder_has_descriptors_of_one_method(patches, command_line, tmp_path):
    """Where a sequence of another is damaged, none is replaced."""
    folder = tmp_path / "theirs"
    command_line("descriptors", "sift", "walls", str(folder))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    last = patches.folder / f"results/descriptors/untrained/walls/{CONFIG['patch_sets']['walls']['parts'][-1]}.h5"
    patches.make(str(last.relative_to(patches.folder)))
    whole = last.read_bytes()
    try:
        last.write_bytes(whole[:-100])
        command_line("descriptors", "untrained", "walls", str(folder), refused=True)
    finally:
        last.write_bytes(whole)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_files_of_descriptors_are_scored(patches, written):
    """What went out comes in again; another delimiter, other content and other patches are noticed."""
    block = {"describe": "files", "folder": "theirs", "delimiter": ";"}
    target, run = "results/scores/theirs/walls.json", {"overlay": {"methods": {"theirs": block}}}
    patches.make(target, **run)
    for part in CONFIG["patch_sets"]["walls"]["parts"]:
        ours, theirs = (
            read_descriptors(patches.folder / f"results/descriptors/{name}/walls/{part}.h5").descriptors
            for name in ("sift", "theirs")
        )
        np.testing.assert_array_equal(ours, theirs)
    assert scores(patches, "theirs", "walls") == scores(patches, "sift", "walls")
    record = read_json(patches.folder / "results/provenance/theirs/walls.json")
    assert list(record["own_files"]) == ["theirs"]
    assert not patches.planned(target, **run)
    path = written / "v_walls01/e3.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(reversed(lines)))
    patches.make(target, **run)
    assert scores(patches, "theirs", "walls")["matching"] < scores(patches, "sift", "walls")["matching"]
    path.write_text("".join(lines[:-1]))
    expected = f"theirs/v_walls01/e3.csv: {len(lines) - 1} descriptors, but results/patches/walls/v_walls01.h5 has"
    assert expected in refusal(patches, target, **run)
    path.write_text("".join(lines))
    block["delimiter"] = ","
    assert "the delimiter seems to be ';'" in refusal(patches, target, **run)


def test_files_are_of_sequences(patches, written):
    overlay = {"methods": {"photos": {"describe": "files", "folder": "theirs"}}}
    log = refusal(patches, "results/scores/photos/brown.json", overlay=overlay)
    assert "results/patches/brown/quay.h5: patches of brown, whose views are all; text files" in log


def test_a_network_goes_out(patches, command_line):
    """A network of the workflow as a file of TorchScript; a strip is described as the workflow describes it."""
    command_line("export", "untrained", "network.pt")
    strip = "data/datasets/toytown/strips/i_walls00/ref.png"
    command_line("describe", strip, "ref.csv", "--model", "untrained", "--separator", ",")
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
    patches.make(target)
    page = (patches.folder / target).read_text()
    found = read_scores(patches.folder / "results/scores/pixels/brown.json")
    all_wrong = found.facts["negatives"][0]
    wrong = round(found.metrics["fpr95_quay"].value * all_wrong)
    assert f"So are {wrong} of the {all_wrong} wrong pairs" in page
    assert page.count('src="data:image/png;base64,') >= 2 * min(wrong, 24)
    with pytest.raises(MissingRuleException):
        patches.jobs("results/pages/sift/walls.html")


WRONG_COMMANDS = {
    "no such method": (
        ["descriptors", "shift", "walls", "x"],
        "there is no method 'shift'; close names: sift",
    ),
    "no such patch set": (["descriptors", "sift", "wall", "x"], "there is no patch set 'wall'; close names: walls"),
    "not made yet": (
        ["descriptors", "sift", "unmade", "x"],
        "results/patches/unmade/mill.h5: not there yet; `snakemake",
    ),
    "no sequences": (["descriptors", "untrained", "brown", "x"], "whose views are all"),
    "another ending": (
        ["export", "untrained", "x.bin"],
        "x.bin: the ending says the format; name a file in .pt or .onnx",
    ),
    "no such model": (["describe", "x.png", "x", "--model", "none"], "there is no model 'none'"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG_COMMANDS.values(), ids=WRONG_COMMANDS)
def test_commands_that_are_refused(command_line, arguments, message):
    overlay = {"patch_sets": {"unmade": CONFIG["patch_sets"]["unseen"]}}
    assert message in command_line(*arguments, overlay=overlay, refused=True)


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
