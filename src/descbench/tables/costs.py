"""What a search costs: from what its jobs say they took and sizes of files, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from descbench.tables.results import Basis, Evidence

# Stages that rank; what they read was made once for all queries.
_RANKING = ("search_", "merge_rankings", "verify_geometry", "expand_", "match_shortlist", "rerank_shortlist")


@dataclass(frozen=True)
class Cost:
    """Of a search; None where nothing is recorded.

    Attributes:
        search_seconds, cpu_seconds: of all jobs that rank, without the start of Python, by the number of queries.
        image_bytes: of the files that are searched, by the number of images that they describe.
    """

    search_seconds: float | None
    cpu_seconds: float | None
    image_bytes: float | None


def costs_of(basis: Basis, evidence: Evidence) -> Cost | None:
    """What the search behind a result cost; None where nothing is known, or where it is not a search."""
    if basis.scores.family != "retrieval":
        return None
    jobs = [time.work for time in basis.times if time.stage.startswith(_RANKING)]
    works, queries = [work for work in jobs if work is not None], basis.scores.num_queries
    told = bool(queries) and len(works) == len(jobs) > 0
    files, images = evidence.stored.get((basis.method, basis.dataset), ((), 0))
    sizes = [path.stat().st_size for path in files if path.is_file()]
    cost = Cost(
        sum(work.seconds for work in works) / queries if told else None,
        sum(work.cpu_seconds for work in works) / queries if told else None,
        sum(sizes) / images if images and sizes and len(sizes) == len(files) else None,
    )
    return None if cost == Cost(None, None, None) else cost


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of the points (cost, score) that no other beats in both, from the cheapest on."""
    found: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not found or score > found[-1][1]:
            found.append((cost, score))
    return found
