"""Cross tables: which method of a row a dataset takes, why one is not there, and tests between rows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from descbench.config.cross_tables import CrossTable
from descbench.config.load import load_config_files
from descbench.config.models import Config
from descbench.doctor import find_cells
from descbench.errors import ConfigError, DataError
from descbench.metrics.compare import compare_metric
from descbench.metrics.intervals import DRAWS, holm
from descbench.metrics.scores import Metric, Scores, mean, proportion, read_scores, write_scores
from descbench.metrics.titles import metric_title
from descbench.plan import Plan
from descbench.tables.cross_table import build_cross_table

HOUSE = {"format": "revisitop", "images": "a/jpg", "ground_truth": "a/gnd_a.pkl"}
BLOCKS: dict[str, Any] = {
    "catalog": [],
    "sources": {"near.pkl": {"local_copy": "near.pkl"}, "bag.pkl": {"local_copy": "bag.pkl"}},
    "datasets": {
        "a": HOUSE,
        "b": {**HOUSE, "ground_truth": "a/gnd_b.pkl"},
        "scene": {"format": "colmap", "model": "scene/model", "images": "scene/images"},
    },
    "patch_sets": {"walls": {"format": "phototour", "folder": "walls", "parts": ["north"]}},
    "models": {
        "net": {"architecture": "netvlad", "backbone": "alexnet", "weights": {"source": "random"}},
        "how": {"architecture": "how", "backbone": "resnet18", "weights": {"source": "random"}},
    },
    "features": {
        "bag": {"kind": "released", "files": {"a": "bag.pkl"}},
        "points": {"kind": "keypoints", "describe": "sift"},
    },
    "methods": {
        "net": {"search": "euclidean"},
        "lists": {"search": "listed", "files": {"a": "near.pkl"}},
        "again": {"search": "rerank", "ranking": "lists", "features": "points"},
        "words": {"search": "asmk", "features": "how", "codebook": {"dataset": "b", "role": "database", "size": 16}},
        "theirs": {
            "search": "asmk",
            "features": "bag",
            "codebook": {"features": "how_single", "dataset": "b", "role": "database", "size": 16},
        },
        "sift": {"describe": "sift"},
    },
    "cross_tables": {
        "all": {
            "title": "All",
            "rows": {"net": ["net"], "lists": ["lists"], "sift": ["sift"]},
            "datasets": {"a": ["map_medium"], "b": ["map_medium"], "walls": ["fpr95_north"]},
        }
    },
}


def configuration(folder: Path, *overlays: dict[str, Any]) -> Config:
    files = []
    for number, content in enumerate((BLOCKS, *overlays)):
        files.append(folder / f"{number}.yaml")
        files[-1].write_text(yaml.safe_dump(content))
    return load_config_files(*files)


def cells(config: Config) -> dict[tuple[str, str], str | None]:
    return {(cell.row, cell.dataset): cell.method for cell in config.cross_tables["all"].cells(config)}


def why(config: Config, row: str, dataset: str) -> str | None:
    found = config.cross_tables["all"].cells(config)
    return next(cell.why for cell in found if (cell.row, cell.dataset) == (row, dataset))


def rows(**added: Any) -> dict[str, Any]:
    return {"cross_tables": {"all": {"rows": added}}}


def test_a_cell_is_there_where_the_blocks_fit(tmp_path):
    config = configuration(tmp_path)
    assert cells(config) == {
        ("net", "a"): "net",
        ("net", "b"): "net",
        ("net", "walls"): None,
        ("lists", "a"): "lists",
        ("lists", "b"): None,
        ("lists", "walls"): None,
        ("sift", "a"): None,
        ("sift", "b"): None,
        ("sift", "walls"): "sift",
    }
    assert why(config, "lists", "b") == "lists: no list of 'b' is in `files`"
    assert why(config, "sift", "a") == "sift: it is scored on patch sets, and 'a' is none of them"
    assert Plan(config).cross_table_cells("all") == [("lists", "a"), ("net", "a"), ("net", "b"), ("sift", "walls")]


def test_what_a_method_starts_from_must_fit_too(tmp_path):
    config = configuration(tmp_path, rows(again=["again"]))
    assert cells(config)["again", "a"] == "again"
    assert why(config, "again", "b") == "again: no list of 'b' is in `files`"


def test_released_descriptors_are_those_of_their_files(tmp_path):
    config = configuration(tmp_path, rows(theirs=["theirs"]))
    assert cells(config)["theirs", "a"] == "theirs"
    assert why(config, "theirs", "b") == "theirs: features 'bag' have no released file for 'b'"


def test_a_dataset_takes_the_first_method_of_a_row_that_fits(tmp_path):
    config = configuration(tmp_path, rows(one=["lists", "sift", "net"], other=["net", "lists"]))
    assert [cells(config)["one", name] for name in ("a", "b", "walls")] == ["lists", "net", "sift"]
    assert [cells(config)["other", name] for name in ("a", "b", "walls")] == ["net", "net", None]
    assert why(config, "other", "walls").startswith("net: it is scored on datasets")
    assert "; lists: " in why(config, "other", "walls")


def test_an_overlay_adds_and_takes_out_by_a_line(tmp_path):
    overlay = {"cross_tables": {"all": {"rows": {"lists": None, "words": ["words"]}, "datasets": {"walls": None}}}}
    config = configuration(tmp_path, overlay)
    assert list(cells(config)) == [(row, name) for row in ("net", "sift", "words") for name in "ab"]
    assert cells(config)["words", "b"] == "words"


def test_what_learned_from_its_dataset_is_marked(tmp_path):
    found = Plan(configuration(tmp_path, rows(words=["words"]))).cross_table_rows("all")
    assert [(cell["row"], cell["dataset"]) for cell in found if cell["learned"]] == [("words", "b")]


def test_doctor_knows_what_a_cross_table_needs(tmp_path):
    plan = Plan(configuration(tmp_path))
    for target in ("all", "results/cross/all.csv", "results/cross/all.md", "results/cross/all.tests.csv"):
        assert find_cells(plan, target) == plan.cross_table_cells("all"), target
    with pytest.raises(ConfigError, match=r"or a table, close names: all"):
        find_cells(plan, "results/cross/al.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": {"net": ["nobody"]}}, "there is no 'nobody' in section `methods`"),
        ({"rows": {"net": ["net", "net"]}}, "'net' is written twice"),
        ({"rows": {"net": []}}, "cross_tables.all.rows.net"),
        ({"datasets": {"nowhere": ["map"]}}, "there is no 'nowhere' in section `datasets` or `patch_sets`"),
        ({"datasets": {"a": ["recall@1"]}}, "have no 'recall@1'"),
        ({"datasets": {"a": ["map_hard", "map_hard"]}}, "'map_hard' is written twice"),
        ({"rows": dict.fromkeys(("net", "lists", "sift"))}, "`rows` has nothing to show"),
        ({"datasets": dict.fromkeys(("a", "b", "walls"))}, "`datasets` has nothing to show"),
        (
            {"rows": dict.fromkeys(("net", "lists")), "datasets": {"walls": None}},
            "none of the methods fits any of the datasets",
        ),
    ],
)
def test_what_cannot_be_is_refused_while_planning(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        configuration(tmp_path, {"cross_tables": {"all": change}})


def test_a_name_that_would_be_that_of_tests_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="would have the same name"):
        configuration(tmp_path, {"cross_tables": {"all.tests": BLOCKS["cross_tables"]["all"]}})


def test_holm_is_that_of_the_textbook():
    """Sorted, the smallest counts for all tests, the next for one less, and none is less than one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


