"""Content of the user's own images, by a fast hash that is kept with what the file system says of each file.

A file is read again when its size, time of modification, time of change or inode differ from those of the record.
The time of change is set by the kernel at every write, rename or copy, and nobody can set it back: a photograph that
was replaced by one of the same size and date is noticed. A file that changed less than two seconds before it was read
is not recorded, so that a second change within the clock's tick is not missed.

Light on purpose: the workflow asks while it plans.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xxhash
from tqdm import tqdm

from descbench.io.atomic import write_text

# Content of a file that is not there, or cannot be read; the job that needs the image says so.
ABSENT = "absent"
_VERSION = 1
_SETTLED_NS = 2_000_000_000
_BLOCK = 1 << 20
_THREADS = 8

_log = logging.getLogger(__name__)


def content_of(path: str | os.PathLike[str]) -> str:
    """Hex XXH3 (128 bits) of a file; ``ABSENT`` where it cannot be read."""
    digest = xxhash.xxh3_128()
    try:
        with open(path, "rb", buffering=0) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError:
        return ABSENT
    return digest.hexdigest()


def contents_of(paths: Sequence[str], records: Path) -> list[str]:
    """Content of files, in order, reading only those that are new or changed.

    Args:
        paths: of the images.
        records: file that remembers; written anew when something in it changed, and a damaged one is made
            again. Several processes may do so at once: the last one stays, each is whole.
    """
    known = _read_records(records)
    names = list(dict.fromkeys(paths))
    states = {name: _state(name) for name in names}
    unknown = [name for name in names if name not in known or known[name][:-1] != states[name]]
    now = time.time_ns()
    with ThreadPoolExecutor(_THREADS) as threads:
        # A line on a terminal, where it takes longer.
        read = tqdm(threads.map(content_of, unknown), "new photographs", len(unknown), disable=None, delay=2.0)
        found = dict(zip(unknown, read, strict=True))
    contents = {name: found[name] if name in found else known[name][-1] for name in names}
    kept = {n: [*states[n], contents[n]] for n in names if n not in found or _is_settled(states[n], now)}
    if kept != known:
        _write_records(records, kept)
    return [contents[path] for path in paths]


def _state(name: str) -> list[int]:
    """What the file system says of a file: size, times of modification and change in ns, inode; nothing of none."""
    try:
        found = os.stat(name)  # noqa: PTH116 - of tens of thousands
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _is_settled(state: list[int], now: int) -> bool:
    return bool(state) and now - state[2] > _SETTLED_NS


def _read_records(path: Path) -> Mapping[str, list[Any]]:
    """Path -> state and content; of a file that is absent or damaged, nothing."""
    try:
        check, _, text = path.read_text(encoding="utf-8").partition("\n")
        if check == _check(text):
            return json.loads(text)
        problem = "its hash differs"
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        problem = str(error)
    _log.warning("%s: damaged (%s); photographs are read again.", path, problem)
    return {}


def _write_records(path: Path, files: Mapping[str, list[Any]]) -> None:
    text = json.dumps(files)
    try:
        write_text(path, f"{_check(text)}\n{text}")
    except OSError as error:
        # Planning goes on without: all it costs is to read the photographs again.
        _log.warning("%s: cannot be written (%s).", path, error)


def _check(text: str) -> str:
    """First line of the file: what the lines mean, and the hash of the rest."""
    return f"images of a folder, version {_VERSION}, {xxhash.xxh3_128(text.encode()).hexdigest()}"
