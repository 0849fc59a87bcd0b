"""Stage search_flat: exact search of global descriptors in bounded memory.

Products are made a block of queries and a block of images at a time, both read from mapped files; with a
limit on the length of rankings only the best of each query are kept from block to block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from descbench.errors import DataError
from descbench.features.store import ShardReader, check_shard
from descbench.retrieval.codebook import check_finite
from descbench.retrieval.ranking import PartInfo, rank_scores, ranking_writer

Measure = Literal["inner_product", "euclidean"]
# Descriptors and products that are held at once.
_IMAGE_BYTES = 64 << 20
_QUERY_BYTES = 256 << 20
_PRODUCT_BYTES = 256 << 20


def search_flat(
    query_shards: Sequence[Path],
    database_shards: Sequence[Path],
    output: Path,
    *,
    measure: Measure = "inner_product",
    top_k: int | None,
    dim: int | None = None,
) -> None:
    """Rank database images by the similarity of their global descriptors with each query's.

    A query without descriptor (an image that could not be read) has score 0 for all images; a database
    image without descriptor has score NaN, and so comes last.

    Args:
        query_shards, database_shards: feature shards of kind global, in order.
        output: the ranking to write.
        measure: scores are inner products, or negative squared Euclidean distances.
        top_k: images kept of each query; None = all.
        dim: first dimensions that are used, normalised again (netvlad.md section 9); None = all, as they are.

    Raises:
        DataError: shards of local features, gaps in the database, descriptors that are not finite, or shorter
            than ``dim``.
        StaleFileError: shards of different features or weights.
    """
    with ExitStack() as stack:
        queries = [stack.enter_context(ShardReader(path)) for path in query_shards]
        database = [stack.enter_context(ShardReader(path)) for path in database_shards]
        _check(queries, database, output)
        if dim is not None and dim > database[0].dim:
            raise DataError(f"{database[0].path}: descriptors have {database[0].dim} dimensions, `dim` asks for {dim}.")
        query_ids = np.concatenate([reader.image_ids for reader in queries])
        total = sum(reader.num_images for reader in database)
        width = total if top_k is None else min(top_k, total)
        info = database[0].info
        made_from = {"features": info.features, "checkpoint": info.checkpoint, "measure": measure, "dim": dim}
        part = PartInfo(0, total, made_from)
        writer = stack.enter_context(ranking_writer(output, part, query_ids, width))
        images = _rows(_IMAGE_BYTES, 4 * database[0].dim)
        # A ranked image takes about four numbers of eight bytes while rows are put in order.
        step = min(_rows(_QUERY_BYTES, 4 * database[0].dim), _rows(_PRODUCT_BYTES, 32 * (width + images)))
        row = 0
        for block in _blocks(queries, step, dim):
            ids, scores = _search_block(block, _blocks(database, images, dim), measure, width)
            writer.write(row, ids, scores)
            row += len(block.vectors)


@dataclass(frozen=True)
class _Images:
    """Descriptors (n, D), zeros where an image has none; whether it has one (n,); squared norms (n,) float64."""

    vectors: np.ndarray
    present: np.ndarray
    squares: np.ndarray


def _search_block(
    queries: _Images, database: Iterator[_Images], measure: Measure, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ids and scores (rows, width) of a block of queries."""
    best_ids = np.empty((len(queries.vectors), 0), np.int64)
    best = np.empty((len(queries.vectors), 0))
    first = 0
    for block in database:
        scores = _scores(queries, block, measure)
        numbers = np.arange(first, first + len(block.vectors))
        first += len(numbers)
        full = best.shape[1] == width
        # Once a ranking is full, an image enters by a better score only: equal ones are ordered by id.
        rows = np.flatnonzero(_improves(scores, best[:, -1])) if full else np.arange(len(best))
        ids = np.concatenate((best_ids[rows], np.broadcast_to(numbers, (len(rows), len(numbers)))), axis=1)
        scores = np.concatenate((best[rows], scores[rows]), axis=1)
        if ids.shape[1] >= width:
            ids, scores = rank_scores(ids, scores, width)
        if full:
            best_ids[rows], best[rows] = ids, scores
        else:
            best_ids, best = ids, scores
    return best_ids, best


def _improves(scores: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Rows in which some score is better than the last one kept; any number is better than NaN."""
    best = np.nanmax(scores, axis=1, initial=-np.inf)
    return (best > last) | np.isnan(last)


def _scores(queries: _Images, block: _Images, measure: Measure) -> np.ndarray:
    products = (queries.vectors @ block.vectors.T).astype(np.float64)
    if measure == "euclidean":
        products *= 2
        products -= queries.squares[:, None]
        products -= block.squares
    products[:, ~block.present] = np.nan
    products[~queries.present] = 0
    return products


def _blocks(readers: Sequence[ShardReader], images: int, dim: int | None) -> Iterator[_Images]:
    for reader in readers:
        for start in range(0, reader.num_images, images):
            stop = min(start + images, reader.num_images)
            present = reader.counts(None, start, stop) > 0
            block = reader.read(start, stop)
            vectors = block.descriptors.astype(np.float32, copy=False)
            if not present.all():
                vectors = np.zeros((stop - start, reader.dim), np.float32)
                vectors[present] = block.descriptors
            if dim is not None:
                lengths = np.linalg.norm(vectors[:, :dim], axis=1, keepdims=True)
                vectors = vectors[:, :dim] / np.maximum(lengths, 1e-12)
            with np.errstate(over="ignore"):  # named just below
                squares = np.array([vector @ vector for vector in vectors], np.float64)
            if not np.isfinite(squares).all():
                check_finite(reader.path, block.descriptors, block.image_ids)
                raise DataError(f"{reader.path}: descriptors too large for products in float32; normalise them.")
            yield _Images(vectors, present, squares)


def _rows(limit: int, row_bytes: int) -> int:
    return max(1, limit // max(row_bytes, 1))


def _check(queries: Sequence[ShardReader], database: Sequence[ShardReader], output: Path) -> None:
    if not queries or not database:
        raise DataError(f"{output}: needs at least one shard of queries and one of the database.")
    info = database[0].info
    for reader in (*queries, *database):
        if reader.info.kind != "global" or (reader.counts() > 1).any():
            raise DataError(f"{reader.path}: holds local features; flat search needs global ones.")
        check_shard(reader, features=info.features, checkpoint=info.checkpoint)
    ids = np.concatenate([reader.image_ids for reader in database])
    if not np.array_equal(ids, np.arange(len(ids))):
        raise DataError(f"{database[0].path}: the database shards do not hold images 0 to {len(ids) - 1} in order.")
