"""Records that stand beside files of a format that has no room for what they were made of."""

from __future__ import annotations

import os


def record_path(path: str | os.PathLike[str]) -> str:
    """The record beside a file, JSON."""
    return f"{os.fspath(path)}.json"
