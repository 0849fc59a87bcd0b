"""What to do about images that a manifest lists and no folder holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath


def what_to_do(missing: Sequence[str], root: Path) -> str:
    """Advice that fits where the images were to come from, as the markers below ``root`` say it.

    Args:
        missing: paths relative to ``root``, at least one.
        root: image root: the datasets folder of the workflow, or a folder of the user's own.

    Returns:
        One sentence: which marker to delete (of an archive, of a folder that was linked, of the drawn town), or to
        put the images there.
    """
    for marker in sorted((root / ".unpacked").glob("*.json")):
        place = _place(marker)
        if place is not None and any(PurePosixPath(path).is_relative_to(place) for path in missing):
            return (
                f"What {marker.stem} holds was put there, but is no longer there in full, or the archive is another "
                f"one: delete {marker} and run again"
            )
    drawn = root / "toytown.json"
    if drawn.is_file() and any(PurePosixPath(path).is_relative_to("toytown") for path in missing):
        return f"The drawn town is no longer there in full: delete {drawn} and run again, and it is drawn anew"
    return "Put them there, or correct the list, and run again"


def _place(marker: Path) -> str | None:
    """Folder below the datasets that a source was unpacked to."""
    try:
        place = json.loads(marker.read_text(encoding="utf-8"))["to"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return place if isinstance(place, str) else None
