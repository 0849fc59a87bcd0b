"""SIGTERM, which clusters send before they kill, and SIGINT (Ctrl-C)."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def on_stop(handler: Handler) -> Iterator[None]:
    """Have SIGTERM and SIGINT handled so, and as before afterwards."""
    previous = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def leave(number: int, _frame: FrameType | None) -> None:
    """Handler that ends the process in order, with the exit code of the signal."""
    logging.warning("stopped by %s; run again to go on", signal.Signals(number).name)
    raise SystemExit(128 + number)


def ignore_interrupts(_worker: int = 0) -> None:
    """For processes that load images: Ctrl-C reaches them too, but when they end is the main process's to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
