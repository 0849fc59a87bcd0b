"""Cross tables through the workflow's own rules: methods of every kind on what fits them, on a tiny town."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from in_process import Bench, merged
from validated_crate import PROFILES, problems, unpacked

from descbench.bundle.bundle_table import bundle_table
from descbench.bundle.contents import CellFiles
from descbench.bundle.verify import verify
from descbench.cli import main
from descbench.errors import ConfigError, DataError

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
        ("datasets", {"alderford": ["map_hard"]}, "alderford: mAP hard (%)"),
        ("datasets", {"swapped": ["map_medium"]}, "swapped: mAP medium (%)"),
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


def test_weights_that_allow_no_commercial_use_are_noted(town):
    """Under tables of each kind, which alone are written again when a licence is stated."""
    bench, weights = town.copy("cross-licence"), {"source": "custom", "licence": "CC BY-NC 4.0"}
    overlay = merged(TOWN, {"models": {"own_local": {"weights": weights}}})
    targets = (TARGETS[0], "results/beside.csv")
    bench.make(*targets, overlay=TOWN)
    assert sorted(bench.make(*targets, overlay=overlay)) == ["build_cross_table", "build_table"]
    for target, row in zip(targets, ("local", "ours"), strict=True):
        note = f"- No commercial use of own_local (CC BY-NC 4.0), which these rows rest on: {row}."
        assert note in (bench.folder / target).with_suffix(".md").read_text().splitlines()


@pytest.fixture
def here(town, monkeypatch) -> Path:
    """The town with its configuration as one file, of which commands are given the name."""
    monkeypatch.chdir(town.folder)
    Path("town.yaml").write_text(yaml.safe_dump(merged(town.config, TOWN)))
    return town.folder


def test_a_bundle_of_a_cross_table(here, tmp_path):
    """By its path, by its Markdown and by its name; with its tests; checked by the validator of RO-Crates."""
    written = bundle_table(TARGETS[1], tmp_path / "b.zip", configfiles=["town.yaml"])
    names, wrote = unpacked(written, tmp_path / "b")
    assert wrote[-1] == [f"cross/descriptors.{end}" for end in ("csv", "md", "tests.csv")]
    assert {"scores/sift/drawn.json", "scores/facades_sift/facades.json"} < names
    assert [problems(tmp_path / "b", profile) for profile in PROFILES] == [[], []]
    assert verify(written).differences == []
    for target in ("descriptors", "results/cross/descriptors.md", "results/cross/descriptors.tests.csv"):
        again = bundle_table(target, tmp_path / "again.zip", configfiles=["town.yaml"])
        assert again.read_bytes() == written.read_bytes()


def said(capsys: pytest.CaptureFixture[str], *command: str, status: int = 0) -> str:
    """What a command prints, or says where it refuses."""
    assert main([*command, "--configfile", "town.yaml"]) == status
    shown = capsys.readouterr()
    return shown.err if status else shown.out


def test_why_of_cross_tables(town, here, monkeypatch, capsys):
    """Also of cells that no other table shows, and beside the figures that other tables have of the same methods."""
    gone = "results/protocols/own_asmk/alderford.json: not there yet; `snakemake"
    assert gone in said(capsys, "why", TARGETS[0], "local", status=1)
    bench = town.copy("cross-why")
    monkeypatch.chdir(bench.folder)
    bench.make(*(f"results/protocols/{method}/alderford.json" for method in ("own", "own_asmk")), overlay=TOWN)
    told = said(capsys, "why", TARGETS[0])
    assert "retrieval, local, map_medium of alderford: ours" in told
    told = said(capsys, "why", "results/cross/retrieval.tests.csv", "global")
    assert "retrieval, global, map_medium of alderford: ours" in told
    assert re.search(r"nothing published; \d+ choices of other code: ", told)
    assert "The choices of 1 result more are not there yet; `snakemake" in told
    told = said(capsys, "why", "retrieval", "own_asmk", "alderford", "map_medium")
    assert "published 0.00" in told
    assert "comes closest" in told, told
    gone = "results/protocols/own/streets_test.json: not there yet"
    assert gone in said(capsys, "why", "retrieval", "global", "streets_test", status=1)
    told = said(capsys, "why", "results/scores/own/alderford.json")
    assert told.startswith("retrieval, global, map_medium of alderford: ours")


def test_compare_takes_the_rows_of_tables(here, capsys):
    told = said(capsys, "compare", "global", "own_asmk", "alderford", "--metric", "map_medium")
    assert told.startswith("own_asmk minus own on alderford, 3 queries\n")
    assert "3 queries are too few to tell two methods apart: p is about 0.25 or more" in told
    assert said(capsys, "compare", "SIFT", "network", "drawn").startswith("patches minus sift on drawn")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("own", "patches", "drawn"), "own on drawn has no scores: it is scored on datasets, and 'drawn' is none"),
        (("own", "own", "photos"), "own on photos has no scores: nothing on it can be scored: it names no"),
        (("own", "sift", "alderford"), "sift on alderford has no scores: it is scored on patch sets"),
        (("own", "nobody", "alderford"), "there is no method 'nobody'"),
    ],
)
def test_compare_refuses_what_nothing_can_make(here, capsys, arguments, message):
    """Not with the command that makes it, which would refuse as well."""
    told = said(capsys, "compare", *arguments, status=1)
    assert message in told
    assert "makes it" not in told


def test_a_cross_table_that_was_edited(town, here, tmp_path, monkeypatch):
    """Its tests are a file of it as any other."""
    assert verify("descriptors", configfiles=["town.yaml"]).differences == []
    bench = town.copy("cross-edited")
    monkeypatch.chdir(bench.folder)
    path = Path("results/cross/descriptors.tests.csv")
    text = path.read_text()
    path.unlink()
    path.write_text(text.replace("network", "another"))
    assert [one.name for one in verify("descriptors", configfiles=["town.yaml"]).differences] == [str(path)]
    with pytest.raises(DataError, match=r"descriptors\.tests\.csv: not what the scores"):
        bundle_table("descriptors", tmp_path / "x.zip", configfiles=["town.yaml"])


def test_commercial_refuses_a_cross_table(here, tmp_path, monkeypatch):
    """With each cell whose weights nothing is stated of; networks of this town have none from elsewhere."""
    bundle_table("descriptors", tmp_path / "b.zip", configfiles=["town.yaml"], commercial=True)
    of_patches = property(lambda cell: {"w.pth"} if cell.method == "patches" else set())
    monkeypatch.setattr(CellFiles, "weights", of_patches)
    told = r"descriptors: not for commercial use:\n  patches on drawn: w\.pth has no licence that is stated"
    with pytest.raises(ConfigError, match=told):
        bundle_table("descriptors", tmp_path / "x.zip", configfiles=["town.yaml"], commercial=True)
    assert not (tmp_path / "x.zip").exists()
