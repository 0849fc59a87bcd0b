"""Descriptors released by the authors of HOW, brought into the feature store.

Definition: docs/protocols/how.md, Released descriptors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from descbench.errors import DataError
from descbench.features.shards import ShardSpec
from descbench.features.store import ShardInfo, ShardWriter
from descbench.io.pickles import load_pickle

_KEYS = {"database": ("vecs", "imids"), "query": ("qvecs", "qimids"), "train": ("vecs", None)}


def import_features(released: Path, shard: ShardSpec, output: Path) -> None:
    """Write one shard from a released pickle.

    Args:
        released: pickle with ``vecs`` (N, D) float32 and ``imids`` (N,) for the database, ``qvecs`` and
            ``qimids`` for the queries; the codebook file has ``vecs`` alone.
        shard: its images, of role ``database``, ``query``, or ``train`` for descriptors without image ids, which
            become one pseudo-image.
        output: the file to write.

    Raises:
        DataError: the pickle lacks an array, or its ids do not ascend or lie outside the dataset; the manifest is
            shorter than the shard.

    Descriptors of an image are taken to stand strongest first, the order of extraction.
    """
    if shard.role not in _KEYS:
        raise DataError(f"{released}: released files hold no {shard.role} images, only {', '.join(_KEYS)}.")
    content = load_pickle(released)
    name, id_name = _KEYS[shard.role]
    images = shard.find_images()
    vectors = _array(content, name, released)
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise DataError(f"{released}: {name} is {vectors.dtype} {vectors.shape}, expected float32 (N, D).")
    ids = np.zeros(len(vectors), np.int64) if id_name is None else _array(content, id_name, released)
    _check_ids(ids, len(vectors), len(shard.listed.of_role(shard.role)), released)
    wanted = range(shard.start, shard.start + len(images))
    bounds = np.searchsorted(ids, np.arange(wanted.start, wanted.stop + 1))
    info = ShardInfo("local", shard.features, images.digest(), checkpoint="", device="")
    with ShardWriter(output, info, vectors.shape[1]) as writer:
        for image_id, low, high in zip(wanted, bounds[:-1], bounds[1:], strict=True):
            writer.add(image_id, vectors[low:high])


def _array(content: Any, name: str, released: Path) -> np.ndarray:
    if not isinstance(content, dict) or not isinstance(content.get(name), np.ndarray):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{released}: no array {name!r} (found {found}); not a released descriptor file of HOW.")
    return content[name]


def _check_ids(ids: np.ndarray, count: int, num_images: int, released: Path) -> None:
    if ids.shape != (count,) or ids.dtype.kind not in "iu":
        raise DataError(
            f"{released}: image ids are {ids.dtype} {ids.shape} for {count} descriptors, expected whole numbers "
            f"({count},); not a released descriptor file of HOW."
        )
    ids = ids.astype(np.int64)  # differences of unsigned numbers wrap around
    if count and (np.diff(ids) < 0).any():
        raise DataError(f"{released}: image ids do not ascend; the descriptors of an image must stand together.")
    if count and not 0 <= ids[0] <= ids[-1] < num_images:
        raise DataError(f"{released}: image ids {ids[0]} to {ids[-1]}, but the dataset has {num_images} images.")
