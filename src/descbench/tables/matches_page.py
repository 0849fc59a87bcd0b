"""A page of matched image pairs to look at: curves of the matching accuracy, and lines by the error of each match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from descbench.errors import DataError, StaleFileError
from descbench.features.images import LoadedImage, load_image
from descbench.metrics.matched_pairs import MatchedFiles, MatchedPair, read_matched_pairs
from descbench.metrics.mma import THRESHOLDS, matching_accuracy
from descbench.metrics.score_matches import MatchScoring, pair_errors
from descbench.metrics.scores import Scores, read_scores
from descbench.tables.listed_queries import QueryLine, add_others, list_lines, numbers_in, size_of, what_is_shown
from descbench.tables.match_drawing import Stroke, draw_matches, places_in_picture
from descbench.tables.mma_curves import matching_curves
from descbench.tables.pages import ShownGroup, choose_queries, write_page
from descbench.tables.thumbnails import Picture

_METRIC = "mma@3_micro"
_PICTURE = 480
_DRAWN = 150
_ROUNDING = 1e-9
_HEADINGS = ("The worst pairs", "Median pairs", "The best pairs")
_COLUMNS = ("MMA@3 (%)", "corner error (px)")
# So many pairs are drawn at most; rarely more would fit into a page.
_MOST_PAIRS = 100


@dataclass(frozen=True)
class ErrorBin:
    """Matches whose error is at most ``last`` pixels, and above that of the bin before; None: any."""

    label: str
    last: float | None
    stroke: Stroke


# Inliers are drawn through, outliers dashed: colours alone would not tell them to everybody.
BINS = (
    ErrorBin("inlier, at most 1 px", 1.0, Stroke("#00d5ff")),
    ErrorBin("inlier, 1 to 3 px", 3.0, Stroke("#7dff5c")),
    ErrorBin("outlier, 3 to 10 px", 10.0, Stroke("#ffb000", "5 3")),
    ErrorBin("outlier, more than 10 px", None, Stroke("#ff4d6d", "2 3")),
)


@dataclass(frozen=True)
class ShownPair:
    """A pair on the page.

    Attributes:
        number: of the pair in the list, from 0.
        name: sequence and images.
        facts: number of matches, accuracy and error of the corners, in words.
        drawing: both images with lines; None where an image cannot be read.
        counts: matches of each bin.
        reason: why there is no drawing.
    """

    number: int
    name: str
    facts: str
    drawing: Markup | None
    counts: tuple[int, ...]
    reason: str

    @property
    def size(self) -> int:
        """Number of characters of its drawing on the page."""
        return size_of([Picture(reason=self.reason)], [("", self.drawing or Markup())])


@dataclass(frozen=True)
class _Pictures:
    """How images are read: below ``root``, by ``reading_options`` of the features block."""

    root: Path
    reading: Mapping[str, Any]
    on_bad_image: str

    def both(self, pair: MatchedPair) -> tuple[LoadedImage, LoadedImage] | str:
        """Both images of a pair, or why there are none."""
        try:
            first, second = (load_image(self.root / p, _PICTURE, **self.reading) for p in (pair.first, pair.second))
        except DataError as error:
            if self.on_bad_image == "stop":
                raise
            return str(error)
        return first, second


def show_matches(
    files: MatchedFiles,
    scores: Path,
    output: Path,
    *,
    method: str,
    dataset: str,
    figures: Sequence[Mapping[str, Any]] = (),
    each: int = 3,
    reading: Mapping[str, Any] | None = None,
    on_bad_image: Literal["stop", "skip"] = "stop",
) -> None:
    """Write a page that needs no other file: curves of MMA, all pairs in a table, and drawings of matches.

    Drawn are the worst, the median and the best pairs by MMA@3, and then others, the worst first, as long as the page
    stays below 5 MB.

    Args:
        files: matches and what they were made from.
        scores: of the same matches.
        output: the page (HTML).
        method, dataset: names for the heading.
        figures: published ones of the dataset (:func:`descbench.tables.mma_curves.matching_curves`).
        each: pairs of each of the three kinds.
        reading: ``reading_options`` of the features block, so that pictures are read as they were.
        on_bad_image: ``skip``: in place of a picture that cannot be read stands the reason.

    Raises:
        StaleFileError: files of another method or dataset, or scores of other matches.
        DataError: a damaged file, or an image that cannot be read.
    """
    title = f"{method} on {dataset}"
    found = read_scores(scores, title)
    if found.labels != files.digest() or _METRIC not in found.metrics:
        raise StaleFileError(f"{scores}: scores of other image pairs than those of {files.pairs}; delete and rerun.")
    values = np.array(found.per_query[_METRIC], np.float64)
    chosen, order = choose_queries(values, each), np.argsort(values, kind="stable").tolist()
    wanted = {number for numbers in chosen.values() for number in numbers}.union(order[:_MOST_PAIRS])
    pictures = _Pictures(files.image_root, reading or {}, on_bad_image)
    shown = {
        number: _shown(number, pair, found, pictures, scores)
        for number, pair in enumerate(read_matched_pairs(files))
        if number in wanted
    }
    groups = [
        ShownGroup(heading, tuple(shown[number] for number in numbers))
        for heading, numbers in zip(_HEADINGS, chosen.values(), strict=True)
        if numbers
    ]
    curves = matching_curves(found, figures)
    lines = list_lines(order, lambda number: _line(number, found), len(curves.drawing))
    used = sum(line.size for line in lines) + len(curves.drawing)
    groups = add_others(groups, order[:_MOST_PAIRS], shown.__getitem__, used, "Other pairs, the worst first")
    pictured = numbers_in(groups)
    told = what_is_shown(len(pictured), len(lines), len(order), scores, ("pair", "pairs"))
    write_page(
        output,
        "matches.html.jinja",
        title=title,
        rule=f"{_rule(found)} {told}",
        curves=curves,
        columns=_COLUMNS,
        lines=lines,
        total=len(order),
        shown=pictured,
        groups=groups,
        bins=BINS,
    )


def _line(number: int, scores: Scores) -> QueryLine:
    """A pair in the table of all."""
    corner = scores.facts["corner_errors"][number]
    told = f"{100 * scores.per_query[_METRIC][number]:.1f}", "no homography" if corner is None else f"{corner:.2f}"
    return QueryLine(number, scores.facts["pairs"][number], told, None)


def _rule(scores: Scores) -> str:
    pixels = "original" if scores.facts["pixels"] == "original" else "reduced"
    return (
        f"{scores.num_queries} image pairs. The error of a match is the distance, in pixels of the {pixels} images, "
        "between its place in the second image and where the true homography takes its place in the first; MMA@3 is "
        f"the share of matches with an error of at most 3 pixels. Of more than {_DRAWN} matches so many lines are "
        "drawn, at even steps of their errors."
    )


def _shown(number: int, pair: MatchedPair, scores: Scores, pictures: _Pictures, path: Path) -> ShownPair:
    """A pair, whose errors must be those that were scored."""
    scoring = MatchScoring(scores.facts["pixels"], scores.facts["image_size"])
    errors = pair_errors(pair, scoring)
    accuracy = matching_accuracy(errors)[THRESHOLDS.index(3)]
    if abs(accuracy - scores.per_query[_METRIC][number]) > _ROUNDING or scores.facts["pairs"][number] != pair.name:
        raise StaleFileError(f"{path}: scores of other matches of {pair.name} than are there; delete and rerun.")
    corner = scores.facts["corner_errors"][number]
    outcome = "no homography was found" if corner is None else f"corner error {corner:.2f} px"
    facts = f"{len(errors)} matches, MMA@3 {100 * accuracy:.1f} %, {outcome}"
    bins = bin_errors(errors)
    counts = tuple(int((bins == place).sum()) for place in range(len(BINS)))
    both = pictures.both(pair)
    if isinstance(both, str):
        return ShownPair(number, pair.name, facts, None, counts, both)
    # The worst first, so that those at even steps are of all errors and inliers lie on top.
    order = np.argsort(-errors, kind="stable")
    lines = np.column_stack([places_in_picture(*found) for found in zip(pair.points, both, strict=True)])[order]
    strokes = [BINS[place].stroke for place in bins[order].tolist()]
    drawing = draw_matches(both[0].pixels, both[1].pixels, lines, f"{pair.name}: {facts}", most=_DRAWN, strokes=strokes)
    return ShownPair(number, pair.name, facts, drawing, counts, "")


def bin_errors(errors: np.ndarray) -> np.ndarray:
    """Position in ``BINS`` of each error in pixels (M,), which may be infinite: (M,) int64."""
    limits = [found.last for found in BINS if found.last is not None]
    return np.searchsorted(limits, errors, side="left")
