"""Stage score_poses: estimated and true poses become a file of scores.

Definition: docs/protocols/localization.md, Scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from descbench.config.posed_datasets import WITHIN
from descbench.datasets.manifest import read_manifest
from descbench.datasets.pose_files import pose_names
from descbench.datasets.pose_labels import read_pose_labels
from descbench.errors import DataError
from descbench.io.digests import sha256_file
from descbench.localization.estimated_poses import read_estimated
from descbench.metrics.poses import NOBODY, SERVER, TRUE_POSES, check_true_poses, pose_errors, score_errors
from descbench.metrics.scores import Metric, Scores, Value, write_scores

_ALL = "all"


def score_poses(
    poses: Path,
    labels: Path,
    manifest: Path,
    output: Path,
    *,
    cell: str = "",
    stated: Mapping[str, Sequence[float]] | None = None,
    stated_for: str | None = None,
) -> None:
    """Score a file of poses; :class:`descbench.metrics.scores.Scores` says what the file holds.

    Facts are ``names`` of the queries, how many were ``localised`` or ``filled`` (not localised, with the pose of
    their first map image), ``inliers`` of each, the SHA-256 of the file of
    ``poses``, and by what they are ``scored_by``: true poses, the benchmark's server, or nobody yet.

    Args:
        poses: file of the stage before.
        labels, manifest: of the dataset.
        output: the scores file to write.
        cell: method and dataset that the poses must be of.
        stated: percent within each threshold by condition, from the benchmark's server.
        stated_for: SHA-256 of the file of poses that these are of.

    Raises:
        StaleFileError: poses of another method or dataset.
        DataError: a file is damaged, true poses of another convention, poses of unknown queries, or figures of the
            server for another file of poses, or for a dataset whose true poses are known.
    """
    known, rows = read_pose_labels(labels), read_manifest(manifest).of_role("query")
    found, record = read_estimated(poses, cell or None)
    names = pose_names([row.path for row in rows.rows])
    if unknown := sorted(set(found) - set(names)):
        raise DataError(f"{poses}: a pose of {unknown[0]}, which is not a query of this dataset; delete it and rerun.")
    metrics: dict[str, Metric] = {}
    per_query: dict[str, list[Value]] = {}
    scored_by = NOBODY
    if known.query_poses:
        if stated:
            raise DataError(f"{labels}: has the true poses, so there are no figures of a server; remove `server`.")
        estimated = [found.get(name) for name in names]
        if otherwise := check_true_poses(estimated, known.query_poses):
            raise DataError(
                f"{labels}: hardly any estimated pose is near the true one of its query, but most are if {otherwise}: "
                "correct the poses of the queries."
            )
        errors = pose_errors(estimated, known.query_poses)
        metrics, per_query = score_errors(*errors, known.conditions)
        scored_by = TRUE_POSES
    elif stated:
        if stated_for != record.sha256:
            raise DataError(
                f"{poses}: its SHA-256 is {record.sha256}, but the figures of the server are for {stated_for}: upload "
                "this file, and put the figures and this SHA-256 into `server` of the method."
            )
        metrics, scored_by = _stated(stated, known.conditions, labels), SERVER
        per_query = {name: [None] * len(names) for name in metrics}
    facts = {
        "queries": "queries",
        "names": names,
        "localised": len(found) - len(record.filled),
        "filled": len(record.filled),
        "inliers": record.inliers,
        "poses": record.sha256,
        "scored_by": scored_by,
    }
    scores = Scores("localisation", "poses", len(names), metrics, per_query, facts, cell=cell or None)
    if not record.map_points:
        scores.warnings.append("no point of the map was triangulated from its matches, so no query can be localised")
    write_scores(_with_labels(scores, labels), output)


def _with_labels(scores: Scores, labels: Path) -> Scores:
    return Scores(**{**vars(scores), "labels": sha256_file(labels)})


def _stated(stated: Mapping[str, Sequence[float]], conditions: Sequence[str], labels: Path) -> dict[str, Metric]:
    """Metrics as a server states them, in percent."""
    metrics = {}
    for condition, shares in stated.items():
        if condition != _ALL and condition not in conditions:
            known = ", ".join(dict.fromkeys((_ALL, *conditions)))
            raise DataError(f"{labels}: figures of the server for {condition!r}, but the conditions are {known}.")
        suffix = "" if condition == _ALL else f"_{condition}"
        for name, share in zip(WITHIN, shares, strict=True):
            metrics[name + suffix] = Metric(share / 100, None, None, "wilson", statistic="stated")
    return metrics
