"""SIGTERM, which clusters send before they kill."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_sigterm(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have SIGTERM handled so, and as before afterwards."""
    previous = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def leave(number: int, _frame: FrameType | None) -> None:
    """Handler that ends the process in order, with the exit code of the signal."""
    raise SystemExit(128 + number)
