"""Tables put ours beside the published figure and judge the difference."""

import csv

import pytest
from scores_files import write_told

from descbench.config.tables import Table
from descbench.errors import DataError, StaleFileError
from descbench.io.csvfiles import write_csv
from descbench.metrics.scores import Scores, mean, write_scores
from descbench.tables.notes import scores_notes
from descbench.tables.report import build_report
from descbench.tables.table import COLUMNS, SYNTHETIC_COLUMNS, build_table


def make_table(**changes):
    figures = [
        {"dataset": "town", "metric": "map_medium", "paper": 70.0, "released": 75.1, "source": "made up for a test"},
        {"dataset": "town", "metric": "map_hard", "paper": 50.0, "source": "made up for a test", "tolerance": 2.0},
    ]
    block = {
        "title": "A table",
        "columns": [
            {"dataset": "town", "metric": "map_medium", "label": "Town (M)"},
            {"dataset": "town", "metric": "map_hard", "label": "Town (H)"},
            {"dataset": "town", "metric": "map_easy", "label": "Town (E)"},
        ],
        "rows": [{"label": "ours & theirs", "method": "m", "reference_results": figures}],
    }
    return Table.model_validate({**block, **changes})


def build(tmp_path, table, metrics):
    scores = write_told(tmp_path / "scores.json", metrics, chance={"map_medium": 0.1234}, cell="m on town")
    out = tmp_path / "t.csv", tmp_path / "t.md"
    build_table("t", table, {("m", "town"): scores}, {("m", "town"): "provenance/m/town.json"}, *out)
    with open(out[0], newline="") as stream:
        return list(csv.DictReader(stream)), out[1].read_text()


METRICS = {"map_medium": 0.7549, "map_hard": 0.4712, "map_easy": 0.9}


def test_ours_leads_to_its_page(tmp_path):
    """The number alone, in every cell of a method and dataset; the CSV says nothing of it."""
    _, plain = build(tmp_path, make_table(), METRICS)
    csv_before = (tmp_path / "t.csv").read_bytes()
    scores = {("m", "town"): tmp_path / "scores.json"}
    provenance = {("m", "town"): "provenance/m/town.json"}
    pages = {("m", "town"): "pages/m/a%20town.html", ("other", "town"): "pages/other/town.html"}
    build_table("t", make_table(), scores, provenance, tmp_path / "t.csv", tmp_path / "t.md", pages=pages)
    text = (tmp_path / "t.md").read_text()
    assert (tmp_path / "t.csv").read_bytes() == csv_before
    assert text.count("](pages/m/a%20town.html)") == 3
    assert "| [75.5](pages/m/a%20town.html) " in text
    assert "other" not in text
    assert text.replace("](pages/m/a%20town.html)", "").replace("| [", "| ") == plain


def test_verdicts(tmp_path):
    lines, markdown = build(tmp_path, make_table(), METRICS)
    assert tuple(lines[0]) == COLUMNS
    assert [line["ours"] for line in lines] == ["75.49", "47.12", "90.0"]
    assert [line["difference"] for line in lines] == ["0.39", "-2.88", ""]
    assert [line["verdict"] for line in lines] == ["match", "off", "no reference"]
    assert [(line["low"], line["high"]) for line in lines] == [("73.49", "77.49"), ("45.12", "49.12"), ("88.0", "92.0")]
    expected = "| ours & theirs | 75.5 [73.5, 77.5] (75.1) | 47.1 [45.1, 49.1] (50.0) | 90.0 [88.0, 92.0] |"
    assert expected in markdown


def test_weights_without_commercial_use_are_noted(tmp_path):
    scores = write_told(tmp_path / "scores.json", METRICS, cell="m on town")
    files, cells = (tmp_path / "t.csv", tmp_path / "t.md"), {("m", "town"): scores}
    for restricted, shown in (({"m": {"net.pt": "CC BY-NC 4.0"}}, True), ({"other": {"net.pt": "x"}}, False)):
        build_table("t", make_table(), cells, {}, *files, restricted)
        note = "- No commercial use of net.pt (CC BY-NC 4.0), which these rows rest on: ours & theirs."
        assert (note in files[1].read_text().splitlines()) == shown