# --- the files ---

TABLE = {
    "title": "A | table",
    "rows": {"good": ["good"], "alike": ["alike"], "bad": ["bad"], "=none": ["none"]},
    "datasets": {"town": ["map_medium", "share"]},
}


def write(path: Path, values: np.ndarray, cell: str, labels: str = "x", direction: str = "higher") -> Path:
    found = list(map(float, values))
    metrics = {
        "map_medium": mean(found, float(np.mean(found)), chance=0.1),
        "share": proportion([float(value > 0.5) for value in found]),
    }
    per_query = {"map_medium": found, "share": [float(value > 0.5) for value in found]}
    write_scores(Scores("retrieval", "revisited", len(found), metrics, per_query, cell=cell, labels=labels), path)
    return path


@pytest.fixture
def town(tmp_path) -> dict[tuple[str, str], Path]:
    random = np.random.default_rng(5)
    easy = random.uniform(0.2, 0.7, 200)
    values = {"good": easy + 0.2, "alike": easy + 0.2 + random.choice([-0.01, 0.01], 200), "bad": easy}
    return {
        (name, "town"): write(tmp_path / f"{name}.json", found, f"{name} on town") for name, found in values.items()
    }


RESTRICTED = {"good": {"net.pt": "CC BY-NC 4.0"}}


