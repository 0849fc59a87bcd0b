"""A page of spatial verification to look at: ranked images of some queries, and lines between their inliers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.manifest import ManifestRow, read_manifest
from descbench.errors import DataError
from descbench.features.images import LoadedImage
from descbench.features.store import ShardReader
from descbench.metrics.protocols import read_labels
from descbench.metrics.scores import read_scores
from descbench.retrieval.inliers import Inliers, read_inliers
from descbench.retrieval.ranking import read_part_info, read_ranking
from descbench.tables.match_drawing import draw_matches, encode_picture
from descbench.tables.pages import write_page
from descbench.tables.thumbnails import read_pictures

_RESULTS = 6
_DRAWN = 3


@dataclass(frozen=True)
class ShownImage:
    """A ranked image on the page.

    Attributes:
        place: its rank, from 1.
        verdict: the labels that it has for the query, or ``wrong``.
        path: of the image; empty for a distractor.
        inliers: number of inliers; 0 where it was not verified.
        picture: data address; empty where there is none.
        reason: why there is no picture.
    """

    place: int
    verdict: str
    path: str
    inliers: int
    picture: str
    reason: str


@dataclass(frozen=True)
class ShownQuery:
    """A query on the page: its score, its picture, its first images, and drawings of those that were verified."""

    number: int
    score: str
    path: str
    picture: str
    reason: str
    images: tuple[ShownImage, ...]
    drawings: tuple[tuple[str, Markup], ...]


@dataclass(frozen=True)
class ShownGroup:
    """Queries under one heading."""

    heading: str
    queries: tuple[ShownQuery, ...]


@dataclass(frozen=True)
class InlierFiles:
    """What the page is made from.

    Attributes:
        ranking, inliers, scores: of the method on the dataset.
        ground_truth, manifest: of the dataset.
        queries, database: feature shards of the queries, and of all that was searched, distractors first.
        image_root: folder that the manifest's paths are relative to.
    """

    ranking: Path
    inliers: Path
    scores: Path
    ground_truth: Path
    manifest: Path
    queries: Sequence[Path]
    database: Sequence[Path]
    image_root: Path


def show_inliers(
    files: InlierFiles,
    output: Path,
    *,
    method: str,
    dataset: str,
    each: int = 3,
    reading: Mapping[str, Any] | None = None,
    on_bad_image: Literal["stop", "skip"] = "stop",
) -> None:
    """Write a page that needs no other file: the worst, the median and the best queries by the first metric.

    Args:
        files: what the page is made from.
        output: the page (HTML).
        method, dataset: names for the heading.
        each: queries of each of the three kinds.
        reading: ``truncated_images`` and ``deep_images`` of the features, so that pictures are read as they were.
        on_bad_image: ``skip``: in place of a picture that cannot be read stands the reason.

    Raises:
        StaleFileError: files of another method or dataset.
        DataError: a damaged file, inliers of features or images that are not there, or a picture that is missing.
    """
    title = f"{method} on {dataset}"
    page = _Page(files, title, read_pictures(files.image_root, reading or {}, on_bad_image))
    scores = read_scores(files.scores, title)
    metric = next(iter(scores.metrics))
    values = [np.nan if value is None else float(value) for value in scores.per_query[metric]]
    groups = [
        ShownGroup(heading, tuple(page.query(query, f"{metric} {100 * values[query]:.1f}") for query in chosen))
        for heading, chosen in choose_queries(np.array(values), each).items()
    ]
    rule = f"{len(values)} queries; {len(page.inliers.image_ids)} images were verified in all."
    write_page(
        output, "inliers.html.jinja", title=title, rule=rule, groups=[group for group in groups if group.queries]
    )


def choose_queries(values: np.ndarray, each: int) -> dict[str, list[int]]:
    """Positions of the worst, the median and the best values (n,), each once; NaN does not count."""
    order = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]
    worst = order[:each]
    best = order[len(worst) :][::-1][:each]
    left = order[len(worst) : len(order) - len(best)]
    start = max((len(left) - each) // 2, 0)
    found = {"The worst queries": worst, "Median queries": left[start : start + each], "The best queries": best}
    return {heading: chosen.tolist() for heading, chosen in found.items()}


class _Page:
    """Everything that the page shows, read and checked."""

    def __init__(self, files: InlierFiles, title: str, picture: Callable[[ManifestRow], LoadedImage | str]) -> None:
        self.inliers: Inliers = read_inliers(files.inliers, title)
        self._files, self._picture = files, picture
        self._ranked, info = read_ranking(files.ranking, title), read_part_info(files.ranking)
        listed, labels = read_manifest(files.manifest), read_labels(files.ground_truth)
        self._queries, self._database = listed.of_role("query").rows, listed.of_role("database").rows
        if labels is None or not isinstance(labels[1], GroundTruth):
            raise DataError(f"{files.ground_truth}: no labels of database images for queries; show another dataset.")
        self._labels = labels[1]
        if len(self._labels.queries) != len(self._queries) or info.first_image + info.num_images != len(self._database):
            raise DataError(f"{files.ranking}: ranks other images than {files.manifest} lists; rebuild both.")
        self._first = info.first_image

    def query(self, number: int, score: str) -> ShownQuery:
        """A query, its first images, and drawings of the first ones that were verified."""
        row = self._queries[number]
        address, reason = _address(self._picture(row))
        (place,) = np.flatnonzero(self._ranked.query_ids == number)
        ranked = self._ranked.image_ids[place, :_RESULTS].tolist()
        found = {int(self.inliers.image_ids[i]): i for i in np.flatnonzero(self.inliers.query_ids == number).tolist()}
        drawn = [image for image in ranked if image in found and image >= 0][:_DRAWN]
        pictures = [(image, self._drawing(number, image, found[image])) for image in drawn]
        drawings = tuple((f"{1 + ranked.index(i)}. {self._database[i].path}", shown) for i, shown in pictures if shown)
        images = tuple(self._image(number, i, rank, found) for rank, i in enumerate(ranked, 1))
        return ShownQuery(number, score, row.path, address, reason, images, drawings)

    def _image(self, query: int, image: int, rank: int, found: Mapping[int, int]) -> ShownImage:
        count = int(np.diff(self.inliers.offsets)[found[image]]) if image in found else 0
        if image < 0:
            # Distractors are other datasets' images; all that is known of them here is that they are wrong.
            return ShownImage(rank, "wrong", "", count, "", f"distractor {-image}")
        has = [name for name, ids in self._labels.queries[query].items() if image in ids]
        row = self._database[image]
        return ShownImage(rank, ", ".join(has) or "wrong", row.path, count, *_address(self._picture(row)))

    def _drawing(self, query: int, image: int, place: int) -> Markup | None:
        """Lines between the inliers of a query and an image; None where a picture cannot be read."""
        first, second = self._picture(self._queries[query]), self._picture(self._database[image])
        if isinstance(first, str) or isinstance(second, str):
            return None
        low, high = self.inliers.offsets[place : place + 2]
        pairs = self.inliers.pairs[low:high]
        asked = _places(self._files.queries, query, 0, pairs[:, 0], first, self._files.inliers)
        shown = _places(self._files.database, image, self._first, pairs[:, 1], second, self._files.inliers)
        label = f"{len(pairs)} inliers of query {query} and image {image}"
        return draw_matches(first.pixels, second.pixels, np.column_stack([asked, shown]), label)


def _places(
    shards: Sequence[Path], image: int, first: int, features: np.ndarray, picture: LoadedImage, inliers: Path
) -> np.ndarray:
    """Places (m, 2) of some features of an image, in pixels of its picture."""
    with_images = [ShardReader(path) for path in shards]
    try:
        edges = np.cumsum([first, *(reader.num_images for reader in with_images)])
        for reader, (low, high) in zip(with_images, pairwise(edges.tolist()), strict=True):
            if low <= image < high:
                block = reader.read(image - low, image - low + 1)
                if block.keypoints is None or features.max(initial=-1) >= len(block.keypoints):
                    raise DataError(f"{inliers}: inliers of features that {reader.path} lacks; delete it and rerun.")
                return (block.keypoints[features] - np.array(picture.offset)) / np.array(picture.ratio)
    finally:
        for reader in with_images:
            reader.close()
    raise DataError(f"{inliers}: inliers of image {image}, which no feature shard holds; delete it and rerun.")


def _address(picture: LoadedImage | str) -> tuple[str, str]:
    """Data address of a picture, and why there is none."""
    return ("", picture) if isinstance(picture, str) else (encode_picture(picture.pixels), "")
