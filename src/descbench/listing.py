"""Names in a row, in messages, notes and cells: one that holds a comma or a quote cannot be taken for two."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

# What ends a name, or looks like the end of one.
_UNCLEAR = re.compile(r'[\s,;"\\]|^$')


def listed(names: Iterable[object], most: int | None = None, *, separator: str = ", ") -> str:
    """Names in a row, those that are not plain words in quotes (:func:`in_list`).

    Args:
        names: as text, or what ``str`` makes one of.
        most: how many are shown; how many more there are stands at the end. None: all.
        separator: between them, ``", "`` or ``"; "``.
    """
    known = list(names)
    shown = separator.join(in_list(str(name)) for name in known[:most])
    return shown if most is None or len(known) <= most else f"{shown} and {len(known) - most} more"


def in_list(name: str) -> str:
    """A name as it stands in a list: itself, or in double quotes, with a backslash before such quotes within.

    Quoted are names with blanks, commas, semicolons, double quotes or backslashes, and empty ones.
    """
    return json.dumps(name, ensure_ascii=False) if _UNCLEAR.search(name) else name
