"""Names in a row, in messages, notes and cells: one that holds a comma or a quote cannot be taken for two."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

# What makes a name look like two, or like the end of one, by the separator.
_UNCLEAR = {", ": re.compile(r'[,"\\\r\n\t]|^$|^\s|\s$'), "; ": re.compile(r'[;"\\]|^$')}


def listed(names: Iterable[object], most: int | None = None, *, separator: str = ", ") -> str:
    """Names in a row, those that could be taken for others in quotes (:func:`in_list`).

    Args:
        names: as text, or what ``str`` makes one of.
        most: how many are shown; how many more there are stands at the end. None: all.
        separator: between them: ``", "``, or ``"; "`` for what is a sentence or a path.
    """
    known = list(names)
    shown = separator.join(in_list(str(name), separator) for name in known[:most])
    return shown if most is None or len(known) <= most else f"{shown} and {len(known) - most} more"


def in_list(name: str, separator: str = ", ") -> str:
    """A name as it stands in a list: itself, or in double quotes, with a backslash before such quotes within.

    Quoted are empty names, and those that hold what separates names, double quotes or backslashes; with ``", "`` also
    those of several lines, and those that begin or end with a blank.
    """
    return json.dumps(name, ensure_ascii=False) if _UNCLEAR[separator].search(name) else name
