"""A whole search in one call, for whoever needs a ranking without the workflow: validation, pairs, the command line.

The workflow runs the same stages as jobs of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from descbench.config.methods import AsmkMethod, BowMethod, FlatMethod, HammingMethod, Method
from descbench.retrieval.flat import search_flat
from descbench.retrieval.index import build_index, is_index_of
from descbench.retrieval.ranking import merge_rankings
from descbench.retrieval.search import search_index
from descbench.retrieval.search_bow import build_bow, search_bow
from descbench.retrieval.search_hamming import Matching, build_hamming, search_hamming
from descbench.retrieval.statistics import collect_statistics
from descbench.retrieval.words import assign_words, is_words_of


@dataclass(frozen=True)
class Database:
    """A database as a way of searching wants it.

    Attributes:
        shards: of an inverted file (ASMK, bags of words), or the feature shards themselves of a flat search; in order.
        codebook: codebook file of an inverted file.
        statistics: idf of all shards, where the method weights words by it.
    """

    shards: Sequence[Path]
    codebook: Path | None = None
    statistics: Path | None = None


@dataclass(frozen=True)
class _Asked:
    """A search: feature shards of the queries, what they are looked for in, images kept of each (None: all)."""

    queries: Sequence[Path]
    database: Database
    top_k: int | None
    threads: int | None


def run_search(
    method: Method,
    queries: Sequence[Path],
    database: Sequence[Path],
    work: Path,
    ranking: Path,
    *,
    codebook: Path | None = None,
    num_queries: int,
    threads: int | None = None,
) -> None:
    """Rank the images of feature shards for every query, from the index to the merged ranking.

    Args:
        method: block of the configuration; its ``top_k`` is the length of the ranking.
        queries, database: feature shards, in order.
        work: folder for index shards and partial rankings.
        ranking: the file to write.
        codebook: codebook file of a method that has one.
        num_queries: of the dataset.
        threads: None = all processors.

    Raises:
        DataError, StaleFileError: as of the stages.
    """
    prepared = prepare_database(method, database, work, codebook)
    rank_queries(method, queries, prepared, work, ranking, top_k=method.top_k, num_queries=num_queries, threads=threads)


def prepare_database(method: Method, shards: Sequence[Path], work: Path, codebook: Path | None = None) -> Database:
    """Index feature shards where the method searches an index; what is made lies in ``work``.

    An inverted file of ASMK, or the words of a bag, that are there already and were made from the same are used again.
    """
    return _WAYS[method.search].prepare(method, shards, work, codebook)


def rank_queries(
    method: Method,
    queries: Sequence[Path],
    database: Database,
    work: Path,
    ranking: Path,
    *,
    top_k: int | None,
    num_queries: int,
    threads: int | None = None,
) -> None:
    """Search every shard and merge; arguments as of :func:`run_search`."""
    asked, parts = _Asked(queries, database, top_k, threads), []
    for number, shard in enumerate(database.shards):
        parts.append(work / f"part-{number:05d}.h5")
        _WAYS[method.search].search(method, asked, shard, parts[-1])
    merge_rankings(parts, ranking, top_k=top_k, num_queries=num_queries)


def _index(method: AsmkMethod, shards: Sequence[Path], work: Path, codebook: Path | None) -> Database:
    indexes = [work / f"index-{shard.stem}.h5" for shard in shards]
    for shard, index in zip(shards, indexes, strict=True):
        settings = {"n": method.n, **method.index.model_dump()}
        if not is_index_of(index, shard, codebook, **settings):
            build_index(shard, codebook, index, **settings)
    if not method.idf.use_idf:
        return Database(indexes, codebook)
    collect_statistics(indexes, work / "statistics.h5", stale=method.idf.stale)
    return Database(indexes, codebook, work / "statistics.h5")


def _search_index(method: AsmkMethod, asked: _Asked, shard: Path, part: Path) -> None:
    database = asked.database
    settings = {**method.query.model_dump(), "n": method.n, "top_k": asked.top_k, "threads": asked.threads}
    search_index(asked.queries, database.codebook, shard, part, statistics=database.statistics, **settings)


def _search_bow(method: BowMethod, asked: _Asked, shard: Path, part: Path) -> None:
    search_bow(_query_words(method, asked, part), shard, asked.database.statistics, part, top_k=asked.top_k)


def _index_words(
    build: Callable[[Path, Path], None],
    method: BowMethod | HammingMethod,
    shards: Sequence[Path],
    work: Path,
    codebook: Path | None,
) -> Database:
    """Index shards of the words of feature shards; finding the words takes the time."""
    indexes = [work / f"index-{shard.stem}.h5" for shard in shards]
    for shard, index in zip(shards, indexes, strict=True):
        words = work / f"words-{shard.stem}.h5"
        if not is_words_of(words, shard, codebook, n=method.n):
            assign_words(shard, codebook, words, n=method.n)
        build(words, index)
    collect_statistics(indexes, work / "statistics.h5", stale=False)
    return Database(indexes, codebook, work / "statistics.h5")


def _search_hamming(method: HammingMethod, asked: _Asked, shard: Path, part: Path) -> None:
    settings = {"matching": Matching(**method.matching), "top_k": asked.top_k}
    search_hamming(_query_words(method, asked, part), shard, asked.database.statistics, part, **settings)


def _query_words(method: BowMethod | HammingMethod, asked: _Asked, part: Path) -> list[Path]:
    words = [part.with_name(f"{part.stem}-words-{number:05d}.h5") for number in range(len(asked.queries))]
    settings = {"n": method.n, "multiple_assignment": method.multiple_assignment, "threads": asked.threads}
    for query, path in zip(asked.queries, words, strict=True):
        assign_words(query, asked.database.codebook, path, **settings)
    return words


def _search_flat(method: FlatMethod, asked: _Asked, shard: Path, part: Path) -> None:
    settings = {"measure": method.search, "top_k": asked.top_k, "dim": method.dim, "threads": asked.threads}
    search_flat(asked.queries, [shard], part, **settings)


@dataclass(frozen=True)
class _Way:
    """What a way of searching does with a database, and with one shard of it."""

    prepare: Callable[..., Database]
    search: Callable[..., None]


_FLAT = _Way(lambda method, shards, work, codebook: Database(shards), _search_flat)
# By the `search` key of a method.
_WAYS: Mapping[str, _Way] = {
    "asmk": _Way(_index, _search_index),
    "bow": _Way(partial(_index_words, build_bow), _search_bow),
    "hamming": _Way(partial(_index_words, build_hamming), _search_hamming),
    "inner_product": _FLAT,
    "euclidean": _FLAT,
}
