"""Stage select_pairs: which images of a dataset are matched, of the map and of queries with the map.

Definition: docs/protocols/localization.md, Pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from descbench.datasets.cameras import Pose
from descbench.datasets.pose_labels import Ids, PoseLabels, read_pose_labels
from descbench.errors import DataError
from descbench.io.csvfiles import read_csv, write_csv
from descbench.io.kinds import shorten
from descbench.retrieval.ranking import found_images, read_ranking

Kind = Literal["map", "query"]
_COLUMNS = ["role", "image", "map_image"]


def select_pairs(
    labels: Path,
    output: Path,
    *,
    pairs: str = "exhaustive",
    map_pairs: str = "exhaustive",
    top_k: int = 20,
    map_neighbours: int = 20,
    ranking: Path | None = None,
    ranking_cell: str | None = None,
) -> None:
    """Write the pairs of a dataset as CSV: role (of the first image), its id, id of the map image.

    Args:
        labels: of the dataset.
        output: the file to write.
        pairs, map_pairs, top_k, map_neighbours: keys of
            :class:`descbench.config.localisation_methods.LocaliseMethod`.
        ranking: of the map for each query, where ``pairs`` is ``ranked``.
        ranking_cell: method and dataset that the ranking must be of.

    Raises:
        DataError: a file is damaged, the dataset lists no pairs, or the ranking is of other images.
    """
    known = read_pose_labels(labels)
    maps, queries = len(known.map_cameras), len(known.query_cameras)
    of_map = {
        "exhaustive": lambda: list(combinations(range(maps), 2)),
        "listed": lambda: _listed(known.map_pairs, labels),
        "nearest": lambda: nearest_pairs(known.map_poses, map_neighbours),
    }[map_pairs]()
    of_queries = {
        "exhaustive": lambda: [(query, image) for query in range(queries) for image in range(maps)],
        "listed": lambda: _listed(known.query_pairs, labels),
        "ranked": lambda: ranked_pairs(ranking, known, top_k, ranking_cell),
    }[pairs]()
    rows = [("map", *ids) for ids in of_map] + [("query", *ids) for ids in of_queries]
    write_csv(output, _COLUMNS, rows)


def read_pairs(path: Path, role: Kind) -> list[Ids]:
    """Pairs of images of a role with map images, in order.

    Raises:
        DataError: the file is absent, damaged, or no such list.
    """
    columns, records = read_csv(path, "list of pairs")
    if columns != _COLUMNS:
        raise DataError(f"{path}: not a list of pairs: columns must be {', '.join(_COLUMNS)}; delete it and rerun.")
    try:
        found = [(r["role"], int(r["image"]), int(r["map_image"])) for r in records]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: a row that is not a pair ({shorten(error)}); delete it and rerun.") from error
    if any(kind not in ("map", "query") or a < 0 or b < 0 or (kind == "map" and a == b) for kind, a, b in found):
        raise DataError(f"{path}: a row that is not a pair; delete it and rerun.")
    return [(a, b) for kind, a, b in found if kind == role]


def nearest_pairs(poses: Sequence[Pose], neighbours: int) -> list[Ids]:
    """Each map image with the nearest others that look less than 90 degrees elsewhere; each pair once, ascending.

    Equal distances go to the image that comes first.
    """
    centres = np.array([pose.centre for pose in poses])
    axes = np.array([pose.matrix[2] for pose in poses])
    found = set()
    for image, (centre, axis) in enumerate(zip(centres, axes, strict=True)):
        distances = np.linalg.norm(centres - centre, axis=1)
        distances[(axes @ axis <= 0) | (np.arange(len(poses)) == image)] = np.inf
        order = np.argsort(distances, kind="stable")[:neighbours]
        found |= {(min(image, other), max(image, other)) for other in order.tolist() if np.isfinite(distances[other])}
    return sorted(found)


def ranked_pairs(ranking: Path, labels: PoseLabels, top_k: int, cell: str | None = None) -> list[Ids]:
    """Each query with the first images of its ranking, best first."""
    ranked = read_ranking(ranking, cell)
    if ranked.query_ids.tolist() != list(range(len(labels.query_cameras))):
        raise DataError(
            f"{ranking}: ranks {len(ranked.query_ids)} queries of {len(labels.query_cameras)}; delete it and rerun."
        )
    found = found_images(ranked)
    if (ranked.image_ids[found] >= len(labels.map_cameras)).any() or (ranked.image_ids[found] < 0).any():
        raise DataError(f"{ranking}: ranks images that are not of the map; delete it and rerun.")
    rows = zip(ranked.query_ids.tolist(), ranked.image_ids, found, strict=True)
    return [(query, image) for query, ids, there in rows for image in ids[there][:top_k].tolist()]


def _listed(pairs: Sequence[Ids], labels: Path) -> list[Ids]:
    if not pairs:
        raise DataError(f"{labels}: lists no pairs of images for this; choose other pairs than `listed` in the method.")
    return list(pairs)
