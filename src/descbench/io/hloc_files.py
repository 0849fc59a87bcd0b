"""HDF5 files of hloc: what is read of them is plain numbers in groups, whatever else a file may hold is refused.

hloc writes features and matches into one file each, a group an image or a pair, with h5py's newest format, whose
metadata carry checksums. Files of the older format are refused: HDF5 itself may crash at damaged ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from descbench.errors import DataError
from descbench.io.atomic import atomic_path
from descbench.io.kinds import describe_kind, shorten

_NEWEST: dict[str, Any] = {"libver": ("v110", "v110"), "locking": False}
_DEEPEST = 32  # folders of an image's name
_MOST_GROUPS = 5_000_000
_NUMBERS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT)


class HlocGroups:
    """Groups of an open file that hold datasets, by name; made by :func:`opened_hloc`.

    Methods raise ValueError for what is not a plain array; :func:`opened_hloc` makes a DataError of it.
    """

    def __init__(self, file: h5py.File) -> None:
        if file.id.get_create_plist().get_version()[0] < 2:
            raise ValueError(
                "it is of an older format without checksums of its metadata; rewrite it by `h5repack --latest OLD NEW`"
            )
        self._file = file
        self._groups: dict[str, set[str]] = {}
        self._seen: set[int] = set()
        self._walk(file.id, "", 0)

    def __contains__(self, name: str) -> bool:
        return name in self._groups

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def _walk(self, group: h5py.h5g.GroupID, name: str, depth: int) -> None:
        """Note the datasets below a group. Links that lead elsewhere, or twice to the same place, are refused."""
        place = h5py.h5o.get_info(group).addr
        if place in self._seen or depth > _DEEPEST or len(self._seen) > _MOST_GROUPS:
            raise ValueError(f"group {shorten(name)!r} is reached twice, too deep or one of too many")
        self._seen.add(place)
        for raw in group:
            if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                raise ValueError(f"{shorten(raw)} is a link to elsewhere")
            member = raw.decode()
            match h5py.h5o.get_info(group, raw).type:
                case h5py.h5o.TYPE_GROUP:
                    self._walk(h5py.h5g.open(group, raw), f"{name}/{member}" if name else member, depth + 1)
                case h5py.h5o.TYPE_DATASET:
                    self._groups.setdefault(name, set()).add(member)
                case _:
                    raise ValueError(f"{shorten(member)} is neither group nor dataset")

    def has(self, group: str, name: str) -> bool:
        """Whether a group has a dataset."""
        return name in self._groups.get(group, ())

    def array(self, group: str, name: str, kinds: str, ndim: int) -> np.ndarray:
        """A dataset in memory; ``kinds`` are letters of numpy: ``f`` for floats, ``iu`` for whole numbers."""
        if not self.has(group, name):
            raise ValueError(f"{shorten(group)!r} has no {name}")
        dataset = self._file[group][name]
        properties = dataset.id.get_create_plist()
        if dataset.id.get_type().get_class() not in _NUMBERS or dataset.dtype.kind not in kinds:
            raise ValueError(f"{name} of {shorten(group)!r} are {dataset.dtype}")
        if dataset.ndim != ndim:
            raise ValueError(f"{name} of {shorten(group)!r} have {dataset.ndim} axes, not {ndim}")
        if properties.get_external_count() or properties.get_layout() == h5py.h5d.VIRTUAL:
            raise ValueError(f"{name} of {shorten(group)!r} lie in another file")
        if properties.get_nfilters():
            raise ValueError(f"{name} of {shorten(group)!r} are compressed; `h5repack -f NONE OLD NEW` undoes that")
        # A shape costs nothing to claim: no memory for values that are not in the file.
        if dataset.id.get_storage_size() < dataset.size * dataset.dtype.itemsize:
            raise ValueError(f"{name} of {shorten(group)!r} are not in the file")
        return dataset[()]

    def number(self, group: str, name: str, attribute: str) -> float | None:
        """An attribute of a dataset that is a number; None where there is none."""
        attributes = self._file[group][name].attrs
        if attribute not in attributes:
            return None
        kept = h5py.h5a.open(self._file[group][name].id, attribute.encode())
        if kept.shape not in ((), (1,)) or kept.get_type().get_class() not in _NUMBERS:
            raise ValueError(f"{attribute} of {name} of {shorten(group)!r} is not a number")
        return float(np.ravel(attributes[attribute])[0])


@contextmanager
def opened_hloc(path: Path, what: str) -> Iterator[HlocGroups]:
    """Open a file of hloc for reading.

    Args:
        path: the file.
        what: what it is, in words.

    Raises:
        DataError: it is absent, no HDF5 file, damaged, or holds what such a file must not; so are ValueErrors of the
            body.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such {what}; name the .h5 file that hloc wrote.")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield HlocGroups(file)
    except DataError:
        raise
    # All that h5py and numpy raise for content they do not expect; MemoryError for absurd sizes.
    except (LookupError, ValueError, TypeError, AttributeError, OSError, RuntimeError, MemoryError) as error:
        kind = describe_kind(path) or "damaged"
        raise DataError(
            f"{path}: no {what} of hloc that can be read ({shorten(error)}; it is {kind}); have hloc write it again."
        ) from error


@contextmanager
def created_hloc(path: Path) -> Iterator[h5py.File]:
    """Open a new file for hloc; it appears under its name when all went well. Equal content is equal bytes.

    Raises:
        DataError: the disk is full, the folder cannot be written to, or a name that HDF5 cannot have (ValueErrors of
            the body).
    """
    try:
        with atomic_path(path) as temporary, h5py.File(temporary, "w", **_NEWEST) as file:
            yield file
    except ValueError as error:
        raise DataError(f"{path}: cannot be written for hloc ({shorten(error)}); rename the image.") from error


def put(group: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
    """Store an array whole, without a time stamp."""
    return group.create_dataset(name, data=values, track_times=False)
