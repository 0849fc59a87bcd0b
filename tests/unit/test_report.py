"""The report: its first screen, what cells rest on, curves, costs and stages."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from report_example import CAUSE, SHA256, SOURCE, example_report, example_tables
from scores_files import write_told

from descbench.choices.choice import Rescored, RescoredCell
from descbench.config.load import load_config_files
from descbench.config.tables import Table
from descbench.errors import ConfigError, DataError
from descbench.io.atomic import write_text
from descbench.io.digests import sha256_file
from descbench.io.jsonfiles import write_checked_json
from descbench.io.run_notes import note_stages, read_stages
from descbench.jobs import Work
from descbench.metrics.scores import read_scores
from descbench.plan import Plan
from descbench.report_plan import as_evidence, makes_page, page_addresses, pages_there, report_cells, timed_stages
from descbench.tables.costs import Cost, costs_of, frontier
from descbench.tables.report import build_report
from descbench.tables.report_curves import scale_costs
from descbench.tables.results import Basis, Evidence
from descbench.tables.stage_graph import draw_stages
from descbench.tables.stage_times import StageFiles, StageTime, read_job_times, times_behind
from descbench.tables.table import Line, build_table


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return example_report(tmp_path_factory.mktemp("report")).read_text(encoding="utf-8")


def dialogs(page: str) -> dict[str, str]:
    """Text of each dialog by its title."""
    found = re.findall(r"<dialog.*?</dialog>", page, re.S)
    return {re.search(r"<h2[^>]*>(.*?)</h2>", text)[1]: text for text in found}


def test_the_first_screen_counts_and_names_the_machine(page):
    header = re.search(r'<header id="summary">.*?</header>', page, re.S)[0]
    counts = dict(re.findall(r"<strong>(\d+)</strong> ([a-z ]+)<span>", header))
    assert {verdict: number for number, verdict in counts.items()} == {"match": "1", "off": "2", "no reference": "3"}
    assert "3 tables, 6 rows, 6 results" in header
    assert "<strong>3</strong> cells are of drawn images" in header
    assert re.search(r"<dt>scored on</dt><dd>.*\d cores, .* GiB memory, ", header)
    assert "<dt>networks ran on</dt><dd>cpu</dd>" in header
    assert re.search(r"<dt>versions</dt><dd>descbench .*torch", header)


def test_licences_that_forbid_commercial_use_stand_under_the_tables_that_rest_on_them(page):
    noted = re.findall(
        r"No commercial use of net\.pth \(CC BY-NC-SA 4\.0\), which these rows rest on: ([^<]*)\.<", page
    )
    assert noted == ["Local features &amp; codebook"]


def test_a_result_without_machine_is_counted_as_such(tmp_path):
    table = {"t": example_tables()["table1"]}
    scores = {
        (name, "streets"): write_told(tmp_path / f"{name}.json", {"recall@1": 0.5}, cell=f"{name} on streets")
        for name in ("plain", "other")
    }
    build_report(table, scores, {}, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "an unrecorded machine (2 results)" in page
    assert "Stages" not in page


def test_a_dialog_says_what_its_cell_rests_on(page):
    dialog = dialogs(page)["local on town"]
    for text in (SHA256, "CC BY-NC-SA 4.0", "search: inner_product", "architecture: gem", "540, protocol revisited"):
        assert text in dialog, text
    assert re.search(r'<th scope="row">search_flat</th><td class="number">1</td><td class="number">12\.5</td>', dialog)
    assert '<td class="number">24.0</td>' in dialog
    assert '<td class="number">300</td>' in dialog
    assert re.findall(r'<a href="([^"h][^"]*)">', dialog) == [
        "pages/local/town.html",
        "scores/local/town.json",
        "provenance/local/town.json",
    ]
    assert "README of the code" in dialog
    assert '<a href="pages' not in dialogs(page)["plain on town"]
    assert (
        "<code>snakemake --cores 8 --configfile my.yaml -- pages/plain/town.html</code>"
        in dialogs(page)["plain on town"]
    )
    assert "<code>" not in dialog


def test_causes_stand_with_the_cells_that_they_concern(page):
    """With those of their datasets, and where something published stands beside ours."""
    found = dialogs(page)
    assert CAUSE in found["local on town"]
    assert "Of another town." not in page
    assert "Known causes" not in found["other on town"]
    block = example_tables()["table2"].model_dump() | {"causes": []}
    assert "None is written down" not in page
    with pytest.raises(ValueError, match="causes"):
        Table.model_validate(block | {"causes": [{"datasets": ["town"]}]})


def test_causes_of_no_column_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    cause = {"text": CAUSE, "datasets": ["roxford5k", "tokyo247"]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"tables": {"table2": {"causes": [cause]}}}))
    with pytest.raises(ConfigError, match=r"table2\.causes\.0\.datasets: 'tokyo247' is in no column of this table"):
        load_config_files("config/config.yaml", tmp_path / "mine.yaml")


def test_sources_and_confidence_stand_in_the_csv(tmp_path):
    scores = {}
    for method, value in (("local", 0.80), ("plain", 0.60), ("other", 0.5)):
        values = {"map_medium": value, "map_hard": 0.5}
        scores[method, "town"] = write_told(tmp_path / f"{method}.json", values, cell=f"{method} on town", spread=0.001)
    build_table("t", example_tables()["table2"], scores, {}, tmp_path / "t.csv", tmp_path / "t.md")
    with open(tmp_path / "t.csv", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert list(lines[0])[-2:] == ["source", "confidence"]
    assert [line["source"] for line in lines] == [SOURCE, SOURCE, SOURCE, "", "", ""]
    assert [line["confidence"] for line in lines] == ["clear", "clear", "clear", "", "", ""]


@pytest.mark.parametrize(
    ("low", "high", "reference", "verdict", "confidence"),
    [
        (49.6, 50.4, 50.0, "match", "clear"),
        (49.0, 51.0, 50.0, "match", "unclear"),
        (49.0, 51.0, 50.8, "within noise", "unclear"),
        (49.0, 51.0, 52.0, "off", "clear"),
        (49.0, 51.7, 52.0, "off", "unclear"),
        (None, None, 52.0, "off", None),
        (49.0, 51.0, None, "no reference", None),
    ],
)
def test_confidence(low, high, reference, verdict, confidence):
    line = Line("t", "r", "d", "m", 50.0, low, high, reference, None, 0.5, None, None, None)
    assert (line.verdict, line.confidence) == (verdict, confidence)


def test_curves_and_costs_of_rows(page):
    assert 'id="table1-curves-recall"' in page
    drawings = re.findall(r'<figure id="table.*?</figure>', page, re.S)
    scrolled = r'<div class="scroll" role="region" aria-label="Drawing (.*?)" tabindex="0"><svg[^>]*--least: \d+px"'
    assert len({found for drawing in drawings for found in re.findall(scrolled, drawing)}) == len(drawings) > 1
    assert "Recall@N (%) of table1 by N, on streets, with 95 % intervals." in page
    matching = re.search(r'<figure id="table7-curves-mma">.*?</figure>', page, re.S)[0]
    assert "MMA (%) of table7 by threshold (pixels), on facades" in matching
    assert "Thin grey lines: published runs on the same pairs (1)" in matching
    assert matching.count("#8c8c8c") == 1
    assert page.count('id="table2-curves') == 0
    for name in ("table1-costs-1", "table2-costs-1"):
        figure = re.search(rf'<figure id="{name}">.*?</figure>', page, re.S)[0]
        assert all(label in figure for label in ("seconds of search a query", "bytes read an image")), name
    assert figure.count("<li>") == 3
    assert re.search(r"1\. Local features &amp; codebook", figure)


def test_what_no_other_beats():
    assert frontier([(1, 5), (3, 4), (2, 5), (4, 9), (4, 8)]) == [(1, 5), (4, 9)]
    assert frontier([]) == []


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1.175e-2, 1.23e-2], "linear"), ([2.0], "linear"), ([0.0, 3.0], "linear"), ([9e2, 2e4], "log")],
)
def test_labels_of_costs_do_not_lie_on_one_another(values, scale):
    figure = Figure(figsize=(3.6, 2.7))
    axes = figure.add_subplot()
    axes.plot(values, values, "o")
    scale_costs(axes, values)
    FigureCanvasAgg(figure).draw()
    written = [label for label in axes.get_xticklabels(which="both") if label.get_text()]
    boxes = sorted(label.get_window_extent().intervalx.tolist() for label in written)
    assert axes.get_xscale() == scale
    assert all(one[1] < two[0] for one, two in pairwise(boxes))


def test_no_time_is_shown_of_another_file(tmp_path):
    """A benchmark file that another run overwrote, one that cannot be read, and one of a job that made nothing."""
    names = "{method}/{dataset}"
    stages = {"search_flat": StageFiles(f"{tmp_path}/b/{names}.tsv", f"{tmp_path}/r/{names}.h5", f"{tmp_path}/l")}
    for name in ("a", "b", "c", "d"):
        write_text(tmp_path / f"b/{name}/town.tsv", "s\tmax_rss\tcpu_time\n2.00\tNA\t-\n")
        write_text(tmp_path / f"r/{name}/town.h5", "made")
    late = (tmp_path / "b/b/town.tsv").stat().st_mtime + 200
    os.utime(tmp_path / "b/b/town.tsv", (late, late))
    write_text(tmp_path / "b/c/town.tsv", "no\ttable\n")
    (tmp_path / "r/d/town.h5").unlink()
    (job,) = read_job_times(stages)
    assert (job.wildcards["method"], job.seconds, job.cpu_seconds, job.memory_mb) == ("a", 2.0, None, None)


def test_times_are_of_the_jobs_behind(tmp_path):
    """Not of another dataset that a network of the method learned from, nor of tables and pages."""
    stages = {
        "score": ("score/{method}/{dataset}.tsv", "s/{method}/{dataset}", "score/{method}/{dataset}.log"),
        "list": ("list/{dataset}.tsv", "l/{dataset}", "list/{dataset}.log"),
        "table": ("table/{table}.tsv", "t/{table}", "table/{table}.log"),
        "town": ("town.tsv", "town", "town.log"),
    }
    stages = {stage: StageFiles(*(f"{tmp_path}/{file}" for file in files)) for stage, files in stages.items()}
    for job in ("score/m/town", "score/m/school", "score/n/town", "list/town", "list/school", "table/town", "town"):
        write_text(tmp_path / f"{job}.tsv", "s\tmax_rss\tcpu_time\n1.50\t10\t2.5\n")
        write_text(tmp_path / job.replace("score/", "s/").replace("list/", "l/").replace("table/", "t/"), "made")
    for job, took in (("score/m/town", 0.5), ("list/town", 0.25)):
        write_text(tmp_path / f"{job}.log", f"INFO done in {took} s, {2 * took} s of processor time\n")
    names = {"methods": ["m"], "scored": ["town"], "datasets": ["town", "school"], "models": [], "features": []}
    found = {time.stage: time for time in times_behind(read_job_times(stages), names)}
    assert found.keys() == {"score", "list"}
    assert (found["score"].jobs, found["list"].jobs, found["list"].seconds) == (1, 2, 3.0)
    # The log of one of the two lists does not say what its job took.
    assert (found["score"].work, found["list"].work) == (Work(0.5, 1.0), None)


def test_a_search_costs_what_its_jobs_took_after_their_start(tmp_path):
    times = [
        StageTime("extract_features", 1, 99.0, 99.0, None, Work(90.0, 90.0)),
        StageTime("search_flat", 2, 7.0, 7.0, None, Work(1.0, 3.0)),
        StageTime("merge_rankings", 1, 3.0, 3.0, None, Work(0.5, 0.5)),
    ]
    write_told(tmp_path / "s.json", {"map_medium": 0.5}, cell="plain on town")
    scores = read_scores(tmp_path / "s.json")
    basis = Basis("plain", "town", scores, None, {}, {}, None, {}, {}, {}, [], times)
    assert costs_of(basis, Evidence()) == Cost(1.5 / scores.num_queries, 3.5 / scores.num_queries, None)
    untold = replace(basis, times=[*times, StageTime("search_bow", 1, 3.0, 3.0, None)])
    assert costs_of(untold, Evidence()) is None


def test_a_damaged_provenance_is_refused(tmp_path):
    scores = write_told(tmp_path / "s.json", {"map_medium": 0.5, "map_hard": 0.4}, cell="plain on town")
    (tmp_path / "p.json").write_text("{}")
    table = example_tables()["table2"]
    table = table.model_copy(update={"rows": table.rows[1:2]})
    evidence = Evidence(provenance={("plain", "town"): tmp_path / "p.json"})
    with pytest.raises(DataError, match=r"p\.json"):
        build_report({"t": table}, {("plain", "town"): scores}, {}, tmp_path / "report.html", evidence)


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</pre></dialog><iframe srcdoc=x>",
    "javascript:alert(1)",
    "{{ 7 * 191 }}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_files_say_stays_text(tmp_path, text):
    """Notes, licences, addresses and names in provenance, names of pages, and causes."""
    table = example_tables()["table2"]
    cause = table.causes[0].model_copy(update={"text": text})
    table = table.model_copy(update={"rows": table.rows[1:2], "causes": (cause,)})
    scores = write_told(tmp_path / "s.json", {"map_medium": 0.5, "map_hard": 0.4}, cell="plain on town")
    file = {"file": text, "sha256": "0" * 64, "size": 7, "retrieved_from": text, "url": text, "final_url": text}
    record = {
        "configuration": {"models": {text: {"weights": {"file": text}}}, "methods": {"plain": {text: text}}},
        "sources": {text: {"note": text, "licence": text, "files": [file]}},
        "own_files": {text: text},
        "features": {text: text, "device": text},
        "versions": {text: text},
        "git_revision": text,
        "machine": {"processor": text, "cores": 2, "memory_gb": 1.5, "system": text},
    }
    write_checked_json(tmp_path / "p.json", record)
    cell, page = ("plain", "town"), tmp_path / "report.html"
    evidence = Evidence(provenance={cell: tmp_path / "p.json"}, pages={cell: tmp_path / text})
    build_report({"t": table}, {cell: scores}, {}, page, evidence)
    elements = re.findall(
        r"<[a-z][^>]*>", page.read_text().replace(re.search(r"<script.*?</script>", page.read_text(), re.S)[0], "")
    )
    assert not [found for found in elements if re.match(r"<(script|img|iframe)|.* on[a-z]+=[^\"]", found)]
    assert all(re.match(r"#|https://example\.org|[^:]+$", a) for a in re.findall(r'href="([^"]*)"', page.read_text()))
    assert "1337" not in page.read_text()
    seen: list[str] = []
    reader = HTMLParser()
    reader.handle_data = seen.append
    reader.feed(page.read_text())
    assert "".join(seen).count(text) >= 12


def test_stages_lie_below_what_they_read():
    graph = {"a": (2, []), "b": (1, ["a"]), "c": (1, ["a", "b"]), "d": (1, ["a"]), "e": (1, ["c", "d"])}
    drawn = draw_stages(graph)
    boxes = {box.name: box for box in drawn.boxes}
    assert all(boxes[name].y > boxes[before].y for name, (_, after) in graph.items() for before in after)
    assert len({(box.x, box.y) for box in drawn.boxes}) == 5
    assert all(box.x >= 0 and box.x + box.width <= drawn.width for box in drawn.boxes)
    assert len(drawn.lines) == 5  # a - c is implied by b
    assert boxes["c"].after == ("a", "b")


def test_stages_are_noted_for_the_run(tmp_path):
    stages = {"a": (2, []), "b": (1, ["a"])}
    assert read_stages(tmp_path) == read_stages(None) == {}
    note_stages(tmp_path, stages)
    assert read_stages(tmp_path) == stages


def test_the_catalogue_fits_into_a_page(tmp_path, monkeypatch):
    """Its usual tables with all that is known of each cell."""
    monkeypatch.chdir(Path(__file__).parents[2])
    config = load_config_files("config/config.yaml")
    plan = Plan(config)
    tables = {name: config.tables[name] for name in plan.usual_tables()}
    metrics: dict[str, dict[str, float]] = {}
    for column in (column for table in tables.values() for column in table.columns):
        metrics.setdefault(column.dataset, {})[column.metric] = 0.5
    scores, provenance = {}, {}
    for method, dataset in plan.report_cells():
        cell, path = (method, dataset), tmp_path / f"{method}-{dataset}.json"
        scores[cell] = write_told(path, metrics[dataset], cell=f"{method} on {dataset}")
        provenance[cell] = path.with_suffix(".provenance.json")
        record = {"configuration": plan.lineage.blocks_behind(*cell), "sources": plan.source_records(*cell)}
        for source in record["sources"].values():
            source["files"] = [{"file": Path(name).name, "sha256": None} for name in source.pop("records")]
        write_checked_json(provenance[cell], record)
    build_report(tables, scores, {}, tmp_path / "report.html", Evidence(provenance=provenance))
    assert len(scores) > 50
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    page = dialogs((tmp_path / "report.html").read_text())["how_r18_n1000 on roxford5k"]
    assert "blurred faces" in page
    weights = re.search(r"<summary>Weights</summary>.*?</details>", page, re.S)[0]
    assert re.findall(r"<li><strong>(.*?)</strong>", weights) == ["how_r18.pth"]


class _Rule:
    """A rule that makes whatever is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def is_producer(self, path: str) -> bool:
        return True


