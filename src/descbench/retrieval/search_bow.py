"""Stages build_bow and search_bow: an inverted file of word counts, and all queries against one shard of it.

The inverted file is that of ``index.py`` with entries of one number, the count of a word in an image; statistics over
all shards are those of ``statistics.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.retrieval.bow import Bag, BowSearcher, count_images, count_words, weighted
from descbench.retrieval.index import IndexInfo, read_index, write_index
from descbench.retrieval.parts import index_info, read_queries, write_part
from descbench.retrieval.statistics import read_idf
from descbench.retrieval.words import Words, read_words

_IMAGES = 1024


def build_bow(words: Path, output: Path) -> None:
    """Build one shard of an inverted file from the nearest word of each feature.

    Raises:
        DataError: a damaged file, or images that are not consecutive.
    """
    known = read_words(words)
    about = index_info(words, known, 1)
    told = {"unreadable": known.unreadable.tolist(), "unturned": known.unturned}
    starts = range(0, about.num_images, _IMAGES)
    blocks = (_counted(known, start, min(start + _IMAGES, about.num_images)) for start in starts)
    write_index(blocks, known.info.num_words, about, output, **told)


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


def bag_of(words: np.ndarray, idf: np.ndarray) -> Bag:
    """Bag of length 1 of the words (n, A) of an image."""
    return weighted(count_words(words), idf)


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
    bags, made_from, unturned = read_queries(query_words, info, read_words, lambda known, at: bag_of(known.of(at), idf))
    made_from |= {"cell": cell} if cell else {}
    settings = {"first": info.first_image - num_distractors, "made_from": made_from, "top_k": top_k}
    write_part(output, index, info, bags, searcher.search, **settings, unturned=unturned)
