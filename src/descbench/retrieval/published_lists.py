"""Published lists of nearest neighbours: HNDesc's pickles for Oxford and Paris, NetVLAD's MATLAB file for Tokyo 24/7.

Definition: docs/protocols/local_reranking.md, Published lists.

The files are untrusted: every name and number is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from descbench.datasets.manifest import ManifestRow
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.io.matfiles import read_mat
from descbench.io.pickles import load_pickle

# Endings that a name of an image may have in one list and not in another.
_IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class PublishedList:
    """Nearest neighbours of queries, by the names that the file has.

    Attributes:
        queries: names of the queries.
        images: names of database images.
        ranks: for each query (k,) int64 positions in ``images``, best first; k may differ.
    """

    queries: Sequence[str]
    images: Sequence[str]
    ranks: Sequence[np.ndarray]


def read_published_list(path: Path) -> PublishedList:
    """Read a list, of the kind that the ending of its name says.

    Raises:
        DataError: the file is absent, damaged or of another kind, or ranks an image that it does not name.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise DataError(f"{path}: lists of nearest neighbours end in {' or '.join(_READERS)}; name yours so.")
    return _READERS[suffix](path)


def _read_ranks(path: Path) -> PublishedList:
    """A pickle with q_images, db_images and ranks (k, Q), one column a query."""
    content = load_pickle(path)
    wanted = ("q_images", "db_images", "ranks")
    if not isinstance(content, Mapping) or any(key not in content for key in wanted):
        raise DataError(f"{path}: no list of nearest neighbours; keys {', '.join(wanted)} are needed.")
    queries, images = (_names(content[key], f"{path}: {key}") for key in wanted[:2])
    ranks = content["ranks"]
    if not isinstance(ranks, np.ndarray) or ranks.dtype.kind not in "iu" or ranks.ndim != 2:
        raise DataError(f"{path}: ranks is not an array of whole numbers with a column for each query.")
    if ranks.shape[1] != len(queries):
        raise DataError(f"{path}: ranks has {ranks.shape[1]} columns for {len(queries)} queries; the file is damaged.")
    if len(ranks) > len(images):
        raise DataError(f"{path}: ranks has {len(ranks)} rows, but db_images names {len(images)}; the file is damaged.")
    if ranks.size and not 0 <= int(ranks.min()) <= int(ranks.max()) < len(images):
        raise DataError(f"{path}: ranks goes beyond the {len(images)} images of db_images; the file is damaged.")
    return PublishedList(queries, images, list(ranks.T.astype(np.int64)))


def _read_img_list(path: Path) -> PublishedList:
    """A MATLAB file with ``ImgList``: of each query its name and a cell of names, whatever the fields are called."""
    entries = read_mat(path, "ImgList")
    found = [entries] if isinstance(entries, dict) else list(np.ravel(entries))
    if not found or not all(isinstance(entry, dict) and len(entry) > 1 for entry in found):
        raise DataError(f"{path}: ImgList is not an array of structs with a query and its images: another file.")
    images: dict[str, int] = {}
    queries, ranks = [], []
    for number, entry in enumerate(found):
        query, listed, *_ = entry.values()
        queries += _names([query], f"{path}: query {number} of ImgList")
        names = _names(np.ravel(listed).tolist(), f"{path}: images of query {shorten(query)}")
        ranks.append(np.array([images.setdefault(name, len(images)) for name in names], np.int64))
    return PublishedList(queries, list(images), ranks)


_READERS: Mapping[str, Callable[[Path], PublishedList]] = {".pkl": _read_ranks, ".mat": _read_img_list}


def _names(values: Any, what: str) -> list[str]:
    if not isinstance(values, list | tuple) or not all(isinstance(name, str) and name.strip() for name in values):
        raise DataError(f"{what}: no list of names of images.")
    return list(values)


class ImagesByName:
    """Ids of the images of a role by names of theirs, which may have another folder and another ending.

    Args:
        rows: of the manifest.
    """

    def __init__(self, rows: Iterable[ManifestRow]) -> None:
        self._known: dict[str, list[tuple[list[str], int]]] = {}
        for row in rows:
            parts = _parts(row.path)
            self._known.setdefault(parts[-1], []).append((parts, row.image_id))

    def find(self, name: str) -> int | None:
        """The image of that name; where several have it, the one whose folders agree as well. None: there is none.

        Raises:
            ValueError: several have it in the same folders.
        """
        parts = _parts(name)
        found = self._known.get(parts[-1], [])
        if len(found) < 2:
            return found[0][1] if found else None
        shared = [_shared(parts, other) for other, _ in found]
        best = [image for (_, image), length in zip(found, shared, strict=True) if length == max(shared)]
        if len(best) > 1:
            raise ValueError(f"{shorten(name)} may be any of {len(best)} images")
        return best[0]


def _parts(name: str) -> list[str]:
    """Folders and name of an image, without the ending of its file."""
    ending = next((ending for ending in _IMAGES if name.lower().endswith(ending)), "")
    return name.removesuffix(name[len(name) - len(ending) :]).split("/")


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Number of last parts that are the same."""
    same = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        same += 1
    return same
