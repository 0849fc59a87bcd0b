"""A page of place recognition to look at: a map and a table of all queries, and the first results of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from descbench.datasets.manifest import ManifestRow, read_manifest
from descbench.datasets.places import PlaceLabels, read_places
from descbench.errors import DataError
from descbench.metrics.places import find_first_hits, what_counts
from descbench.metrics.score import check_queries
from descbench.metrics.unreadable import warn_of_unturned
from descbench.retrieval.ranking import found_images, read_part_info, read_ranking
from descbench.tables.inlier_lines import InlierLines, LineFiles, inlier_lines
from descbench.tables.listed_queries import QueryLine, add_others, list_lines, numbers_in, size_of, what_is_shown
from descbench.tables.match_drawing import LINE_COLOURS
from descbench.tables.pages import ShownGroup, write_page
from descbench.tables.places_map import NOTHING_RIGHT, draw_map
from descbench.tables.thumbnails import Picture, read_pictures, thumbnails
from descbench.tables.unread import name_unread

_RESULTS = 5
_DRAWN = 2
_COLUMNS = ("metres to the first image", "rank of the first right image")


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
        inliers: that the image has with the query; None where they were not counted.
    """

    place: int
    verdict: str = "wrong"
    path: str = ""
    metres: float = 0.0
    picture: Picture | None = None
    distractor: int = 0
    inliers: int | None = None


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

    @property
    def size(self) -> int:
        """Number of characters of its pictures and drawings on the page."""
        found = (*self.results, *([self.missed] if self.missed else []))
        return size_of([self.picture, *(result.picture for result in found if result.picture)], self.drawings)


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
    told: tuple[str, ...] = ()
    inliers: InlierLines = field(default_factory=InlierLines)

    @cached_property
    def hopeless(self) -> np.ndarray:
        """(Q,) bool, queries for which nothing is right."""
        return np.array([not ids for ids in self.labels.positives], bool)

    @cached_property
    def times(self) -> np.ndarray:
        """Time stamps of the database; empty where there are none."""
        return np.array(self.labels.database_times)

    def counted(self, query: int) -> np.ndarray:
        """(n,) ids of what was found for a query, best first, as far as scores count it."""
        return what_counts(self.image_ids[query][self.found[query]], query, self.labels, self.times)

    def metres(self, query: int, image: int) -> float:
        """From a query to an image of the database."""
        row, asked = self.database[image], self.queries[query]
        return float(np.hypot(row.easting - asked.easting, row.northing - asked.northing))


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
    scores: Path | None = None,
) -> None:
    """Write a page that needs no other file: a map and a table of all queries, and their results with small pictures.

    The first queries with pictures are those with the worst rank of the first right image, where there is one to be
    found, and queries evenly spaced in the list; all others follow, the worst first, as long as the page stays below
    5 MB. Results are those that scores count.

    Args:
        ranking: of the dataset's queries.
        ground_truth: its labels (protocol ``places``).
        manifest: its images with their positions.
        image_root: folder that the manifest's paths are relative to.
        output: the page (HTML).
        method, dataset: names for the heading.
        queries: number of queries that are shown with pictures whatever their size, half of them the worst.
        reading: ``reading_options`` of the features block, so that pictures are read as they were.
        on_bad_image: ``skip``: in place of a picture that cannot be read stands the reason.
        lines: what lines between the queries shown and their first results follow from; None: there are none.
        scores: the file that has the values of all queries, for a page that cannot list them all; it is not read.

    Raises:
        StaleFileError: files of another method or dataset.
        DataError: no place-recognition labels, a ranking of other queries or images, images without positions,
            or a picture that is missing or damaged; the file is named.
    """
    title, seen_by = f"{method} on {dataset}", (image_root, reading or {}, on_bad_image)
    result, picture = _read(ranking, ground_truth, manifest, title), thumbnails(*seen_by)
    with inlier_lines(ranking, lines, read_pictures(*seen_by), title) as inliers:
        result = replace(result, inliers=inliers)
        groups = _groups(result, queries, picture)
    order = order_from_worst(result.ranks, result.hopeless)
    ranks = np.where(result.hopeless, NOTHING_RIGHT, result.ranks)
    drawn = draw_map(_places(result.database), _places(result.queries), ranks)
    listed = list_lines(order, partial(_line, result), len(drawn.drawing))
    used = len(drawn.drawing) + sum(line.size for line in listed)
    show = partial(_query, result, picture=picture)
    groups = add_others(groups, order, show, used, "Other queries, the worst first")
    shown = numbers_in(groups)
    write_page(
        output,
        "places.html.jinja",
        title=title,
        rule=f"{_rule(result)} {what_is_shown(len(shown), len(listed), len(order), scores)}",
        legend=result.inliers.legend,
        line_colours=LINE_COLOURS,
        unread=name_unread(result.unread),
        map=drawn,
        columns=_COLUMNS,
        lines=listed,
        total=len(order),
        shown=shown,
        groups=groups,
    )


