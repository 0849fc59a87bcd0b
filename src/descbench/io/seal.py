"""The seal of a binary file: checksums over every byte of it, behind its content.

Formats that say themselves where they end (HDF5, zip) let more bytes follow. Layout of the seal, little-endian::

    length uint64, xxh3_128 (16 bytes)      for each segment of the content, in order, without gaps
    segments uint32                         how many these are
    xxh3_128 (16 bytes)                     of the seal up to here
    "DESCSEAL"

A file has several segments where a part of it was hashed while it was written, so that nothing is read again.
The hash finds damage and edits; it is no defence against forgers.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import xxhash

from descbench.errors import DataError

_MAGIC = b"DESCSEAL"
_SEGMENT = struct.Struct("<Q16s")
_FOOT = struct.Struct("<I16s8s")
_MAX_SEGMENTS = 16
_WINDOW = 1 << 24  # bytes mapped at once; a multiple of the page size


class Segment(NamedTuple):
    """A part of a file whose checksum is known: bytes ``start:stop``."""

    start: int
    stop: int
    digest: bytes


def seal(path: str | os.PathLike[str], known: Sequence[Segment] = ()) -> None:
    """Append the seal to a file; equal content and equal ``known`` segments give equal bytes.

    Args:
        path: the file, as its format wants it.
        known: parts that were hashed while they were written, in order; the rest is read.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        edges = sorted({0, size, *(edge for part in known for edge in part[:2])})
        digests = {part.start: part.digest for part in known}
        table = b"".join(
            _SEGMENT.pack(stop - start, digests.get(start) or _hash(file, start, stop))
            for start, stop in pairwise(edges)
        )
        table += struct.pack("<I", len(edges) - 1)
    # Through a buffer, which writes all of it or raises: a disk that is nearly full may take only a part at once.
    with open(path, "ab") as file:
        file.write(table + xxhash.xxh3_128_digest(table) + _MAGIC)


def seal_length(segments: int = 1) -> int:
    """Bytes of a seal."""
    return segments * _SEGMENT.size + _FOOT.size


def check_seal(path: str | os.PathLike[str]) -> int:
    """Compare a file with its seal, every byte of it.

    Returns:
        length of the content, without the seal.

    Raises:
        DataError: the file carries no seal (cut short, or of an older version of descbench), or is damaged.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        segments = _read_table(file, size, path)
        start = 0
        for length, digest in segments:
            if _hash(file, start, start + length) != digest:
                raise DataError(f"{path}: damaged, its content does not have its checksum; delete it and rerun.")
            start += length
    return start


def stated_digest(path: str | os.PathLike[str]) -> str:
    """What the seal of a file says of its content, which is not read: hex, one for other bytes.

    Raises:
        DataError: the file carries no seal, or its seal is damaged.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    with open(path, "rb", buffering=0) as file:
        segments = _read_table(file, os.fstat(file.fileno()).st_size, path)
    return xxhash.xxh3_128_hexdigest(b"".join(_SEGMENT.pack(*segment) for segment in segments))


def _read_table(file: BinaryIO, size: int, path: Path) -> list[tuple[int, bytes]]:
    """Length and checksum of each segment; together they are the content."""
    absent = f"{path}: carries no checksum: cut short, or not written by this version; delete it and rerun."
    if size < _FOOT.size:
        raise DataError(absent)
    file.seek(max(0, size - seal_length(_MAX_SEGMENTS)))
    end = file.read()
    count, digest, magic = _FOOT.unpack(end[-_FOOT.size :])
    if magic != _MAGIC or not 0 <= count <= _MAX_SEGMENTS or len(end) < seal_length(count):
        raise DataError(absent)
    table = end[-seal_length(count) : -_FOOT.size + 4]
    segments = list(_SEGMENT.iter_unpack(table[:-4]))
    if xxhash.xxh3_128_digest(table) != digest or sum(part[0] for part in segments) != size - seal_length(count):
        raise DataError(f"{path}: damaged, its checksums do not fit the file; delete it and rerun.")
    return segments


def _hash(file: BinaryIO, start: int, stop: int) -> bytes:
    """xxh3_128 of bytes ``start:stop``, mapped a window at a time: faster than reading them."""
    state = xxhash.xxh3_128()
    for low in range(start - start % _WINDOW, stop, _WINDOW):
        high = min(low + _WINDOW, stop)
        with (
            mmap.mmap(file.fileno(), high - low, access=mmap.ACCESS_READ, offset=low) as window,
            memoryview(window) as view,
            view[max(start - low, 0) :] as part,
        ):
            state.update(part)
    return state.digest()
