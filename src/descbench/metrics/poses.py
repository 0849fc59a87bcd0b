"""Errors of estimated poses, and how many are within the benchmark's thresholds.

Definition: docs/protocols/localization.md, Scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from descbench.config.posed_datasets import MEDIANS, THRESHOLDS, WITHIN
from descbench.datasets.cameras import OTHER_CONVENTIONS, Pose
from descbench.metrics.intervals import draw_rows, middle
from descbench.metrics.scores import Metric, Value, proportion

# What scores a file of poses (fact ``scored_by``).
TRUE_POSES, NOBODY, SERVER = "true poses", "nobody yet", "the benchmark's server"
# Share of queries that may be near by chance, or far for their own reasons, and fewest that say anything.
_FEW, _FEWEST = 0.25, 3


def position_error(estimated: Pose, true: Pose) -> float:
    """Distance of the two cameras' centres, in the unit of the world."""
    return math.dist(estimated.centre, true.centre)


def rotation_error(estimated: Pose, true: Pose) -> float:
    """Angle between the two rotations in degrees, 0 to 180."""
    one, other = np.array(estimated.matrix), np.array(true.matrix)
    # The half angle by its sine and cosine, which is exact for small ones as an arccosine is not.
    sine = float(np.linalg.norm(one - other)) / (2 * math.sqrt(2))
    return math.degrees(2 * math.asin(min(1.0, sine)))


def pose_errors(estimated: Sequence[Pose | None], true: Sequence[Pose]) -> tuple[np.ndarray, np.ndarray]:
    """Position and rotation errors of queries, (Q,) float64 each; infinity where there is no estimate."""
    errors = np.full((2, len(true)), math.inf)
    for query, (found, known) in enumerate(zip(estimated, true, strict=True)):
        if found is not None:
            errors[:, query] = position_error(found, known), rotation_error(found, known)
    return errors[0], errors[1]


def check_true_poses(estimated: Sequence[Pose | None], true: Sequence[Pose]) -> str | None:
    """Which other convention the true poses seem to have been written in; None: their own.

    Hardly any estimate is near the truth as it was read, and most are near what another convention makes of it.
    """
    found = [query for query, pose in enumerate(estimated) if pose is not None]
    if len(found) < _FEWEST or _share_near(estimated, true, found) > _FEW:
        return None
    for convert, what, change in OTHER_CONVENTIONS:
        if _share_near(estimated, [convert(pose) for pose in true], found) > 1 - _FEW:
            return f"{what}; world to camera is needed ({change})"
    return None


def _share_near(estimated: Sequence[Pose | None], true: Sequence[Pose], found: Sequence[int]) -> float:
    """Share of the localised queries within the largest thresholds."""
    positions, rotations = pose_errors(estimated, true)
    metres, degrees = THRESHOLDS[-1]
    return float(((positions <= metres) & (rotations <= degrees))[list(found)].mean())


def score_errors(
    positions: np.ndarray, rotations: np.ndarray, conditions: Sequence[str] = ()
) -> tuple[dict[str, Metric], dict[str, list[Value]]]:
    """Metrics and their values of queries, of all and of those of each condition (``..._night``).

    Args:
        positions, rotations: (Q,) errors in metres and degrees; infinity where a query was not localised, which then
            counts as wrong in shares, and as infinitely far in medians.
        conditions: (Q,) names; none: no such groups.
    """
    groups = {"": np.ones(len(positions), bool)}
    names = np.array(conditions)
    groups |= {f"_{name}": names == name for name in dict.fromkeys(conditions)}
    metrics, per_query = {}, {}
    for suffix, chosen in groups.items():
        for (metres, degrees), within_name in zip(THRESHOLDS, WITHIN, strict=True):
            within = np.where(chosen, (positions <= metres) & (rotations <= degrees), np.nan)
            name = within_name + suffix
            per_query[name] = _listed(within)
            metrics[name] = proportion(per_query[name])
        for name, errors, unit in zip(MEDIANS, (positions, rotations), ("metre", "degree"), strict=True):
            per_query[name + suffix] = _listed(np.where(chosen, errors, np.nan))
            metrics[name + suffix] = _median(errors[chosen], unit)
    return metrics, per_query


def _median(errors: np.ndarray, unit: str) -> Metric:
    """Median with its bootstrap interval; none where it is infinite."""
    value = float(np.median(errors)) if len(errors) else math.inf
    low, high = _interval(errors)
    if not math.isfinite(value):
        return Metric(None, None, None, "bootstrap", unit, "lower", statistic="median")
    return Metric(value, low, high, "bootstrap", unit, "lower", statistic="median")


def _interval(errors: np.ndarray) -> tuple[Value, Value]:
    """Percentile bootstrap of a median; None of fewer than two queries, or where an end is infinite."""
    if len(errors) < 2:
        return None, None
    # Ends of the interval are interpolated, which infinity does not bear; no error is as large as this.
    most = 1e300
    medians = np.concatenate([np.median(np.minimum(errors, most)[rows], axis=1) for rows in draw_rows(len(errors))])
    low, high = middle(medians)
    return (low, high) if high < most / 1e10 else (None, None)


def _listed(values: np.ndarray) -> list[Value]:
    """Values of queries; None for those of another condition, or without an error that is finite."""
    return [float(value) if math.isfinite(value) else None for value in values]
