"""Change the content of sealed HDF5 files, so that what stands behind the checksums is tested."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from descbench.io.seal import check_seal, seal


@contextmanager
def altered(path: Path) -> Iterator[h5py.File]:
    """The file, open for changes; it is sealed anew at the end."""
    os.truncate(path, check_seal(path))
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        yield file
    seal(path)
