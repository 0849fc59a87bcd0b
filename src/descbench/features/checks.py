"""Checks of whole lists of feature shards, for stages that read several."""

from __future__ import annotations

import os
from collections.abc import Sequence

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
