"""Feature files of hloc (docs/interop.md, hloc's files).

A group an image, named by its path, with ``keypoints (N, 2)``, whose first pixel has its middle at 0, 0, ``descriptors
(D, N)``, ``scores (N,)`` and ``image_size (2,)``; the attribute ``uncertainty`` of the keypoints where it is known.
Features of ours have ``scales`` (pixels) and ``oris`` (radians) beside them, which most matchers pass over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from descbench.datasets.labels import safe_relative
from descbench.errors import DataError
from descbench.interop.exchanged import ExchangedFeatures, same_or_none
from descbench.io.hloc_files import HlocGroups, created_hloc, opened_hloc, put
from descbench.io.kinds import shorten
from descbench.listing import listed

WHAT = "feature file"
_MIDDLE = np.float32(0.5)  # of the first pixel, in the feature store


def write_hloc_features(features: Iterable[tuple[str, ExchangedFeatures]], path: Path) -> int:
    """Write a feature file of hloc.

    Args:
        features: name of each image, below hloc's folder of images, and what it has; a size is needed.
        path: the file.

    Returns:
        number of images.

    Raises:
        DataError: a name that leaves its folder or comes twice, an image without a size, or a full disk.
    """
    names: set[str] = set()
    with created_hloc(path) as file:
        for name, found in features:
            if safe_relative(name, path) in names:
                raise DataError(f"{path}: image {shorten(name)!r} comes twice; hloc knows images by their names alone.")
            if found.size is None:
                raise DataError(f"{path}: image {shorten(name)!r} has no size, which hloc's matchers need.")
            names.add(name)
            group = file.create_group(name)
            keypoints = put(group, "keypoints", found.keypoints.astype(np.float32) - _MIDDLE)
            put(group, "descriptors", np.ascontiguousarray(found.descriptors.T, np.float32))
            put(group, "image_size", np.array(found.size, np.int64))
            for key, values in (("scores", found.scores), ("scales", found.scales), ("oris", found.orientations)):
                if values is not None:
                    put(group, key, np.asarray(values, np.float32))
            if found.uncertainty is not None:
                keypoints.attrs["uncertainty"] = np.float64(found.uncertainty)
    return len(names)


def read_hloc_features(path: Path, names: Iterable[str] | None = None) -> dict[str, ExchangedFeatures]:
    """Features of images by name, as :func:`each_hloc_image` reads them."""
    return dict(each_hloc_image(path, names))


def each_hloc_image(path: Path, names: Iterable[str] | None = None) -> Iterator[tuple[str, ExchangedFeatures]]:
    """Name and features of one image after the other; float16 becomes float32.

    Args:
        path: the file.
        names: images that are wanted; None: all of the file.

    Raises:
        DataError: no such file, a damaged one, one of global descriptors, an image that it lacks, a name that leaves
            the folder of images, arrays that do not fit each other, NaN or infinity.
    """
    with opened_hloc(path, WHAT) as groups:
        known = {safe_relative(name, path): name for name in groups if groups.has(name, "keypoints")}
        if not known:
            raise DataError(f"{path}: holds no keypoints of any image; is it of global descriptors, or of matches?")
        wanted = list(known if names is None else names)
        missing = [name for name in wanted if name not in known]
        if missing:
            raise DataError(
                f"{path}: lacks {len(missing)} of {len(wanted)} images ({listed(map(shorten, missing), 5)}); have "
                "hloc extract them under these names, which are relative to its folder of images."
            )
        for name in wanted:
            yield name, _read_image(groups, name)


def _read_image(groups: HlocGroups, name: str) -> ExchangedFeatures:
    keypoints = groups.array(name, "keypoints", "f", 2).astype(np.float32)
    descriptors = groups.array(name, "descriptors", "f", 2).T.astype(np.float32)
    optional = {
        ours: groups.array(name, theirs, "f", 1) if groups.has(name, theirs) else None
        for ours, theirs in (("scores", "scores"), ("scales", "scales"), ("orientations", "oris"))
    }
    size = groups.array(name, "image_size", "iu", 1).tolist() if groups.has(name, "image_size") else None
    if size is not None and len(size) != 2:
        raise ValueError(f"image_size of {shorten(name)!r} has {len(size)} numbers")
    try:
        return ExchangedFeatures(
            keypoints + _MIDDLE,
            np.ascontiguousarray(descriptors),
            **{key: same_or_none(values) for key, values in optional.items()},
            size=None if size is None else (size[0], size[1]),
            uncertainty=groups.number(name, "keypoints", "uncertainty"),
        )
    except ValueError as error:
        raise ValueError(f"image {shorten(name)!r}: {error}") from None
