"""Lines between the inliers that a ranking is ordered by, or was expanded from: of a query and its first images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from descbench.datasets.manifest import ManifestRow
from descbench.errors import DataError
from descbench.features.image_features import ImageFeatures
from descbench.features.images import LoadedImage
from descbench.matching.homography import find_inliers
from descbench.matching.inlier_counts import read_inlier_counts
from descbench.matching.matcher import MatchSettings, match_pairs
from descbench.retrieval.inliers import read_inliers
from descbench.retrieval.ranking import read_part_info
from descbench.tables.match_drawing import draw_matches

# Of more inliers, so many lines are drawn.
_MOST = 60
# Features (m, 2) of a query and of an image that one transform connects; only asked for what has any.
_Find = Callable[[int, int], np.ndarray]
_DRAWN = (
    "Lines connect inliers of a query and of the first images that have any; their colours only tell them apart, and "
    f"of more than {_MOST} so many are drawn."
)


@dataclass(frozen=True)
class Shortlist:
    """How the first images of a ranking were matched.

    Attributes:
        settings: how two images are matched.
        threshold: pixels of the database image that an inlier may be off its place.
        first: images of a query that were matched, which stand before all others; None: all.
        counts: files of inlier counts of all queries.
    """

    settings: MatchSettings
    threshold: float
    first: int | None = None
    counts: Sequence[Path] = ()


@dataclass(frozen=True)
class InlierLines:
    """What a page shows of the inliers that a ranking is ordered by.

    Attributes:
        counts: inliers by query and image, of what was compared (of what was verified, where a transform must have
            some at least).
        legend: what lines and numbers mean, in sentences; empty where there are none.
        connect: draws lines between a query and an image, given their ids and rows of the manifest; None: a picture
            cannot be read.
    """

    counts: Mapping[tuple[int, int], int] = field(default_factory=dict)
    legend: str = ""
    connect: Callable[[int, int, tuple[ManifestRow, ManifestRow]], Markup | None] = lambda query, image, rows: None

    def drawings(
        self, query: tuple[int, ManifestRow], images: Iterable[tuple[int, int, ManifestRow]], most: int
    ) -> tuple[tuple[str, Markup], ...]:
        """Lines between a query and the first of its images that have any, by what stands under them.

        Args:
            query: id and row in the manifest.
            images: place on the page, id and row of each, best first.
            most: images that are drawn.
        """
        found: list[tuple[str, Markup]] = []
        for place, image, row in images:
            if len(found) == most:
                break
            number = self.counts.get((query[0], image), 0)
            drawing = self.connect(query[0], image, (query[1], row)) if number else None
            if drawing is not None:
                found.append((f"{number} inlier{'' if number == 1 else 's'} with {place}. {row.path}", drawing))
        return tuple(found)


@dataclass(frozen=True)
class LineFiles:
    """What the inliers of a ranking follow from: a file of verified images, or how images were matched.

    Attributes:
        queries, database: feature shards of the queries, and of all that was ranked, distractors first.
        compared: the verified images, or the settings of matching.
        made_by: digest of the features block; None: not compared.
        expanded: method and dataset of the ranking that was verified, where the one that is shown is a second search
            from it; None: what is shown was verified itself.
    """

    queries: Sequence[Path]
    database: Sequence[Path]
    compared: Path | Shortlist
    made_by: str | None = None
    expanded: str | None = None


def line_files(inputs: Any, settings: Mapping[str, Any]) -> LineFiles | None:
    """The files and settings of a rule that shows a ranking; None where its method compares no local features.

    Args:
        inputs: Snakemake's, with ``queries``, ``database``, ``inliers`` and ``counts`` as far as the method has them.
        settings: ``shortlist``, None or the arguments of :class:`Shortlist`; ``made_by``, and ``expanded`` where it is
            not None.
    """
    if inputs.get("queries") is None:
        return None
    shards = [[Path(path) for path in inputs.get(role)] for role in ("queries", "database")]
    shortlist = settings["shortlist"]
    if shortlist is None:
        return LineFiles(*shards, Path(inputs.get("inliers")), settings["made_by"], settings.get("expanded"))
    matching = MatchSettings(**shortlist["settings"])
    counts = [Path(path) for path in inputs.get("counts")]
    return LineFiles(*shards, Shortlist(**{**shortlist, "settings": matching}, counts=counts), settings["made_by"])


@contextmanager
def inlier_lines(
    ranking: Path, files: LineFiles | None, picture: Callable[[ManifestRow], LoadedImage | str], cell: str | None
) -> Iterator[InlierLines]:
    """Numbers of inliers, and what draws both pictures with lines between them.

    They are those of spatial verification, or the images are matched again as their stage matched them, with the same
    result.

    Args:
        ranking: that is shown.
        files: what inliers follow from; None: no image has any.
        picture: of an image, or why there is none.
        cell: method and dataset of the ranking; None: of any.

    Raises:
        StaleFileError: features of another configuration, inliers of another method or dataset.
        DataError: a file is absent or damaged, or inliers are of features that are not there.
    """
    if files is None:
        yield InlierLines()
        return
    info, compared = read_part_info(ranking), files.compared
    with (
        ImageFeatures(files.queries, files.made_by) as asked,
        ImageFeatures(files.database, files.made_by, first_id=info.first_image) as searched,
    ):
        if isinstance(compared, Path):
            counts, find = _verified(compared, files.expanded or cell)
            legend = _verified_legend(info.made_from, files.expanded)
        else:
            counts, find = _read_counts(compared, cell), _matched(asked, searched, compared)
            legend = _matched_legend(compared)

        def draw(query: int, image: int, rows: tuple[ManifestRow, ManifestRow]) -> Markup | None:
            first, second = picture(rows[0]), picture(rows[1])
            if isinstance(first, str) or isinstance(second, str):
                return None
            pairs = find(query, image)
            places = asked.keypoints(query), searched.keypoints(image)
            if (pairs.max(axis=0) >= [len(places[0]), len(places[1])]).any():
                raise DataError(f"{compared}: inliers of features that are not there; delete it and rerun.")
            shown = [_in_picture(places[0][pairs[:, 0]], first), _in_picture(places[1][pairs[:, 1]], second)]
            label = f"{len(pairs)} inliers of query {query} and image {image}"
            return draw_matches(first.pixels, second.pixels, np.column_stack(shown), label, most=_MOST)

        yield InlierLines(counts, legend, draw)


def _verified(path: Path, cell: str | None) -> tuple[dict[tuple[int, int], int], _Find]:
    """Inliers that a file holds: how many, and which."""
    known = read_inliers(path, cell)
    cells = zip(known.query_ids.tolist(), known.image_ids.tolist(), strict=True)
    positions = {cell: position for position, cell in enumerate(cells)}

    def find(query: int, image: int) -> np.ndarray:
        position = positions[query, image]
        return known.pairs[slice(*known.offsets[position : position + 2])]

    return dict(zip(positions, np.diff(known.offsets).tolist(), strict=True)), find


def _verified_legend(settings: Mapping[str, Any], expanded: str | None) -> str:
    """What was verified how, as its stage wrote down; with ``expanded``, in a ranking before this one."""
    least = settings.get("min_inliers")
    order = "such images stand before all others, and most inliers come first"
    if expanded is not None:
        averaged = max(least or 0, settings.get("expanded_from_inliers") or 0)
        order = (
            f"of such images, the first {settings.get('expanded')} with at least {averaged} were averaged with the "
            "query, and the order is that of the search with this average; what was not verified has no number"
        )
    return (
        f"The first {settings.get('verified')} images of each query were verified"
        f"{f' in the ranking of {expanded}' if expanded else ''}. An inlier is a feature of the query "
        "whose visual word the image has too, at a place that one affine transform of both takes it to, within "
        f"{settings.get('error')} pixels. Under a picture stands how many there are, where there are at least "
        f"{least}: {order}. {_DRAWN}"
    )


def _read_counts(shortlist: Shortlist, cell: str | None) -> dict[tuple[int, int], int]:
    """Inliers of all that was matched."""
    parts = [read_inlier_counts(path, cell=cell) for path in shortlist.counts]
    return {
        (query, image): number
        for part in parts
        for (query, image), number in zip(part.pairs.tolist(), part.inliers.tolist(), strict=True)
    }


def _matched_legend(shortlist: Shortlist) -> str:
    """What was matched how."""
    which = "All images" if shortlist.first is None else f"The first {shortlist.first} images"
    return (
        f"{which} of each query were matched by their local features. An inlier is a match that one homography of both "
        f"explains, within {shortlist.threshold:g} pixels. Under a picture stands how many there are: most come first. "
        f"{_DRAWN}"
    )


def _matched(queries: ImageFeatures, database: ImageFeatures, shortlist: Shortlist) -> _Find:
    """Inliers that matching finds."""
    n = shortlist.settings.n

    def find(query: int, image: int) -> np.ndarray:
        (matches,) = match_pairs(queries, database, [(query, image)], shortlist.settings, threads=1)
        a, b = matches.indices.T
        places = queries.keypoints(query, n)[a], database.keypoints(image, n)[b]
        return matches.indices[find_inliers(*places, shortlist.threshold)]

    return find


def _in_picture(places: np.ndarray, picture: LoadedImage) -> np.ndarray:
    """Places (m, 2), whose first pixel has its centre at 0, in pixels of a picture, whose corner is 0."""
    return (places + 0.5 - np.array(picture.offset)) / np.array(picture.ratio)