def build(folder: Path, scores: dict[tuple[str, str], Path], **changes: Any) -> tuple[list, list, str]:
    from descbench.config.cross_tables import CrossCell

    table = CrossTable.model_validate({**TABLE, **changes})
    of_rows = [
        CrossCell(label, "town", methods[0], None)
        if (methods[0], "town") in scores
        else CrossCell(label, "town", None, f"{methods[0]}: it does not fit")
        for label, methods in table.rows.items()
    ]
    outputs = folder / "all.csv", folder / "all.tests.csv", folder / "all.md"
    origins = {cell: f"provenance/{cell[0]}.json" for cell in scores}
    build_cross_table("all", table, of_rows, scores, origins, outputs, [("bad", "town")], RESTRICTED)
    found = [list(csv.DictReader(path.read_text().splitlines())) for path in outputs[:2]]
    return found[0], found[1], outputs[2].read_text()


def test_headings_are_names_with_units(town, tmp_path):
    """In Markdown; the CSV has the keys of the scores files."""
    lines, _, markdown = build(tmp_path, town)
    assert "| method | town: mAP medium (%) | town: share (%) |" in markdown
    assert {line["metric"] for line in lines} == {"map_medium", "share"}
    assert "- No commercial use of net.pt (CC BY-NC 4.0), which these rows rest on: good." in markdown


@pytest.mark.parametrize(
    ("name", "unit", "title"),
    [
        ("map", "fraction", "mAP (%)"),
        ("mp@10_medium", "fraction", "mP@10 medium (%)"),
        ("recall@5", "fraction", "recall@5 (%)"),
        ("mma@3_v", "fraction", "MMA@3 viewpoint (%)"),
        ("mma@3_micro", "fraction", "MMA@3 over pairs (%)"),
        ("homography@3", "fraction", "homography accuracy@3 (%)"),
        ("matching", "fraction", "matching mAP (%)"),
        ("fpr95_quay", "fraction", "FPR95 quay (%, lower is better)"),
        ("within_0.25m_2deg_day", "fraction", "within 0.25 m 2 deg day (%)"),
        ("median_position", "metre", "median error of position (cm, lower is better)"),
        ("median_rotation", "degree", "median error of rotation (deg, lower is better)"),
        ("of_the_user", None, "of the user"),
    ],
)
def test_metrics_in_words(name, unit, title):
    direction = "lower" if "lower" in title else "higher"
    metric = None if unit is None else Metric(0.5, None, None, "bootstrap", unit=unit, direction=direction)
    assert metric_title(name, metric) == title


def test_every_cell_has_a_line_and_its_reason(town, tmp_path):
    lines, _, markdown = build(tmp_path, town)
    assert [(line["row"], line["metric"]) for line in lines] == [
        (row, metric) for row in ("good", "alike", "bad", "'=none") for metric in ("map_medium", "share")
    ]
    scores = read_scores(town["good", "town"])
    first = lines[0]
    expected = [
        round(100 * getattr(scores.metrics["map_medium"], key), 2) for key in ("value", "low", "high", "chance")
    ]
    assert [float(first[key]) for key in ("ours", "low", "high", "chance")] == expected
    assert (first["method"], first["provenance"], first["reason"]) == ("good", "provenance/good.json", "")
    assert [(line["ours"], line["method"], line["reason"]) for line in lines[-2:]] == [
        ("", "", "none: it does not fit")
    ] * 2
    assert "| =none | - | - |" in markdown
    assert "=none has nothing on town (none: it does not fit)." in markdown
    assert "bad on town: words or weights were learned from images of town itself." in markdown
    assert "## all: A &#124; table" in markdown


