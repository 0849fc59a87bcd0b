"""Text of the configuration inside other formats: what a label holds is shown as it is, and nothing of it acts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

# Spreadsheets take a cell that begins so for a formula. A minus sign begins names as well (-R50); a formula that
# does harm behind one calls something.
_FORMULA = re.compile(r"[=+@\t\r\n]|-.*[(|!]", re.DOTALL)


def csv_text(text: str) -> str:
    """Text of a CSV cell; an apostrophe stands before what a spreadsheet would run as a formula (OWASP's advice)."""
    return f"'{text}" if _FORMULA.match(text) else text


def markdown_text(text: str) -> str:
    """Text on one line of Markdown, in a table or outside; HTML, links and column separators in it stay text."""
    line = " ".join(text.split())
    return line.replace("<", "&lt;").replace("|", "&#124;").replace("](", "]\\(")


def relative_address(file: Path, page: Path) -> str:
    """Address of a file in a link of a page; its special characters are escaped, those of Markdown too."""
    return quote(Path(os.path.relpath(file, page.parent)).as_posix())


def markdown_link(text: str, address: str | None) -> str:
    """Text of ours that leads to an address; None: text alone."""
    return text if address is None else f"[{text}]({address})"
