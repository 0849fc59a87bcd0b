"""A page of localised queries to look at: true and estimated cameras from above, and the errors of each query."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from descbench.config.posed_datasets import MEDIANS, WITHIN
from descbench.datasets.manifest import read_manifest
from descbench.datasets.pose_files import pose_names
from descbench.datasets.pose_labels import PoseLabels, read_pose_labels
from descbench.errors import DataError, StaleFileError
from descbench.io.digests import sha256_file
from descbench.localization.estimated_poses import PoseRecord, read_estimated
from descbench.matching.matches import Matches, read_matches
from descbench.metrics.poses import pose_errors
from descbench.metrics.scores import Metric, Scores, read_scores
from descbench.tables.listed_queries import QueryLine, add_others, list_lines, numbers_in, what_is_shown
from descbench.tables.pages import ShownGroup, choose_queries, write_page
from descbench.tables.poses_map import bin_errors, draw_poses
from descbench.tables.poses_pictures import MapPictures, PicturedQuery, matches_by_query
from descbench.tables.thumbnails import thumbnails

_LOST = "not localised"
_BY_INLIERS = ("Fewest inliers", "Median numbers of inliers", "Most inliers")


@dataclass(frozen=True)
class PoseFiles:
    """What the page is made from.

    Attributes:
        poses, scores: of the method on the dataset.
        labels, manifest: of the dataset.
        matches: of its queries with images of the map.
        image_root: folder that the manifest's paths are relative to.
    """

    poses: Path
    scores: Path
    labels: Path
    manifest: Path
    matches: Path
    image_root: Path


@dataclass(frozen=True)
class ShownQuery:
    """What is written about a query.

    Attributes:
        number: of the query, from 0.
        name: as in the file of poses.
        condition: such as ``night``; empty where there are none.
        metres, degrees: its errors in words; empty where the true pose is not known.
        counts: inliers and correspondences, 2-D to 3-D.
        compared: whether the true pose is known.
    """

    number: int
    name: str
    condition: str
    metres: str
    degrees: str
    counts: tuple[int, int]
    compared: bool

    @property
    def outcome(self) -> str:
        """What became of it, in words."""
        inliers = f"{self.counts[0]} of {self.counts[1]} correspondences are inliers"
        pose = self.metres or "estimated"
        if self.compared and self.metres != _LOST:
            pose = f"{self.metres} m and {self.degrees} degrees off"
        return ", ".join(filter(None, [self.condition, pose, inliers]))


def show_poses(
    files: PoseFiles,
    output: Path,
    *,
    method: str,
    dataset: str,
    each: int = 3,
    reading: Mapping[str, Any] | None = None,
    on_bad_image: Literal["stop", "skip"] = "stop",
) -> None:
    """Write a page that needs no other file: the map from above, all queries in a table, and pictures.

    The first queries with pictures are the worst, the median and the best; all others follow, the worst first, as long
    as the page stays below 5 MB. Beside a query stand the image of the map that it has the most matches with, and the
    one whose camera is nearest to its true one.

    Of a dataset whose true poses are kept by a server there are estimated cameras and inliers alone: the worst queries
    are those with the fewest inliers.

    Args:
        files: what the page is made from.
        output: the page (HTML).
        method, dataset: names for the heading.
        each: queries of each of the three kinds.
        reading: ``reading_options`` of the features block, so that pictures are read as they were.
        on_bad_image: ``skip``: in place of a picture that cannot be read stands the reason.

    Raises:
        StaleFileError: poses or matches of another method or dataset, or scores of other poses or labels.
        DataError: a damaged file, poses or matches of unknown images, or a picture that cannot be read.
    """
    title = f"{method} on {dataset}"
    labels, paths = read_pose_labels(files.labels), _read_paths(files)
    found, record = read_estimated(files.poses, title)
    scores = _read_scores(files, title, record)
    names = pose_names(paths["query"])
    if scores.facts["names"] != names or len(names) != len(labels.query_cameras) or set(found) - set(names):
        raise DataError(f"{files.poses}: poses of other queries than {files.manifest} lists; rebuild both.")
    estimated = [found.get(name) for name in names]
    errors = np.array(pose_errors(estimated, labels.query_poses)) if labels.query_poses else None
    bins = np.zeros(len(names), np.int64) if errors is None else bin_errors(*errors)
    queries = _queries(names, labels, record, errors)
    picture = thumbnails(files.image_root, reading or {}, on_bad_image)
    matches = matches_by_query(_read_matches(files, title, labels), len(names))
    beside = MapPictures(paths["map"], labels.map_poses, labels.query_poses, matches, picture)

    def show(number: int) -> PicturedQuery:
        pictures = picture(paths["query"][number]), beside.beside(number)
        return PicturedQuery(number, names[number], queries[number].outcome, *pictures)

    goodness = np.array(record.inliers, np.float64) if errors is None else order_queries(*errors)
    order = np.argsort(goodness, kind="stable").tolist()
    drawn = draw_poses(labels.map_poses, estimated, labels.query_poses, bins)
    lines = list_lines(order, lambda number: _line(queries[number]), len(drawn.drawing))
    used = len(drawn.drawing) + sum(line.size for line in lines)
    first = f"{'the fewest inliers' if errors is None else 'the worst'} first"
    groups = add_others(_groups(goodness, each, show, errors is not None), order, show, used, f"Other queries, {first}")
    shown = numbers_in(groups)
    write_page(
        output,
        "poses.html.jinja",
        title=title,
        rule=f"{_rule(scores)} {what_is_shown(len(shown), len(lines), len(names), files.scores, order=first)}",
        metrics=_metrics(scores),
        map=drawn,
        columns=_columns(errors is not None, bool(labels.conditions)),
        lines=lines,
        total=len(names),
        shown=shown,
        groups=groups,
    )


def _read_scores(files: PoseFiles, title: str, record: PoseRecord) -> Scores:
    """Scores of the poses that a record is of; StaleFileError: they are of others."""
    scores = read_scores(files.scores, title)
    if scores.facts["poses"] != record.sha256 or scores.labels != sha256_file(files.labels):
        raise StaleFileError(f"{files.scores}: scores of other poses than {files.poses}; delete it and rerun.")
    return scores


def _read_paths(files: PoseFiles) -> dict[str, list[str]]:
    """Paths of the images of each role, in order."""
    listed = read_manifest(files.manifest)
    return {role: [row.path for row in listed.of_role(role).rows] for role in ("query", "map")}


def _read_matches(files: PoseFiles, title: str, labels: PoseLabels) -> Matches:
    """Matches of queries with the map, of images that are there."""
    found = read_matches(files.matches, cell=title)
    limits = len(labels.query_cameras), len(labels.map_cameras)
    if len(found.pairs) and (found.pairs.max(axis=0) >= limits).any():
        raise DataError(f"{files.matches}: matches of other images than {files.labels} has; rebuild both.")
    return found


def _columns(compared: bool, conditions: bool) -> list[str]:
    """Headings of what a line of the table says."""
    errors = ["metres", "degrees"] if compared else ["pose"]
    return [*(["condition"] if conditions else []), *errors, "inliers", "correspondences"]


def _line(query: ShownQuery) -> QueryLine:
    """A query in the table of all."""
    errors = [query.metres, query.degrees] if query.compared else [query.metres or "estimated"]
    counts = map(str, query.counts)
    return QueryLine(query.number, query.name, (*filter(None, [query.condition]), *errors, *counts), None)


def order_queries(positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(Q,) float64, higher is better: queries by the threshold that they are within, then by their place, then angle.

    Args:
        positions, rotations: (Q,) errors in metres and degrees; infinity where a query was not localised.
    """
    order = np.lexsort((rotations, positions, bin_errors(positions, rotations)))
    places = np.empty(len(order))
    places[order] = -np.arange(len(order))
    return places


def _groups(
    goodness: np.ndarray, each: int, show: Callable[[int], PicturedQuery], compared: bool
) -> list[ShownGroup[PicturedQuery]]:
    """The worst, the median and the best; by their inliers where the true poses are not known."""
    chosen = choose_queries(goodness, each)
    headings = list(chosen) if compared else list(_BY_INLIERS)
    return [
        ShownGroup(heading, tuple(map(show, numbers)))
        for heading, numbers in zip(headings, chosen.values(), strict=True)
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
        lost = [words.get(q, "" if inliers else _LOST) for q, inliers in enumerate(record.inliers)]
        told = [(word, word) for word in lost]
    else:
        told = [(_worded(metres, ".3f"), _worded(degrees, ".2f")) for metres, degrees in errors.T.tolist()]
    return [
        ShownQuery(number, name, condition, *words, count, errors is not None)
        for number, (name, condition, words, count) in enumerate(zip(names, conditions, told, counts, strict=True))
    ]


def _worded(error: float, digits: str) -> str:
    return format(error, digits) if math.isfinite(error) else _LOST


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
