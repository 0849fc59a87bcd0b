"""What Python opens, lists and imports while it is watched."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_EVENTS = {"open", "os.listdir", "os.scandir", "import"}


class _Watch:
    """An audit hook cannot be taken away again, so there is one for all tests."""

    def __init__(self) -> None:
        self.looks = False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple) -> None:
        if self.looks and event in _EVENTS:
            self.seen.append(f"{event} {arguments[0]}")


_WATCH = _Watch()


@contextmanager
def watched() -> Iterator[list[str]]:
    """What is read in the meantime, as ``event path``."""
    _WATCH.seen = []
    _WATCH.looks = True
    try:
        yield _WATCH.seen
    finally:
        _WATCH.looks = False
