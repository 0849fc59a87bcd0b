"""Stage localise_queries: the poses of a dataset's queries in a map of points."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from descbench.datasets.manifest import read_manifest
from descbench.datasets.pose_files import pose_names, write_poses
from descbench.datasets.pose_labels import read_pose_labels
from descbench.errors import StaleFileError
from descbench.features.image_features import ImageFeatures
from descbench.io.digests import sha256_file
from descbench.localization.estimated_poses import PoseRecord, write_record
from descbench.localization.locate import LocationSettings, correspond, locate
from descbench.localization.reconstruct import Origin, check_size, keypoints_of, read_point_map
from descbench.matching.matches import read_matches
from descbench.progress import progress


@dataclass(frozen=True)
class MapFiles:
    """A map of points on disk: its folder and what stands beside it."""

    folder: Path
    record: Path


def localise_queries(
    manifest: Path,
    labels: Path,
    features: Sequence[Path],
    matches: Path,
    point_map: MapFiles,
    output: Path,
    settings: LocationSettings,
    *,
    origin: Origin = "corner",
    fallback: Literal["none", "first_image"] = "none",
    cell: str = "",
) -> None:
    """Localise all queries, and write the file of poses and what stands beside it.

    Args:
        manifest, labels: of the dataset.
        features: shards of the queries.
        matches: of queries with map images.
        point_map: the map.
        output: the file of poses.
        settings: how a query is localised.
        origin: of keypoints, as of the map.
        fallback: ``first_image``: a query that is not localised has the pose of the first map image of its matches.
        cell: method and dataset.

    Raises:
        DataError: a file is absent or damaged, or a camera of another size than its image.
        StaleFileError: files of other features, labels, method or dataset.
    """
    known, rows = read_pose_labels(labels), read_manifest(manifest).of_role("query")
    found = read_point_map(point_map.folder, point_map.record, len(known.map_poses), cell or None)
    if found.record.labels != sha256_file(labels):
        raise StaleFileError(f"{point_map.record}: made with other labels than {labels}; delete it and rerun.")
    names = pose_names([row.path for row in rows.rows])
    located = {}
    with ImageFeatures(features) as images:
        matched = read_matches(matches, cell=cell or None, first=images.digest, second=found.record.features)
        by_query: dict[int, list[int]] = {}
        for number, (query, _) in enumerate(matched.pairs.tolist()):
            by_query.setdefault(query, []).append(number)
        for query in progress(range(len(rows)), len(rows), "localising", unit="queries"):
            pairs = [(matched.of(n).indices, found.point_ids[matched.pairs[n, 1]]) for n in by_query.get(query, [])]
            seen = correspond(pairs)
            keypoints = keypoints_of(images, query, origin)
            check_size(names[query], keypoints, known.query_cameras[query])
            points = found.points[seen[:, 1]]
            located[query] = locate(np.asarray(keypoints)[seen[:, 0]], points, known.query_cameras[query], settings)
    poses = {query: one.pose for query, one in located.items() if one.pose is not None}
    lost = [query for query in located if query not in poses]
    if lost:
        logging.warning("%s: %d of %d queries were not localised", output, len(lost), len(rows))
    filled = [query for query in lost if fallback == "first_image" and query in by_query]
    for query in filled:
        poses[query] = known.map_poses[matched.pairs[by_query[query][0], 1]]
    write_poses({names[query]: poses[query] for query in sorted(poses)}, output)
    counts = ([one.correspondences for one in located.values()], [one.inliers for one in located.values()])
    write_record(PoseRecord("", cell, found.record.digest(), len(found.points), len(rows), *counts, filled), output)
