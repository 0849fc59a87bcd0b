"""HDF5 columns of unknown length, written in large whole chunks, and errors worded for the user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from descbench.errors import DataError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Column:
    """A dataset that grows by rows.

    They are collected until a chunk is full, and a chunk is written past HDF5's own cache and
    conversions; what is left over is padded with zeros. A column smaller than a chunk is stored in
    one piece, so that small files stay small.

    Args:
        file: open for writing.
        name: name of the dataset.
        shape: of one row.
        dtype: as stored.
        rows: rows of a chunk.
    """

    def __init__(self, file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype, rows: int) -> None:
        self._file = file
        self._name = name
        self._buffer = np.zeros((rows, *shape), dtype)
        self._filled = 0
        self._written = 0

    def append(self, values: np.ndarray) -> None:
        """Take (n, *shape) rows."""
        while len(values):
            taken = values[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            values = values[len(taken) :]
            if self._filled == len(self._buffer):
                self._write_chunk()

    def finish(self) -> None:
        """Write what is left."""
        if self._written == 0:
            put(self._file, self._name, self._buffer[: self._filled])
        elif self._filled:
            self._buffer[self._filled :] = 0
            self._write_chunk()

    def _write_chunk(self) -> None:
        shape = self._buffer.shape[1:]
        if self._written == 0:
            self._file.create_dataset(
                self._name,
                shape=(0, *shape),
                maxshape=(None, *shape),
                chunks=self._buffer.shape,
                dtype=self._buffer.dtype,
                track_times=False,
            )
        dataset = self._file[self._name]
        dataset.resize(self._written + self._filled, axis=0)
        dataset.id.write_direct_chunk((self._written, *(0 for _ in shape)), self._buffer)
        self._written += self._filled
        self._filled = 0


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Word errors of the file system and of HDF5 for the user."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) in _DISK_FULL or any(f"errno = {e}," in str(error) for e in _DISK_FULL)
        advice = "disk full; free some space and rerun" if full else "see whether its folder can be written to"
        raise DataError(f"{path}: could not be written: {advice} ({error}).") from error


def put(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Store an array whole, without time stamps."""
    file.create_dataset(name, data=values, track_times=False)


def encode_texts(texts: list[str]) -> np.ndarray:
    """Texts of fixed length: variable ones live in a heap whose bytes are not the same each time."""
    raw = [text.encode() for text in texts]
    return np.asarray(raw, dtype=h5py.string_dtype("utf-8", max([1, *map(len, raw)])))


def decode_text(text: bytes | str) -> str:
    """A text of :func:`encode_texts` as h5py gives it back."""
    return text if isinstance(text, str) else text.decode()
