"""Checks of whole lists of feature shards, for stages that read several."""

from __future__ import annotations

import os
from collections.abc import Iterable

from descbench.features.store import ShardReader, check_shard


def check_shard_files(paths: Iterable[str | os.PathLike[str]], features: str) -> None:
    """Refuse shard files that another features block made.

    Raises:
        StaleFileError: names the file and both digests; see :func:`~descbench.features.store.check_shard`.
    """
    for path in paths:
        with ShardReader(path) as shard:
            check_shard(shard, features=features, images=None, checkpoint=None)
