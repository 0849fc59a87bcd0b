"""Choices of how matches of image pairs with known homographies are scored.

Definition: docs/protocols/choices.md, Image pairs.
"""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from descbench.choices.choice import Choice, NotMeantError, Values, rescore
from descbench.features.image_features import ImageFeatures
from descbench.matching.homography import estimate_homography
from descbench.matching.matcher import MatchSettings, match_descriptors
from descbench.metrics.homography_accuracy import CORNER_THRESHOLDS, corner_error, image_corners
from descbench.metrics.matched_pairs import MatchedFiles, MatchedPair, read_matched_pairs
from descbench.metrics.mma import THRESHOLDS, match_errors, matching_accuracy, warp
from descbench.metrics.score_matches import MatchScoring, PairScore, scaled_pair, score_pair

# The sequences of more than 1600 x 1200 pixels (docs/protocols/hpatches_sequences.md).
LARGE = (
    "i_contruction",
    "i_crownnight",
    "i_dc",
    "i_pencils",
    "i_whitebuilding",
    "v_artisans",
    "v_astronautis",
    "v_talent",
)
_USED = "this is how it was scored"
Errors = Callable[[MatchedPair, MatchScoring], np.ndarray]


@dataclass(frozen=True)
class MatchedResults:
    """Matched image pairs, and how they were matched and scored.

    Attributes:
        pairs: all of a dataset.
        features: of the images, which are matched anew.
        scoring: how they were scored.
        settings: how they were matched.
    """

    pairs: Sequence[MatchedPair]
    features: ImageFeatures
    scoring: MatchScoring
    settings: MatchSettings

    @cached_property
    def ours(self) -> list[PairScore]:
        """What the pairs score as they are."""
        return [score_pair(pair, self.scoring) for pair in self.pairs]


def rescore_matches(
    files: MatchedFiles, scoring: MatchScoring, settings: Mapping[str, Any], scores: Path, output: Path
) -> None:
    """Score matches under each choice; :class:`descbench.choices.choice.RescoredCell` says what the file holds.

    Metrics at 640 x 480 are left as they are.

    Args:
        files, scoring: as :func:`descbench.metrics.score_matches.score_matches` takes them.
        settings: how they were matched, fields of :class:`descbench.matching.matcher.MatchSettings`.
        scores: what it made of them.
        output: the file to write.

    Raises:
        StaleFileError: files that do not belong together, or scores of other matches.
        DataError: damaged files.
    """
    with ImageFeatures(files.features, files.made_by) as features:
        pairs = list(read_matched_pairs(files))
        results = MatchedResults(pairs, features, scoring, MatchSettings(**settings))
        # Estimators may give another homography on another machine, so that these are not compared.
        ours = {name: value for name, value in _values(results.ours).items() if name.startswith("mma")}
        rescore(CHOICES, results, scores, ours, output)


# --- other pairs, other means ---


def without_large(results: MatchedResults) -> Values:
    """All metrics without the eight large sequences."""
    kept = [score for score, pair in zip(results.ours, results.pairs, strict=True) if pair.sequence not in LARGE]
    if len(kept) in (0, len(results.pairs)):
        raise NotMeantError("the dataset has none of the eight sequences of more than 1600 x 1200 pixels")
    return _values(kept)


def without_matches_left_out(results: MatchedResults) -> Values:
    """All metrics of the pairs that have matches."""
    kept = [score for score in results.ours if score.matches]
    if len(kept) in (0, len(results.pairs)):
        raise NotMeantError("every pair has matches" if kept else "no pair has matches")
    return _values(kept)


def mean_over_pairs(results: MatchedResults) -> Values:
    """``mma@t`` as the plain mean over pairs."""
    values = _values(results.ours)
    return {f"mma@{threshold}": values[f"mma@{threshold}_micro"] for threshold in THRESHOLDS}


def mean_over_sequences(results: MatchedResults) -> Values:
    """``mma@t`` and ``homography@t`` as means over sequences of their pairs' means."""
    groups: dict[str, list[PairScore]] = defaultdict(list)
    for pair, score in zip(results.pairs, results.ours, strict=True):
        groups[pair.sequence].append(score)
    parts = [_values(scores) for scores in groups.values()]
    names = (*(f"mma@{t}_micro" for t in THRESHOLDS), *(f"homography@{t}" for t in CORNER_THRESHOLDS))
    return {name.removesuffix("_micro"): float(np.mean([part[name] for part in parts])) for name in names}


