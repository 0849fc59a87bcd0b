"""Stage score_matches: matches of image pairs with known homographies become a file of scores.

Definition: docs/protocols/hpatches_sequences.md, Mean matching accuracy; the same page, Homography accuracy.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from descbench.features.image_features import ImageFeatures
from descbench.listing import listed
from descbench.matching.homography import HomographySettings, estimate_homography
from descbench.metrics.homography_accuracy import (
    CORNER_THRESHOLDS,
    FIXED_SIZE,
    FIXED_THRESHOLDS,
    Corners,
    corner_error,
    fixed_corner_error,
    image_corners,
    matching_score,
    scaled_homography,
)
from descbench.metrics.matched_pairs import MatchedFiles, MatchedPair, read_matched_pairs
from descbench.metrics.mma import THRESHOLDS, match_errors, matching_accuracy
from descbench.metrics.scores import Metric, Scores, Value, mean, proportion, write_scores
from descbench.progress import progress

KINDS = ("v", "i")
_NAMED = 3


@dataclass(frozen=True)
class MatchScoring:
    """What the scores of matches depend on, besides the matches.

    Attributes:
        pixels: errors are measured in pixels of the ``original`` images, or of the ``resized`` ones that features came
            from.
        image_size: longer side in pixels that images were reduced to for their features, or height and width that they
            were brought to; None: full size.
        homography: how homographies are estimated.
        corners: whose displacement is measured (:func:`descbench.metrics.homography_accuracy.image_corners`).
        matching: settings of the matches, for the record.
    """

    pixels: Literal["original", "resized"] = "original"
    image_size: int | Sequence[int] | None = None
    homography: HomographySettings = field(default_factory=HomographySettings)
    corners: Corners = "second"
    matching: Mapping[str, Any] = field(default_factory=dict)

    def scale(self, size: tuple[int, int]) -> tuple[float, float]:
        """Pixels that errors are measured in, per pixel of an original image of this width and height, x and y."""
        if self.pixels == "original" or self.image_size is None:
            return 1.0, 1.0
        if isinstance(self.image_size, int):
            return (min(1.0, self.image_size / max(size)),) * 2
        height, width = self.image_size
        return width / size[0], height / size[1]

    def sizes(self, pair: MatchedPair) -> list[tuple[int, int]]:
        """Width and height of both images in the pixels that errors are measured in."""
        scales = zip(pair.sizes, map(self.scale, pair.sizes), strict=True)
        return [(round(width * x), round(height * y)) for (width, height), (x, y) in scales]


@dataclass(frozen=True)
class PairScore:
    """What one pair scores.

    Attributes:
        kind: ``v``, ``i`` or, for a sequence whose name tells none, empty.
        matches: their number.
        features: mean number of features of the two images.
        accuracy: MMA at each of THRESHOLDS.
        corner_error: in pixels; infinity where no homography was found.
        fixed_corner_error, fixed_score: at 640 x 480; None where these are not computed.
    """

    name: str
    kind: str
    matches: int
    features: float
    accuracy: list[float]
    corner_error: float
    fixed_corner_error: float | None = None
    fixed_score: float | None = None


def score_matches(
    files: MatchedFiles,
    scoring: MatchScoring,
    output: Path,
    *,
    fixed: Sequence[Path] = (),
    fixed_made_by: str | None = None,
) -> None:
    """Score the matches of a dataset; :class:`descbench.metrics.scores.Scores` says what the file holds.

    A pair without a match, or without a homography, counts as wrong; the file says how many there are.

    Args:
        files: matches and what they were made from.
        scoring: how.
        output: the scores file to write.
        fixed: feature shards of the same images resized to 640 x 480, for the scores of this size; none: left out.
        fixed_made_by: digest of their features block; None: not compared.

    Raises:
        StaleFileError: files that do not belong together.
        DataError: damaged files, or features without a place.
    """
    with ExitStack() as stack:
        images = stack.enter_context(ImageFeatures(fixed, fixed_made_by)) if fixed else None
        told = progress(read_matched_pairs(files), files.count(), "scoring", unit="pairs")
        pairs = [score_pair(pair, scoring, images) for pair in told]
    metrics, per_query, weights = summarise(pairs)
    record = Scores(
        "matching",
        "homographies",
        len(pairs),
        metrics,
        per_query,
        _facts(pairs, scoring),
        weights,
        warnings=list(_warnings(pairs, files.skipped())),
        cell=files.cell,
        labels=files.digest(),
    )
    write_scores(record, output)


def score_pair(pair: MatchedPair, scoring: MatchScoring, fixed: ImageFeatures | None = None) -> PairScore:
    """Score one pair; arguments as of :func:`score_matches`."""
    first, second, true = scaled_pair(pair, scoring)
    estimated = estimate_homography(first, second, scoring.homography)
    score = PairScore(
        pair.name,
        pair.sequence[:1] if pair.sequence.startswith(("v_", "i_")) else "",
        len(first),
        sum(pair.counts) / 2,
        matching_accuracy(match_errors(first, second, true)),
        corner_error(estimated.matrix, true, image_corners(*scoring.sizes(pair), scoring.corners)),
    )
    return score if fixed is None else replace(score, **_at_fixed_size(pair, fixed))


def pair_errors(pair: MatchedPair, scoring: MatchScoring) -> np.ndarray:
    """(M,) float64 errors of the matches of a pair, in the pixels that are scored."""
    return match_errors(*scaled_pair(pair, scoring))


def scaled_pair(pair: MatchedPair, scoring: MatchScoring) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of matches in both images, and the true homography, in the pixels that errors are measured in."""
    scales = [scoring.scale(size) for size in pair.sizes]
    first, second = (points * np.float32(scale) for points, scale in zip(pair.points, scales, strict=True))
    units = ((1.0, 1.0), (1.0, 1.0))
    return first, second, scaled_homography(pair.homography, units, (scales[0], scales[1]))