def test_what_the_rule_of_the_report_hands_over(monkeypatch, tmp_path):
    """Names behind a cell, images that are searched, and a page where there is one."""
    monkeypatch.chdir(Path(__file__).parents[2])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"results_dir": str(tmp_path)}))
    config = load_config_files("config/config.yaml", tmp_path / "mine.yaml")
    write_text(tmp_path / "pages/sift/liberty.html", "a page")
    how, sift = report_cells(config, Plan(config), [("how_r18_n1000", "roxford5k"), ("sift", "liberty")])
    assert how["behind"]["models"] == ["how_r18"]
    assert how["behind"]["scored"] == ["roxford5k", "sfm120k"]
    assert "how_r18.pth" in how["behind"]["files"]
    assert how["searched"] == {"files": [f"{tmp_path}/indexes/how_r18_n1000/roxford5k/00000.h5"], "images": 4993}
    assert sift["searched"] == {"files": [], "images": 0}
    page = f"{tmp_path}/pages/sift/yosemite.html"
    assert how["page_is_there"] is False
    (asked,) = report_cells(config, Plan(config), [("sift", "yosemite")], {page})
    (made,) = report_cells(
        config, Plan(config), [("sift", "yosemite")], (), makes_page([_Rule("show_patches"), _Rule("x")])
    )
    assert (asked["page"], as_evidence([asked])["pages"]) == (page, {("sift", "yosemite"): Path(page)})
    assert (as_evidence([made])["pages"], as_evidence([made])["page_targets"]) == ({}, {("sift", "yosemite"): page})
    (none,) = report_cells(config, Plan(config), [("sift", "yosemite")], (), makes_page([_Rule("x")]))
    assert as_evidence([none])["page_targets"] == {}
    three = [("sift", "liberty"), ("sift", "yosemite"), ("sift", "notredame"), ("sift", "liberty")]
    there = pages_there(Plan(config), three, {page})
    assert there == [("sift", "liberty", f"{tmp_path}/pages/sift/liberty.html"), ("sift", "yosemite", page)]
    output = str(tmp_path / "cross/all.md")
    assert page_addresses(there, output)["sift", "yosemite"] == "../pages/sift/yosemite.html"
    write_text(tmp_path / "protocols/sift/liberty.json", "choices")
    rescored = tmp_path / "protocols/sift/liberty.json"
    cells = report_cells(config, Plan(config), [("sift", "liberty"), ("sift", "yosemite")])
    assert as_evidence(cells)["rescored"] == {("sift", "liberty"): rescored}
    found = as_evidence([how, sift])
    assert found["pages"] == {("sift", "liberty"): tmp_path / "pages/sift/liberty.html"}
    assert found["stored"].keys() == {("how_r18_n1000", "roxford5k")}


