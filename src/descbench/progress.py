"""How far a long loop is: a bar on a terminal, in a log file a line a minute."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

LOG_SECONDS = 60.0
T = TypeVar("T")


def progress(items: Iterable[T], total: int, label: str, *, done: int = 0, unit: str = "images") -> Iterator[T]:
    """Hand the items on, and tell how many of them are done and how long the others will take.

    Args:
        items: what is iterated over.
        total: number of items in all, those that were done before included.
        label: what the loop does.
        done: items that were done before this loop.
        unit: what the items are.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, initial=done, desc=label, unit=f" {unit}", file=sys.stderr)
        return
    begun = told = time.monotonic()
    for number, item in enumerate(items):
        now = time.monotonic()
        if number and now - told >= LOG_SECONDS:
            told = now
            left = duration((now - begun) / number * (total - done - number))
            logging.info("%s: %d of %d %s, %s left", label, done + number, total, unit, left)
        yield item


def duration(seconds: float) -> str:
    """A length of time as one reads it: ``42 s``, ``3 min 5 s``, ``2 h 40 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
