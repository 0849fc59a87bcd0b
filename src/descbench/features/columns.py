"""HDF5 columns, each in one piece of the file, and errors worded for the user.

HDF5 can store an array in one piece only if its length is known when it is created; the descriptors of
a shard arrive image by image. So their bytes go to the file first, behind a gap that HDF5's own head
fits into, and at the end a dataset is created exactly over them. In one piece they are written at the
speed of the disk, and read by mapping them into memory.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from descbench.errors import DataError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_START = 4096  # offset of the streamed rows; what HDF5 writes before them takes about 3,000 bytes
_ALIGNED_BYTES = 1 << 16  # arrays from this size on begin at multiples of _START; HDF5's own blocks are smaller
_BUFFER_BYTES = 1 << 17  # images smaller than this are collected
_CHECKED = 1 << 20  # values looked at together
_ADVANCE_BYTES = 1 << 24  # written between two requests to start moving it to the disk


class RowStream:
    """Rows of unknown number, written to a file that becomes an HDF5 file over them.

    Args:
        path: the file, overwritten.
        dim: values of a row.
        dtype: as stored.
    """

    def __init__(self, path: Path, dim: int, dtype: np.dtype) -> None:
        self._path, self._dim, self._dtype = path, dim, dtype
        h5py.File(path, "w", libver=("v110", "v110"), locking=False).close()
        self._stream = FileIO(path, "r+")
        self._stream.seek(_START)
        self._small = bytearray()
        self._bytes = 0
        self._advanced = 0

    def append(self, rows: np.ndarray) -> None:
        """Write (n, dim) rows of the stream's type."""
        if rows.nbytes < _BUFFER_BYTES:
            self._small += rows.tobytes()
        if rows.nbytes >= _BUFFER_BYTES or len(self._small) >= _BUFFER_BYTES:
            self._flush()
        if rows.nbytes >= _BUFFER_BYTES:
            self._write(memoryview(np.ascontiguousarray(rows)).cast("B"))

    def _flush(self) -> None:
        self._write(memoryview(self._small))
        self._small = bytearray()

    def _write(self, values: memoryview) -> None:
        written = 0
        while written < len(values):  # the system takes at most 2 GiB at once
            written += self._stream.write(values[written:])
        self._bytes += written
        if self._bytes - self._advanced >= _ADVANCE_BYTES:
            # The disk works while the next images are computed; the wait at the end is short.
            length = self._bytes - self._advanced
            os.posix_fadvise(self._stream.fileno(), _START + self._advanced, length, os.POSIX_FADV_DONTNEED)
            self._advanced = self._bytes

    def into_dataset(self, name: str) -> h5py.File:
        """End the stream: the file, open for more datasets, with the rows as dataset ``name``.

        Raises:
            DataError: this release of HDF5 lays files out in an unforeseen way.
        """
        self._flush()
        self._stream.seek(_START)
        small = self._stream.read(self._bytes) if self._bytes < _ALIGNED_BYTES else None
        self._stream.close()
        file = h5py.File(
            self._path,
            "r+",
            libver=("v110", "v110"),
            locking=False,
            alignment_threshold=_ALIGNED_BYTES,
            alignment_interval=_START,
        )
        if small is not None:
            put(file, name, np.frombuffer(small, self._dtype).reshape(-1, self._dim))
        elif self._lay_over(file, name) != _START:
            file.close()
            raise DataError(
                f"{self._path}: HDF5 {h5py.version.hdf5_version} lays files out otherwise; "
                "install h5py as pinned in requirements/base.txt."
            )
        return file

    def _lay_over(self, file: h5py.File, name: str) -> int:
        """Create a dataset over the bytes that are there already, and return its offset."""
        shape = (self._bytes // (self._dim * self._dtype.itemsize), self._dim)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.CONTIGUOUS)
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        properties.set_obj_track_times(False)
        kind = h5py.h5t.py_create(self._dtype, logical=True)
        dataset = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), properties)
        return dataset.get_offset()

    def close(self) -> None:
        """Give the stream up."""
        self._stream.close()


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Word errors of the file system and of HDF5 for the user."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) in _DISK_FULL or any(f"errno = {e}," in str(error) for e in _DISK_FULL)
        advice = "disk full; free some space and rerun" if full else "see whether its folder can be written to"
        raise DataError(f"{path}: could not be written: {advice} ({error}).") from error


def all_finite(values: np.ndarray) -> bool:
    """Whether no value is NaN or infinite."""
    values = np.ravel(values)  # not copied if in one piece
    # By pieces: released descriptors come as one image of 10 GB.
    return all(_finite(values[i : i + _CHECKED]) for i in range(0, len(values), _CHECKED))


def _finite(values: np.ndarray) -> bool:
    # A sum is the fastest way to look at all, but for float16; finite values that overflow it are looked at again.
    if values.dtype != np.float16:
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(values.sum()):
                return True
    return bool(np.isfinite(values).all())


def put(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Store an array whole, without time stamps."""
    file.create_dataset(name, data=values, track_times=False)


class StoredRows:
    """Where a dataset lies in its file; outlives the dataset.

    Attributes:
        shape: of all rows.
        dtype: as stored.

    Raises:
        ValueError: the dataset is not stored in one piece.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self._offset = dataset.id.get_offset()
        if self._offset is None and dataset.size:
            raise ValueError(f"{dataset.name} is not stored in one piece")

    def map(self, file: BinaryIO, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last``, aligned: a view of ``file`` (small ones: a copy), which may be closed meanwhile.

        The view can be written to; what is written stays in memory and never reaches the file. The
        memory is given back with the view, so that reading block by block stays bounded.
        """
        shape = (last - first, *self.shape[1:])
        if 0 in shape:
            return np.empty(shape, self.dtype)
        row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        mapped = np.memmap(file, self.dtype, mode="c", offset=self._offset + int(first) * row_bytes, shape=shape)
        # HDF5 puts small datasets anywhere; kernels read whole numbers.
        return np.require(mapped.view(np.ndarray), requirements="A")


def encode_texts(texts: list[str]) -> np.ndarray:
    """Texts of fixed length: variable ones live in a heap whose bytes are not the same each time."""
    raw = [text.encode() for text in texts]
    return np.asarray(raw, dtype=h5py.string_dtype("utf-8", max([1, *map(len, raw)])))


def decode_text(text: bytes | str) -> str:
    """A text of :func:`encode_texts` as h5py gives it back."""
    return text if isinstance(text, str) else text.decode()
