"""Stages build_bow and search_bow: an inverted file of word counts, and all queries against one shard of it.

The inverted file is that of ``index.py`` with entries of one number, the count of a word in an image; statistics over
all shards are those of ``statistics.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.io.digests import check_digest
from descbench.retrieval.bow import BowSearcher, count_images, count_words, weighted
from descbench.retrieval.index import IndexInfo, read_index, unreadable_images, write_index
from descbench.retrieval.ranking import PartInfo, rank_scores, ranking_writer
from descbench.retrieval.statistics import read_idf
from descbench.retrieval.words import Words, read_words

_IMAGES = 1024


def build_bow(words: Path, output: Path) -> None:
    """Build one shard of an inverted file from the nearest word of each feature.

    Raises:
        DataError: a damaged file, or images that are not consecutive.
    """
    known = read_words(words)
    ids, info = known.image_ids, known.info
    if not len(ids) or ids[-1] - ids[0] != len(ids) - 1:
        raise DataError(f"{words}: holds no images, or images that are not consecutive; delete it and run again.")
    about = IndexInfo(
        codebook=info.codebook,
        features=info.features,
        images=info.images,
        checkpoint=info.checkpoint,
        n=info.n,
        multiple_assignment=1,
        dim=1,
        first_image=int(ids[0]),
        num_images=len(ids),
    )
    starts = range(0, len(ids), _IMAGES)
    blocks = (_counted(known, start, min(start + _IMAGES, len(ids))) for start in starts)
    write_index(blocks, info.num_words, about, output, unreadable=known.unreadable.tolist())


def _counted(known: Words, start: int, stop: int):
    offsets = known.offsets[start : stop + 1]
    return count_images(known.words[offsets[0] : offsets[-1], 0], offsets - offsets[0])


def open_searcher(index: Path, statistics: Path) -> tuple[IndexInfo, np.ndarray, BowSearcher]:
    """One shard of an inverted file of counts, ready to be searched, and squared idf (K,) of its words.

    Raises:
        StaleFileError: index and statistics do not belong together.
        DataError: a damaged file, or an inverted file of something else.
    """
    info, lists = read_index(index)
    idf = read_idf(statistics, index, info)
    try:
        return info, idf, BowSearcher(lists, idf)
    except ValueError as error:
        raise DataError(f"{index}: damaged index shard ({error}); delete it and run again.") from error


def search_bow(
    query_words: Sequence[Path],
    index: Path,
    statistics: Path,
    output: Path,
    *,
    top_k: int | None = None,
    num_distractors: int = 0,
    cell: str | None = None,
) -> None:
    """Rank the images of one index shard for every query.

    What could not be read has score NaN, what has no features 0.

    Args:
        query_words: words of the queries, in order.
        index: index shard.
        statistics: idf of all shards.
        output: the partial ranking to write.
        top_k: images kept of each query; None = all.
        num_distractors: as in :func:`descbench.retrieval.search.search_index`.
        cell: method and dataset that the ranking is of, for its readers to compare.

    Raises:
        StaleFileError: index, statistics and words do not belong together.
        DataError: a damaged file.
    """
    info, idf, searcher = open_searcher(index, statistics)
    queries = [read_words(path) for path in query_words]
    for path, known in zip(query_words, queries, strict=True):
        check_words(path, known, info)
    first = info.first_image - num_distractors
    unreadable = unreadable_images(index, info) - info.first_image
    made_from = {"codebook": info.codebook, "features": info.features, "checkpoint": info.checkpoint, "n": info.n}
    made_from |= {"multiple_assignment": queries[0].words.shape[1]} | ({"cell": cell} if cell else {})
    part = PartInfo(first, info.num_images, made_from, tuple((first + unreadable).tolist()))
    ids = np.arange(first, first + info.num_images)
    width = len(ids) if top_k is None else min(top_k, len(ids))
    query_ids = np.concatenate([known.image_ids for known in queries])
    with ranking_writer(output, part, query_ids, width) as writer:
        row = 0
        for known in queries:
            for position, query in enumerate(known.image_ids):
                scores = searcher.search(weighted(count_words(known.of(position)), idf))
                scores[unreadable] = np.nan
                if query in known.unreadable:
                    scores[:] = np.nan
                writer.write(row, *rank_scores(ids, scores[None], top_k))
                row += 1


def check_words(path: Path, known: Words, info: IndexInfo) -> None:
    """Refuse words that do not belong to an index; StaleFileError."""
    check_digest(path, "codebook", known.info.codebook, info.codebook)
    check_digest(path, "features digest", known.info.features, info.features)
