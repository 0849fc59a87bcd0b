"""The one module that opens and writes HDF5. Every file has a kind, a format version and a seal over all its bytes.

Files are plain: datasets in one piece at the root, numbers and texts of fixed length, the format whose
metadata carry checksums, no time stamps; equal content is equal bytes. What is otherwise is refused before
HDF5 reads values of it: links to elsewhere, groups, virtual and external data, filters, objects, data of
variable length.

HDF5 can store an array in one piece only if its length is known when it is created; the descriptors of
a shard arrive image by image. So their bytes go to the file first, behind a gap that HDF5's own head
fits into, and at the end a dataset is created exactly over them (:class:`RowStream`). In one piece they are
written at the speed of the disk, and read by mapping them into memory; the ways that HDF5 offers itself take
twice as long to write or to read (docs/benchmarks_log.md, Why the store lays a dataset over its rows).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import xxhash

from descbench.errors import DataError
from descbench.io.atomic import atomic_path
from descbench.io.seal import Segment, check_seal, seal

_START = 4096  # offset of the streamed rows; what HDF5 writes before them takes about 3,000 bytes
_ALIGNED_BYTES = 1 << 16  # arrays from this size on begin at multiples of _START; HDF5's own blocks are smaller
_PIECE_BYTES = 1 << 21  # written at once: the system keeps large pieces in large pages, which map faster
_ADVANCE_BYTES = 1 << 24  # written between two requests to start moving it to the disk
_NEWEST: dict[str, Any] = {"libver": ("v110", "v110"), "locking": False}
_MOST = 64  # datasets or attributes of a file; ours have about ten
_PLAIN_TYPES = (h5py.h5t.INTEGER, h5py.h5t.FLOAT)


class Hdf5Writer:
    """A file that is being written."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def put(self, name: str, values: np.ndarray) -> None:
        """Store an array whole."""
        self._file.create_dataset(name, data=values, track_times=False)

    def put_texts(self, name: str, texts: Sequence[str]) -> None:
        """Store texts, at a fixed length: variable ones live in a heap whose bytes are not the same each time."""
        self.put(name, _encoded(texts))

    def reserve(self, name: str, shape: tuple[int, ...], dtype: type | np.dtype) -> h5py.Dataset:
        """An array of zeros in one piece, to be filled by assigning to slices of it."""
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.CONTIGUOUS)
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_obj_track_times(False)
        kind, space = h5py.h5t.py_create(np.dtype(dtype), logical=True), h5py.h5s.create_simple(shape)
        return h5py.Dataset(h5py.h5d.create(self._file.id, name.encode(), kind, space, properties))

    def set(self, name: str, value: str | int | bool) -> None:
        """Store a text or a number as an attribute."""
        self._file.attrs[name] = _encoded([value])[0] if isinstance(value, str) else np.int64(value)


@contextmanager
def created(path: Path, kind: str, version: int, attributes: Mapping[str, str | int | bool]) -> Iterator[Hdf5Writer]:
    """Open a new file of one kind for writing; it appears under its name, sealed, when all went well.

    Raises:
        DataError: the disk is full, or the folder cannot be written to.
    """
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", **_NEWEST) as file:
            writer = Hdf5Writer(file)
            for name, value in {"kind": kind, "format_version": version, **attributes}.items():
                writer.set(name, value)
            yield writer
        seal(temporary)


