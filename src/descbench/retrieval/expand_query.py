"""Stage expand_query: average query expansion, from the images that were verified.

Definition: docs/protocols/oxford_bow.md, Query expansion.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from descbench.retrieval.bow import Bag, mean_bag
from descbench.retrieval.index import IndexInfo
from descbench.retrieval.inliers import read_inliers
from descbench.retrieval.parts import Search, SearchedFiles, read_images, search_again
from descbench.retrieval.ranking import read_part_info
from descbench.retrieval.search_bow import bag_of, open_searcher
from descbench.retrieval.words import read_words


def expand_query(
    ranking: Path,
    inliers: Path,
    files: SearchedFiles,
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
        files: of the search that was verified.
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
    _, idf, _ = open_searcher(files.indexes[0], files.statistics)
    asked = np.unique(verified.query_ids)
    wanted = {int(query): verified.images_of(query, min_inliers)[:images].tolist() for query in asked}
    shown = {image for images in wanted.values() for image in images}
    # Of an image the nearest words only, whatever the assignments of queries.
    bags = read_images(
        files.words, before.first_image, shown, read_words, lambda known, at: bag_of(known.of(at)[:, 0], idf)
    )
    queries: dict[int, Bag | None] = {}
    for path in files.query_words:
        known = read_words(path)
        for position, query in enumerate(known.image_ids.tolist()):
            own = bag_of(known.of(position), idf)
            mean = mean_bag([own, *(bags[image] for image in wanted.get(query, ()))])
            queries[query] = None if query in known.unreadable else mean
    search_again(
        before,
        queries,
        files,
        lambda index: _searched(index, files.statistics),
        output,
        work,
        made_from={"expanded": images, "expanded_from_inliers": min_inliers} | ({"cell": cell} if cell else {}),
        top_k=top_k,
        num_queries=num_queries,
    )


def _searched(index: Path, statistics: Path) -> tuple[IndexInfo, Search]:
    info, _, searcher = open_searcher(index, statistics)
    return info, searcher.search
