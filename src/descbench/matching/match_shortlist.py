"""Stage match_shortlist: the first images of the rankings of some queries, matched by their local features.

Definition: docs/protocols/local_reranking.md, Score of an image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.features.image_features import ImageFeatures
from descbench.matching.homography import count_inliers
from descbench.matching.inlier_counts import CountsInfo, write_inlier_counts
from descbench.matching.matcher import MatchSettings, match_pairs
from descbench.progress import progress
from descbench.retrieval.ranking import Ranking, found_images, read_part_info, read_ranking

Pair = tuple[int, int]


@dataclass(frozen=True)
class Shortlists:
    """The first images of the rankings of some queries.

    Attributes:
        ranking: file of the ranking.
        first: images of a query that are matched; None: all.
        start, stop: queries ``start:stop`` of the ranking; no ``stop``: all that follow.
        based_on: method and dataset that the ranking must be of; None: any.
    """

    ranking: Path
    first: int | None = 100
    start: int = 0
    stop: int | None = None
    based_on: str | None = None

    def find_pairs(self) -> list[Pair]:
        """Queries and images, in the order of the ranking.

        Raises:
            DataError, StaleFileError: the ranking is damaged, of something else, or has fewer queries.
        """
        known = read_ranking(self.ranking, self.based_on)
        if self.stop is not None and self.stop > len(known.query_ids):
            raise DataError(
                f"{self.ranking}: ranks {len(known.query_ids)} queries, and {self.stop} should be matched; correct "
                "`counts` of this dataset."
            )
        rows = list(zip(known.query_ids.tolist(), shortlisted(known, self.first), strict=True))
        return [(query, image) for query, ids in rows[self.start : self.stop] for image in ids.tolist()]


def shortlisted(ranking: Ranking, first: int | None) -> list[np.ndarray]:
    """Ids (k,) of the first images of each query; an image that was not found is none of them."""
    rows = zip(ranking.image_ids, found_images(ranking), strict=True)
    return [ids[found][:first] for ids, found in rows]


def match_shortlist(
    shortlists: Shortlists,
    queries: Sequence[Path],
    database: Sequence[Path],
    output: Path,
    settings: MatchSettings,
    *,
    threshold: float = 5.0,
    made_by: str | None = None,
    configuration: str = "",
    cell: str = "",
    threads: int | None = None,
) -> None:
    """Count the features of each query and of each image of its shortlist that match by one homography.

    Args:
        shortlists: which images.
        queries: feature shards of the queries.
        database: those of all that was ranked, in the order of ids in the ranking: distractors first.
        output: the file of inlier counts to write.
        settings: how two images are matched.
        threshold: pixels of the database image that an inlier may be off its place.
        made_by: digest of the features block; None: not compared.
        configuration, cell: for readers of the file.
        threads: None = all processors.

    Raises:
        DataError: a file is absent or damaged, features have no place in the image, descriptors do not fit each other,
            or the ranking is of other images.
        StaleFileError: files of another configuration.
    """
    pairs, ranked = shortlists.find_pairs(), read_part_info(shortlists.ranking)
    with (
        ImageFeatures(queries, made_by) as first,
        ImageFeatures(database, made_by, first_id=ranked.first_image) as second,
    ):
        if len(second) != ranked.num_images:
            number = f"{ranked.num_images} images, not of {len(second)}"
            raise DataError(f"{shortlists.ranking}: was made of {number}; delete it and rerun.")
        found = _counts(first, second, pairs, settings, threshold, threads)
        try:
            counts = list(progress(found, len(pairs), "matching", unit="pairs"))
        except ValueError as error:
            raise DataError(f"{output}: features that cannot be matched ({error}); extract them again.") from error
        if unreadable := len(first.skipped) + len(second.skipped):
            logging.warning("%s: %d images without features have no inliers", output, unreadable)
        write_inlier_counts(pairs, counts, CountsInfo(first.digest, second.digest, configuration, cell), output)


def _counts(
    first: ImageFeatures,
    second: ImageFeatures,
    pairs: Sequence[Pair],
    settings: MatchSettings,
    threshold: float,
    threads: int | None,
) -> Iterator[Pair]:
    """Matches and inliers of each pair."""
    found = match_pairs(first, second, pairs, settings, threads=threads)
    for (query, image), matches in zip(pairs, found, strict=True):
        a, b = matches.indices.T
        places = first.keypoints(query, settings.n)[a], second.keypoints(image, settings.n)[b]
        yield len(matches.indices), count_inliers(*places, threshold)
