"""Stage search_flat: exact inner products of global descriptors, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.features.store import ShardReader, check_shard
from descbench.retrieval.codebook import check_finite
from descbench.retrieval.ranking import PartInfo, rank_scores, ranking_writer

_IMAGES = 4096
_BLOCK_BYTES = 256 << 20


def search_flat(
    query_shards: Sequence[Path], database_shards: Sequence[Path], output: Path, *, top_k: int | None
) -> None:
    """Rank database images by the inner product of their global descriptors with each query's.

    A query without descriptor (an image that could not be read) has score 0 for all images; a database
    image without descriptor has score NaN, and so comes last.

    Args:
        query_shards, database_shards: feature shards of kind global, in order.
        output: the ranking to write.
        top_k: images kept of each query; None = all.

    Raises:
        DataError: shards of local features, gaps in the database, descriptors that are not finite.
        StaleFileError: shards of different features or weights.
    """
    with ExitStack() as stack:
        queries = [stack.enter_context(ShardReader(path)) for path in query_shards]
        database = [stack.enter_context(ShardReader(path)) for path in database_shards]
        _check(queries, database, output)
        query_ids = np.concatenate([reader.image_ids for reader in queries])
        total = sum(reader.num_images for reader in database)
        width = total if top_k is None else min(top_k, total)
        info = database[0].info
        part = PartInfo(0, total, {"features": info.features, "checkpoint": info.checkpoint})
        writer = stack.enter_context(ranking_writer(output, part, query_ids, width))
        # Ranked rows need about four numbers of eight bytes for each image held.
        step = max(1, _BLOCK_BYTES // (32 * (width + _IMAGES)))
        row = 0
        for vectors, present in _blocks(queries, step):
            ids, scores = _search_block(vectors, present, database, top_k)
            writer.write(row, ids, scores)
            row += len(vectors)


def _search_block(
    vectors: np.ndarray, present: np.ndarray, database: Sequence[ShardReader], top_k: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Ids and scores (rows, k) of a block of queries: with ``top_k`` the best so far, else all, ranked once."""
    ids: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    first = 0
    for block, exists in _blocks(database, _IMAGES):
        products = (vectors @ block.T).astype(np.float64)
        products[:, ~exists] = np.nan
        products[~present] = 0
        numbers = np.arange(first, first + len(block))
        first += len(block)
        ids.append(np.broadcast_to(numbers, products.shape))
        scores.append(products)
        if top_k is not None:
            best = rank_scores(np.concatenate(ids, axis=1), np.concatenate(scores, axis=1), top_k)
            ids, scores = [best[0]], [best[1]]
    return rank_scores(np.concatenate(ids, axis=1), np.concatenate(scores, axis=1), top_k)


def _blocks(readers: Sequence[ShardReader], images: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Descriptors (images, D), zeros where an image has none, and whether it has one (images,)."""
    for reader in readers:
        for start in range(0, reader.num_images, images):
            stop = min(start + images, reader.num_images)
            present = reader.counts(None, start, stop) > 0
            block = reader.read(start, stop)
            check_finite(reader.path, block.descriptors, block.image_ids)
            vectors = np.zeros((stop - start, reader.dim), np.float32)
            vectors[present] = block.descriptors
            yield vectors, present


def _check(queries: Sequence[ShardReader], database: Sequence[ShardReader], output: Path) -> None:
    if not queries or not database:
        raise DataError(f"{output}: needs at least one shard of queries and one of the database.")
    info = database[0].info
    for reader in (*queries, *database):
        if reader.info.kind != "global" or (reader.counts() > 1).any():
            raise DataError(f"{reader.path}: holds local features; inner-product search needs global ones.")
        check_shard(reader, features=info.features, checkpoint=info.checkpoint)
    ids = np.concatenate([reader.image_ids for reader in database])
    if not np.array_equal(ids, np.arange(len(ids))):
        raise DataError(f"{database[0].path}: the database shards do not hold images 0 to {len(ids) - 1} in order.")