def order_from_worst(ranks: np.ndarray, hopeless: np.ndarray) -> list[int]:
    """Queries from the latest first right image, or none (rank 0), to the earliest; hopeless ones come last.

    Args:
        ranks: (Q,) of the first right image.
        hopeless: (Q,) bool, queries for which nothing is right.
    """
    badness = np.where(hopeless, -1.0, np.where(ranks == 0, np.inf, ranks))
    return np.argsort(-badness, kind="stable").tolist()


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
    info = read_part_info(ranking)
    unread = tuple(database[i].path if i >= 0 else f"distractor {-i}" for i in info.without_features)
    told = tuple(f"{text}." for text in warn_of_unturned(info))
    return _Outcome(database, queries, labels, ranked.image_ids, found, ranks, unread, told)


def _groups(result: _Outcome, queries: int, picture: Callable[[str], Picture]) -> list[ShownGroup]:
    """The queries that are shown with pictures; groups without any are left out."""
    worst = choose_worst(np.where(result.hopeless, 1, result.ranks), queries // 2)
    spaced = choose_spaced(np.setdiff1d(np.arange(len(result.queries)), worst), queries - len(worst))
    groups = {"Queries with the worst rank": worst, "Queries at even steps of the list": spaced}
    return [
        ShownGroup(heading, tuple(_query(result, query, picture, drawn=True) for query in chosen.tolist()))
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
    return " ".join([*parts, *result.told])


def _line(result: _Outcome, query: int) -> QueryLine:
    """A query in the table of all."""
    first = result.counted(query)[:1].tolist()
    metres = "none" if not first else f"{result.metres(query, first[0]):.1f}" if first[0] >= 0 else "distractor"
    rank = int(result.ranks[query]) or None
    if not result.found[query].any():
        told = "could not be read"
    elif result.hopeless[query]:
        told = "nothing is right"
    else:
        told = str(rank or "none")
    return QueryLine(query, result.queries[query].path, (metres, told), rank)


def _query(result: _Outcome, query: int, picture: Callable[[str], Picture], *, drawn: bool = False) -> ShownQuery:
    """A query and its first results, with lines between inliers where they are ``drawn``."""
    path = result.queries[query].path
    ranked = result.counted(query)
    counted = ranked[:_RESULTS]
    return ShownQuery(
        number=query,
        outcome=_in_words(result, query),
        path=path,
        picture=picture(path),
        results=tuple(_result(result, query, place, image, picture) for place, image in enumerate(counted.tolist(), 1)),
        missed=_missed(result, query, ranked, picture),
        drawings=_drawings(result, query, counted) if drawn else (),
    )


def _drawings(result: _Outcome, query: int, counted: np.ndarray) -> tuple[tuple[str, Markup], ...]:
    """Lines between a query and the first of its results that have any."""
    images = ((place, image, result.database[image]) for place, image in enumerate(counted.tolist(), 1) if image >= 0)
    return result.inliers.drawings((query, result.queries[query]), images, _DRAWN)


def _missed(result: _Outcome, query: int, ranked: np.ndarray, picture: Callable[[str], Picture]) -> ShownResult | None:
    """The right image that should have been among the first results, where none is."""
    right = np.flatnonzero(np.isin(ranked, result.labels.positives[query]))
    if right.size:
        place = int(right[0])
        return None if place < _RESULTS else _result(result, query, place + 1, int(ranked[place]), picture)
    positives = np.array(result.labels.positives[query], np.int64)
    nearest = positives[np.argsort([result.metres(query, image) for image in positives.tolist()], kind="stable")]
    counted = what_counts(nearest, query, result.labels, result.times)[:1].tolist()
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
    inliers = result.inliers.counts.get((query, image))
    if image < 0:
        # Distractors are other datasets' images; all that is known of them here is that they are wrong.
        return ShownResult(place, distractor=-image, inliers=inliers)
    verdict, path = "right" if image in result.labels.positives[query] else "wrong", result.database[image].path
    return ShownResult(place, verdict, path, result.metres(query, image), picture(path), inliers=inliers)


def _places(rows: Sequence[ManifestRow]) -> np.ndarray:
    """East and north of rows in metres: (n, 2)."""
    return np.array([(row.easting, row.northing) for row in rows], np.float64).reshape(-1, 2)
