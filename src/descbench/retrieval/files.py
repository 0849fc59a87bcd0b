"""What the HDF5 files of this room share: a kind, a format version, no time stamps, refusal of strangers."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from descbench.errors import DataError, StaleFileError
from descbench.io.atomic import atomic_path

FORMAT_VERSION = 1
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_SIGNS = ("no space left", "file too large", "quota exceeded")


@contextmanager
def created(path: Path, kind: str, attributes: Mapping[str, Any]) -> Iterator[h5py.File]:
    """Open a new file of one kind for writing; it appears under its name when all went well.

    Equal content gives equal bytes: datasets are to be made with :func:`put`, which keeps no times.

    Raises:
        DataError: the disk is full.
    """
    try:
        with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=("earliest", "v110")) as file:
            file.attrs["kind"] = kind
            file.attrs["format_version"] = FORMAT_VERSION
            for name, value in attributes.items():
                file.attrs[name] = value
            yield file
    except (OSError, RuntimeError) as error:
        # HDF5 may notice a full disk only when the file is closed, and then has no errno to give.
        if getattr(error, "errno", None) in _FULL or any(sign in str(error).lower() for sign in _FULL_SIGNS):
            raise DataError(f"{path}: disk full; nothing was kept. Free some space and run again.") from error
        raise


def put(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Store an array uncompressed and in one piece, so that :func:`mapped` can map it."""
    file.create_dataset(name, data=values, track_times=False)


@contextmanager
def opened(path: Path, kind: str) -> Iterator[h5py.File]:
    """Open a file of one kind for reading.

    Raises:
        DataError: it is absent, cut short, of another kind or of another format version.
    """
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise DataError(f"{path}: no such {kind}.") from None
    except OSError as error:
        raise DataError(f"{path}: not a {kind}, or cut short ({error}); delete it and run again.") from None
    with file:
        found = file.attrs.get("kind"), file.attrs.get("format_version")
        if found != (kind, FORMAT_VERSION):
            raise DataError(
                f"{path}: not a {kind} of format {FORMAT_VERSION} (found {found[0]}, {found[1]}); "
                "delete it and run again."
            )
        try:
            yield file
        except (KeyError, OSError) as error:
            raise DataError(f"{path}: damaged {kind} ({error}); delete it and run again.") from error


def mapped(file: h5py.File, name: str) -> np.ndarray:
    """A dataset as a read-only memory map where its place in the file allows it, else read into memory."""
    dataset = file[name]
    offset = dataset.id.get_offset()
    if offset is None or dataset.size == 0 or offset % dataset.dtype.itemsize:
        return dataset[:]
    return np.memmap(file.filename, dataset.dtype, "r", offset, dataset.shape)


def same(path: Path, what: str, found: str, expected: str) -> None:
    """Refuse a file whose digest of ``what`` is not the expected one.

    Raises:
        StaleFileError: names the file and both digests.
    """
    if found != expected:
        raise StaleFileError(
            f"{path}: made with another {what}: it has {found or 'none'}, expected {expected or 'none'}. "
            "Delete the older of the two files and run again."
        )
