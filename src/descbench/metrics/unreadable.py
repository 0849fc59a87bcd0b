"""Which queries and images of a ranking have no features, and why: what scores count and name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descbench.datasets.manifest import read_manifest
from descbench.features.store import ShardReader
from descbench.retrieval.ranking import PartInfo, Ranking, found_images, images_without_features

_NAMED = 100
_NO_FEATURES = "gave no features"


@dataclass(frozen=True)
class Unreadable:
    """Queries and images without features.

    Attributes:
        unreadable_queries, unreadable_images: how many.
        unreadable: the first of them: role, id, path (None where it is not known) and reason (None likewise).
    """

    unreadable_queries: int
    unreadable_images: int
    unreadable: list[dict[str, Any]]


def find_unreadable(
    ranked: Ranking, ranking: Path, query_shards: Sequence[Path] = (), manifest: Path | None = None
) -> Unreadable:
    """Queries that nothing could be compared with, and images that were compared with nothing.

    Args:
        ranked: content of ``ranking``.
        ranking: the file.
        query_shards: features of the queries, for the reasons.
        manifest: of the dataset, for the paths.
    """
    queries = ranked.query_ids[~found_images(ranked).any(axis=1)].tolist()
    images = images_without_features(ranking)
    reasons = _reasons(query_shards) if queries else {}
    role = "query"
    paths: dict[str, list[str]] = {}
    if manifest is not None and (queries or images):
        listed = read_manifest(manifest)
        paths = {name: [row.path for row in listed.of_role(name).rows] for name in ("query", "database")}
        # Where a folder has no queries, its own images are asked for.
        role = "query" if paths["query"] else "database"
    named = [
        {"role": "query", "id": i, "path": _path(paths.get(role), i), "reason": reasons.get(i, _NO_FEATURES)}
        for i in queries
    ]
    named += [
        {"role": "database", "id": i, "path": _path(paths.get("database"), i), "reason": None} for i in images[:_NAMED]
    ]
    return Unreadable(len(queries), len(images), named[:_NAMED])


def warn_of_unturned(info: PartInfo) -> list[str]:
    """A warning of images that EXIF says are to be turned and that were read as they are stored; none where all are."""
    queries, images = info.unturned
    counted = [(queries, "queries"), (images, "images")][info.asks_itself :]
    if not (found := [f"{number} {what}" for number, what in counted if number]):
        return []
    return [
        f"EXIF says that {' and '.join(found)} are to be turned; they were read as they are stored "
        "(`exif_orientation: apply` of the features turns them)"
    ]


def _path(paths: list[str] | None, image: int) -> str | None:
    return paths[image] if paths is not None and 0 <= image < len(paths) else None


def _reasons(shards: Sequence[Path]) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for path in shards:
        with ShardReader(path) as reader:
            reasons |= reader.skipped
    return reasons
