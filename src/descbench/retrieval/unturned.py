"""How many images EXIF says are to be turned and were read as they are stored: a number that files hand on.

It stands in files of words, indexes and rankings, as ``unturned`` int64, where there are any.
"""

from __future__ import annotations

import numpy as np

from descbench.io.hdf5 import Hdf5Reader, Hdf5Writer

_NAME = "unturned"


def put_unturned(file: Hdf5Writer, *numbers: int) -> None:
    """Write numbers; nothing where all are 0, so that files without such images are what they would be."""
    if any(numbers):
        file.put(_NAME, np.array(numbers, np.int64))


def read_unturned(file: Hdf5Reader) -> int:
    """What :func:`put_unturned` wrote of one number.

    Raises:
        ValueError: it is none.
    """
    return read_unturned_numbers(file, 1)[0]


def read_unturned_numbers(file: Hdf5Reader, count: int) -> tuple[int, ...]:
    """Likewise, of so many."""
    found = tuple(file.array(_NAME, np.int64).tolist()) if _NAME in file else (0,) * count
    if len(found) != count or min(found) < 0:
        raise ValueError(f"{found} are no numbers of images")
    return found
