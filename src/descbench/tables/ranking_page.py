"""A page of ranked images to look at: all queries in a table, with pictures of as many as a page can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from descbench.datasets.manifest import ManifestRow, read_manifest
from descbench.errors import DataError
from descbench.metrics.protocols import read_labels
from descbench.metrics.score import check_queries
from descbench.metrics.scores import read_scores
from descbench.metrics.unreadable import warn_of_unturned
from descbench.retrieval.ranking import found_images, read_part_info, read_ranking
from descbench.tables.inlier_lines import InlierLines, LineFiles, inlier_lines
from descbench.tables.listed_queries import QueryLine, add_others, list_lines, numbers_in, size_of, what_is_shown
from descbench.tables.match_drawing import LINE_COLOURS
from descbench.tables.pages import ShownGroup, choose_queries, write_page
from descbench.tables.thumbnails import Picture, read_pictures, thumbnails
from descbench.tables.unread import name_unread

_RESULTS = 8
_MISSED = 2
_DRAWN = 2
# Queries of each kind; a drawing of lines takes as much room as several pictures.
_EACH, _EACH_WITH_LINES = 8, 4
# Labels of images that are neither right nor wrong.
_IGNORED = ("junk",)
# Metrics in the table of all queries: average precisions; of recall there is the rank of the first right image.
_SHOWN = "map"
# The one that queries are sorted by, where a protocol has several.
_SORTED_BY = "map_medium"


@dataclass(frozen=True)
class RankingFiles:
    """What the page is made from.

    Attributes:
        ranking: of the method on the dataset.
        manifest: of the dataset.
        ground_truth, scores: those of the dataset and of the method on it; None where it has no labels.
        image_root: folder that the manifest's paths are relative to.
        cell: method and dataset that ranking and scores must be of; None outside the workflow.
    """

    ranking: Path
    manifest: Path
    ground_truth: Path | None
    scores: Path | None
    image_root: Path
    cell: str | None = None


@dataclass(frozen=True)
class ShownImage:
    """An image on the page.

    Attributes:
        rank: its place in the ranking, from 1; 0 of one that is not in it.
        verdict: its label for the query, ``right`` or ``wrong``; empty where there are no labels.
        kind: ``right``, ``wrong``, ``ignored`` or ``found``, for its looks.
        path: of the image in the manifest, or which distractor it is.
        score: of the image for the query; None of one that is not in the ranking.
        picture: of the image; None of a distractor.
        inliers: that it has with the query; None where they were not counted.
    """

    rank: int
    verdict: str
    kind: str
    path: str
    score: float | None
    picture: Picture | None
    inliers: int | None = None


@dataclass(frozen=True)
class ShownQuery:
    """A query with pictures: its first images, and the first right ones that stand behind them or were not found.

    ``score`` is what queries are sorted by, ``first`` the rank of the first right image; None where there is none.
    """

    number: int
    outcome: str
    path: str
    score: float | None
    first: int | None
    picture: Picture
    images: tuple[ShownImage, ...]
    missed: tuple[ShownImage, ...]
    drawings: tuple[tuple[str, Markup], ...] = ()

    @property
    def size(self) -> int:
        """Number of characters of its pictures and drawings on the page."""
        shown = [self.picture, *(image.picture for image in (*self.images, *self.missed) if image.picture)]
        return size_of(shown, self.drawings)


def show_ranking(
    files: RankingFiles,
    output: Path,
    *,
    title: str,
    each: int | None = None,
    reading: Mapping[str, Any] | None = None,
    on_bad_image: Literal["stop", "skip"] = "stop",
    lines: LineFiles | None = None,
) -> None:
    """Write a page that needs no other file.

    All queries stand in a table, or as many as the page can hold. The first with pictures are the worst, the median and
    the best by average precision (medium) or by the rank of the first right image; without labels, queries at even
    steps of the list. All others follow, the worst first, as long as the page stays below 5 MB.

    Args:
        files: what the page is made from.
        output: the page (HTML).
        title: heading.
        each: queries of each of the three kinds; None: 8, and 4 where they have lines.
        reading: ``reading_options`` of the features block, so that pictures are read as they were.
        on_bad_image: ``skip``: in place of a picture that cannot be read stands the reason.
        lines: what lines between a query of the three kinds and its first images follow from; None: there are none.

    Raises:
        StaleFileError: files of another method or dataset.
        DataError: a damaged file, a ranking of other images than the manifest's, or a picture that is missing.
    """
    seen_by = files.image_root, reading or {}, on_bad_image
    with inlier_lines(files.ranking, lines, read_pictures(*seen_by), files.cell) as inliers:
        page = _Page(files, thumbnails(*seen_by), inliers)
        chosen = page.choose((_EACH_WITH_LINES if lines else _EACH) if each is None else each)
        groups = [
            ShownGroup(heading, tuple(page.query(query, drawn=True) for query in queries))
            for heading, queries in chosen.items()
            if queries
        ]
    order = page.from_worst()
    lines_of_queries = list_lines(order, page.line)
    used = sum(line.size for line in lines_of_queries)
    groups = add_others(groups, order, page.query, used, page.heading_of_others)
    shown = numbers_in(groups)
    write_page(
        output,
        "ranking.html.jinja",
        title=title,
        rule=page.rule(len(shown), len(lines_of_queries), files.scores),
        legend=inliers.legend,
        line_colours=LINE_COLOURS,
        unread=name_unread(page.unread()),
        labelled=page.labelled,
        sorted_by=page.sorted_by,
        columns=page.columns,
        lines=lines_of_queries,
        total=len(order),
        shown=shown,
        groups=groups,
    )


class _Page:
    """Everything that the page shows, read and checked.

    Attributes:
        values: metric -> its values of queries, NaN where a query does not count in it.
    """

    def __init__(self, files: RankingFiles, picture: Callable[..., Picture], inliers: InlierLines) -> None:
        self._picture, self._inliers = picture, inliers
        self._ranked, info = read_ranking(files.ranking, files.cell), read_part_info(files.ranking)
        self._unread, self._told = info.without_features, [f"{text}." for text in warn_of_unturned(info)]
        self._found = found_images(self._ranked)
        listed = read_manifest(files.manifest)
        self._queries, self._database = listed.of_role("query").rows, listed.of_role("database").rows
        check_queries(self._ranked, len(self._queries), files.ranking, files.manifest)
        if self._ranked.image_ids.max(initial=-1) >= len(self._database):
            raise DataError(f"{files.ranking}: ranks other images than {files.manifest} lists; rebuild both.")
        self._labels, self._metric = None, ""
        self.values: dict[str, np.ndarray] = {}
        if files.ground_truth is not None and files.scores is not None:
            self._read_labels(files.ground_truth, files.scores, files.cell)
        self._first = [self._rank_of_first(query) for query in range(len(self._queries))]

    def _read_labels(self, ground_truth: Path, scores_file: Path, cell: str | None) -> None:
        labels, scores = read_labels(ground_truth), read_scores(scores_file, cell)
        if labels is None:
            raise DataError(f"{ground_truth}: no labels of database images for queries; show another dataset.")
        self._labels = labels[1].by_query()
        if not len(self._labels) == scores.num_queries == len(self._queries):
            raise DataError(f"{ground_truth}: labels of other queries than those of {scores_file}; rebuild the scores.")
        self.values = {
            metric: np.array([np.nan if value is None else float(value) for value in scores.per_query[metric]])
            for metric in scores.metrics
            if metric.startswith(_SHOWN)
        }
        self._metric = _SORTED_BY if _SORTED_BY in self.values else next(iter(self.values), "")

    def choose(self, each: int) -> dict[str, list[int]]:
        """Queries that are shown with pictures, by heading."""
        if self._labels is None:
            steps = np.linspace(0, len(self._queries) - 1, min(3 * each, len(self._queries)))
            return {"Queries at even steps of the list": np.round(steps).astype(int).tolist()}
        return choose_queries(self._goodness(), each)

    @property
    def heading_of_others(self) -> str:
        """What stands over the queries that are in none of the three kinds."""
        return f"Other queries, {self._order}"

    @property
    def _order(self) -> str:
        return "in the order of the list" if self._labels is None else "the worst first"

    @property
    def labelled(self) -> bool:
        """Whether labels say what is right."""
        return self._labels is not None

    @property
    def columns(self) -> list[str]:
        """Headings of what a line of the table says."""
        return [*map(_in_words, self.values), "rank of the first right image" if self.labelled else "first image"]

    @property
    def sorted_by(self) -> str:
        """The metric that queries are sorted by, in words; empty where there is none."""
        return _in_words(self._metric) if self._metric else ""

    def from_worst(self) -> list[int]:
        """All queries, the worst first; those that do not count come last, and without labels as they are listed."""
        if self._labels is None:
            return list(range(len(self._queries)))
        return np.argsort(self._goodness(), kind="stable").tolist()

    def _goodness(self) -> np.ndarray:
        """A number of each query, larger for better ones: average precision, or 1 / rank of the first right image."""
        if self._metric:
            return self.values[self._metric]
        return np.array([1 / first if first else 0.0 for first in self._first])

    def rule(self, shown: int, listed: int, scores: Path | None) -> str:
        """What the page shows of what, in sentences; arguments as of :func:`what_is_shown`."""
        parts = [f"{len(self._database):,} images were searched for each of {len(self._queries):,} queries."]
        if self._metric:
            parts.append(f"Queries are sorted by {_in_words(self._metric)}, the worst first.")
        elif self._labels is not None:
            parts.append("Queries are sorted by the rank of their first right image, the worst first.")
        else:
            parts.append("There are no labels, so that nothing is right or wrong.")
        if (self._ranked.image_ids < 0).any():
            parts[0] = f"Distractors and {parts[0]}"
        parts.append(what_is_shown(shown, listed, len(self._queries), scores, order=self._order))
        if missed := int((~self._found.any(axis=1)).sum()):
            parts.append(f"{missed} queries could not be read, and count as missed.")
        if self._unread:
            parts.append(f"{len(self._unread)} images could not be read, and are never found.")
        parts += self._told
        return " ".join(parts)

    def unread(self) -> list[str]:
        """Images that could not be read: paths in the manifest, or which distractor."""
        return [self._database[image].path if image >= 0 else f"distractor {-image}" for image in self._unread]

    def line(self, query: int) -> QueryLine:
        """A query in the table of all."""
        known = [float(values[query]) for values in self.values.values()]
        cells = ["does not count" if np.isnan(value) else f"{100 * value:.1f}" for value in known]
        first, found = self._first[query], self._ranked.image_ids[query][self._found[query]].tolist()
        if not found:
            cells.append("could not be read")
        elif self.labelled:
            cells.append(str(first or "none"))
        else:
            cells.append(self._database[found[0]].path if found[0] >= 0 else f"distractor {-found[0]}")
        return QueryLine(query, self._queries[query].path, tuple(cells), first, self._score(query))

    def _score(self, query: int) -> float | None:
        """What queries are sorted by, where it is an average precision that counts."""
        value = self.values[self._metric][query] if self._metric else np.nan
        return None if np.isnan(value) else float(value)

    def query(self, query: int, *, drawn: bool = False) -> ShownQuery:
        """A query with pictures of its first images, and of right ones that should have come before wrong ones.

        ``drawn``: with lines between inliers.
        """
        row, ids = self._queries[query], self._ranked.image_ids[query]
        order = [place for place in range(len(ids)) if self._found[query, place]]
        images = tuple(self._image(query, rank, place) for rank, place in enumerate(order[:_RESULTS], 1))
        wanted = sorted(self._right(query) - {int(ids[place]) for place in order[:_RESULTS]})
        ranks = {int(ids[place]): (rank, place) for rank, place in enumerate(order, 1)}
        late = sorted((ranks[image] for image in wanted if image in ranks), key=lambda found: found[0])
        missed = [self._image(query, rank, place) for rank, place in late[:_MISSED]]
        absent = [image for image in wanted if image not in ranks]
        missed += [self._absent(query, image) for image in absent[: _MISSED - len(missed)]]
        if all(image.kind != "wrong" for image in images):
            missed = []
        found = self._score(query), self._first[query]
        drawings = self._drawings(query, order[:_RESULTS]) if drawn else ()
        shown = self._picture_of(row), images, tuple(missed), drawings
        return ShownQuery(query, self._outcome(query), row.path, *found, *shown)

    def _drawings(self, query: int, places: Sequence[int]) -> tuple[tuple[str, Markup], ...]:
        """Lines between a query and the first of its images that have any, by what stands under them."""
        ranked = enumerate(self._ranked.image_ids[query][places].tolist(), 1)
        images = ((rank, image, self._database[image]) for rank, image in ranked if image >= 0)
        return self._inliers.drawings((query, self._queries[query]), images, _DRAWN)

    def _outcome(self, query: int) -> str:
        """What became of a query, in words."""
        if not self._found[query].any():
            return "could not be read, and counts as missed" if self._labels is not None else "could not be read"
        if self._labels is None:
            return self._queries[query].path
        if not self._right(query):
            return "nothing is right"
        known = {name: of[query] for name, of in self.values.items() if not np.isnan(of[query])}
        values = [f"{_in_words(name)} {100 * value:.1f}" for name, value in known.items()]
        first = self._first[query]
        return ", ".join([*values, f"first right image at rank {first}" if first else "no right image was found"])

    def _image(self, query: int, rank: int, place: int) -> ShownImage:
        image, score = int(self._ranked.image_ids[query, place]), float(self._ranked.scores[query, place])
        inliers = self._inliers.counts.get((query, image))
        if image < 0:
            # Distractors are other datasets' images; all that is known of them here is that they are wrong.
            return ShownImage(rank, "wrong", "wrong", f"distractor {-image}", score, None, inliers)
        verdict, kind = self._verdict(query, image)
        row = self._database[image]
        return ShownImage(rank, verdict, kind, row.path, score, self._picture_of(row), inliers)

    def _absent(self, query: int, image: int) -> ShownImage:
        row = self._database[image]
        return ShownImage(0, *self._verdict(query, image), row.path, None, self._picture_of(row))

    def _picture_of(self, row: ManifestRow) -> Picture:
        return self._picture(row.path) if row.box is None else self._picture(row.path, row.box)

    def _verdict(self, query: int, image: int) -> tuple[str, str]:
        """The label of an image for a query, and how it looks."""
        if self._labels is None:
            return "", "found"
        verdict = next((name for name, ids in self._labels[query].items() if image in ids), "wrong")
        return verdict, "wrong" if verdict == "wrong" else "ignored" if verdict in _IGNORED else "right"

    def _right(self, query: int) -> set[int]:
        """Ids of the images that are right for a query."""
        if self._labels is None:
            return set()
        return {image for name, ids in self._labels[query].items() if name not in _IGNORED for image in ids}

    def _rank_of_first(self, query: int) -> int | None:
        """Rank of the first right image among those that were found, from 1; None where there is none."""
        found = self._ranked.image_ids[query][self._found[query]]
        right = np.flatnonzero(np.isin(found, list(self._right(query))))
        return int(right[0]) + 1 if right.size else None


def _in_words(metric: str) -> str:
    """What a metric is of a single query: ``map_medium`` its average precision."""
    return metric.replace(_SHOWN, "AP", 1).replace("_", " ")
