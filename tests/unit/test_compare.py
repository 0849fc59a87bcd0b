"""Two methods on the same queries: what ``descbench compare`` says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scores_files import write_told

from descbench.cli import main
from descbench.datasets.places import PlaceLabels, write_places
from descbench.errors import DataError
from descbench.metrics.compare import compare_scores
from descbench.metrics.intervals import compare_paired
from descbench.metrics.score import score_ranking
from descbench.metrics.scores import read_scores
from descbench.retrieval.ranking import PartInfo, rank_scores, ranking_writer


def configure(folder: Path, dataset: str, *methods: str) -> None:
    """A configuration with these names and nothing behind them."""
    network = {"architecture": "netvlad", "backbone": "alexnet", "weights": {"source": "random"}}
    content = {
        "catalog": [],
        "datasets": {dataset: {"format": "folder", "database": "photos", "ground_truth": "gnd.json"}},
        "models": {"net": network},
        "methods": {name: {"search": "euclidean", "features": "net"} for name in methods},
    }
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture
def corridor(real_data: Path, tmp_path: Path) -> dict[str, Path]:
    """Scores of the methods whose score matrices VPR-Bench publishes, by method."""
    folder = real_data / "vpr_corridor"
    truth = [tuple(ids) for ids in json.loads((folder / "full_111_results.json").read_text())["full_ground_truth"]]
    write_places(PlaceLabels(25.0, tuple(truth), tuple(truth)), tmp_path / "gt.json")
    found = {}
    for path in sorted(folder.glob("scores_*.npz")):
        method = path.stem.removeprefix("scores_")
        matrix = np.load(path)["scores"].astype(float)
        ids, scores = rank_scores(np.arange(matrix.shape[1]), matrix, None)
        ranking = tmp_path / f"{method}.h5"
        info = PartInfo(0, matrix.shape[1], {"cell": f"{method} on corridor"})
        with ranking_writer(ranking, info, np.arange(len(ids)), ids.shape[1]) as writer:
            writer.write(0, ids, scores)
        found[method] = tmp_path / "results/scores" / method / "corridor.json"
        score_ranking(ranking, tmp_path / "gt.json", found[method], cell=f"{method} on corridor")
    return found


def test_netvlad_and_densevlad_are_not_told_apart(corridor, tmp_path, monkeypatch, capsys):
    first, second = (read_scores(corridor[method]) for method in ("NetVLAD", "denseVLAD"))
    assert round(first.metrics["recall@1"].value, 3) == 0.676
    assert round(second.metrics["recall@1"].value, 3) == 0.703
    found = compare_paired(first.per_query["recall@1"], second.per_query["recall@1"])
    assert found.difference == pytest.approx(3 / 111)
    assert found.low < 0 < found.high
    assert found.p > 0.3
    configure(tmp_path, "corridor", "NetVLAD", "denseVLAD")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "NetVLAD", "denseVLAD", "corridor", "--metric", "recall@1"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "denseVLAD minus NetVLAD on corridor, 111 queries"
    assert told[1].split()[:4] == ["metric", "NetVLAD", "denseVLAD", "difference"]
    assert told[1].endswith("better is")
    assert told[2].startswith("recall@1    67.57      70.27       +2.70  [")
    assert told[2].endswith(f"{found.p:.4f}  higher")
    assert len(told) == 3


def test_a_clear_difference_is_one(tmp_path):
    worse = read_scores(write_told(tmp_path / "a.json", {"map": 0.25}, queries=40))
    better = read_scores(write_told(tmp_path / "b.json", {"map": 0.5, "mp@1": 1.0}, queries=40))
    assert compare_scores(worse, better) == [
        "metric  first  second  difference     95 % interval       p  better is",
        "map     25.00   50.00      +25.00  [+25.00, +25.00]  0.0005  higher",
        "only second has mp@1",
    ]


def test_many_metrics_are_a_short_table(tmp_path):
    """Twenty, and what the others are called; patterns choose among all."""
    told = {f"{task}@{k}": 0.5 for task in ("found", "right") for k in range(15)}
    scores = read_scores(write_told(tmp_path / "a.json", told, queries=6))
    lines = compare_scores(scores, scores, labels=("one", "other"))
    assert len(lines) == 1 + 20 + 1
    assert lines[-1] == (
        "10 more metrics, such as right@5, right@6, right@7, right@8 and 6 more; --metric '*' shows all"
    )
    assert len(compare_scores(scores, scores, ["*"])) == 1 + 30
    assert [line.split()[0] for line in compare_scores(scores, scores, ["right@1", "found@1*"])[1:]] == [
        "right@1",
        *(f"found@{k}" for k in (1, 10, 11, 12, 13, 14)),
    ]
    with pytest.raises(DataError, match=r"no metric 'wrong\*' in both"):
        compare_scores(scores, scores, ["wrong*"])


def test_what_is_not_tested_is_said_once(tmp_path):
    scores = read_scores(write_told(tmp_path / "a.json", {"map": 0.5, "mp@1": 0.25, "mp@5": None}, queries=6))
    untested = replace(scores, facts={**scores.facts, "not_paired": "of a test"})
    lines = compare_scores(untested, untested)
    assert lines[1].count(" 50.00 [48.00, 52.00] ") == 2
    assert lines[-1] == "not tested: map, mp@1, mp@5: of a test"
    assert compare_scores(scores, scores)[-1] == "not tested: mp@5: fewer than two queries count"


@pytest.mark.parametrize(("queries", "told"), [(5, True), (6, False)])
def test_too_few_queries_are_told(tmp_path, queries, told):
    """Of five there are 32 permutations, two of which at least are as extreme as the observed one."""
    scores = read_scores(write_told(tmp_path / "a.json", {"map": 0.5}, queries=queries))
    line = "5 queries are too few to tell two methods apart: p is about 0.062 or more"
    assert (line in compare_scores(scores, scores)) == told
    assert (line in compare_scores(scores, scores, ["map"])) == told


def test_scores_of_other_queries_or_metrics(tmp_path, monkeypatch, capsys):
    for method, told in (("a", {}), ("b", {"queries": 4}), ("d", {"cell": "a on town"})):
        path = tmp_path / f"results/scores/{method}/town.json"
        write_told(path, {"map": 0.5}, **{"cell": f"{method} on town", **told})
    write_told(tmp_path / "results/scores/e/town.json", {"mp@1": 0.5}, cell="e on town")
    configure(tmp_path, "town", *"abcde")
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        (["a", "b", "town"], "scores of 3 queries (revisited) and of 4 (revisited) cannot be compared"),
        (["a", "a", "town", "--metric", "recall@1"], "no metric 'recall@1' in both scores; they share map"),
        (["a", "e", "town"], "the two scores share no metric"),
        (["a", "d", "town"], "d/town.json: scores of a on town, not of d on town"),
        (["a", "c", "town"], "results/scores/c/town.json: not there yet; `snakemake"),
        (["a", "f", "town"], "there is no method 'f'"),
        (["a", "b", "twon"], "there is no dataset or patch set 'twon'; close names: town"),
    ):
        assert main(["compare", *arguments]) == 1
        assert message in capsys.readouterr().err


def test_other_labels(tmp_path):
    one, other = (read_scores(write_told(tmp_path / name, {"map": 0.5})) for name in ("a.json", "b.json"))
    with pytest.raises(DataError, match="different labels of the dataset"):
        compare_scores(one, replace(other, labels="f" * 64))
