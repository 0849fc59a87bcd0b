"""Untrusted MATLAB files (level 5: what ``save -v6`` and ``-v7`` write): data only, every length checked.

Not scipy's reader, which a damaged file can crash (its documentation says that it is not hardened).
Layout of the format: "MAT-File Format" of The MathWorks, chapter on level 5.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from descbench.errors import DataError
from descbench.io.kinds import describe_kind
from descbench.io.unpickler import map_file

# Types of stored data, and classes of arrays, by their numbers in the format.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXT = {1: "utf-8", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
_COMPLEX = 0x0800
_DEEPEST = 16
_LARGEST = 4 << 30
# What a variable may unpack to for each byte of the file, and in any case; arrays, names and rows of text in it.
_RATIO = 50
_ALWAYS = 64 << 20
_MOST_ENTRIES = 1_000_000
_MOST_DIMENSIONS = 32
_MOST_FIELDS = 1000
_HEADER = 4096  # bytes that hold the header of any sensible variable


class _DamagedError(ValueError):
    """What is wrong with the bytes; the file is named where this is caught."""


def read_mat(path: Path, name: str, *, largest: int = _LARGEST) -> Any:
    """One variable of a MATLAB file.

    Args:
        path: the file.
        name: of the variable.
        largest: bytes that its values may take, and that it may unpack to (less for a small file: fifty times the
            file, or 64 MiB).

    Returns:
        numbers as an array of MATLAB's shape and type; text as a string (of several rows: a list of them);
        a cell array as an array of objects; a struct as a dictionary of its fields, an array of structs as an
        array of dictionaries.

    Raises:
        DataError: no file, no level-5 MATLAB file, damaged, no such variable, or one of another kind (complex,
            sparse, objects, functions).
    """
    try:
        content = map_file(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; unpack its source again.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}).") from None
    if content[:10] == b"MATLAB 7.3" or content[512:516] == b"\x89HDF":
        raise DataError(f"{path}: a MATLAB 7.3 file; load it in MATLAB and `save -v7` it again.")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise DataError(
            f"{path}: not a MATLAB file (level 5); it is {describe_kind(path) or 'damaged'}: fetch it again."
        )
    most = min(largest, max(_ALWAYS, _RATIO * len(content)))
    try:
        data = _find(_Bytes(memoryview(content)[128:], order, _Budget(most)), name)
        if data is not None:
            flags, shape, _ = _header(data)
            return _value(data, flags, shape, 0)
    except (_DamagedError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged MATLAB file ({error}); fetch it again.") from None
    raise DataError(f"{path}: no variable {name!r} in it; this is another file.")


@dataclass
class _Budget:
    """What is left to be made of a file: bytes of values, and arrays and texts."""

    bytes: int
    entries: int = _MOST_ENTRIES

    def spend(self, size: int = 0, entries: int = 0) -> None:
        self.bytes -= size
        self.entries -= entries
        if self.bytes < 0 or self.entries < 0:
            raise _DamagedError("it holds far more arrays or values than a file of its size should")


@dataclass
class _Bytes:
    """A stretch of a file, read from front to back; no read leaves it."""

    data: memoryview
    order: str
    budget: _Budget
    at: int = 0

    def over(self, data: memoryview) -> _Bytes:
        """Another stretch, of the same file and budget."""
        return _Bytes(data, self.order, self.budget)

    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int) -> memoryview:
        if not 0 <= size <= self.left():
            raise _DamagedError(f"{size} bytes wanted where {self.left()} are left")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "little" if self.order == "<" else "big")

    def element(self) -> tuple[int, memoryview]:
        """Type and data of the next element; short ones have both in one word."""
        word = self.number()
        if word >> 16:
            kind, size = word & 0xFFFF, word >> 16
            if size > 4:
                raise _DamagedError(f"a short element of {size} bytes")
            return kind, self.take(4)[:size]
        data = self.take(self.number())
        # Elements begin at multiples of eight; only compressed ones follow each other closely.
        if word != _COMPRESSED:
            self.take(min(-len(data) % 8, self.left()))
        return word, data

    def numbers(self) -> np.ndarray:
        """The next element as an array of numbers."""
        kind, data = self.element()
        if kind not in _STORED:
            raise _DamagedError(f"type {kind} where numbers are wanted")
        dtype = np.dtype(self.order + _STORED[kind])
        if len(data) % dtype.itemsize:
            raise _DamagedError(f"{len(data)} bytes for numbers of {dtype.itemsize}")
        return np.frombuffer(data, dtype)

    def integers(self) -> np.ndarray:
        """The next element as an array of whole numbers."""
        values = self.numbers()
        if values.dtype.kind == "f":
            raise _DamagedError("fractions where whole numbers are wanted")
        return values


def _find(stream: _Bytes, wanted: str) -> _Bytes | None:
    """Content of the variable that is wanted, unpacked; of the others only the beginning is unpacked."""
    while stream.left():
        kind, content = stream.element()
        if kind != _COMPRESSED:
            if _is_wanted(kind, stream.over(content), wanted):
                return stream.over(content)
            continue
        unpacker = zlib.decompressobj()
        beginning = unpacker.decompress(content, _HEADER)
        head = stream.over(memoryview(beginning))
        kind, _ = head.number(), head.number()
        if _is_wanted(kind, head, wanted):
            most = stream.budget.bytes
            rest = unpacker.decompress(unpacker.unconsumed_tail, max(most - len(beginning), 1))
            if not unpacker.eof:
                raise _DamagedError(f"a variable is cut short or unpacks to more than {most} bytes")
            return stream.over(stream.over(memoryview(beginning + rest)).element()[1])
    return None


def _is_wanted(kind: int, variable: _Bytes, wanted: str) -> bool:
    if kind != _MATRIX:
        raise _DamagedError(f"type {kind} where a variable is wanted")
    return _header(variable)[2] == wanted


def _header(stream: _Bytes) -> tuple[int, tuple[int, ...], str]:
    flags, lengths = stream.integers(), stream.integers()
    if len(flags) != 2 or not 2 <= len(lengths) <= _MOST_DIMENSIONS or (lengths < 0).any():
        raise _DamagedError(f"an array of shape {lengths[:_MOST_DIMENSIONS].tolist()}")
    return int(flags[0]), tuple(lengths.tolist()), bytes(stream.element()[1]).decode("ascii")


def _matrix(stream: _Bytes, depth: int) -> Any:
    """The array in the next element, which may hold further ones."""
    kind, data = stream.element()
    if kind != _MATRIX:
        raise _DamagedError(f"type {kind} where an array is wanted")
    if depth > _DEEPEST:
        raise _DamagedError(f"arrays nested more than {_DEEPEST} deep")
    if not data:
        return np.empty((0, 0))
    inner = stream.over(data)
    flags, shape, _ = _header(inner)
    return _value(inner, flags, shape, depth)


def _value(stream: _Bytes, flags: int, shape: tuple[int, ...], depth: int) -> Any:
    kind = flags & 0xFF
    if kind in _CLASSES and not flags & _COMPLEX:
        return _numeric(stream, _CLASSES[kind], shape)
    if kind == _CHAR:
        return _text(stream, shape)
    if kind == _CELL:
        return _objects([_matrix(stream, depth + 1) for _ in range(_count(stream, shape))], shape)
    if kind == _STRUCT:
        names = _field_names(stream)
        entries = [{n: _matrix(stream, depth + 1) for n in names} for _ in range(_count(stream, shape, len(names)))]
        return entries[0] if len(entries) == 1 else _objects(entries, shape)
    raise _DamagedError(f"an array of class {kind} (complex, sparse, object or function), which is not read")


def _numeric(stream: _Bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    values = stream.numbers()
    if len(values) != math.prod(shape):
        raise _DamagedError(f"{len(values)} numbers for an array of shape {shape}")
    if values.dtype.kind == "f" and dtype[0] != "f":
        raise _DamagedError("fractions in an array of whole numbers")
    stream.budget.spend(len(values) * np.dtype(dtype).itemsize)
    return _shaped(values.astype(dtype), shape)


def _text(stream: _Bytes, shape: tuple[int, ...]) -> str | list[str]:
    kind, data = stream.element()
    if kind not in _TEXT:
        raise _DamagedError(f"type {kind} where text is wanted")
    coding = _TEXT[kind] + ({"<": "-le", ">": "-be"}[stream.order] if kind in (4, 17, 18) else "")
    text = bytes(data).decode(coding)
    if len(text) != math.prod(shape) or len(shape) > 2:
        raise _DamagedError(f"{len(text)} characters for an array of shape {shape}")
    rows = shape[0]
    stream.budget.spend(4 * len(text), rows)
    return text if rows <= 1 else [text[row::rows] for row in range(rows)]


def _field_names(stream: _Bytes) -> list[str]:
    length, names = stream.integers(), stream.element()[1]
    if length.size != 1 or length[0] <= 0 or len(names) % int(length[0]):
        raise _DamagedError("names of fields of no length")
    if len(names) > _MOST_FIELDS * int(length[0]):
        raise _DamagedError(f"a struct of more than {_MOST_FIELDS} fields")
    step = int(length[0])
    return [bytes(names[i : i + step]).split(b"\0")[0].decode("ascii") for i in range(0, len(names), step)]


def _count(stream: _Bytes, shape: tuple[int, ...], fields: int = 1) -> int:
    """Number of entries; each of their arrays takes eight bytes at least, so no shape asks for more than is there."""
    count = math.prod(shape)
    if count * max(fields, 1) * 8 > stream.left():
        raise _DamagedError(f"an array of shape {shape} in {stream.left()} bytes")
    stream.budget.spend(entries=count * max(fields, 1))
    return count


def _objects(entries: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(entries), object)
    for number, entry in enumerate(entries):  # assigned at once, arrays of one shape would be unrolled
        array[number] = entry
    return _shaped(array, shape)


def _shaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in MATLAB's order of entries."""
    try:
        return array.reshape(shape, order="F")
    except ValueError as error:  # more dimensions than numpy has, or lengths beyond all numbers beside a zero
        raise _DamagedError(str(error)) from None
