"""Images that could not be read, by name, as pages list them."""

from __future__ import annotations

from collections.abc import Sequence

# Names on a page: beyond them a folder is broken as a whole, and the names would be most of the page.
MOST_NAMES = 500


def name_unread(paths: Sequence[str]) -> tuple[str, ...]:
    """The paths, and in place of those beyond ``MOST_NAMES`` how many there are.

    Args:
        paths: of images that could not be read.

    Returns:
        lines of a list; none where all could be read.
    """
    left = len(paths) - MOST_NAMES
    more = (f"and {left:,} more",) if left > 0 else ()
    return (*paths[:MOST_NAMES], *more)
