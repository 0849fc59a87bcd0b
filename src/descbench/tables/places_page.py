"""A page of place recognition to look at: a sample of queries with their first results, and a map of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from descbench.datasets.manifest import ManifestRow, read_manifest
from descbench.datasets.places import PlaceLabels, read_places
from descbench.errors import DataError
from descbench.metrics.places import find_first_hits, what_counts
from descbench.metrics.score import check_queries
from descbench.retrieval.ranking import found_images, images_without_features, read_ranking
from descbench.tables.inlier_lines import Draw, LineFiles, inlier_lines
from descbench.tables.pages import ShownGroup, write_page
from descbench.tables.places_map import NOTHING_RIGHT, draw_map
from descbench.tables.thumbnails import Picture, read_pictures, thumbnails
from descbench.tables.unread import name_unread

_RESULTS = 5
_DRAWN = 2


@dataclass(frozen=True)
class ShownResult:
    """A result on the page.

    Attributes:
        place: its rank, from 1, among those that count; 0 of one that was not found.
        verdict: ``right`` or ``wrong``.
        path: of the image, in the manifest.
        metres: from the query.
        picture: of the image; None: a distractor.
        distractor: number of the distractor, from 1.
    """

    place: int
    verdict: str = "wrong"
    path: str = ""
    metres: float = 0.0
    picture: Picture | None = None
    distractor: int = 0


@dataclass(frozen=True)
class ShownQuery:
    """A query on the page: what became of it, its picture, its first results, and a right image that is not among them.

    ``missed`` is the best ranked one, or the nearest where none was found (its ``place`` is 0); None where one of the
    results is right. ``drawings`` have lines to the first results that have inliers, by what stands under them.
    """

    number: int
    outcome: str
    path: str
    picture: Picture
    results: tuple[ShownResult, ...]
    missed: ShownResult | None
    drawings: tuple[tuple[str, Markup], ...] = ()


@dataclass(frozen=True)
class _Outcome:
    """What the page shows: everything of one method on one dataset."""

    database: Sequence[ManifestRow]
    queries: Sequence[ManifestRow]
    labels: PlaceLabels
    image_ids: np.ndarray
    found: np.ndarray
    ranks: np.ndarray
    unread: tuple[str, ...]

    @property
    def hopeless(self) -> np.ndarray:
        """(Q,) bool, queries for which nothing is right."""
        return np.array([not ids for ids in self.labels.positives], bool)


def show_places(
    ranking: Path,
    ground_truth: Path,
    manifest: Path,
    image_root: Path,
    output: Path,
    *,
    method: str,
    dataset: str,
    queries: int = 24,
    reading: Mapping[str, Any] | None = None,
    on_bad_image: Literal["stop", "skip"] = "stop",
    lines: LineFiles | None = None,
) -> None:
    """Write a page that needs no other file: a map of all queries, and results of some with small pictures.

    Half of the queries shown are those with the worst rank of the first right image, where there is one to be
    found; the others lie evenly spaced in the list. Results are those that scores count.

    Args:
        ranking: of the dataset's queries.
        ground_truth: its labels (protocol ``places``).
        manifest: its images with their positions.
        image_root: folder that the manifest's paths are relative to.
        output: the page (HTML).
        method, dataset: names for the heading.
        queries: number of queries that are shown with pictures.
        reading: ``reading_options`` of the features block, so that pictures are read as they were.
        on_bad_image: ``skip``: in place of a picture that cannot be read stands the reason.
        lines: what lines between the queries shown and their first results follow from; None: there are none.

    Raises:
        StaleFileError: files of another method or dataset.
        DataError: no place-recognition labels, a ranking of other queries or images, images without positions,
            or a picture that is missing or damaged; the file is named.
    """
    title, seen_by = f"{method} on {dataset}", (image_root, reading or {}, on_bad_image)
    result = _read(ranking, ground_truth, manifest, title)
    with inlier_lines(ranking, lines, read_pictures(*seen_by), title) as draw:
        groups = _groups(result, queries, thumbnails(*seen_by), draw)
    write_page(
        output,
        "places.html.jinja",
        title=title,
        rule=_rule(result),
        unread=name_unread(result.unread),
        map=draw_map(
            _places(result.database), _places(result.queries), np.where(result.hopeless, NOTHING_RIGHT, result.ranks)
        ),
        groups=groups,
    )


def choose_worst(ranks: np.ndarray, number: int) -> np.ndarray:
    """Up to ``number`` queries with the latest first right image, or none (rank 0), the worst first.

    Of those that are equally bad the ones at even steps are taken, since neighbours in a list often show
    the same place. Queries with the right image first are never among them.
    """
    badness = np.where(ranks == 0, np.inf, ranks)
    bad = np.flatnonzero(badness > 1)
    if len(bad) > number:
        limit = np.sort(badness[bad])[::-1][number - 1] if number else np.inf
        worse = bad[badness[bad] > limit]
        equal = bad[badness[bad] == limit]
        bad = np.sort(np.concatenate([worse, choose_spaced(equal, number - len(worse))]))
    return bad[np.argsort(-badness[bad], kind="stable")]


def choose_spaced(ids: np.ndarray, number: int) -> np.ndarray:
    """Up to ``number`` of the ids (n,), at even steps from the first to the last."""
    if len(ids) <= number:
        return ids
    return ids[np.round(np.linspace(0, len(ids) - 1, number)).astype(np.int64)]


def _read(ranking: Path, ground_truth: Path, manifest: Path, cell: str) -> _Outcome:
    labels, ranked, listed = read_places(ground_truth), read_ranking(ranking, cell), read_manifest(manifest)
    check_queries(ranked, len(labels.positives), ranking, ground_truth)
    database, queries = listed.of_role("database").rows, listed.of_role("query").rows
    if len(queries) != len(labels.positives) or ranked.image_ids.max(initial=-1) >= len(database):
        raise DataError(f"{ranking}: ranks other images than {manifest} lists; rebuild both from the same dataset.")
    unplaced = next((row for row in (*database, *queries) if row.easting is None or row.northing is None), None)
    if unplaced is not None:
        raise DataError(f"{manifest}: {unplaced.path} has no position; rebuild the manifest.")
    found = found_images(ranked)
    ranks = find_first_hits(ranked.image_ids, labels, complete=True, found=found).ranks
    ids = images_without_features(ranking)
    unread = tuple(database[image].path if image >= 0 else f"distractor {-image}" for image in ids)
    return _Outcome(database, queries, labels, ranked.image_ids, found, ranks, unread)


def _groups(result: _Outcome, queries: int, picture: Callable[[str], Picture], draw: Draw) -> list[ShownGroup]:
    """The queries that are shown with pictures; groups without any are left out."""
    worst = choose_worst(np.where(result.hopeless, 1, result.ranks), queries // 2)
    spaced = choose_spaced(np.setdiff1d(np.arange(len(result.queries)), worst), queries - len(worst))
    times = np.array(result.labels.database_times)
    groups = {"Queries with the worst rank": worst, "Queries at even steps of the list": spaced}
    return [
        ShownGroup(heading, tuple(_query(result, query, times, picture, draw) for query in chosen.tolist()))
        for heading, chosen in groups.items()
        if len(chosen)
    ]


def _rule(result: _Outcome) -> str:
    """What counts as right, and how many queries find it."""
    labels, ranks = result.labels, result.ranks
    found = ", ".join(f"{((ranks > 0) & (ranks <= depth)).sum()} among the first {depth}" for depth in (1, 5, 20))
    parts = [f"Right is what lies within {labels.radius:g} m of the query."]
    if labels.views_per_panorama is not None:
        parts.append(f"Only the first hit of each panorama ({labels.views_per_panorama} images) counts.")
    if labels.query_times:
        parts.append("Images of the query's own time stamp are left out.")
    parts.append(f"Of {len(ranks)} queries so many have a right image: {found}.")
    if nothing := int(result.hopeless.sum()):
        parts.append(f"For {nothing} queries nothing is right.")
    if missed := int((~result.found.any(axis=1)).sum()):
        parts.append(f"{missed} queries could not be read, and count as missed.")
    if result.unread:
        parts.append(f"{len(result.unread)} database images could not be read, and are never found.")
    return " ".join(parts)


def _query(
    result: _Outcome, query: int, times: np.ndarray, picture: Callable[[str], Picture], draw: Draw
) -> ShownQuery:
    """A query and its first results."""
    path = result.queries[query].path
    ranked = what_counts(result.image_ids[query][result.found[query]], query, result.labels, times)
    counted = ranked[:_RESULTS]
    return ShownQuery(
        number=query,
        outcome=_in_words(result, query),
        path=path,
        picture=picture(path),
        results=tuple(_result(result, query, place, image, picture) for place, image in enumerate(counted.tolist(), 1)),
        missed=_missed(result, query, ranked, times, picture),
        drawings=_drawings(result, query, counted, draw),
    )


def _drawings(result: _Outcome, query: int, counted: np.ndarray, draw: Draw) -> tuple[tuple[str, Markup], ...]:
    """Lines between a query and the first of its results that have any."""
    found: list[tuple[str, Markup]] = []
    for place, image in enumerate(counted.tolist(), 1):
        if image >= 0 and len(found) < _DRAWN:
            row, rank = result.database[image], 1 + int(np.flatnonzero(result.image_ids[query] == image)[0])
            if (drawing := draw(query, image, rank, (result.queries[query], row))) is not None:
                found.append((f"{place}. {row.path}", drawing))
    return tuple(found)


def _missed(
    result: _Outcome, query: int, ranked: np.ndarray, times: np.ndarray, picture: Callable[[str], Picture]
) -> ShownResult | None:
    """The right image that should have been among the first results, where none is."""
    right = np.flatnonzero(np.isin(ranked, result.labels.positives[query]))
    if right.size:
        place = int(right[0])
        return None if place < _RESULTS else _result(result, query, place + 1, int(ranked[place]), picture)
    positives = np.array(result.labels.positives[query], np.int64)
    every = [_result(result, query, 0, image, lambda path: Picture()) for image in positives.tolist()]
    nearest = positives[np.argsort([one.metres for one in every], kind="stable")]
    counted = what_counts(nearest, query, result.labels, times)[:1].tolist()
    return _result(result, query, 0, counted[0], picture) if counted else None


def _in_words(result: _Outcome, query: int) -> str:
    """What became of a query, in words."""
    if not result.found[query].any():
        return "could not be read, and counts as missed"
    if not result.labels.positives[query]:
        return f"no database image lies within {result.labels.radius:g} m"
    rank = int(result.ranks[query])
    return f"first right image at rank {rank}" if rank else "no right image in the ranking"


def _result(result: _Outcome, query: int, place: int, image: int, picture: Callable[[str], Picture]) -> ShownResult:
    """The result at rank ``place``."""
    if image < 0:
        # Distractors are other datasets' images; all that is known of them here is that they are wrong.
        return ShownResult(place, distractor=-image)
    row, asked = result.database[image], result.queries[query]
    metres = float(np.hypot(row.easting - asked.easting, row.northing - asked.northing))
    verdict = "right" if image in result.labels.positives[query] else "wrong"
    return ShownResult(place, verdict, row.path, metres, picture(row.path))


def _places(rows: Sequence[ManifestRow]) -> np.ndarray:
    """East and north of rows in metres: (n, 2)."""
    return np.array([(row.easting, row.northing) for row in rows], np.float64).reshape(-1, 2)
