"""Checks of features, for the stages that read them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from descbench.datasets.manifest import Manifest, read_manifest
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
    manifests: dict[str, Manifest] = {}
    for path, expected in zip(paths, images, strict=True):
        with ShardReader(path) as shard:
            check_shard(shard, features=features, images=digest_of_images(expected, manifests), checkpoint=None)


def digest_of_images(expected: str | Mapping[str, Any], manifests: dict[str, Manifest]) -> str:
    """Digest of the images of a shard, as of :func:`check_shard_files`; ``manifests`` keeps those that were read."""
    if isinstance(expected, str):
        return expected
    name = expected["manifest"]
    if name not in manifests:
        manifests[name] = read_manifest(name)
    return manifests[name].of_role(expected["role"]).slice(expected["start"], expected["stop"]).digest()


def check_finite(path: Path, descriptors: np.ndarray, image_ids: np.ndarray) -> None:
    """Refuse NaN and infinity in descriptors (N, D), naming the first image (N,) that has one."""
    wrong = ~np.isfinite(descriptors).all(axis=1)
    if wrong.any():
        raise DataError(
            f"{path}: descriptors of image {image_ids[np.argmax(wrong)]} hold NaN or infinity; "
            "delete the file, check the model's weights and the image, and run again."
        )