def _at_fixed_size(pair: MatchedPair, fixed: ImageFeatures) -> dict[str, float]:
    """What a pair scores at 640 x 480."""
    true = scaled_homography(pair.homography, pair.sizes, (FIXED_SIZE, FIXED_SIZE))
    both = []
    for image, size in zip(pair.image_ids, pair.sizes, strict=True):
        # Stored are places in the original, (x + 0.5) width / 640 - 0.5 for x of the resized image.
        ratio = (np.array(FIXED_SIZE) / size).astype(np.float32)
        places = (fixed.keypoints(image) + np.float32(0.5)) * ratio - np.float32(0.5)
        both.append((places, fixed.descriptors(image)))
    return {"fixed_corner_error": fixed_corner_error(*both, true), "fixed_score": matching_score(*both, true)}


def summarise(
    pairs: Sequence[PairScore],
) -> tuple[dict[str, Metric], dict[str, list[Value]], dict[str, list[float]]]:
    """Metrics of pairs, their values, and what each pair counts for (docs/protocols/hpatches_sequences.md, Summaries).

    Args:
        pairs: one or more.
    """
    metrics: dict[str, Metric] = {}
    values: dict[str, list[Value]] = {}
    weights: dict[str, list[float]] = {}
    for column, threshold in enumerate(THRESHOLDS):
        name = f"mma@{threshold}"
        found = [pair.accuracy[column] for pair in pairs]
        values[name], weights[name] = list(found), _macro(pairs)
        metrics[name] = mean(values[name], _mean_of_kinds(found, pairs), weights=weights[name])
        values[f"{name}_micro"] = list(found)
        metrics[f"{name}_micro"] = mean(values[f"{name}_micro"], float(np.mean(found)))
        for kind, chosen in _by_kind(found, pairs):
            values[f"{name}_{kind}"] = chosen
            known = [value for value in chosen if value is not None]
            metrics[f"{name}_{kind}"] = mean(chosen, float(np.mean(known)) if known else None)
    for name, right in _homographies(pairs):
        values[name], metrics[name] = list(right), proportion(list(right))
        for kind, chosen in _by_kind(right, pairs):
            values[f"{name}_{kind}"], metrics[f"{name}_{kind}"] = chosen, proportion(chosen)
    if pairs[0].fixed_score is not None:
        name, found = "matching_score_640x480", [pair.fixed_score for pair in pairs]
        values[name], metrics[name] = list(found), mean(list(found), float(np.mean(found)))
        for kind, chosen in _by_kind(found, pairs):
            known = [value for value in chosen if value is not None]
            values[f"{name}_{kind}"] = chosen
            metrics[f"{name}_{kind}"] = mean(chosen, float(np.mean(known)) if known else None)
    return metrics, values, weights