def matches_pooled(results: MatchedResults) -> Values:
    """``mma@t`` as the share of the matches of all pairs."""
    counts = np.array([score.matches for score in results.ours], float)
    if not counts.sum():
        raise NotMeantError("no pair has matches")
    rows = np.average([score.accuracy for score in results.ours], axis=0, weights=counts)
    return {f"mma@{threshold}": float(value) for threshold, value in zip(THRESHOLDS, rows, strict=True)}


# --- other errors ---


def below(results: MatchedResults) -> Values:
    """``mma@t`` where errors must be smaller than the threshold."""
    return _with_errors(results, _errors, strict=True)


def homography_at_most(results: MatchedResults) -> Values:
    """``homography@t`` where the error of the corners may be the threshold itself."""
    found = [float(np.mean([s.corner_error <= t for s in results.ours])) for t in CORNER_THRESHOLDS]
    return {f"homography@{threshold}": value for threshold, value in zip(CORNER_THRESHOLDS, found, strict=True)}


def in_first_image(results: MatchedResults) -> Values:
    """``mma@t`` by errors in the first image, where the second's points are mapped to."""
    return _with_errors(results, _errors_back)


def in_both_images(results: MatchedResults) -> Values:
    """``mma@t`` by the mean of the errors in both images."""
    return _with_errors(results, lambda pair, scoring: (_errors(pair, scoring) + _errors_back(pair, scoring)) / 2)


def in_pixels(results: MatchedResults, pixels: str) -> Values:
    """All metrics with errors in other pixels."""
    if results.scoring.image_size is None:
        raise NotMeantError("features are of images of full size")
    if results.scoring.pixels == pixels:
        raise NotMeantError(_USED)
    scoring = replace(results.scoring, pixels=pixels)
    return _values([score_pair(pair, scoring) for pair in results.pairs])


# --- other homographies ---


def estimated_by(results: MatchedResults, **changes: Any) -> Values:
    """``homography@t`` with another estimator, threshold or number of samples."""
    if all(getattr(results.scoring.homography, key) == value for key, value in changes.items()):
        raise NotMeantError(_USED)
    if changes.get("estimator") == "poselib" and importlib.util.find_spec("poselib") is None:
        raise NotMeantError("PoseLib is not installed")
    return _homographies(results, replace(results.scoring, homography=replace(results.scoring.homography, **changes)))


def corners_of(results: MatchedResults, corners: str) -> Values:
    """``homography@t`` by other corners."""
    if results.scoring.corners == corners:
        raise NotMeantError(_USED)
    return _homographies(results, replace(results.scoring, corners=corners))


def _homographies(results: MatchedResults, scoring: MatchScoring) -> Values:
    """``homography@t``; matches are not measured again."""
    scores = []
    for pair, score in zip(results.pairs, results.ours, strict=True):
        first, second, true = scaled_pair(pair, scoring)
        estimated = estimate_homography(first, second, scoring.homography)
        corners = image_corners(*scoring.sizes(pair), scoring.corners)
        scores.append(replace(score, corner_error=corner_error(estimated.matrix, true, corners)))
    return {name: value for name, value in _values(scores).items() if name.startswith("homography")}


# --- other matches ---


def matched_by(results: MatchedResults, **changes: Any) -> Values:
    """All metrics of matches that are made anew with other settings."""
    settings = replace(results.settings, **changes)
    if settings == results.settings:
        raise NotMeantError(_USED)
    if changes.get("n") is not None and all(max(pair.counts) <= changes["n"] for pair in results.pairs):
        raise NotMeantError(f"no image has more than {changes['n']} features")
    return _values([score_pair(_rematched(results, pair, settings), results.scoring) for pair in results.pairs])


