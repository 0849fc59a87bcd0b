"""Stage search_flat: exact search of global descriptors in bounded memory.

A search covers one shard of a database, or several that follow one another; ``merge_rankings`` makes one ranking of
parts, the same to the bit. A block of queries meets a block of images at a time, both read from mapped files; with a
limit on the length of rankings only the best of each query are kept from block to block. What a score is says
``top_k.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from descbench.errors import DataError
from descbench.features.checks import check_finite
from descbench.features.store import ShardReader, check_shard
from descbench.neighbours.top_k import BestImages
from descbench.retrieval.ranking import PartInfo, ranking_writer

Measure = Literal["inner_product", "euclidean"]
# Descriptors and products that are held at once.
_IMAGE_BYTES = 256 << 20
_IMAGES = 8192
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
    num_distractors: int = 0,
    threads: int | None = None,
    cell: str | None = None,
) -> None:
    """Rank database images by the similarity of their global descriptors with each query's.

    A database image without descriptor (it could not be read) has score NaN, and so comes last; a query
    without descriptor has score NaN for all images: it found nothing.

    Args:
        query_shards, database_shards: feature shards of kind global, in order; those of the database may begin
            with any image.
        output: the ranking to write, or a part of one.
        measure: scores are inner products, or negative squared Euclidean distances.
        top_k: images kept of each query; None = all.
        dim: first dimensions that are used, normalised again; None = all, as they are.
        num_distractors: for shards of a distractor set, the number of images of that set, as in
            :func:`descbench.retrieval.search.search_index`.
        threads: None = all processors. The result does not depend on it.
        cell: method and dataset that the ranking is of, for its readers to compare.

    Raises:
        DataError: shards of local features, gaps in the database, descriptors that are not finite, or shorter
            than ``dim``.
        StaleFileError: shards of different features or weights.
    """
    with ExitStack() as stack:
        queries = [stack.enter_context(ShardReader(path)) for path in query_shards]
        database = [stack.enter_context(ShardReader(path)) for path in database_shards]
        first = _first_image(queries, database, output)
        if dim is not None and dim > database[0].dim:
            raise DataError(f"{database[0].path}: descriptors have {database[0].dim} dimensions, `dim` asks for {dim}.")
        query_ids = np.concatenate([reader.image_ids for reader in queries])
        total = sum(reader.num_images for reader in database)
        width = total if top_k is None else min(top_k, total)
        info = database[0].info
        made_from = {"features": info.features, "checkpoint": info.checkpoint, "measure": measure, "dim": dim}
        made_from |= {"cell": cell} if cell else {}
        absent = np.flatnonzero(np.concatenate([reader.counts() == 0 for reader in database]))
        without = tuple((first - num_distractors + absent).tolist())
        unturned = tuple(sum(len(reader.unturned) for reader in readers) for readers in (queries, database))
        part = PartInfo(first - num_distractors, total, made_from, without, unturned=unturned)
        writer = stack.enter_context(ranking_writer(output, part, query_ids, width))
        images = min(_IMAGES, _rows(_IMAGE_BYTES, 4 * database[0].dim))
        # A ranked or measured image takes about four numbers of eight bytes.
        step = min(_rows(_QUERY_BYTES, 4 * database[0].dim), _rows(_PRODUCT_BYTES, 32 * (width + images)))
        row = 0
        for block in _blocks(queries, step, dim):
            ids, scores = _search_block(block, _blocks(database, images, dim), measure, width, total, threads)
            writer.write(row, part.first_image + ids, scores)
            row += len(block.present)


@dataclass(frozen=True)
class _Block:
    """Consecutive images of a shard.

    Attributes:
        vectors: descriptors (n, D) float32 of the images that have one.
        present: whether an image has one (images,).
        reader: the shard.
        image_ids: (n,) as stored, of the images that have one.
    """

    vectors: np.ndarray
    present: np.ndarray
    reader: ShardReader
    image_ids: np.ndarray

    @contextmanager
    def named(self) -> Iterator[None]:
        """Tell which shard holds what cannot be compared."""
        try:
            yield
        except ValueError as error:
            check_finite(self.reader.path, self.vectors, self.image_ids)
            message = f"{self.reader.path}: descriptors too large for products in float32; normalise them."
            raise DataError(message) from error


def _search_block(
    queries: _Block, database: Iterator[_Block], measure: Measure, width: int, total: int, threads: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Positions in the database and scores (rows, width) of a block of queries."""
    ids = np.tile(np.arange(width), (len(queries.present), 1))
    scores = np.full(ids.shape, np.nan)
    if not len(queries.vectors) or not width:
        return ids, scores
    with queries.named():
        best = BestImages(queries.vectors, width, by_distance=measure == "euclidean", total=total, threads=threads)
    first, absent = 0, np.empty(0, np.int64)
    for block in database:
        with block.named():
            best.add(block.vectors, first + np.flatnonzero(block.present))
        absent = np.concatenate((absent, first + np.flatnonzero(~block.present)))[:width]
        first += len(block.present)
    found, found_scores = best.ranked()
    kept = found.shape[1]
    ids[queries.present, :kept], scores[queries.present, :kept] = found, found_scores
    ids[queries.present, kept:], scores[queries.present, kept:] = absent[: width - kept], np.nan
    return ids, scores


def _blocks(readers: Sequence[ShardReader], images: int, dim: int | None) -> Iterator[_Block]:
    for reader in readers:
        for start in range(0, reader.num_images, images):
            stop = min(start + images, reader.num_images)
            block = reader.read(start, stop)
            vectors = block.descriptors.astype(np.float32, copy=False)
            if dim is not None:
                lengths = np.linalg.norm(vectors[:, :dim], axis=1, keepdims=True)
                vectors = vectors[:, :dim] / np.maximum(lengths, 1e-12)
            present = reader.counts(None, start, stop) > 0
            yield _Block(vectors, present, reader, block.image_ids)


def _rows(limit: int, row_bytes: int) -> int:
    return max(1, limit // max(row_bytes, 1))


def _first_image(queries: Sequence[ShardReader], database: Sequence[ShardReader], output: Path) -> int:
    """Id of the first image of a database whose shards fit each other and the queries."""
    if not queries or not database:
        raise DataError(f"{output}: needs at least one shard of queries and one of the database.")
    info = database[0].info
    for reader in (*queries, *database):
        if reader.info.kind != "global" or (reader.counts() > 1).any():
            raise DataError(f"{reader.path}: holds local features; flat search needs global ones.")
        check_shard(reader, features=info.features, checkpoint=info.checkpoint)
    ids = np.concatenate([reader.image_ids for reader in database])
    first = int(ids[0]) if len(ids) else 0
    if not np.array_equal(ids, np.arange(first, first + len(ids))):
        raise DataError(
            f"{database[0].path}: the database shards do not hold images {first} to {first + len(ids) - 1} in order."
        )
    return first
