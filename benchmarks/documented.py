"""Put a table that the workflow wrote into a page of the documentation, between its two marks.

    python -m benchmarks.documented results/table9_detectors.md docs/table9.md

The page has a line ``<!-- table9_detectors: measured -->`` and, below, ``<!-- end -->``; what stands between them is
replaced, so that no figure is typed by hand.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from descbench.errors import DataError
from descbench.io.atomic import write_text


def document_table(table: Path, page: Path) -> None:
    """Replace what stands between the marks of a page by the rows of a table.

    Args:
        table: Markdown of the workflow, named as the table.
        page: of the documentation.

    Raises:
        DataError: the page has no marks of this table, or the file no table.
    """
    rows = [line for line in table.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    if not rows:
        raise DataError(f"{table}: holds no table; make it anew.")
    marks = re.compile(rf"(<!-- {re.escape(table.stem)}: measured -->\n).*?(<!-- end -->)", re.S)
    text = page.read_text(encoding="utf-8")
    if not marks.search(text):
        raise DataError(
            f"{page}: no `<!-- {table.stem}: measured -->` with an `<!-- end -->`; put them where it belongs."
        )
    shown = "\n".join(rows)
    write_text(page, marks.sub(lambda found: f"{found[1]}\n{shown}\n\n{found[2]}", text, count=1))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.documented", description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="Markdown file of the workflow")
    parser.add_argument("page", type=Path, help="page of the documentation")
    options = parser.parse_args(arguments)
    document_table(options.table, options.page)


if __name__ == "__main__":
    main()
