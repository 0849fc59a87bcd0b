"""The readers that are fuzzed. One line registers one; modules named ``readers_*.py`` in this folder are all imported.

register("own pickles", load_pickle, pickle_seeds, mutations=(random_opcodes,))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

Mutation = Callable[[Random, bytes], bytes]


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Attributes:
        name: as it stands in the report.
        read: reads the file at a path to its end; its own errors are of ``descbench.errors``.
        seeds: makes the content of valid files, the same ones every time; each must be read without an error.
        file: name of the file that is read.
        mutations: that know the format (``mutations.py`` has some for JSON, lines of text, and zip archives);
            damage to single bytes comes by itself.
        share: of the inputs, relative to other readers.
    """

    name: str
    read: Callable[[Path], Any]
    seeds: Callable[[], list[bytes]]
    file: str = "input"
    mutations: tuple[Mutation, ...] = ()
    share: float = 1.0


READERS: dict[str, Reader] = {}


def register(name: str, read: Callable[[Path], Any], seeds: Callable[[], list[bytes]], **more: Any) -> None:
    """Have a reader fuzzed; further arguments as :class:`Reader` names them."""
    if name in READERS:
        raise ValueError(f"two readers are called {name!r}")
    READERS[name] = Reader(name, read, seeds, **more)