def test_a_reference_within_our_interval_is_within_noise(tmp_path):
    lines, _ = build(tmp_path, make_table(), {**METRICS, "map_hard": 0.4801})
    assert [line["verdict"] for line in lines] == ["match", "match", "no reference"]
    figures = [{"dataset": "town", "metric": "map_hard", "paper": 50.0, "source": "a test", "tolerance": 0.5}]
    table = make_table(rows=[{"label": "ours", "method": "m", "reference_results": figures}])
    lines, _ = build(tmp_path, table, {**METRICS, "map_hard": 0.4801})
    assert lines[1]["verdict"] == "within noise"
    build_report({"t": table}, {("m", "town"): tmp_path / "scores.json"}, {}, tmp_path / "report.html")
    assert '<span class="within-noise" title="within noise">48.0' in (tmp_path / "report.html").read_text()


def test_figures_of_another_engine_are_never_a_match(tmp_path):
    lines, _ = build(tmp_path, make_table(other_engine=True), METRICS)
    assert [line["verdict"] for line in lines] == ["other engine", "other engine", "no reference"]
    assert [line["difference"] for line in lines] == ["0.39", "-2.88", ""]


def test_synthetic_tables_carry_nothing_published(tmp_path):
    table = make_table(synthetic=True, rows=[{"label": "ours", "method": "m"}])
    lines, markdown = build(tmp_path, table, METRICS)
    assert tuple(lines[0]) == SYNTHETIC_COLUMNS
    assert "published" not in markdown


