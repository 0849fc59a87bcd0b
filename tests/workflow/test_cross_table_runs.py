"""Cross tables through the workflow's own rules: methods of every kind on what fits them, on a tiny town."""

from __future__ import annotations

import csv
import json
import re
from typing import Any

import pytest
from in_process import Bench, merged

SIFT = {"kind": "keypoints", "describe": "rootsift", "max_features": 60, "image_size": None}
TOWN: dict[str, Any] = {
    "features": {"facades_sift": SIFT},
    "methods": {
        "facades_sift": {"match": "nearest"},
        "sift": {"describe": "sift"},
        "patches": {"describe": "network"},
    },
    "cross_tables": {
        "retrieval": {
            "title": "Two methods",
            "note": "A note of the user's.",
            "rows": {"local": ["own_asmk"], "global": ["own"]},
            "datasets": {"alderford": ["map_medium"], "streets_test": ["recall@1"]},
        },
        "descriptors": {
            "title": "Two descriptors",
            "rows": {"SIFT": ["sift", "facades_sift"], "network": ["patches"]},
            "datasets": {"drawn": ["fpr95_quay"], "facades": ["mma@3"]},
        },
    },
}
TARGETS = tuple(f"results/cross/{name}.csv" for name in TOWN["cross_tables"])


def rows(bench: Bench, file: str) -> list[dict[str, str]]:
    with (bench.folder / f"results/cross/{file}").open(newline="") as stream:
        return list(csv.DictReader(stream))


def values(bench: Bench, name: str) -> dict[tuple[str, str], str]:
    return {(row["row"], row["dataset"]): row["method"] for row in rows(bench, f"{name}.csv")}


@pytest.fixture(scope="module")
def town(base) -> Bench:
    bench = base.copy("cross")
    ran = bench.make(*TARGETS, overlay=TOWN)
    # What was made for a table is not made again.
    assert "score_patches" in ran
    assert "score_matches" in ran
    assert ran.count("score_ranking") == 3
    assert ran.count("build_cross_table") == 2
    return bench


def test_every_method_is_on_every_dataset_that_fits(town):
    assert values(town, "retrieval") == {
        ("local", "alderford"): "own_asmk",
        ("local", "streets_test"): "own_asmk",
        ("global", "alderford"): "own",
        ("global", "streets_test"): "own",
    }
    assert values(town, "descriptors") == {
        ("SIFT", "drawn"): "sift",
        ("SIFT", "facades"): "facades_sift",
        ("network", "drawn"): "patches",
        ("network", "facades"): "",
    }
    for row in rows(town, "retrieval.csv") + rows(town, "descriptors.csv"):
        assert bool(row["ours"]) == bool(row["provenance"]) == bool(row["method"]) != bool(row["reason"])
        assert not row["provenance"] or (town.folder / row["provenance"]).exists()
    markdown = (town.folder / "results/cross/retrieval.md").read_text()
    assert "A note of the user's." in markdown
    assert "streets_test: " in markdown
    tests = rows(town, "retrieval.tests.csv")
    assert [(row["dataset"], row["first"], row["second"]) for row in tests] == [
        ("alderford", "global", "local"),
        ("streets_test", "global", "local"),
    ]
    assert all(row["p"] and row["p_holm"] for row in tests)


def test_a_table_is_made_again_only_where_it_changed(town):
    assert town.planned(*TARGETS, overlay=TOWN) == {}


def test_values_lead_to_the_pages_that_are_there(town):
    bench = town.copy("cross-pages")
    page = bench.folder / "results/pages/own/streets_test.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("a page")
    before = (bench.folder / TARGETS[0]).read_bytes()
    assert bench.make(TARGETS[0], overlay=TOWN) == ["build_cross_table"]
    text = (bench.folder / "results/cross/retrieval.md").read_text()
    assert re.findall(r"\]\((.*?)\)", text) == ["../pages/own/streets_test.html"] * text.count("](")
    assert "](" in text.split("| global |")[1].splitlines()[0]
    assert (bench.folder / TARGETS[0]).read_bytes() == before


def of(name: str, **keys: Any) -> dict[str, Any]:
    return merged(TOWN, {"cross_tables": {name: keys}})


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("title", "Another title", "Another title"),
        ("note", "Another note.", "Another note."),
        ("rows", {"once more": ["own"]}, "| once more |"),
        ("rows", {"local": None}, "| global |"),
        ("datasets", {"alderford": ["map_hard"]}, "alderford map_hard"),
        ("datasets", {"swapped": ["map_medium"]}, "swapped map_medium"),
    ],
)
def test_keys_change_the_table(town, key, value, shown):
    bench = town.copy(f"cross-{key}-{'-'.join(value)}"[:40].replace(" ", "_"))
    before = (bench.folder / "results/cross/retrieval.md").read_text()
    ran = bench.make(TARGETS[0], overlay=of("retrieval", **{key: value}))
    assert ran.count("build_cross_table") == 1
    after = (bench.folder / "results/cross/retrieval.md").read_text()
    assert shown in after
    assert after != before


def test_photographs_of_ones_own_join_by_a_line(town):
    """Folders with a list of what is right, and with frame numbers, named in an overlay."""
    bench = town.copy("cross-photos")
    folders = {"database": "photos/database", "queries": "photos/queries"}
    images, queries = (sorted(path.name for path in (bench.folder / part).iterdir()) for part in folders.values())
    positives = {name: [images[number % len(images)]] for number, name in enumerate(queries)}
    (bench.folder / "positives.json").write_text(json.dumps({"positives": positives}))
    mine = {"format": "positives", "positives": "positives.json", **folders}
    route = {"format": "frames", "tolerance": 1, "numbers": "order", **folders}
    overlay = merged(
        of("retrieval", rows={"local": None}, datasets={"mine": ["recall@1"], "route": ["recall@1"]}),
        {"datasets": {"mine": mine, "route": route}},
    )
    bench.make(TARGETS[0], overlay=overlay)
    found = values(bench, "retrieval")
    assert (found["global", "mine"], found["global", "route"]) == ("own", "own")
