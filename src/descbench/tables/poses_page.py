"""A page of localised queries to look at: true and estimated cameras from above, and the errors of each query."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.config.posed_datasets import MEDIANS, WITHIN
from descbench.datasets.manifest import read_manifest
from descbench.datasets.pose_files import pose_names
from descbench.datasets.pose_labels import PoseLabels, read_pose_labels
from descbench.errors import DataError, StaleFileError
from descbench.io.digests import sha256_file
from descbench.localization.estimated_poses import PoseRecord, read_estimated
from descbench.metrics.poses import pose_errors
from descbench.metrics.scores import Metric, Scores, read_scores
from descbench.tables.pages import ShownGroup, choose_queries, write_page
from descbench.tables.poses_map import bin_errors, draw_poses


@dataclass(frozen=True)
class PoseFiles:
    """What the page is made from.

    Attributes:
        poses, scores: of the method on the dataset.
        labels, manifest: of the dataset.
    """

    poses: Path
    scores: Path
    labels: Path
    manifest: Path


@dataclass(frozen=True)
class ShownQuery:
    """A query in a list of the page.

    Attributes:
        number: of the query, from 0.
        name: as in the file of poses.
        condition: such as ``night``; empty where there are none.
        metres, degrees: its errors in words; empty where the true pose is not known.
        counts: inliers and correspondences, 2-D to 3-D.
    """

    number: int
    name: str
    condition: str
    metres: str
    degrees: str
    counts: tuple[int, int]


def show_poses(files: PoseFiles, output: Path, *, method: str, dataset: str, each: int = 3) -> None:
    """Write a page that needs no other file: the map from above, and the worst, the median and the best queries.

    Of a dataset whose true poses are kept by a server there are estimated cameras and inliers alone.

    Args:
        files: what the page is made from.
        output: the page (HTML).
        method, dataset: names for the heading.
        each: queries of each of the three kinds.

    Raises:
        StaleFileError: poses of another method or dataset, or scores of other poses or labels.
        DataError: a damaged file, or poses of unknown queries.
    """
    title = f"{method} on {dataset}"
    labels, scores = read_pose_labels(files.labels), read_scores(files.scores, title)
    found, record = read_estimated(files.poses, title)
    names = pose_names([row.path for row in read_manifest(files.manifest).of_role("query").rows])
    if scores.facts["poses"] != record.sha256 or scores.labels != sha256_file(files.labels):
        raise StaleFileError(f"{files.scores}: scores of other poses than {files.poses}; delete it and rerun.")
    if scores.facts["names"] != names or len(names) != len(labels.query_cameras) or set(found) - set(names):
        raise DataError(f"{files.poses}: poses of other queries than {files.manifest} lists; rebuild both.")
    estimated = [found.get(name) for name in names]
    errors = None
    if labels.query_poses:
        errors = np.array(pose_errors(estimated, labels.query_poses))
    bins = np.zeros(len(names), np.int64) if errors is None else bin_errors(*errors)
    listed = _queries(names, labels, record, errors)
    write_page(
        output,
        "poses.html.jinja",
        title=title,
        rule=_rule(scores),
        metrics=_metrics(scores),
        map=draw_poses(labels.map_poses, estimated, labels.query_poses, bins),
        groups=_groups(listed, errors, each),
        queries=listed,
        compared=errors is not None,
        conditions=bool(labels.conditions),
    )


def order_queries(positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(Q,) float64, higher is better: queries by the threshold that they are within, then by their place, then angle.

    Args:
        positions, rotations: (Q,) errors in metres and degrees; infinity where a query was not localised.
    """
    order = np.lexsort((rotations, positions, bin_errors(positions, rotations)))
    places = np.empty(len(order))
    places[order] = -np.arange(len(order))
    return places


def _groups(listed: Sequence[ShownQuery], errors: np.ndarray | None, each: int) -> list[ShownGroup]:
    """The worst, the median and the best; none where the true poses are not known."""
    if errors is None:
        return []
    chosen = choose_queries(order_queries(*errors), each)
    return [
        ShownGroup(heading, tuple(listed[number] for number in numbers))
        for heading, numbers in chosen.items()
        if numbers
    ]


def _queries(
    names: Sequence[str], labels: PoseLabels, record: PoseRecord, errors: np.ndarray | None
) -> list[ShownQuery]:
    """All queries in the order of the manifest."""
    conditions = labels.conditions or ("",) * len(names)
    counts = list(zip(record.inliers, record.correspondences, strict=True))
    if errors is None:
        words = dict.fromkeys(record.filled, "pose of its first map image")
        lost = [words.get(q, "" if inliers else "not localised") for q, inliers in enumerate(record.inliers)]
        told = [(word, word) for word in lost]
    else:
        told = [(_worded(metres, ".3f"), _worded(degrees, ".2f")) for metres, degrees in errors.T.tolist()]
    return [
        ShownQuery(number, name, condition, *words, count)
        for number, (name, condition, words, count) in enumerate(zip(names, conditions, told, counts, strict=True))
    ]


def _worded(error: float, digits: str) -> str:
    return format(error, digits) if math.isfinite(error) else "not localised"


def _rule(scores: Scores) -> str:
    """How many queries were localised, and what the errors are of."""
    filled = scores.facts["filled"]
    others = f", {filled} others have the pose of their first map image" if filled else ""
    return (
        f"{scores.facts['localised']} of {scores.num_queries} queries were localised{others}; scored by "
        f"{scores.facts['scored_by']}. The error in metres is the distance of the two cameras' centres, that in "
        "degrees the angle between their rotations; inliers are the correspondences of a query with points of the map "
        "that fit its estimated pose."
    )


def _metrics(scores: Scores) -> list[tuple[str, str, str]]:
    """Name, value and 95 % interval of the metrics, those of each condition included."""
    shown = []
    for name, metric in scores.metrics.items():
        if name.startswith((*WITHIN, *MEDIANS)):
            interval = "" if metric.low is None else f"{_figure(metric, metric.low)} to {_figure(metric, metric.high)}"
            shown.append((name.replace("_", " "), _figure(metric, metric.value), interval))
    return shown


def _figure(metric: Metric, value: float | None) -> str:
    if value is None:
        return "none"
    return {"metre": f"{value:.3f} m", "degree": f"{value:.2f} deg"}.get(metric.unit, f"{100 * value:.1f} %")
