"""A whole search in one call, for whoever needs a ranking without the workflow: validation, pairs, the command line.

The workflow runs the same stages as jobs of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from descbench.config.methods import AsmkMethod, BowMethod, FlatMethod, HammingMethod, Method
from descbench.retrieval.flat import search_flat
from descbench.retrieval.index import build_index
from descbench.retrieval.ranking import merge_rankings
from descbench.retrieval.search import search_index
from descbench.retrieval.search_bow import build_bow, search_bow
from descbench.retrieval.search_hamming import Matching, build_hamming, search_hamming
from descbench.retrieval.statistics import collect_statistics
from descbench.retrieval.words import assign_words


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
    """Index feature shards where the method searches an index; what is made lies in ``work``."""
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
    parts = []
    for number, shard in enumerate(database.shards):
        parts.append(work / f"part-{number:05d}.h5")
        _WAYS[method.search].search(method, queries, database, shard, parts[-1], top_k=top_k, threads=threads)
    merge_rankings(parts, ranking, top_k=top_k, num_queries=num_queries)


def _index(method: AsmkMethod, shards: Sequence[Path], work: Path, codebook: Path | None) -> Database:
    indexes = [work / f"index-{shard.stem}.h5" for shard in shards]
    for shard, index in zip(shards, indexes, strict=True):
        build_index(shard, codebook, index, n=method.n, **method.index.model_dump())
    if not method.idf.use_idf:
        return Database(indexes, codebook)
    collect_statistics(indexes, work / "statistics.h5", stale=method.idf.stale)
    return Database(indexes, codebook, work / "statistics.h5")


def _search_index(
    method: AsmkMethod,
    queries: Sequence[Path],
    database: Database,
    shard: Path,
    part: Path,
    *,
    top_k: int | None,
    threads: int | None,
) -> None:
    settings = {**method.query.model_dump(), "n": method.n, "top_k": top_k, "threads": threads}
    search_index(queries, database.codebook, shard, part, statistics=database.statistics, **settings)


def _count(method: BowMethod, shards: Sequence[Path], work: Path, codebook: Path | None) -> Database:
    return _indexed(method, shards, work, codebook, build_bow)


def _search_bow(
    method: BowMethod,
    queries: Sequence[Path],
    database: Database,
    shard: Path,
    part: Path,
    *,
    top_k: int | None,
    threads: int | None,
) -> None:
    words = _query_words(method, queries, database, part, threads)
    search_bow(words, shard, database.statistics, part, top_k=top_k)


def _sign(method: HammingMethod, shards: Sequence[Path], work: Path, codebook: Path | None) -> Database:
    return _indexed(method, shards, work, codebook, build_hamming)


def _indexed(
    method: BowMethod | HammingMethod,
    shards: Sequence[Path],
    work: Path,
    codebook: Path | None,
    build: Callable[[Path, Path], None],
) -> Database:
    """Index shards of the words of feature shards."""
    indexes = [work / f"index-{shard.stem}.h5" for shard in shards]
    for shard, index in zip(shards, indexes, strict=True):
        words = work / f"words-{shard.stem}.h5"
        assign_words(shard, codebook, words, n=method.n)
        build(words, index)
    collect_statistics(indexes, work / "statistics.h5", stale=False)
    return Database(indexes, codebook, work / "statistics.h5")


def _search_hamming(
    method: HammingMethod,
    queries: Sequence[Path],
    database: Database,
    shard: Path,
    part: Path,
    *,
    top_k: int | None,
    threads: int | None,
) -> None:
    words = _query_words(method, queries, database, part, threads)
    search_hamming(words, shard, database.statistics, part, matching=Matching(**method.matching), top_k=top_k)


def _query_words(
    method: BowMethod | HammingMethod, queries: Sequence[Path], database: Database, part: Path, threads: int | None
) -> list[Path]:
    words = [part.with_name(f"{part.stem}-words-{number:05d}.h5") for number in range(len(queries))]
    settings = {"n": method.n, "multiple_assignment": method.multiple_assignment, "threads": threads}
    for query, path in zip(queries, words, strict=True):
        assign_words(query, database.codebook, path, **settings)
    return words


def _search_flat(
    method: FlatMethod,
    queries: Sequence[Path],
    database: Database,
    shard: Path,
    part: Path,
    *,
    top_k: int | None,
    threads: int | None,
) -> None:
    search_flat(queries, [shard], part, measure=method.search, top_k=top_k, dim=method.dim, threads=threads)


@dataclass(frozen=True)
class _Way:
    """What a way of searching does with a database, and with one shard of it."""

    prepare: Callable[..., Database]
    search: Callable[..., None]


_FLAT = _Way(lambda method, shards, work, codebook: Database(shards), _search_flat)
# By the `search` key of a method.
_WAYS: Mapping[str, _Way] = {
    "asmk": _Way(_index, _search_index),
    "bow": _Way(_count, _search_bow),
    "hamming": _Way(_sign, _search_hamming),
    "inner_product": _FLAT,
    "euclidean": _FLAT,
}
