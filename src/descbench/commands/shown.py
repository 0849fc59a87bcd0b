"""Tables on a terminal, and whole where their output goes elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

# Columns where nobody looks on: a row is a line, whatever its length.
_WIDE = 10_000


def printable(text: object) -> str:
    """Untrusted text, such as a path, on one line: what cannot be printed or is not text as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with headings; a terminal wraps what is long, a file or another program gets a line a row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    seen = sys.stdout.isatty()
    console = Console(width=None if seen else _WIDE, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for heading in columns:
        table.add_column(heading, overflow="fold", no_wrap=not seen)
    for row in rows:
        # Names may hold brackets, which are not markup.
        table.add_row(*(Text(printable(cell)) for cell in row))
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
