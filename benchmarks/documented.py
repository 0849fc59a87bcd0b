"""Put a table that the workflow wrote into a page of the documentation, between its two marks.

    python -m benchmarks.documented results/table9_detectors.csv docs/table9.md

The page has a line ``<!-- table9_detectors: measured -->`` and, below, ``<!-- end -->``; what stands between them is
replaced, so that no figure is typed by hand: ours with two decimals and the 95 % interval.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Sequence
from pathlib import Path

from descbench.errors import DataError
from descbench.io.atomic import write_text


def document_table(table: Path, page: Path) -> None:
    """Replace what stands between the marks of a page by the rows of a table.

    Args:
        table: CSV of the workflow, named as the table.
        page: of the documentation.

    Raises:
        DataError: the page has no marks of this table, or the file no table.
    """
    rows = _rendered(table)
    marks = re.compile(rf"(<!-- {re.escape(table.stem)}: measured -->\n).*?(<!-- end -->)", re.S)
    text = page.read_text(encoding="utf-8")
    if not marks.search(text):
        raise DataError(
            f"{page}: no `<!-- {table.stem}: measured -->` with an `<!-- end -->`; put them where it belongs."
        )
    shown = "\n".join(rows)
    write_text(page, marks.sub(lambda found: f"{found[1]}\n{shown}\n\n{found[2]}", text, count=1))


def _rendered(table: Path) -> list[str]:
    """Lines of Markdown: a line a row, a column a dataset and metric, in the order of the file."""
    with table.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    if not lines or not {"row", "dataset", "metric", "ours", "low", "high"} <= lines[0].keys():
        raise DataError(f"{table}: holds no table; make it anew.")
    cells = {(line["row"], line["dataset"], line["metric"]): line for line in lines}
    columns = list(dict.fromkeys((dataset, metric) for _, dataset, metric in cells))
    out = ["| | " + " | ".join(f"{dataset} {metric}".replace("_", " ") for dataset, metric in columns) + " |"]
    out.append("|---|" + "---:|" * len(columns))
    for row in dict.fromkeys(row for row, _, _ in cells):
        found = (cells[row, *column] for column in columns)
        out.append(f"| {row} | " + " | ".join(map(_cell, found)) + " |")
    return out


def _cell(line: dict[str, str]) -> str:
    if not line["ours"]:
        return "-"
    interval = f" ({float(line['low']):.2f} to {float(line['high']):.2f})" if line["low"] and line["high"] else ""
    return f"{float(line['ours']):.2f}{interval}"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.documented", description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="CSV file of the workflow")
    parser.add_argument("page", type=Path, help="page of the documentation")
    options = parser.parse_args(arguments)
    document_table(options.table, options.page)


if __name__ == "__main__":
    main()
