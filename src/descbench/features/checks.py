"""Checks of features, for the stages that read them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.features.store import ShardReader, check_shard


def check_shard_files(
    paths: Sequence[str | os.PathLike[str]], features: str, images: Sequence[str | None] | None = None
) -> None:
    """Refuse shard files that another features block made, or that hold other images.

    Args:
        paths: the files.
        features: digest of the features block.
        images: digest of the images of each file; None is not compared.

    Raises:
        StaleFileError: names the file and both digests; see :func:`~descbench.features.store.check_shard`.
    """
    for path, expected in zip(paths, images or [None] * len(paths), strict=True):
        with ShardReader(path) as shard:
            check_shard(shard, features=features, images=expected, checkpoint=None)


def check_finite(path: Path, descriptors: np.ndarray, image_ids: np.ndarray) -> None:
    """Refuse NaN and infinity in descriptors (N, D), naming the first image (N,) that has one."""
    wrong = ~np.isfinite(descriptors).all(axis=1)
    if wrong.any():
        raise DataError(
            f"{path}: descriptors of image {image_ids[np.argmax(wrong)]} hold NaN or infinity; "
            "delete the file, check the model's weights and the image, and run again."
        )
