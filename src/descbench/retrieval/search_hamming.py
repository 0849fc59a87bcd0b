"""Stages build_hamming and search_hamming: an inverted file of signatures, and all queries against one shard of it.

Definition: docs/protocols/oxford_bow.md, Hamming embedding. The inverted file is that of ``index.py`` with binary
codes, one entry for each feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from descbench.errors import DataError
from descbench.retrieval.hamming import HammingSearcher, Weighting, sort_by_word, weights_of
from descbench.retrieval.index import IndexInfo, read_index, write_index
from descbench.retrieval.parts import index_info, read_queries, write_part
from descbench.retrieval.statistics import read_idf
from descbench.retrieval.words import Words, read_words

_IMAGES = 256


@dataclass(frozen=True)
class Matching:
    """What matches count.

    Attributes:
        threshold: most bits that the signatures of a match differ in.
        weighting: ``gaussian`` in the distance, or ``none``.
        burstiness: whether matches of one query feature in one image are divided by the root of their number.
    """

    threshold: int
    weighting: Weighting
    burstiness: bool


def read_signed(path: Path) -> Words:
    """Words with signatures.

    Raises:
        DataError: no such file, a damaged one, or words without signatures.
    """
    known = read_words(path)
    if known.signatures is None:
        raise DataError(f"{path}: words without signatures, which a method of `search: hamming` makes; delete it.")
    return known


def build_hamming(words: Path, output: Path) -> None:
    """Build one shard of an inverted file from the nearest word of each feature and its signature.

    Raises:
        DataError: a damaged file, words without signatures, or images that are not consecutive.
    """
    known = read_signed(words)
    about = index_info(words, known, known.info.bits)
    told = {"unreadable": known.unreadable.tolist(), "unturned": known.unturned}
    starts = range(0, about.num_images, _IMAGES)
    blocks = (_sorted(known, start, min(start + _IMAGES, about.num_images)) for start in starts)
    write_index(blocks, known.info.num_words, about, output, **told)


def _sorted(known: Words, start: int, stop: int):
    offsets = known.offsets[start : stop + 1]
    place = slice(offsets[0], offsets[-1])
    return sort_by_word(known.words[place, 0], known.signatures[place, 0], offsets - offsets[0])


def open_hamming(index: Path, statistics: Path, matching: Matching) -> tuple[IndexInfo, HammingSearcher]:
    """One shard of an inverted file of signatures, ready to be searched.

    Raises:
        StaleFileError: index and statistics do not belong together.
        DataError: a damaged file, or an inverted file of something else.
    """
    info, lists = read_index(index)
    idf = read_idf(statistics, index, info)
    weights = weights_of(info.dim, matching.threshold, matching.weighting)
    try:
        return info, HammingSearcher(lists, idf, weights, burstiness=matching.burstiness)
    except ValueError as error:
        raise DataError(f"{index}: damaged index shard ({error}); delete it and run again.") from error


def search_hamming(
    query_words: Sequence[Path],
    index: Path,
    statistics: Path,
    output: Path,
    *,
    matching: Matching,
    top_k: int | None = None,
    num_distractors: int = 0,
    cell: str | None = None,
) -> None:
    """Rank the images of one index shard for every query.

    What could not be read has score NaN, what has no features 0.

    Args:
        query_words: words and signatures of the queries, in order.
        index: index shard.
        statistics: idf of all shards.
        output: the partial ranking to write.
        matching: what matches count.
        top_k: images kept of each query; None = all.
        num_distractors: as in :func:`descbench.retrieval.search.search_index`.
        cell: method and dataset that the ranking is of, for its readers to compare.

    Raises:
        StaleFileError: index, statistics and words do not belong together.
        DataError: a damaged file.
    """
    info, searcher = open_hamming(index, statistics, matching)
    queries, made_from, unturned = read_queries(query_words, info, read_signed, Words.signed)
    made_from |= asdict(matching) | ({"cell": cell} if cell else {})
    settings = {"first": info.first_image - num_distractors, "made_from": made_from, "top_k": top_k}
    write_part(output, index, info, queries, searcher.search, **settings, unturned=unturned)