def test_benchmarks_of_rules_that_make_results():
    rule = type("Rule", (), {})
    rules = []
    for name, benchmark, output, log in (
        ("search", "logs/b/search/{method,m|n}.tsv", ["r/{method,m|n}.h5", "other"], ["logs/search/{method,m|n}.log"]),
        ("show_places", "logs/b/show_places/{method}.tsv", ["p/{method}.html"], ["logs/show_places/{method}.log"]),
        ("all", None, [], []),
    ):
        made = rule()
        made.name, made.benchmark, made.output, made.log = name, benchmark, output, log
        rules.append(made)
    expected = ("logs/b/search/{method}.tsv", "r/{method}.h5", "logs/search/{method}.log")
    assert timed_stages(rules) == {"search": expected}
    # Another workflow that has this one as a module may put a prefix before every rule.
    for made in rules:
        made.name = f"bench_{made.name}"
        made.is_producer = lambda path: path == "p/m.html"
    report = rule()
    report.name, report.benchmark, report.output = "bench_build_report", "logs/b/report.tsv", ["report.html"]
    report.log = ["logs/report.log"]
    report.is_producer = lambda path: path == "report.html"
    assert timed_stages([*rules, report]).keys() == {"search", "build_report"}
    makes = makes_page([*rules, report])
    assert (makes("p/m.html"), makes("report.html")) == (True, False)


