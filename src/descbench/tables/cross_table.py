"""Cross tables: all rows on all datasets that fit them, and paired tests between the rows on each dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from descbench.config.cross_tables import CrossCell, CrossTable
from descbench.errors import DataError
from descbench.io.atomic import write_text
from descbench.listing import in_list
from descbench.metrics.compare import check_same_queries, compare_metrics, too_few, why_untested
from descbench.metrics.intervals import DRAWS, LEVEL, Comparison, holm
from descbench.metrics.remarks import why_missing
from descbench.metrics.scores import Metric, Scores, read_scores
from descbench.metrics.titles import metric_title
from descbench.tables.notes import NONE, Cell, Restricted, licence_notes, scores_notes
from descbench.tables.table import shown_digits, write_lines
from descbench.tables.text import markdown_link, markdown_text

# Permutations for each test of a family: the smallest p-value that can come out, times all tests, is 0.01 then.
_PERMUTATIONS = 100
# Corrected p-values from here on tell no two rows apart.
_ALPHA = 0.05


@dataclass(frozen=True)
class CrossLine:
    """A row of the CSV, in the unit that tables show (fractions in percent); None where nothing is known.

    Attributes:
        reason: why there is no value: what each method of the row lacks, or why the scores have no such metric.
    """

    table: str
    row: str
    method: str | None
    dataset: str
    metric: str
    ours: float | None
    low: float | None
    high: float | None
    chance: float | None
    provenance: str | None
    reason: str | None


@dataclass(frozen=True)
class CrossTest:
    """Two rows on the same queries: the second less the first, in the unit that tables show.

    Attributes:
        low, high: 95 % interval of the difference.
        p: of the paired permutation test.
        p_holm: corrected for all tests of this dataset and metric (Holm).
        queries: how many count for both.
        reason: why there is no test.
    """

    table: str
    dataset: str
    metric: str
    first: str
    second: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    queries: int | None = None
    reason: str | None = None


def build_cross_table(
    name: str,
    table: CrossTable,
    cells: Sequence[CrossCell],
    scores: Mapping[Cell, Path],
    provenance: Mapping[Cell, str],
    outputs: tuple[Path, Path, Path],
    learned: Iterable[Cell] = (),
    restricted: Restricted = NONE,
    pages: Mapping[Cell, str] | None = None,
) -> None:
    """Write a cross table as tidy CSV, its tests as CSV, and both as a matrix in Markdown.

    Args:
        name: of the table, such as ``retrieval``.
        table: rows, datasets and metrics.
        cells: what each row has on each dataset, as ``table.cells`` gives it.
        scores: scores file of every ``(method, dataset)``.
        provenance: path written into the provenance column, by ``(method, dataset)``.
        outputs: files of the table, of the tests and of Markdown.
        learned: row and dataset of the cells whose methods learned from that dataset.
        restricted: weights that allow no commercial use (:func:`descbench.tables.notes.licence_notes`).
        pages: address of the page of pictures of each ``(method, dataset)`` that has one, for links of the Markdown.

    Raises:
        DataError: a scores file lacks a metric of its protocol, or scores on one dataset are of other labels.
    """
    known = {cell: read_scores(path, " on ".join(cell)) for cell, path in scores.items()}
    of_rows = {(cell.row, cell.dataset): cell for cell in cells}
    rows = [label for label, methods in table.rows.items() if methods is not None]
    lines = [
        _line(name, of_rows[row, dataset], metric, known, provenance)
        for row in rows
        for dataset, metric in table.columns
    ]
    tests = [test for column in table.columns for test in _tests(name, rows, column, of_rows, known)]
    csv, of_tests, markdown = outputs
    write_lines(lines, list(CrossLine.__dataclass_fields__), csv)
    write_lines(tests, list(CrossTest.__dataclass_fields__), of_tests)
    shown = [(cell.row, cell.method) for cell in cells if cell.method is not None]
    licences = licence_notes(shown, restricted)
    notes = [*_unfit(cells), *_learned(learned), *_indistinct(tests), *scores_notes(known), *licences]
    write_text(markdown, render_markdown(name, table, lines, tests, _metrics(known), notes, pages))


def render_markdown(
    name: str,
    table: CrossTable,
    lines: Sequence[CrossLine],
    tests: Sequence[CrossTest],
    metrics: Mapping[tuple[str, str], Metric],
    notes: Sequence[str],
    pages: Mapping[Cell, str] | None = None,
) -> str:
    """The matrix, with the best of each column, and all that no test tells from it, in bold.

    Args:
        metrics: one of each column that some row has, by dataset and metric: its unit, and what is better.
        pages: as of :func:`build_cross_table`.
    """
    values = {(line.row, line.dataset, line.metric): line for line in lines}
    bold = {place for column in table.columns for place in _best(column, lines, tests, metrics)}
    out = [f"## {name}: {markdown_text(table.title)}", ""]
    headings = [f"{column[0]}: {metric_title(column[1], metrics.get(column))}" for column in table.columns]
    out.append("| method | " + " | ".join(map(markdown_text, headings)) + " |")
    out.append("|---|" + "---:|" * len(table.columns))
    for row in dict.fromkeys(line.row for line in lines):
        shown = [values[row, *column] for column in table.columns]
        addresses = [(pages or {}).get((line.method, line.dataset)) for line in shown]
        found = [
            _text(line, (row, *column) in bold, address)
            for line, column, address in zip(shown, table.columns, addresses, strict=True)
        ]
        out.append(f"| {markdown_text(row)} | " + " | ".join(found) + " |")
    out += [
        "",
        f"Each with its {100 * LEVEL:g} % interval; `-`: no value, with the reason in column `reason` of {name}.csv.",
    ]
    out.append(
        "Bold: the best of a column, and every row that it does not differ from by a paired permutation test on the "
        "same queries, corrected by Holm's method for all pairs of rows of that column (corrected p of "
        f"{_ALPHA:g} or more). Nothing is bold where no row differs from the best, or none was tested; "
        f"{name}.tests.csv has every pair."
    )
    if table.note:
        out.append(markdown_text(table.note))
    out += ["", *(f"- {markdown_text(note)}" for note in notes)]
    return "\n".join(out).rstrip() + "\n"


def _line(
    name: str, cell: CrossCell, metric: str, known: Mapping[Cell, Scores], provenance: Mapping[Cell, str]
) -> CrossLine:
    if cell.method is None:
        empty = dict.fromkeys(("ours", "low", "high", "chance", "provenance"))
        return CrossLine(name, cell.row, None, cell.dataset, metric, **empty, reason=cell.why)
    place = cell.method, cell.dataset
    found = _metric(known[place], metric, place)
    if found is None:
        values, reason = dict.fromkeys(("ours", "low", "high", "chance")), why_missing(metric, known[place])
    else:
        measured = {"ours": found.value, "low": found.low, "high": found.high, "chance": found.chance}
        values = {key: _shown(found, value) for key, value in measured.items()}
        reason = "no query counts" if found.value is None else None
    return CrossLine(
        name, cell.row, cell.method, cell.dataset, metric, **values, provenance=provenance.get(place), reason=reason
    )


def _metric(scores: Scores, name: str, cell: Cell) -> Metric | None:
    """A metric of scores; None where the scores say why they lack it."""
    if name in scores.metrics:
        return scores.metrics[name]
    if why_missing(name, scores):
        return None
    raise DataError(f"{' on '.join(cell)}: no metric {name!r}; its scores have {', '.join(sorted(scores.metrics))}.")


def _shown(metric: Metric, value: float | None) -> float | None:
    return None if value is None else round(float(metric.factor * value), 2)


def _tests(
    name: str,
    rows: Sequence[str],
    column: tuple[str, str],
    cells: Mapping[tuple[str, str], CrossCell],
    known: Mapping[Cell, Scores],
) -> list[CrossTest]:
    """All pairs of rows that have the metric of a dataset, which are one family of tests."""
    dataset, metric = column
    found = {row: known[cell.method, dataset] for row in rows if (cell := cells[row, dataset]).method is not None}
    pairs = list(combinations([row for row, scores in found.items() if metric in scores.metrics], 2))
    permutations = max(DRAWS, _PERMUTATIONS * len(pairs))
    reasons = {pair: _why_untested(column, pair, [found[row] for row in pair]) for pair in pairs}
    tested = [pair for pair, reason in reasons.items() if reason is None]
    compared = compare_metrics(metric, [(found[first], found[second]) for first, second in tested], permutations)
    results = dict(zip(tested, compared, strict=True))
    corrected = iter(holm([result.p for result in compared if result is not None]))
    tests = []
    for pair in pairs:
        if (result := results.get(pair)) is None:
            reason = reasons[pair] or too_few(found[pair[0]])
            tests.append(CrossTest(name, dataset, metric, *pair, reason=reason))
        else:
            tests.append(_test(name, column, pair, result, next(corrected), found[pair[0]].metrics[metric]))
    return tests


def _why_untested(column: tuple[str, str], pair: tuple[str, str], scores: Sequence[Scores]) -> str | None:
    """Why two rows have no test whatever their values; None: they have one."""
    dataset, metric = column
    if scores[0] is scores[1]:
        return "both rows are the same method"
    try:
        check_same_queries(*scores)
    except DataError as error:
        raise DataError(f"{pair[0]} and {pair[1]} on {dataset}: {error}") from None
    return why_untested(metric, scores[0])


def _test(
    name: str, column: tuple[str, str], pair: tuple[str, str], found: Comparison, corrected: float, of: Metric
) -> CrossTest:
    """The test of two rows; ``corrected``: its p-value, for all tests of the column."""
    shown = [_shown(of, value) for value in (found.difference, found.low, found.high)]
    return CrossTest(name, *column, *pair, *shown, round(found.p, 6), round(corrected, 6), found.queries)


def _best(
    column: tuple[str, str],
    lines: Sequence[CrossLine],
    tests: Sequence[CrossTest],
    metrics: Mapping[tuple[str, str], Metric],
) -> list[tuple[str, str, str]]:
    """Row, dataset and metric of the best of a column, and of those that no test tells from it; none if none does."""
    there = {line.row: line.ours for line in lines if (line.dataset, line.metric) == column and line.ours is not None}
    if not there:
        return []
    best = (max if metrics[column].direction == "higher" else min)(there, key=there.__getitem__)
    compared = {
        row: test.p_holm
        for test in tests
        if (test.dataset, test.metric) == column and test.p_holm is not None and best in (test.first, test.second)
        for row in {test.first, test.second} - {best}
    }
    if all(p >= _ALPHA for p in compared.values()):
        return []
    # What equals the best is as good, tested or not.
    return [(row, *column) for row, value in there.items() if compared.get(row, 0) >= _ALPHA or value == there[best]]


def _metrics(known: Mapping[Cell, Scores]) -> dict[tuple[str, str], Metric]:
    return {(cell[1], name): metric for cell, of in known.items() for name, metric in of.metrics.items()}


def _text(line: CrossLine, bold: bool, page: str | None) -> str:
    if line.ours is None:
        return "-"
    digits = shown_digits(line.metric)
    value = markdown_link(f"{line.ours:.{digits}f}", page)
    value = f"**{value}**" if bold else value
    return value + ("" if line.low is None else f" [{line.low:.{digits}f}, {line.high:.{digits}f}]")


def _unfit(cells: Sequence[CrossCell]) -> list[str]:
    """What none of the methods of a row fits, a line for each row."""
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        if cell.method is None:
            reasons.setdefault(cell.row, []).append(f"{cell.dataset} ({cell.why})")
    return [f"{in_list(row)} has nothing on {', '.join(found)}." for row, found in reasons.items()]


def _indistinct(tests: Sequence[CrossTest]) -> list[str]:
    """Columns with so few queries that no test can pass once it is corrected.

    Of ``n`` queries there are ``2 ** n`` permutations, of which two at least are as extreme as what was observed.
    """
    families: dict[tuple[str, str], list[CrossTest]] = {}
    for test in tests:
        if test.p is not None:
            families.setdefault((test.dataset, test.metric), []).append(test)
    return [
        f"{dataset}, {metric_title(metric)}: {largest} queries are too few for any of {len(family)} tests to tell two "
        "rows apart."
        for (dataset, metric), family in families.items()
        if len(family) * 2.0 ** (1 - (largest := max(test.queries for test in family))) >= _ALPHA
    ]


def _learned(cells: Iterable[Cell]) -> list[str]:
    return [
        f"{in_list(row)} on {dataset}: words or weights were learned from images of {dataset} itself."
        for row, dataset in cells
    ]
