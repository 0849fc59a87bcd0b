"""Checks of features, for the stages that read them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descbench.datasets.manifest import read_manifest, read_manifest_part
from descbench.errors import DataError
from descbench.features.store import ShardReader, check_shard


def check_shard_files(
    paths: Sequence[str | os.PathLike[str]], features: str, images: Sequence[str | Mapping[str, Any]]
) -> None:
    """Refuse shard files that another features block made, or that hold other images, such as another dataset's.

    Args:
        paths: the files.
        features: digest of the features block.
        images: digest of the images of each file, or where it is found: ``manifest``, ``role``, ``start``, ``stop``.

    Raises:
        StaleFileError: names the file and both digests; see :func:`~descbench.features.store.check_shard`.
        DataError: a damaged file.
    """
    for path, expected in zip(paths, digests_of_images(images), strict=True):
        with ShardReader(path) as shard:
            check_shard(shard, features=features, images=expected, checkpoint=None)


def digests_of_images(images: Sequence[str | Mapping[str, Any]]) -> list[str]:
    """Digests of the images of shards, which :func:`check_shard_files` describes; a manifest is read once."""
    places = Counter((one["manifest"], one["role"]) for one in images if not isinstance(one, str))
    several = {place: read_manifest(place[0]).of_role(place[1]) for place, count in places.items() if count > 1}

    def digest(manifest: str, role: str, start: int, stop: int | None) -> str:
        whole = several.get((manifest, role))
        rows = read_manifest_part(manifest, role, start, stop) if whole is None else whole.slice(start, stop)
        return rows.digest()

    return [one if isinstance(one, str) else digest(**one) for one in images]


def check_finite(path: Path, descriptors: np.ndarray, image_ids: np.ndarray) -> None:
    """Refuse NaN and infinity in descriptors (N, D), naming the first image (N,) that has one."""
    wrong = ~np.isfinite(descriptors).all(axis=1)
    if wrong.any():
        raise DataError(
            f"{path}: descriptors of image {image_ids[np.argmax(wrong)]} hold NaN or infinity; "
            "delete the file, check the model's weights and the image, and run again."
        )
