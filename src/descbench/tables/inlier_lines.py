"""Lines between the inliers that a ranking is ordered by, from a query to its first images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from descbench.datasets.manifest import ManifestRow
from descbench.errors import DataError
from descbench.features.image_features import ImageFeatures
from descbench.features.images import LoadedImage
from descbench.matching.homography import find_inliers
from descbench.matching.matcher import MatchSettings, match_pairs
from descbench.retrieval.inliers import read_inliers
from descbench.retrieval.ranking import read_part_info
from descbench.tables.match_drawing import draw_matches

# What draws lines between a query and an image, given their ids, the image's rank and both rows of the manifest; None:
# there are no lines.
Draw = Callable[[int, int, int, tuple[ManifestRow, ManifestRow]], Markup | None]
# Features (m, 2) of a query and of the image at a rank that one transform connects; None: nobody compared them.
_Find = Callable[[int, int, int], np.ndarray | None]


@dataclass(frozen=True)
class Shortlist:
    """How the first images of a ranking were matched.

    Attributes:
        settings: how two images are matched.
        threshold: pixels of the database image that an inlier may be off its place.
        first: images of a query that were matched, which stand before all others; None: all.
    """

    settings: MatchSettings
    threshold: float
    first: int | None = None


@dataclass(frozen=True)
class LineFiles:
    """What the inliers of a ranking follow from: a file of verified images, or how images were matched.

    Attributes:
        queries, database: feature shards of the queries, and of all that was ranked, distractors first.
        compared: the verified images, or the settings of matching.
        made_by: digest of the features block; None: not compared.
    """

    queries: Sequence[Path]
    database: Sequence[Path]
    compared: Path | Shortlist
    made_by: str | None = None


def line_files(inputs: Any, settings: Mapping[str, Any]) -> LineFiles | None:
    """The files and settings of a rule that shows a ranking; None where its method compares no local features.

    Args:
        inputs: Snakemake's, with ``queries``, ``database`` and ``inliers`` as far as the method has them.
        settings: ``shortlist``, None or the arguments of :class:`Shortlist`, and ``made_by``.
    """
    if inputs.get("queries") is None:
        return None
    shards = [[Path(path) for path in inputs.get(role)] for role in ("queries", "database")]
    shortlist = settings["shortlist"]
    if shortlist is None:
        return LineFiles(*shards, Path(inputs.get("inliers")), settings["made_by"])
    matching = MatchSettings(**shortlist["settings"])
    return LineFiles(*shards, Shortlist(**{**shortlist, "settings": matching}), settings["made_by"])


@contextmanager
def inlier_lines(
    ranking: Path, files: LineFiles | None, picture: Callable[[ManifestRow], LoadedImage | str], cell: str | None
) -> Iterator[Draw]:
    """A function that draws both pictures, with lines between inliers.

    They are those of spatial verification, or the images are matched again as their stage matched them, with the same
    result. Images that were not compared, or whose picture cannot be read, have no lines.

    Args:
        ranking: that is shown.
        files: what inliers follow from; None: no image has lines.
        picture: of an image, or why there is none.
        cell: method and dataset of the ranking; None: of any.

    Raises:
        StaleFileError: features of another configuration, inliers of another method or dataset.
        DataError: a file is absent or damaged, or inliers are of features that are not there.
    """
    if files is None:
        yield lambda query, image, rank, rows: None
        return
    first_id, compared = read_part_info(ranking).first_image, files.compared
    with (
        ImageFeatures(files.queries, files.made_by) as asked,
        ImageFeatures(files.database, files.made_by, first_id=first_id) as searched,
    ):
        find = _verified(compared, cell) if isinstance(compared, Path) else _matched(asked, searched, compared)

        def draw(query: int, image: int, rank: int, rows: tuple[ManifestRow, ManifestRow]) -> Markup | None:
            first, second = picture(rows[0]), picture(rows[1])
            if isinstance(first, str) or isinstance(second, str):
                return None
            pairs = find(query, image, rank)
            if pairs is None or not len(pairs):
                return None
            places = asked.keypoints(query), searched.keypoints(image)
            if (pairs.max(axis=0) >= [len(places[0]), len(places[1])]).any():
                raise DataError(f"{compared}: inliers of features that are not there; delete it and rerun.")
            shown = [_in_picture(places[0][pairs[:, 0]], first), _in_picture(places[1][pairs[:, 1]], second)]
            label = f"{len(pairs)} inliers of query {query} and image {image}"
            return draw_matches(first.pixels, second.pixels, np.column_stack(shown), label)

        yield draw


def _verified(path: Path, cell: str | None) -> _Find:
    """Inliers that a file holds."""
    known = read_inliers(path, cell)
    cells = zip(known.query_ids.tolist(), known.image_ids.tolist(), strict=True)
    positions = {cell: position for position, cell in enumerate(cells)}

    def find(query: int, image: int, rank: int) -> np.ndarray | None:
        position = positions.get((query, image))
        return None if position is None else known.pairs[slice(*known.offsets[position : position + 2])]

    return find


def _matched(queries: ImageFeatures, database: ImageFeatures, shortlist: Shortlist) -> _Find:
    """Inliers that matching finds."""
    n = shortlist.settings.n

    def find(query: int, image: int, rank: int) -> np.ndarray | None:
        if shortlist.first is not None and rank > shortlist.first:
            return None
        (matches,) = match_pairs(queries, database, [(query, image)], shortlist.settings, threads=1)
        a, b = matches.indices.T
        places = queries.keypoints(query, n)[a], database.keypoints(image, n)[b]
        return matches.indices[find_inliers(*places, shortlist.threshold)]

    return find


def _in_picture(places: np.ndarray, picture: LoadedImage) -> np.ndarray:
    """Places (m, 2), whose first pixel has its centre at 0, in pixels of a picture, whose corner is 0."""
    return (places + 0.5 - np.array(picture.offset)) / np.array(picture.ratio)