class RowStream:
    """Rows of unknown number, written to a file that becomes an HDF5 file over them.

    Args:
        path: the file, overwritten.
        dim: values of a row.
        dtype: as stored.
    """

    def __init__(self, path: Path, dim: int, dtype: np.dtype) -> None:
        self._path, self._dim, self._dtype = path, dim, dtype
        h5py.File(path, "w", **_NEWEST).close()
        self._stream = FileIO(path, "r+")
        self._stream.seek(_START)
        self._piece = memoryview(bytearray(_PIECE_BYTES))
        self._filled = 0  # bytes of the piece
        self._bytes = 0
        self._advanced = 0
        self._hash = xxhash.xxh3_128()

    def append(self, rows: np.ndarray) -> None:
        """Write (n, dim) rows of the stream's type."""
        values = memoryview(np.ascontiguousarray(rows).reshape(-1).view(np.uint8))
        while len(values):
            part = values[: _PIECE_BYTES - self._filled]
            self._piece[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            if self._filled == _PIECE_BYTES:
                self._flush()
            values = values[len(part) :]

    def _flush(self) -> None:
        values, self._filled = self._piece[: self._filled], 0
        self._hash.update(values)
        written = 0
        while written < len(values):  # the system may take less than all
            written += self._stream.write(values[written:])
        self._bytes += written
        if self._bytes - self._advanced >= _ADVANCE_BYTES:
            # The disk works while the next images are computed; the wait at the end is short.
            length = self._bytes - self._advanced
            os.posix_fadvise(self._stream.fileno(), _START + self._advanced, length, os.POSIX_FADV_DONTNEED)
            self._advanced = self._bytes

    @contextmanager
    def into_dataset(self, name: str) -> Iterator[Hdf5Writer]:
        """End the stream: the file, open for more datasets, with the rows as dataset ``name``; sealed at the end.

        Raises:
            DataError: this release of HDF5 lays files out in an unforeseen way.
        """
        self._flush()
        self._stream.seek(_START)
        small = self._stream.read(self._bytes) if self._bytes < _ALIGNED_BYTES else None
        self._stream.close()
        places = {"alignment_threshold": _ALIGNED_BYTES, "alignment_interval": _START}
        with h5py.File(self._path, "r+", **_NEWEST, **places) as file:
            writer = Hdf5Writer(file)
            if small is not None:
                writer.put(name, np.frombuffer(small, self._dtype).reshape(-1, self._dim))
            elif self._lay_over(file, name) != _START:
                raise DataError(
                    f"{self._path}: HDF5 {h5py.version.hdf5_version} lays files out otherwise; "
                    "install h5py as pinned in requirements/base.txt."
                )
            yield writer
        # Large rows were hashed as they came.
        known = () if small is not None else (Segment(_START, _START + self._bytes, self._hash.digest()),)
        seal(self._path, known)

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


class StoredRows:
    """Where a dataset lies in its file; outlives the open file.

    Attributes:
        shape: of all rows.
        dtype: as stored, a plain number.
    """

    def __init__(self, name: str, dataset: h5py.Dataset, content: int) -> None:
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self._offset = dataset.id.get_offset()
        if dataset.size and (self._offset is None or self._offset + dataset.size * self.dtype.itemsize > content):
            raise ValueError(f"{name} is not stored in one piece of the file")

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


class Hdf5Reader:
    """A file of one kind whose bytes were checked; made by :func:`opened`.

    All methods raise ValueError for what is absent or otherwise than asked for; :func:`opened` makes a
    DataError of it that names the file.
    """

    def __init__(self, file: h5py.File, path: Path, content: int) -> None:
        self._file, self._path, self._content = file, path, content
        self._names = _check_plain(file)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def array(self, name: str, dtype: Any, ndim: int = 1) -> np.ndarray:
        """A dataset in memory; ``dtype`` is one type or a tuple of types it may have."""
        rows = self.rows(name, dtype, ndim)
        with open(self._path, "rb") as file:
            return rows.map(file, 0, rows.shape[0]).copy()

    def rows(self, name: str, dtype: Any, ndim: int = 1) -> StoredRows:
        """Where a dataset of numbers lies."""
        dataset = self._dataset(name)
        kinds = [np.dtype(kind) for kind in (dtype if isinstance(dtype, tuple) else (dtype,))]
        if dataset.dtype not in kinds or dataset.ndim != ndim:
            wanted = " or ".join(map(str, kinds))
            raise ValueError(f"{name} is {dataset.dtype} with {dataset.ndim} axes, not {wanted} with {ndim}")
        return StoredRows(name, dataset, self._content)

    def mapped(self, name: str, dtype: Any, ndim: int = 1) -> np.ndarray:
        """A dataset as a memory map, see :meth:`StoredRows.map`."""
        rows = self.rows(name, dtype, ndim)
        with open(self._path, "rb") as file:
            return rows.map(file, 0, rows.shape[0])

    def texts(self, name: str) -> list[str]:
        """A dataset of texts."""
        dataset = self._dataset(name)
        if dataset.dtype.kind != "S" or dataset.ndim != 1:
            raise ValueError(f"{name} is {dataset.dtype} with {dataset.ndim} axes, not texts")
        StoredRows(name, dataset, self._content)  # no memory for texts that the file cannot hold
        return [_decoded(text) for text in dataset[:]]

    def text(self, name: str) -> str:
        """An attribute that is a text."""
        value = self._attribute(name)
        if not isinstance(value, str | bytes):
            raise ValueError(f"attribute {name} is not text")
        return _decoded(value)

    def number(self, name: str) -> int:
        """An attribute that is a whole number."""
        value = self._attribute(name)
        if not isinstance(value, np.integer):
            raise ValueError(f"attribute {name} is not a whole number")
        return int(value)

    def _dataset(self, name: str) -> h5py.Dataset:
        if name not in self._names:
            raise ValueError(f"{name} is absent")
        return self._file[name]

    def _attribute(self, name: str) -> Any:
        if name not in self._file.attrs:
            raise ValueError(f"attribute {name} is absent")
        return self._file.attrs[name]


@contextmanager
def opened(path: Path, kind: str, version: int, *, checked: bool = False) -> Iterator[Hdf5Reader]:
    """Open a file of one kind for reading, after its bytes were compared with its seal.

    Args:
        path: the file.
        kind: what it must be, in words.
        version: format version it must have.
        checked: the caller has opened it before: its bytes are not looked at again.

    Raises:
        DataError: it is absent, damaged, of another kind or of another format version, or holds what such a
            file must not; so are ValueErrors of the body.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such {kind}; run the stage that makes it.")
    try:
        content = path.stat().st_size if checked else check_seal(path)
        with h5py.File(path, "r", locking=False) as file:
            reader = Hdf5Reader(file, path, content)
            _check_kind(reader, path, kind, version)
            yield reader
    # All that h5py and numpy raise for content they do not expect; MemoryError for absurd sizes.
    except (LookupError, ValueError, TypeError, AttributeError, OSError, RuntimeError, MemoryError) as error:
        raise DataError(f"{path}: not a {kind} as this version writes it ({error}); delete it and rerun.") from error


def read_mapping(text: str) -> dict[str, Any]:
    """A mapping that an attribute holds as JSON.

    Raises:
        ValueError: it does not.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text[:40]!r} is not a mapping")
    return value