def test_synthetic_tables_say_what_chance_is(tmp_path):
    table = make_table(synthetic=True, rows=[{"label": "ours", "method": "m"}])
    lines, markdown = build(tmp_path, table, METRICS)
    assert [line["chance"] for line in lines] == ["12.34", "", ""]
    assert "| chance (a random order) | 12.3 | - | - |" in markdown
    build_report({"t": table}, {("m", "town"): tmp_path / "scores.json"}, {}, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert '<th scope="row">chance (a random order)</th><td>12.3</td><td>-</td>' in page
    assert "chance" not in build(tmp_path, make_table(), METRICS)[1]


def test_there_is_no_row_of_chance_where_none_is_known(tmp_path):
    table = make_table(synthetic=True, rows=[{"label": "ours", "method": "m"}])
    table = table.model_copy(update={"columns": table.columns[1:]})
    assert "chance" not in build(tmp_path, table, METRICS)[1]
    build_report({"t": table}, {("m", "town"): tmp_path / "scores.json"}, {}, tmp_path / "report.html")
    assert "chance (a random order)" not in (tmp_path / "report.html").read_text()


def test_other_methods_fill_other_columns(tmp_path):
    columns = [{"dataset": name, "metric": "map_medium", "label": name} for name in ("town", "city")]
    known = {"metric": "map_medium", "paper": 50.0, "source": "a test"}
    figures = [{"dataset": name, **known} for name in ("town", "city")]
    row = {"label": "ours", "method": "m", "elsewhere": {"city": "n"}, "reference_results": figures}
    table = make_table(rows=[row], columns=columns)
    cells = {("m", "town"): 0.50, ("m", "city"): 0.9, ("n", "city"): 0.4}
    scores = {
        cell: write_told(tmp_path / f"{'-'.join(cell)}.json", {"map_medium": value}, cell=" on ".join(cell))
        for cell, value in cells.items()
    }
    build_table("t", table, scores, {cell: str(cell) for cell in scores}, tmp_path / "t.csv", tmp_path / "t.md")
    with open(tmp_path / "t.csv", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [(line["ours"], line["verdict"]) for line in lines] == [("50.0", "match"), ("40.0", "off")]
    assert [line["provenance"] for line in lines] == ["('m', 'town')", "('n', 'city')"]


def test_undefined_metric_is_an_empty_cell(tmp_path):
    lines, markdown = build(tmp_path, make_table(), {**METRICS, "map_hard": None})
    assert lines[1]["ours"] == ""
    assert [line["verdict"] for line in lines] == ["match", "no value", "no reference"]
    assert "| - (50.0) |" in markdown


def test_scores_of_another_cell_are_refused(tmp_path):
    scores = write_told(tmp_path / "scores.json", METRICS, cell="other on town")
    with pytest.raises(StaleFileError, match=r"scores\.json: scores of other on town, not of m on town"):
        build_table("t", make_table(), {("m", "town"): scores}, {}, tmp_path / "t.csv", tmp_path / "t.md")


def test_one_query_has_no_interval(tmp_path):
    write_scores(
        Scores(
            "retrieval",
            "revisited",
            1,
            {name: mean([value], value) for name, value in METRICS.items()},
            {name: [value] for name, value in METRICS.items()},
            cell="m on town",
        ),
        tmp_path / "scores.json",
    )
    table, scores = make_table(), {("m", "town"): tmp_path / "scores.json"}
    build_table("t", table, scores, {("m", "town"): "p"}, tmp_path / "t.csv", tmp_path / "t.md")
    with open(tmp_path / "t.csv", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [(line["low"], line["high"], line["verdict"]) for line in lines] == [
        ("", "", verdict) for verdict in ("match", "off", "no reference")
    ]
    assert "| ours & theirs | 75.5 (75.1) | 47.1 (50.0) | 90.0 |" in (tmp_path / "t.md").read_text()
    build_report({"t": table}, scores, {}, tmp_path / "report.html")
    assert '<span class="match" title="match">75.5</span>' in (tmp_path / "report.html").read_text()


def test_several_seeds_are_a_mean_and_its_standard_deviation(tmp_path):
    figures = [{"dataset": "town", "metric": "map_medium", "paper": 70.0, "source": "a test", "tolerance": 0.5}]
    row = {"label": "ours", "method": "m", "repeats": ["n", "o"], "reference_results": figures}
    table = make_table(rows=[row], columns=[{"dataset": "town", "metric": "map_medium", "label": "M"}])
    values = {"m": 0.70, "n": 0.71, "o": 0.75}
    scores = {
        (name, "town"): write_told(tmp_path / f"{name}.json", {"map_medium": value}, cell=f"{name} on town")
        for name, value in values.items()
    }
    provenance = {cell: f"provenance/{cell[0]}.json" for cell in scores}
    build_table("t", table, scores, provenance, tmp_path / "t.csv", tmp_path / "t.md")
    with open(tmp_path / "t.csv", newline="") as stream:
        (line,) = csv.DictReader(stream)
    assert [line[name] for name in ("ours", "low", "high", "difference")] == ["72.0", "69.35", "74.65", "2.0"]
    assert line["verdict"] == "within noise"
    assert line["provenance"] == "provenance/m.json; provenance/n.json; provenance/o.json"
    assert "| ours | 72.0 \u00b1 2.6 (70.0) |" in (tmp_path / "t.md").read_text()
    assert "mean \u00b1 standard deviation of 3 trainings" in (tmp_path / "t.md").read_text()
    build_report({"t": table}, scores, {}, tmp_path / "report.html")
    assert '72.0 <span class="interval">\u00b1 2.6</span>' in (tmp_path / "report.html").read_text()
    with pytest.raises(KeyError):  # the workflow asks for all of them
        build_table("t", table, dict(list(scores.items())[:2]), provenance, tmp_path / "t.csv", tmp_path / "t.md")


def test_metric_that_the_scores_lack(tmp_path):
    with pytest.raises(DataError, match="no metric 'map_easy'; this file has map_hard, map_medium"):
        build(tmp_path, make_table(), {"map_medium": 0.5, "map_hard": 0.5})


def test_report_holds_each_table_under_its_id(tmp_path):
    table = make_table()
    build(tmp_path, table, METRICS)
    rows = [(1, 0.9, "", 1), (2, 0.5, 0.3, 1), (3, 0.4, 0.2, 0)]
    write_csv(tmp_path / "history.csv", ("epoch", "train_loss", "score", "best"), rows)
    scores = {("m", "town"): tmp_path / "scores.json"}
    build_report({"t": table}, scores, {"how": tmp_path / "history.csv"}, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert '<table id="t">' in page
    assert "ours &amp; theirs" in page
    assert '<span class="off" title="off">47.1 <span class="interval">45.1 to 49.1</span></span>' in page
    assert "Training of how: 3 epochs, best validation score in epoch 2 (dotted)" in page
    assert "Training loss: 0.9 to 0.4" in page
    assert "Validation score: 0.3 to 0.2, 0.3 in epoch 2." in page


def test_notes_that_differ_say_whose_they_are(tmp_path):
    """As of what was localised: two rows on one dataset."""
    known = {}
    for method, alone in (("a", 0), ("b", 2), ("c", 2)):
        facts = {"right": "close", "queries_without_positive": alone}
        known[method, "town"] = Scores("retrieval", "positives", 3, {}, {}, facts)
    rule, other = "town: right is close.", "town: right is close; 2 of 3 queries have nothing right."
    assert scores_notes(known) == [f"a: {rule}", f"b, c: {other}"]
    del known["a", "town"]
    assert scores_notes(known) == [other]


def test_columns_shown_when_asked_may_be_empty(tmp_path):
    columns = [
        {"dataset": "town", "metric": "map_medium", "label": "Town (M)"},
        {"dataset": "far", "metric": "map_medium", "label": "Far (M)", "on_demand": True},
    ]
    table = make_table(columns=columns, rows=[{"label": "ours", "method": "m"}])
    lines, markdown = build(tmp_path, table, METRICS)
    assert [(line["ours"], line["provenance"]) for line in lines] == [("75.49", "provenance/m/town.json"), ("", "")]
    assert "| ours | 75.5 [73.5, 77.5] | - |" in markdown
    build_report({"t": table}, {("m", "town"): tmp_path / "scores.json"}, {}, tmp_path / "report.html")
    assert "<td>–</td>" in (tmp_path / "report.html").read_text()


def test_other_columns_may_not(tmp_path):
    columns = [{"dataset": "far", "metric": "map_medium", "label": "Far (M)"}]
    with pytest.raises(KeyError):
        build(tmp_path, make_table(columns=columns, rows=[{"label": "ours", "method": "m"}]), METRICS)


HOSTILE = [
    '=HYPERLINK("http://x","y")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "<img src=x onerror=alert(1)>",
    "a | b",
    "a\\| b",
    "[text](javascript:alert(1))",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_labels_stay_text_wherever_they_are_shown(tmp_path, text):
    """In spreadsheets, in Markdown and in the report: labels, titles, notes and sources of figures."""
    column = {"dataset": "town", "metric": "map_medium", "label": text}
    figure = {"dataset": "town", "metric": "map_medium", "paper": 70.0, "source": text}
    table = make_table(
        title=text, note=text, columns=[column], rows=[{"label": text, "method": "m", "reference_results": [figure]}]
    )
    (line,), markdown = build(tmp_path, table, METRICS)
    assert line["row"].removeprefix("'") == text
    assert line["row"][0] not in "=+@\t"
    assert not line["row"].startswith("-2")
    assert len([row for row in markdown.splitlines() if row.startswith("|")]) == 3
    assert {row.count("|") for row in markdown.splitlines() if row.startswith("|")} == {3}
    assert "<img" not in markdown
    assert "](javascript" not in markdown
    assert not any(row.startswith("# ") for row in markdown.splitlines())
    build_report({"t": table}, {("m", "town"): tmp_path / "scores.json"}, {}, tmp_path / "report.html")
    assert "<img" not in (tmp_path / "report.html").read_text()


def test_a_note_of_several_lines_is_no_heading(tmp_path):
    """Labels and titles are one line by the configuration; notes need not be."""
    _, markdown = build(tmp_path, make_table(note="two\n\n# lines"), METRICS)
    assert not any(row.startswith("# ") for row in markdown.splitlines())


def test_harmless_labels_are_written_as_they_are(tmp_path):
    rows = [{"label": "-R50_how n=400", "method": "m"}]
    (line, *_), markdown = build(tmp_path, make_table(rows=rows), METRICS)
    assert line["row"] == "-R50_how n=400"
    assert "| -R50_how n=400 |" in markdown


def test_the_report_does_not_take_figures_from_the_csv(tmp_path):
    """What somebody writes into the CSV, a program on the page for example, is not on the page."""
    table = make_table()
    build(tmp_path, table, METRICS)
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text().replace("75.1", "<script>alert(1)</script>"))
    build_report({"t": table}, {("m", "town"): tmp_path / "scores.json"}, {}, tmp_path / "report.html")
    assert "<script>" not in (tmp_path / "report.html").read_text()
    assert '<span class="reference">75.1</span>' in (tmp_path / "report.html").read_text()