def of_shared_points(results: MatchedResults) -> Values:
    """All metrics of matches that are made anew of the keypoints that the true homography maps into the other image."""
    made = [_rematched(results, pair, results.settings, shared=True) for pair in results.pairs]
    return _values([score_pair(pair, results.scoring) for pair in made])


def _rematched(
    results: MatchedResults, pair: MatchedPair, settings: MatchSettings, *, shared: bool = False
) -> MatchedPair:
    """A pair matched anew, of all features or of those that both images share."""
    places = [results.features.keypoints(image, settings.n) for image in pair.image_ids]
    described = [results.features.descriptors(image, settings.n) for image in pair.image_ids]
    if shared:
        ways = pair.homography, np.linalg.inv(pair.homography)
        kept = [_inside(*given) for given in zip(places, ways, pair.sizes[::-1], strict=True)]
        places = [rows[chosen] for rows, chosen in zip(places, kept, strict=True)]
        described = [rows[chosen] for rows, chosen in zip(described, kept, strict=True)]
    found = match_descriptors(*described, settings, threads=1)
    points = places[0][found.indices[:, 0]], places[1][found.indices[:, 1]]
    return replace(pair, points=points, scores=found.scores, counts=found.counts)


def _inside(places: np.ndarray, homography: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which places (N, 2) a homography maps into an image of that width and height."""
    mapped = warp(places, homography)
    return ((mapped >= 0) & (mapped < size)).all(axis=1)


# --- what they share ---


def _errors(pair: MatchedPair, scoring: MatchScoring) -> np.ndarray:
    return match_errors(*scaled_pair(pair, scoring))


def _errors_back(pair: MatchedPair, scoring: MatchScoring) -> np.ndarray:
    first, second, true = scaled_pair(pair, scoring)
    return match_errors(second, first, np.linalg.inv(true))


def _with_errors(results: MatchedResults, errors: Errors, *, strict: bool = False) -> Values:
    """``mma@t`` by other errors, or by errors below the threshold."""
    # The next smaller number: at most this is smaller than the threshold.
    thresholds = [np.nextafter(t, 0) for t in THRESHOLDS] if strict else THRESHOLDS
    scores = [
        replace(score, accuracy=matching_accuracy(errors(pair, results.scoring), thresholds))
        for pair, score in zip(results.pairs, results.ours, strict=True)
    ]
    return {name: value for name, value in _values(scores).items() if name.startswith("mma")}


def _values(scores: Sequence[PairScore]) -> Values:
    """Metrics of pairs (docs/protocols/hpatches_sequences.md, Summaries); those that no pair counts in are left out."""
    kinds = {kind: [score for score in scores if score.kind == kind] for kind in dict.fromkeys(s.kind for s in scores)}
    values = {}
    for column, threshold in enumerate(THRESHOLDS):
        of_kind = {kind: float(np.mean([s.accuracy[column] for s in found])) for kind, found in kinds.items()}
        values[f"mma@{threshold}"] = float(np.mean(list(of_kind.values())))
        values[f"mma@{threshold}_micro"] = float(np.mean([score.accuracy[column] for score in scores]))
        values |= {f"mma@{threshold}_{kind}": value for kind, value in of_kind.items() if kind}
    for threshold in CORNER_THRESHOLDS:
        for suffix, found in {"": scores, **{f"_{kind}": found for kind, found in kinds.items() if kind}}.items():
            values[f"homography@{threshold}{suffix}"] = float(np.mean([s.corner_error < threshold for s in found]))
    return values


_SUPERPOINT = "SuperPoint's evaluation (rpautrat/SuperPoint)"
_TOOLBOX = "image-matching-toolbox (eval_hpatches)"
CHOICES: tuple[Choice[MatchedResults], ...] = (
    Choice(
        "sequences_108",
        "without the eight sequences of more than 1600 x 1200 pixels",
        without_large,
        "D2-Net, and who follows it",
    ),
    Choice(
        "mean_over_pairs",
        "the mean over pairs, not over viewpoint and illumination",
        mean_over_pairs,
        f"D2-Net, {_TOOLBOX}",
    ),
    Choice("mean_over_sequences", "the mean over sequences", mean_over_sequences, "ASLFeat (hseq_eval.py)"),
    *(
        Choice(f"pixels_{kind}", f"errors in pixels of the {kind} images", partial(in_pixels, pixels=kind), who)
        for kind, who in (("original", "D2-Net"), ("resized", f"glue-factory, {_TOOLBOX} with scale_H"))
    ),
    Choice(
        "homography_at_most",
        "the error of a homography may be the threshold itself",
        homography_at_most,
        f"{_SUPERPOINT}, {_TOOLBOX}",
    ),
    *(
        Choice(f"estimator_{name}", f"homographies by {what}", partial(estimated_by, estimator=name), who)
        for name, what, who in (
            ("ransac", "RANSAC of OpenCV", _SUPERPOINT),
            ("usac_magsac", "USAC_MAGSAC of OpenCV", "image-matching-webui (its default)"),
            ("poselib", "PoseLib", "glue-factory"),
        )
    ),
    *(
        Choice(
            f"threshold_{pixels}",
            f"an inlier of a homography is at most {pixels} px off its place",
            partial(estimated_by, threshold=float(pixels)),
            who,
        )
        for pixels, who in (
            (1, "glue-factory"),
            (2, _TOOLBOX),
            (3, "HNDesc, and OpenCV's own setting"),
            (5, "HNDesc's re-ranking"),
        )
    ),
    *(
        Choice(
            f"iterations_2000{suffix}",
            f"homographies of at most 2000 samples, at a confidence of {confidence}",
            partial(estimated_by, iterations=2000, confidence=confidence),
            who,
        )
        for suffix, confidence, who in (
            ("", 0.995, f"OpenCV's own settings: {_SUPERPOINT}"),
            ("_0.99999", 0.99999, _TOOLBOX),
        )
    ),
    *(
        Choice(f"corners_{kind}", f"corners of the {what}", partial(corners_of, corners=kind), who)
        for kind, what, who in (
            ("first", "first image", f"{_SUPERPOINT}, {_TOOLBOX}"),
            ("second", "second image", "HNDesc"),
            ("swapped", "second image, height and width in each other's place", ""),
        )
    ),
    Choice(
        "shared_points",
        "matched anew, without the keypoints that belong outside the other image",
        of_shared_points,
        f"{_SUPERPOINT}, ASLFeat (its precision)",
    ),
    Choice(
        "ratio_0.8",
        "matches pass a ratio test at 0.8",
        partial(matched_by, ratio=0.8),
        "Lowe (IJCV 2004), hloc (NN-ratio)",
    ),
    Choice("no_ratio", "matches pass no ratio test", partial(matched_by, ratio=None), "hloc (NN-mutual), D2-Net"),
    Choice(
        "distance_0.7",
        "matches have a distance of at most 0.7",
        partial(matched_by, max_distance=0.7, distance="euclidean"),
        "hloc (NN-superpoint), SuperPoint's demo",
    ),
    Choice(
        "colmap",
        "matches are mutual, pass a ratio test at 0.8 and have an angle of at most 0.7 radians, which both measure",
        partial(matched_by, mutual=True, ratio=0.8, max_distance=0.7, distance="angle"),
        "COLMAP's own settings",
    ),
    Choice(
        "one_way",
        "a match is the nearest of the first image's feature, mutual or not",
        partial(matched_by, mutual=False),
        "OpenCV's matchers without crossCheck",
    ),
    Choice("mutual", "matches are mutual", partial(matched_by, mutual=True), "D2-Net, HNDesc"),
    *(
        Choice(f"strongest_{n}", f"the {n} strongest features of each image", partial(matched_by, n=n), who)
        for n, who in (
            (500, "LF-Net in D2-Net's comparison"),
            (1000, f"{_SUPERPOINT}, HNDesc at 640 x 480"),
            (2000, "D2-Net (its curves of the strongest)"),
        )
    ),
    Choice("without_matches_left_out", "pairs without a match are left out", without_matches_left_out),
    Choice("matches_pooled", "the share of right ones among the matches of all pairs together", matches_pooled),
    Choice("below", "errors of matches must be smaller than the threshold", below),
    Choice("in_first_image", "errors are measured in the first image", in_first_image),
    Choice("in_both_images", "errors are the mean of those in both images", in_both_images),
)
