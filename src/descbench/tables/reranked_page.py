"""A page of ranked images of a method that orders by local matching: lines between the inliers that it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from markupsafe import Markup

from descbench.datasets.manifest import ManifestRow
from descbench.features.image_features import ImageFeatures
from descbench.features.images import LoadedImage
from descbench.matching.homography import find_inliers
from descbench.matching.matcher import MatchSettings, match_pairs
from descbench.retrieval.ranking import read_part_info
from descbench.tables.match_drawing import draw_matches
from descbench.tables.ranking_page import RankingFiles, show_ranking
from descbench.tables.thumbnails import read_pictures

_EACH = 4  # queries of each kind: a drawing takes as much room as several pictures


@dataclass(frozen=True)
class ShortlistFiles:
    """What the images of a shortlist were matched by.

    Attributes:
        queries, database: feature shards of the queries, and of all that was ranked, distractors first.
        settings: how two images are matched.
        threshold: pixels of the database image that an inlier may be off its place.
        first: images of a query that were matched, which stand before all others; None: all.
        made_by: digest of the features block; None: not compared.
    """

    queries: Sequence[Path]
    database: Sequence[Path]
    settings: MatchSettings
    threshold: float
    first: int | None = None
    made_by: str | None = None


def show_reranked(
    files: RankingFiles,
    shortlist: ShortlistFiles,
    output: Path,
    *,
    method: str,
    dataset: str,
    each: int = _EACH,
    reading: Mapping[str, Any] | None = None,
    on_bad_image: Literal["stop", "skip"] = "stop",
) -> None:
    """Write the page of :func:`descbench.tables.ranking_page.show_ranking` with lines between inliers.

    The images that are drawn are matched again, as the ranking's stage matched them; both give the same inliers.

    Args:
        shortlist: features and settings of the stage match_shortlist.
        files, output, method, dataset, each, reading, on_bad_image: as there, with its errors.

    Raises:
        StaleFileError: features of another configuration.
        DataError: a feature shard is absent or damaged.
    """
    picture = read_pictures(files.image_root, reading or {}, on_bad_image)
    with _Lines(files.ranking, shortlist) as lines:

        def draw(query: int, image: int, rank: int, rows: tuple[ManifestRow, ManifestRow]) -> Markup | None:
            pictures = picture(rows[0]), picture(rows[1])
            if isinstance(pictures[0], str) or isinstance(pictures[1], str):
                return None
            if shortlist.first is not None and rank > shortlist.first:
                return None
            return lines.draw(query, image, (pictures[0], pictures[1]))

        names = {"method": method, "dataset": dataset}
        show_ranking(files, output, **names, each=each, reading=reading, on_bad_image=on_bad_image, draw=draw)


class _Lines:
    """Context manager that matches a query and an image, and draws what one homography explains."""

    def __init__(self, ranking: Path, shortlist: ShortlistFiles) -> None:
        first = read_part_info(ranking).first_image
        self._shortlist = shortlist
        self._queries = ImageFeatures(shortlist.queries, shortlist.made_by)
        self._database = ImageFeatures(shortlist.database, shortlist.made_by, first_id=first)

    def __enter__(self) -> Self:
        self._queries.__enter__()
        self._database.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.__exit__(kind, error, trace)
        self._queries.__exit__(kind, error, trace)

    def draw(self, query: int, image: int, pictures: tuple[LoadedImage, LoadedImage]) -> Markup | None:
        """Both pictures with lines between inliers; None where there are none."""
        settings = self._shortlist.settings
        (matches,) = match_pairs(self._queries, self._database, [(query, image)], settings, threads=1)
        a, b = matches.indices.T
        places = self._queries.keypoints(query, settings.n)[a], self._database.keypoints(image, settings.n)[b]
        inliers = find_inliers(*places, self._shortlist.threshold)
        if not inliers.any():
            return None
        shown = [_in_picture(of[inliers], picture) for of, picture in zip(places, pictures, strict=True)]
        label = f"{int(inliers.sum())} inliers of query {query} and image {image}"
        return draw_matches(pictures[0].pixels, pictures[1].pixels, np.column_stack(shown), label)


def _in_picture(places: np.ndarray, picture: LoadedImage) -> np.ndarray:
    """Places (m, 2), whose first pixel has its centre at 0, in pixels of a picture, whose corner is 0."""
    return (places + 0.5 - np.array(picture.offset)) / np.array(picture.ratio)
