"""Values of rules that follow from nothing but their arguments: names in wildcards, threads, memory and time.

Light, as all that a Snakefile imports.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

# Pixels of an image for which one more thread is worth it: with less they wait for each other.
_PIXELS_A_THREAD = 320**2


def any_of(names: Iterable[str]) -> str:
    """Regular expression of exactly these names; of none of them, one that matches nothing."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


def network_threads(most: int, get_image_size: Callable[[Any], int | None], processes: int = 1) -> Callable[[Any], int]:
    """Threads for a network in each process, one for each 320 x 320 pixels.

    Args:
        most: threads of a process.
        get_image_size: wildcards -> longer side in pixels; None of no known size, which counts as large.
        processes: that run it.
    """

    def get(wildcards: Any) -> int:
        size = get_image_size(wildcards)
        return processes * (most if size is None else max(1, min(most, size**2 // _PIXELS_A_THREAD)))

    return get


def growing(start_mb: int) -> Callable[[Any, int], int]:
    """Memory in MB that doubles with every attempt."""
    return lambda wildcards, attempt: start_mb * 2 ** (attempt - 1)


def growing_minutes(start: int) -> Callable[[Any, int], int]:
    """Time limit in minutes that doubles with every attempt."""
    return lambda wildcards, attempt: start * 2 ** (attempt - 1)