def _homographies(pairs: Sequence[PairScore]) -> Iterator[tuple[str, list[float]]]:
    """Name and values of each homography accuracy: below the threshold, at 640 x 480 at most it."""
    for threshold in CORNER_THRESHOLDS:
        yield f"homography@{threshold}", [float(pair.corner_error < threshold) for pair in pairs]
    if pairs[0].fixed_corner_error is not None:
        for threshold in FIXED_THRESHOLDS:
            yield f"homography_640x480@{threshold}", [float(pair.fixed_corner_error <= threshold) for pair in pairs]


def _by_kind(values: Sequence[float], pairs: Sequence[PairScore]) -> Iterator[tuple[str, list[Value]]]:
    for kind in KINDS:
        yield kind, [value if pair.kind == kind else None for value, pair in zip(values, pairs, strict=True)]


def _macro(pairs: Sequence[PairScore]) -> list[float]:
    """What each pair counts for where all kinds that are there count the same."""
    counts = Counter(pair.kind for pair in pairs)
    return [len(pairs) / counts[pair.kind] for pair in pairs]


def _mean_of_kinds(values: Sequence[float], pairs: Sequence[PairScore]) -> float:
    kinds = sorted({pair.kind for pair in pairs})
    of_kind = ([v for v, pair in zip(values, pairs, strict=True) if pair.kind == kind] for kind in kinds)
    return float(np.mean([np.mean(found) for found in of_kind]))


def _facts(pairs: Sequence[PairScore], scoring: MatchScoring) -> dict[str, Any]:
    """What was counted, and what each axis of the protocol was."""

    def matches_of(kind: str) -> float | None:
        found = [pair.matches for pair in pairs if pair.kind == kind]
        return float(np.mean(found)) if found else None

    homography = scoring.homography
    return {
        "queries": "pairs",
        "pairs": [pair.name for pair in pairs],
        "sequences": len({pair.name.split()[0] for pair in pairs}),
        "features": float(np.mean([pair.features for pair in pairs])),
        "matches": float(np.mean([pair.matches for pair in pairs])),
        "matches_v": matches_of("v"),
        "matches_i": matches_of("i"),
        "without_matches": sum(pair.matches == 0 for pair in pairs),
        "corner_errors": [None if math.isinf(pair.corner_error) else pair.corner_error for pair in pairs],
        "without_homography": sum(math.isinf(pair.corner_error) for pair in pairs),
        "pixels": scoring.pixels,
        "image_size": scoring.image_size,
        "matching": dict(scoring.matching),
        "estimator": homography.estimator,
        "threshold": homography.threshold,
        "corners": scoring.corners,
        "opencv": cv2.__version__,
    }


def _warnings(pairs: Sequence[PairScore], skipped: Mapping[str, str]) -> Iterator[str]:
    """Pairs that count as wrong because nothing could be measured."""
    if lacking := [pair.name for pair in pairs if not pair.matches]:
        yield f"{len(lacking)} of {len(pairs)} pairs have no match and count as wrong ({listed(lacking, _NAMED)})"
    if skipped:
        yield f"{len(skipped)} images could not be read, and their pairs count as wrong ({listed(skipped, _NAMED)})"