def _check_kind(reader: Hdf5Reader, path: Path, kind: str, version: int) -> None:
    found = reader.text("kind"), reader.number("format_version")
    if found != (kind, version):
        raise DataError(
            f"{path}: holds a {found[0]} of format version {found[1]}, this package reads a {kind} of version "
            f"{version}; delete it and rerun."
        )


def _check_plain(file: h5py.File) -> set[str]:
    """Names of the datasets of a file that holds nothing but plain ones.

    Raises:
        ValueError: it holds anything else, or has metadata without checksums.
    """
    if file.id.get_create_plist().get_version()[0] < 2:
        raise ValueError("its metadata carry no checksums")
    if len(file) > _MOST or len(file.attrs) > _MOST:
        raise ValueError("it holds too much")
    names = list(file)
    for name in names:
        if file.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{name} is a link to elsewhere")
        if h5py.h5o.get_info(file.id, name.encode()).type != h5py.h5o.TYPE_DATASET:
            raise ValueError(f"{name} is not a dataset")
        _check_dataset(name, file[name].id)
    for name in file.attrs:
        attribute = h5py.h5a.open(file.id, name.encode())
        if attribute.shape not in ((), (1,)) or not _is_plain(attribute.get_type()):
            raise ValueError(f"attribute {name} is not a number or text of fixed length")
    return set(names)


def _check_dataset(name: str, dataset: h5py.h5d.DatasetID) -> None:
    properties = dataset.get_create_plist()
    if properties.get_layout() != h5py.h5d.CONTIGUOUS or properties.get_external_count():
        raise ValueError(f"{name} is not stored in one piece")
    if properties.get_nfilters():
        raise ValueError(f"{name} passed through filters")
    if not _is_plain(dataset.get_type()):
        raise ValueError(f"{name} holds other than numbers or texts of fixed length")


def _is_plain(kind: h5py.h5t.TypeID) -> bool:
    if kind.get_class() == h5py.h5t.STRING:
        return not kind.is_variable_str()
    return kind.get_class() in _PLAIN_TYPES


def _encoded(texts: Sequence[str]) -> np.ndarray:
    raw = [text.encode() for text in texts]
    return np.asarray(raw, dtype=h5py.string_dtype("utf-8", max([1, *map(len, raw)])))


def _decoded(text: bytes | str) -> str:
    return text if isinstance(text, str) else text.decode()
