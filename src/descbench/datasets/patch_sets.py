"""Patch sets: patches cut from photographs, and which of them show the same point. One HDF5 file for each part.

A file holds ``patches`` (N, H, W) uint8; ``points`` and ``views`` (N,) int64; the names of the views; and the test
pairs that the set lists, ``pairs`` (M, 2) int64 with ``matches`` (M,) uint8, in the order of the list.

* Brown PhotoTour: ``points`` are the ids of the 3-D points, there is one view, called ``all``.
* HPatches: a part is a sequence, ``points`` number the patches of a strip, views are ``ref``, ``e1`` to ``t5``; the
  pairs of its tasks are lists of their own, so there are none here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from descbench.errors import DataError, StaleFileError
from descbench.io.hdf5 import created, opened

FORMAT_VERSION = 1
_KIND = "patch set"
ALL = "all"


@dataclass(frozen=True)
class PatchLabels:
    """What is known of N patches.

    Attributes:
        points: (N,) int64, from 0; patches with the same number show the same point of the scene.
        views: (N,) int64 indices into ``view_names``.
        view_names: kinds of images that the patches were cut from.
        pairs: (M, 2) int64 indices of the patches of each test pair; M may be 0.
        matches: (M,) uint8, 1 where both patches of a pair show the same point, else 0.
    """

    points: np.ndarray
    views: np.ndarray
    view_names: tuple[str, ...]
    pairs: np.ndarray
    matches: np.ndarray

    def check(self) -> None:
        """Refuse labels that do not fit each other.

        Raises:
            ValueError: no patches, arrays of different lengths, or numbers out of range.
        """
        count, pairs = len(self.points), len(self.pairs)
        if not count or self.views.shape != (count,) or self.points.shape != (count,):
            raise ValueError(f"{count} points and {len(self.views)} views are not labels of patches")
        if self.pairs.shape != (pairs, 2) or self.matches.shape != (pairs,):
            raise ValueError(f"{pairs} pairs and {len(self.matches)} labels of them do not fit")
        for values, stop, what in (
            (self.points, np.iinfo(np.int64).max, "point"),
            (self.views, len(self.view_names), "view"),
            (self.pairs, count, "patch of a pair"),
            (self.matches, 2, "label of a pair"),
        ):
            wrong = values[(values < 0) | (values >= stop)]
            if len(wrong):
                raise ValueError(f"{what} {wrong[0]} is outside 0 to {stop - 1}")
        same = self.points[self.pairs[:, 0]] == self.points[self.pairs[:, 1]]
        wrong_pairs = self.pairs[same != self.matches]
        if len(wrong_pairs):
            raise ValueError(f"the label of pair {wrong_pairs[0].tolist()} is not that of the points of its patches")


@dataclass(frozen=True)
class PatchSource:
    """What a reader of an official format gives.

    Attributes:
        labels: of all patches.
        side: height and width of a patch in pixels.
        blocks: the patches in order, (n, side, side) uint8 at a time; read when they are asked for.
    """

    labels: PatchLabels
    side: int
    blocks: Iterator[np.ndarray]


@dataclass(frozen=True)
class Patches:
    """One part of a patch set.

    Attributes:
        patch_set, part: names.
        patches: (N, H, W) uint8, mapped from the file.
        labels: of all patches.
        digest: of patches and labels, by which files made of them know them.
    """

    patch_set: str
    part: str
    patches: np.ndarray
    labels: PatchLabels
    digest: str


def write_patches(source: PatchSource, patch_set: str, part: str, path: Path) -> None:
    """Write a part of a patch set, block by block; equal content gives equal bytes.

    Raises:
        DataError: the blocks hold another number of patches than the labels, or the labels do not fit each other.
    """
    labels, count = source.labels, len(source.labels.points)
    try:
        labels.check()
    except ValueError as error:
        raise DataError(f"patch_sets.{patch_set}: part {part}: {error}; fetch it again.") from None
    hashed = xxhash.xxh3_128()
    with created(path, _KIND, FORMAT_VERSION, {"patch_set": patch_set, "part": part}) as file:
        stored = file.reserve("patches", (count, source.side, source.side), np.uint8)
        done = 0
        for block in source.blocks:
            if done + len(block) > count:
                raise DataError(f"patch_sets.{patch_set}: part {part}: more than {count} patches; fetch it again.")
            stored[done : done + len(block)] = block
            hashed.update(np.ascontiguousarray(block))
            done += len(block)
        if done != count:
            raise DataError(f"patch_sets.{patch_set}: part {part}: {done} patches instead of {count}; fetch it again.")
        for name in ("points", "views", "pairs", "matches"):
            values = np.ascontiguousarray(getattr(labels, name))
            file.put(name, values)
            hashed.update(values)
        file.put_texts("view_names", labels.view_names)
        hashed.update("\n".join(labels.view_names).encode())
        file.set("digest", hashed.hexdigest())


def read_patches(path: Path, of: tuple[str, str] | None = None) -> Patches:
    """Read a part of a patch set.

    Args:
        path: the file.
        of: patch set and part that it must be; None: any.

    Raises:
        StaleFileError: it is another one.
        DataError: the file is absent, damaged, no patch set, or its labels do not fit its patches.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        patches = file.mapped("patches", np.uint8, 3)
        labels = PatchLabels(
            file.array("points", np.int64),
            file.array("views", np.int64),
            tuple(file.texts("view_names")),
            file.array("pairs", np.int64, 2),
            file.array("matches", np.uint8),
        )
        labels.check()
        if len(patches) != len(labels.points) or 0 in patches.shape:
            raise ValueError(f"{len(labels.points)} labels of patches of shape {patches.shape}")
        found = Patches(file.text("patch_set"), file.text("part"), patches, labels, file.text("digest"))
    if of is not None and (found.patch_set, found.part) != of:
        raise StaleFileError(
            f"{path}: holds part {found.part} of {found.patch_set}, not {of[1]} of {of[0]}; delete it and run again."
        )
    return found
