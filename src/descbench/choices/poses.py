"""Choices of how estimated poses are scored.

Definition: docs/protocols/choices.md, Poses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from descbench.choices.choice import Choice, NotMeantError, Values, rescore
from descbench.config.posed_datasets import MEDIANS, THRESHOLDS, WITHIN
from descbench.datasets.manifest import read_manifest
from descbench.datasets.pose_files import pose_names
from descbench.datasets.pose_labels import read_pose_labels
from descbench.localization.estimated_poses import read_estimated
from descbench.metrics.poses import pose_errors, score_errors

Limit = tuple[float, float]
_NONE = "the true poses are not known here"


@dataclass(frozen=True)
class PoseResults:
    """Errors of estimated poses of Q queries.

    Attributes:
        positions, rotations: (Q,) in metres and degrees; infinity where a query was not localised. Empty where the true
            poses are not known.
        inliers: (Q,) of each query.
        conditions: of each query; none: no such groups.
    """

    positions: np.ndarray
    rotations: np.ndarray
    inliers: np.ndarray
    conditions: tuple[str, ...] = ()


def rescore_poses(
    poses: Path, labels: Path, manifest: Path, scores: Path, output: Path, *, cell: str | None = None
) -> None:
    """Score poses under each choice; :class:`descbench.choices.choice.RescoredCell` says what the file holds.

    Args:
        poses, labels, manifest: as :func:`descbench.metrics.score_poses.score_poses` takes them.
        scores: what it made of them.
        output: the file to write.
        cell: method and dataset that the poses must be of; None: of any.

    Raises:
        StaleFileError: poses of another method or dataset, or scores of other poses.
        DataError: a file is damaged.
    """
    known, rows = read_pose_labels(labels), read_manifest(manifest).of_role("query")
    found, record = read_estimated(poses, cell)
    inliers = np.array(record.inliers)
    if not known.query_poses:
        rescore(CHOICES, PoseResults(np.zeros(0), np.zeros(0), inliers), scores, {}, output)
        return
    errors = pose_errors([found.get(name) for name in pose_names([row.path for row in rows.rows])], known.query_poses)
    results = PoseResults(*errors, inliers, tuple(known.conditions))
    ours = {name: value for name, value in _scored(results).items() if not math.isnan(value)}
    rescore(CHOICES, results, scores, ours, output)


def groups(results: PoseResults) -> dict[str, np.ndarray]:
    """Which queries (Q,) bool each metric is of, by the suffix of its name."""
    if not len(results.positions):
        raise NotMeantError(_NONE)
    names = np.array(results.conditions)
    every = np.ones(len(results.positions), bool)
    return {"": every} | {f"_{name}": names == name for name in dict.fromkeys(results.conditions)}


def shares(
    results: PoseResults,
    limits: Sequence[Limit] = THRESHOLDS,
    *,
    counted: np.ndarray | None = None,
    below: bool = False,
) -> Values:
    """``within_0.25m_2deg`` and so on.

    Args:
        results: errors.
        limits: metres and degrees of each of the three.
        counted: (Q,) bool, the queries in the denominator; None: all.
        below: whether errors must be smaller than the limits, not at most them.
    """
    smaller: Callable[..., np.ndarray] = np.less if below else np.less_equal
    values = {}
    for suffix, chosen in groups(results).items():
        kept = chosen if counted is None else chosen & counted
        for name, (metres, degrees) in zip(WITHIN, limits, strict=True):
            right = smaller(results.positions, metres) & smaller(results.rotations, degrees)
            values[name + suffix] = float(right[kept].mean()) if kept.any() else math.nan
    return values


def localised_only(results: PoseResults) -> Values:
    """Shares and medians of the queries that were localised."""
    found = np.isfinite(results.positions)
    return shares(results, counted=found) | _over(results, np.median, found)


def means(results: PoseResults) -> Values:
    """Means in place of medians, of the queries that were localised."""
    return _over(results, np.mean, np.isfinite(results.positions))


def fewest_inliers(results: PoseResults, fewest: int) -> Values:
    """All metrics, where queries with fewer inliers were not localised."""
    weak = np.isfinite(results.positions) & (results.inliers < fewest) if len(results.positions) else np.zeros(0, bool)
    groups(results)
    if not weak.any():
        raise NotMeantError(f"no localised query has fewer than {fewest} inliers")
    errors = (np.where(weak, np.inf, values) for values in (results.positions, results.rotations))
    return _scored(PoseResults(*errors, results.inliers, results.conditions))


def mean_of_conditions(results: PoseResults) -> Values:
    """Shares of all queries as the mean of those of each condition."""
    names = dict.fromkeys(results.conditions)
    values = shares(results)
    if len(names) < 2:
        raise NotMeantError("the queries are of one condition")
    return {name: sum(values[f"{name}_{condition}"] for condition in names) / len(names) for name in WITHIN}


def _over(results: PoseResults, statistic: Callable[[np.ndarray], float], counted: np.ndarray) -> Values:
    values = {}
    for suffix, chosen in groups(results).items():
        kept = chosen & counted
        for name, errors in zip(MEDIANS, (results.positions, results.rotations), strict=True):
            values[name + suffix] = float(statistic(errors[kept])) if kept.any() else math.nan
    return values


def _scored(results: PoseResults) -> Values:
    metrics, _ = score_errors(results.positions, results.rotations, results.conditions)
    return {name: math.nan if metric.value is None else metric.value for name, metric in metrics.items()}


_FAR, _ANY = math.inf, 180.0
_INLOC = ((0.25, 10.0), (0.5, 10.0), (1.0, 10.0))
_INDOOR = ((0.1, 1.0), (0.25, 2.0), (1.0, 5.0))
CHOICES: tuple[Choice[PoseResults], ...] = (
    Choice(
        "below",
        "errors must be smaller than the limits, not at most them",
        partial(shares, below=True),
        "hloc (evaluate of its pipelines for Cambridge and 7-Scenes)",
    ),
    Choice(
        "localised_only",
        "queries without a pose are not in the denominator, nor in medians",
        localised_only,
        "hloc (only_localized), kapture-localization (medians of localised images)",
    ),
    Choice(
        "position_only",
        "the position alone decides",
        partial(shares, limits=[(m, _ANY) for m, _ in THRESHOLDS]),
        "kapture-localization (bins with a negative rotation)",
    ),
    Choice(
        "centimetres_5_5deg",
        "5 cm and 5 degrees",
        partial(shares, limits=[(0.05, 5.0)] * len(THRESHOLDS)),
        "evaluations on 7-Scenes",
    ),
    Choice(
        "limits_inloc",
        "0.25 m, 0.5 m and 1 m, at 10 degrees each",
        partial(shares, limits=_INLOC),
        "visuallocalization.net on InLoc",
    ),
    Choice(
        "limits_indoor",
        "0.1 m and 1 degree, 0.25 m and 2 degrees, 1 m and 5 degrees",
        partial(shares, limits=_INDOOR),
        "visuallocalization.net on Naver Labs' indoor datasets (Gangnam Station, Hyundai Department Store)",
    ),
    *(
        Choice(
            f"inliers_{fewest}",
            f"queries with fewer than {fewest} inliers count as not localised",
            partial(fewest_inliers, fewest=fewest),
            who,
        )
        for fewest, who in ((12, "Active Search"), (30, "COLMAP (abs_pose_min_num_inliers)"))
    ),
    Choice(
        "mean_errors",
        "means of the localised queries in place of medians",
        means,
        "kapture-localization (means of localised images)",
    ),
    Choice("rotation_only", "the rotation alone decides", partial(shares, limits=[(_FAR, d) for _, d in THRESHOLDS])),
    Choice("mean_of_conditions", "the mean of the shares of each condition", mean_of_conditions),
)