def test_pairs_are_tested_as_compare_tests_them(town, tmp_path):
    _, tests, _ = build(tmp_path, town)
    pairs = [("good", "alike"), ("good", "bad"), ("alike", "bad")]
    assert [(test["metric"], test["first"], test["second"]) for test in tests] == [
        (metric, *pair) for metric in ("map_medium", "share") for pair in pairs
    ]
    for test in tests:
        both = [read_scores(town[test[key], "town"]) for key in ("first", "second")]
        found = compare_metric(test["metric"], *both, DRAWS)
        shown = [float(test[key]) for key in ("difference", "low", "high")]
        assert shown == [round(100 * value, 2) for value in (found.difference, found.low, found.high)]
        assert float(test["p"]) == round(found.p, 6)
        assert int(test["queries"]) == 200
    for metric in ("map_medium", "share"):
        family = [test for test in tests if test["metric"] == metric]
        corrected = holm([float(test["p"]) for test in family])
        assert [float(test["p_holm"]) for test in family] == pytest.approx(corrected, abs=1e-5)
    assert float(tests[0]["p_holm"]) > 0.05 > float(tests[1]["p_holm"])


def test_bold_is_the_best_and_what_no_test_tells_from_it(town, tmp_path):
    _, _, markdown = build(tmp_path, town)
    first = {line.split(" | ")[0][2:]: line.split(" | ")[1] for line in markdown.splitlines() if line.startswith("| ")}
    assert {row for row, cell in first.items() if cell.startswith("**")} == {"good", "alike"}


def test_many_pairs_are_tested_finely_enough(tmp_path):
    """With 2000 permutations no p-value is below 1/2001, which Holm's factor of 105 pairs would raise above 0.05."""
    base = np.random.default_rng(1).uniform(0.2, 0.6, 60)
    names = [f"m{number:02d}" for number in range(15)]
    scores = {
        (name, "town"): write(tmp_path / f"{name}.json", base + 0.02 * number, f"{name} on town")
        for number, name in enumerate(names)
    }
    _, tests, markdown = build(
        tmp_path, scores, rows={name: [name] for name in names}, datasets={"town": ["map_medium"]}
    )
    assert len(tests) == 105
    assert max(float(test["p_holm"]) for test in tests) < 0.05
    assert markdown.count("**") == 2


def test_too_few_queries_for_any_test_are_told(tmp_path):
    values = {"good": [0.8, 0.7, 0.9], "bad": [0.1, 0.2, 0.1]}
    scores = {
        (name, "town"): write(tmp_path / f"{name}.json", np.array(found), f"{name} on town")
        for name, found in values.items()
    }
    _, _, markdown = build(tmp_path, scores)
    assert "town, mAP medium: 3 queries are too few for any of 1 tests to tell two rows apart." in markdown
    assert "**" not in markdown


def test_a_single_query_gives_a_reason_in_place_of_a_test(tmp_path):
    scores = {
        (name, "town"): write(tmp_path / f"{name}.json", np.array([0.5]), f"{name} on town") for name in ("good", "bad")
    }
    _, tests, markdown = build(tmp_path, scores, datasets={"town": ["map_medium"]})
    assert "**" not in markdown
    assert [(test["difference"], test["p"], test["reason"]) for test in tests] == [
        ("", "", "fewer than two queries count")
    ]


def test_two_rows_of_one_method_are_not_tested(town, tmp_path):
    """They are not counted among the tests that others are corrected for."""
    rows = {"good": ["good"], "again": ["good"], "bad": ["bad"]}
    _, tests, markdown = build(tmp_path, town, rows=rows, datasets={"town": ["map_medium"]})
    assert [(test["first"], test["second"], test["reason"]) for test in tests] == [
        ("good", "again", "both rows are the same method"),
        ("good", "bad", ""),
        ("again", "bad", ""),
    ]
    raised = 2 * float(tests[1]["p"])
    assert float(tests[1]["p_holm"]) == pytest.approx(min(1, raised), abs=1e-5)
    assert markdown.count("**") == 4


def test_rows_of_other_labels_are_refused_by_name(town, tmp_path):
    write(town["bad", "town"], np.full(200, 0.5), "bad on town", labels="y")
    with pytest.raises(DataError, match="good and bad on town: the two methods were scored with different labels"):
        build(tmp_path, town)


def test_a_metric_that_scores_lack_is_refused(town, tmp_path):
    with pytest.raises(DataError, match="good on town: no metric 'map_hard'"):
        build(tmp_path, town, datasets={"town": ["map_hard"]})
