"""What searches of inverted files by words share: rows of a partial ranking, and a second search of all shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from descbench.errors import DataError
from descbench.io.digests import check_digest
from descbench.retrieval.index import IndexInfo, unreadable_images, unturned_images
from descbench.retrieval.ranking import PartInfo, merge_rankings, rank_scores, ranking_writer
from descbench.retrieval.words import Words, index_name, read_words

Query = TypeVar("Query")
# Scores (num_images,) of all images of a shard for one query.
Search = Callable[[Query], np.ndarray]


def check_words(path: Path, known: Words, info: IndexInfo) -> None:
    """Refuse words that do not belong to an index; StaleFileError."""
    check_digest(path, "codebook", index_name(known.info), info.codebook)
    check_digest(path, "features digest", known.info.features, info.features)


def index_info(path: Path, known: Words, dim: int) -> IndexInfo:
    """What an index shard of words is made from, with entries of ``dim`` numbers or bits.

    Raises:
        DataError: no images, or images that are not consecutive.
    """
    ids, info = known.image_ids, known.info
    if not len(ids) or ids[-1] - ids[0] != len(ids) - 1:
        raise DataError(f"{path}: holds no images, or images that are not consecutive; delete it and run again.")
    return IndexInfo(
        codebook=index_name(info),
        features=info.features,
        images=info.images,
        checkpoint=info.checkpoint,
        n=info.n,
        multiple_assignment=1,
        dim=dim,
        first_image=int(ids[0]),
        num_images=len(ids),
    )


def read_queries(
    paths: Sequence[Path], info: IndexInfo, read: Callable[[Path], Words], taken: Callable[[Words, int], Query]
) -> tuple[dict[int, Query | None], dict[str, Any], int]:
    """Queries of shards of words, by id; what a ranking of them is made from, and how many EXIF says are to be turned.

    Args:
        paths: words of the queries, in order.
        info: of the index that is searched.
        read: reads a shard of words.
        taken: gives the query at a position of a shard.

    Raises:
        StaleFileError: words that do not belong to the index.
        DataError: a damaged file.
    """
    queries: dict[int, Query | None] = {}
    assignments, unturned = 1, 0
    for path in paths:
        known = read(path)
        check_words(path, known, info)
        assignments = known.words.shape[1]
        unturned += known.unturned
        for position, query in enumerate(known.image_ids.tolist()):
            queries[query] = None if query in known.unreadable else taken(known, position)
    made_from = {"codebook": info.codebook, "features": info.features, "checkpoint": info.checkpoint, "n": info.n}
    return queries, made_from | {"multiple_assignment": assignments}, unturned


def read_images(
    paths: Sequence[Path],
    first: int,
    wanted: set[int],
    read: Callable[[Path], Words],
    taken: Callable[[Words, int], Query],
) -> dict[int, Query]:
    """Some images of the shards of words that were searched.

    Args:
        paths: words of all images, in order.
        first: id of the first of them.
        wanted: ids.
        read, taken: as in :func:`read_queries`.

    Raises:
        DataError: a damaged file, or an image that no shard holds.
    """
    images: dict[int, Query] = {}
    for path in paths:
        known = read(path)
        for image in sorted(i for i in wanted if first <= i < first + len(known.image_ids)):
            images[image] = taken(known, image - first)
        first += len(known.image_ids)
    if missing := wanted - images.keys():
        raise DataError(f"ranked images {sorted(missing)[:5]} are in none of the words shards; delete them and rerun.")
    return images


def write_part(
    output: Path,
    index: Path,
    info: IndexInfo,
    queries: Mapping[int, Query | None],
    search: Search,
    *,
    first: int,
    made_from: Mapping[str, Any],
    top_k: int | None,
    unturned: int = 0,
) -> None:
    """Rank the images of one index shard for every query.

    Args:
        output: the partial ranking to write.
        index, info: the index shard.
        queries: by id, ascending; None could not be read, and finds nothing.
        search: gives the scores of a query; what could not be read is taken out here.
        first: id of the shard's first image in the ranking.
        made_from: digests and settings that all parts share.
        top_k: images kept of each query; None = all.
        unturned: number of queries that EXIF says are to be turned.
    """
    unreadable = unreadable_images(index, info) - info.first_image
    ids = np.arange(first, first + info.num_images)
    without = tuple((first + unreadable).tolist())
    part = PartInfo(first, info.num_images, made_from, without, unturned=(unturned, unturned_images(index)))
    width = len(ids) if top_k is None else min(top_k, len(ids))
    with ranking_writer(output, part, np.array(list(queries), np.int64), width) as writer:
        for row, query in enumerate(queries.values()):
            scores = np.full(len(ids), np.nan) if query is None else search(query)
            scores[unreadable] = np.nan
            writer.write(row, *rank_scores(ids, scores[None], top_k))


@dataclass(frozen=True)
class SearchedFiles:
    """What a first search was made with, and the second one is made with again.

    Attributes:
        query_words: words of the queries, shard by shard in order.
        words, indexes: of all images that are searched, distractors first.
        statistics: idf of all shards.
    """

    query_words: Sequence[Path]
    words: Sequence[Path]
    indexes: Sequence[Path]
    statistics: Path


def search_again(
    before: PartInfo,
    queries: Mapping[int, Query | None],
    files: SearchedFiles,
    opened: Callable[[Path], tuple[IndexInfo, Search]],
    output: Path,
    work: Path,
    *,
    made_from: Mapping[str, Any],
    top_k: int | None,
    num_queries: int,
) -> None:
    """Search all shards for queries that were expanded, and merge.

    Args:
        before: of the ranking that they were expanded from.
        queries: by id, ascending; None could not be read.
        files: of the first search.
        opened: gives what an index shard is, and its search.
        output: the ranking to write.
        work: folder for partial rankings.
        made_from: what the ranking is made from besides ``before``.
        top_k: length of the ranking; None = all images.
        num_queries: of the dataset.

    Raises:
        StaleFileError, DataError: files that do not belong together, or are damaged.
    """
    first, parts = before.first_image, []
    cut = None if top_k is None else top_k + before.asks_itself
    for number, (index, path) in enumerate(zip(files.indexes, files.words, strict=True)):
        info, search = opened(index)
        check_words(path, read_words(path), info)
        parts.append(work / f"part-{number:05d}.h5")
        settings = {"first": first, "made_from": {**before.made_from, **made_from}, "top_k": cut}
        write_part(parts[-1], index, info, queries, search, **settings, unturned=before.unturned[0])
        first += info.num_images
    merge_rankings(parts, output, top_k=top_k, num_queries=num_queries, asks_itself=before.asks_itself)