def write_choices(path: Path, scores: Path, cell: str) -> Path:
    choices = [
        Rescored("by_sum", "AP is a sum.", "somebody", {"map_medium": 0.83}),
        Rescored("cropped", "Queries are cropped.", "another", {"map_medium": 0.7, "map_hard": 0.4}),
        Rescored("unheard", "Nobody scores so.", "", {"map_medium": 0.1, "map_hard": 0.9}),
        Rescored("no_junk", "Junk counts as wrong.", "", {}, "nothing is junk"),
    ]
    write_checked_json(path, asdict(RescoredCell(cell, sha256_file(scores), choices)))
    return path


@pytest.mark.parametrize("state", ["there", "stale", "being remade"])
def test_a_dialog_has_the_spread_of_choices_of_scoring(tmp_path, state):
    """Of results that have them; those of earlier scores, or that another job makes anew, are as good as none."""
    stale = state != "there"
    rows = [
        {
            "label": "Local",
            "method": "local",
            "reference_results": [{"dataset": "town", "metric": "map_medium", "source": SOURCE, "paper": 82.5}],
        },
        {"label": "Plain", "method": "plain"},
    ]
    columns = [{"dataset": "town", "metric": metric, "label": metric} for metric in ("map_medium", "map_hard", "mp@1")]
    table = Table.model_validate({"title": "t", "columns": columns, "rows": rows})
    values = {"map_medium": 0.8, "map_hard": 0.5, "mp@1": 0.9}
    scores = {
        (name, "town"): write_told(tmp_path / f"{name}.json", values, cell=f"{name} on town")
        for name in ("local", "plain")
    }
    made = write_choices(tmp_path / "choices.json", scores["local", "town"], "local on town")
    if state == "being remade":
        made.unlink()
    if state == "stale":
        write_told(scores["local", "town"], values | {"mp@1": 0.8}, cell="local on town")
    evidence = Evidence(
        rescored={("local", "town"): made},
        choice_targets={"t": "results/protocols/t.csv", "u": "results/protocols/u.csv"},
    )
    build_report({"t": table}, scores, {}, tmp_path / "report.html", evidence)
    found = dialogs((tmp_path / "report.html").read_text())
    target = "<code>snakemake --cores 8 results/protocols/t.csv</code>"
    assert target in found["plain on town"]
    assert "results/protocols/u.csv" not in found["plain on town"]
    assert (target in found["local on town"]) is stale
    shown = re.search(r'<table class="choices">.*?</table>', found["local on town"], re.S)
    assert (shown is None) is stale
    if not stale:
        rows = [re.sub(r"<[^>]+>|\s+", " ", row).split() for row in re.findall(r"<tr>.*?</tr>", shown[0], re.S)[1:]]
        assert rows == [
            ["t", "Local", "map_medium", "80.00", "2", "70.00", "(cropped)", "83.00", "(by_sum)", "83.00", "(by_sum)"],
            ["t", "Local", "map_hard", "50.00", "1", "40.00", "(cropped)", "50.00", "(ours)"],
            ["t", "Local", "mp@1", "90.00", "0", "none", "concerns", "this", "metric"],
        ]
        told = re.search(r'<dl class="facts choices">(.*?)</dl>', found["local on town"], re.S)[1]
        assert dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", told)) == {
            "cropped": "Queries are cropped.",
            "by_sum": "AP is a sum.",
            "ours": "as in the table",
        }
        assert not re.search(r'title="(AP is|Queries are)', found["local on town"])
