"""Stage search_index: all queries against one shard of an inverted file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from descbench.errors import DataError
from descbench.features.store import ShardReader, check_shard
from descbench.io.digests import check_digest
from descbench.retrieval.asmk import Aggregated, Searcher
from descbench.retrieval.index import Aggregator, IndexInfo, read_index, unreadable_images, unturned_images
from descbench.retrieval.ranking import PartInfo, rank_scores, ranking_writer
from descbench.retrieval.statistics import read_idf

_QUERIES = 32


def search_index(
    query_shards: Sequence[Path],
    codebook: Path,
    index: Path,
    output: Path,
    *,
    n: int,
    multiple_assignment: int,
    similarity_threshold: float,
    alpha: float,
    top_k: int | None = None,
    statistics: Path | None = None,
    num_distractors: int = 0,
    threads: int | None = None,
    cell: str | None = None,
) -> None:
    """Rank the images of one index shard for every query.

    An image that could not be read has score NaN for every query and so comes last; a query that could not be read
    has score NaN for all images: it found nothing. What was read but gave no descriptors has score 0, as in the
    original. Scores are final: they do not depend on what other shards hold, except through ``statistics``.

    Args:
        query_shards: feature shards of the queries, in order.
        codebook: codebook file.
        index: index shard.
        output: the partial ranking to write.
        n: strongest descriptors used of a query.
        multiple_assignment: words of a query descriptor.
        similarity_threshold, alpha: see :class:`descbench.retrieval.asmk.Searcher`.
        top_k: images kept of each query; None = all.
        statistics: idf of all shards; None = no idf.
        num_distractors: for a shard of a distractor set, the number of images of that set: image i gets the
            id ``i - num_distractors``, so that distractors have negative ids. 0 for a shard of the database.
        threads: None = all processors. The result does not depend on it.
        cell: method and dataset that the ranking is of, for its readers to compare.

    Raises:
        StaleFileError: index, codebook, statistics or queries do not belong together.
        DataError: a damaged file, descriptors that are not finite, or scores that are not.
    """
    info, lists = read_index(index)
    binary = lists.binary
    aggregator = Aggregator(codebook, n=n, multiple_assignment=multiple_assignment, binary=binary, threads=threads)
    check_digest(index, "codebook", info.codebook, aggregator.codebook.digest)
    idf = None if statistics is None else read_idf(statistics, index, info)
    settings = {"similarity_threshold": similarity_threshold, "alpha": alpha}
    try:
        searcher = Searcher(lists, **settings, idf=idf, threads=threads)
    except ValueError as error:
        raise DataError(f"{index}: damaged index shard ({error}); delete it and run again.") from error
    settings |= {"n": n, "multiple_assignment": multiple_assignment, "idf": statistics is not None}
    first = info.first_image - num_distractors
    unreadable = unreadable_images(index, info) - info.first_image
    made_from = _made_from(info, settings) | ({"cell": cell} if cell else {})
    without, images = tuple((first + unreadable).tolist()), unturned_images(index)
    search = _Search(searcher, unreadable, lists.image_norms(idf) > 0, idf)
    with ExitStack() as stack:
        readers = [stack.enter_context(ShardReader(path)) for path in query_shards]
        for reader in readers:
            check_shard(reader, features=info.features, checkpoint=info.checkpoint)
        unturned = sum(len(reader.unturned) for reader in readers), images
        part = PartInfo(first, info.num_images, made_from, without, unturned=unturned)
        _write_rows(readers, aggregator, search, part, output, top_k)


@dataclass(frozen=True)
class _Search:
    """A search that knows which images and queries cannot be compared.

    Attributes:
        searcher: of the inverted file.
        unreadable: positions of images that could not be read.
        weighted: (num_images,) bool: images that have a word of some idf; the others score NaN, as in the original.
        idf: (K,) of the words; None = 1.
    """

    searcher: Searcher
    unreadable: np.ndarray
    weighted: np.ndarray
    idf: np.ndarray | None

    def scores(self, queries: Aggregated, query_ids: np.ndarray, skipped: Mapping[int, str]) -> np.ndarray:
        """(queries, num_images) float64; NaN for what cannot be compared, and for nothing else.

        Raises:
            DataError: other scores are not finite.
        """
        scores = self.searcher.search(queries)
        for row, (low, high) in enumerate(pairwise(queries.offsets)):
            if int(query_ids[row]) in skipped or (
                low < high and self.idf is not None and not self.idf[queries.words[low:high]].any()
            ):
                scores[row] = np.nan
            elif not np.isfinite(scores[row, self.weighted]).all():
                raise DataError(
                    f"query {query_ids[row]}: some scores are NaN or infinite; with this `alpha` and "
                    "`similarity_threshold` a similarity has no finite power. Set the threshold to 0 or more, or "
                    "`alpha` to a whole number."
                )
        scores[:, self.unreadable] = np.nan
        return scores


def _write_rows(
    readers: Sequence[ShardReader],
    aggregator: Aggregator,
    search: _Search,
    part: PartInfo,
    output: Path,
    top_k: int | None,
) -> None:
    """Search for the queries a few at a time, and write their rows."""
    ids = np.arange(part.first_image, part.first_image + part.num_images)
    query_ids = np.concatenate([np.zeros(0, np.int64), *(reader.image_ids for reader in readers)])
    width = len(ids) if top_k is None else min(top_k, len(ids))
    with ranking_writer(output, part, query_ids, width) as writer:
        row = 0
        for reader in readers:
            for queries in aggregator.blocks(reader, _QUERIES):
                writer.write(row, *rank_scores(ids, search.scores(queries, query_ids[row:], reader.skipped), top_k))
                row += len(queries.offsets) - 1


def _made_from(info: IndexInfo, settings: dict[str, Any]) -> dict[str, Any]:
    return {"codebook": info.codebook, "features": info.features, "checkpoint": info.checkpoint, **settings}
