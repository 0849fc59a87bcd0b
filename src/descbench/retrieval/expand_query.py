"""Stage expand_query: average query expansion, from the images that were verified.

Definition: docs/protocols/oxford_bow.md, Query expansion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.retrieval.bow import Bag, count_words, mean_bag, weighted
from descbench.retrieval.inliers import read_inliers
from descbench.retrieval.parts import search_again
from descbench.retrieval.ranking import read_part_info
from descbench.retrieval.search_bow import open_searcher
from descbench.retrieval.words import read_words


def expand_query(
    ranking: Path,
    inliers: Path,
    query_words: Sequence[Path],
    database_words: Sequence[Path],
    indexes: Sequence[Path],
    statistics: Path,
    output: Path,
    work: Path,
    *,
    images: int,
    min_inliers: int = 0,
    top_k: int | None,
    num_queries: int,
    based_on: str | None = None,
    cell: str | None = None,
) -> None:
    """Search again with the mean bag of each query and of its best verified images.

    Args:
        ranking, inliers: of the verification.
        query_words, database_words: words of the queries, and of all images that were searched, distractors first.
        indexes: index shards, in the same order.
        statistics: idf of all shards.
        output: the ranking to write.
        work: folder for partial rankings.
        images: most verified images of a query that are averaged.
        min_inliers: fewest inliers of these.
        top_k: length of the ranking; None = all images.
        num_queries: of the dataset.
        based_on: method and dataset that ``inliers`` must be of.
        cell: method and dataset that the ranking is of, for its readers to compare.

    Raises:
        StaleFileError: files that do not belong together.
        DataError: damaged files, or shards that do not follow one another.
    """
    before, verified = read_part_info(ranking), read_inliers(inliers, based_on)
    _, idf, _ = open_searcher(indexes[0], statistics)
    asked = np.unique(verified.query_ids)
    wanted = {int(query): verified.images_of(query, min_inliers)[:images].tolist() for query in asked}
    bags = _read_bags(database_words, before.first_image, {i for ids in wanted.values() for i in ids}, idf)
    queries: dict[int, Bag | None] = {}
    for path in query_words:
        known = read_words(path)
        for position, query in enumerate(known.image_ids.tolist()):
            own = weighted(count_words(known.of(position)), idf)
            mean = mean_bag([own, *(bags[image] for image in wanted.get(query, ()))])
            queries[query] = None if query in known.unreadable else mean
    search_again(
        before,
        queries,
        indexes,
        database_words,
        lambda index: _searched(index, statistics),
        output,
        work,
        made_from={"expanded": images, "expanded_from_inliers": min_inliers} | ({"cell": cell} if cell else {}),
        top_k=top_k,
        num_queries=num_queries,
    )


def _searched(index: Path, statistics: Path):
    info, _, searcher = open_searcher(index, statistics)
    return info, searcher.search


def _read_bags(words: Sequence[Path], first: int, wanted: set[int], idf: np.ndarray) -> dict[int, Bag]:
    """Bags of some images, of length 1, each image by its nearest words."""
    bags: dict[int, Bag] = {}
    for path in words:
        known = read_words(path)
        for image in sorted(i for i in wanted if first <= i < first + len(known.image_ids)):
            bags[image] = weighted(count_words(known.of(image - first)[:, 0]), idf)
        first += len(known.image_ids)
    if missing := wanted - bags.keys():
        raise DataError(
            f"verified images {sorted(missing)[:5]} are in none of the words shards; delete them and rerun."
        )
    return bags
