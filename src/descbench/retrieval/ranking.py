"""Rankings: database ids of each query, best first, and the exact merge of partial ones.

Order: descending score, equal scores by ascending image id, NaN last (also by id). Layout:
``query_ids (Q)`` int64, ``image_ids (Q, k)`` int64, ``scores (Q, k)`` float64, ``without_features`` int64, and
``unturned (2)`` int64 where it is not 0.

A score of NaN says that the image could not be compared with the query, because one of the two
could not be read: such an image is in the list, but was not found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from descbench.errors import DataError, StaleFileError
from descbench.io.hdf5 import Hdf5Reader, Hdf5Writer, created, opened, read_mapping
from descbench.retrieval import FORMAT_VERSION
from descbench.retrieval.unturned import put_unturned, read_unturned_numbers

# Key of what a ranking is made from: of how many queries, and of how many that were compared, the list before had the
# same score for all images.
EQUAL_SCORES = "equal_scores"
_KIND = "ranking"
# Scores of descriptors of length 1 that are the same differ by rounding only.
_ROUNDING = 1e-6
_BLOCK_BYTES = 128 << 20


@dataclass(frozen=True)
class Ranking:
    """Ranked images of each query.

    Attributes:
        query_ids: (Q,) int64, ascending.
        image_ids: (Q, k) int64, best first; distractors have negative ids.
        scores: (Q, k) float64.
    """

    query_ids: np.ndarray
    image_ids: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class PartInfo:
    """What a ranking covers, and what it was made from.

    Attributes:
        first_image: id of the first image that was searched; negative for distractors.
        num_images: number of consecutive images that were searched.
        made_from: digests and settings that all parts of one ranking share.
        without_features: ids of the searched images that have no features.
        asks_itself: the queries are the searched images, and each is left out of its own ranking.
        unturned: number of queries, and of searched images, that EXIF says are to be turned and that were read as they
            are stored.
    """

    first_image: int
    num_images: int
    made_from: Mapping[str, Any]
    without_features: tuple[int, ...] = ()
    asks_itself: bool = False
    unturned: tuple[int, int] = (0, 0)

    @property
    def num_ranked(self) -> int:
        """Images that a whole ranking of one query holds."""
        return self.num_images - self.asks_itself


class RankingWriter:
    """Writes the rows of a ranking block by block; made by :func:`ranking_writer`."""

    def __init__(self, file: Hdf5Writer, query_ids: np.ndarray, width: int) -> None:
        file.put("query_ids", np.asarray(query_ids, np.int64))
        shape = (len(query_ids), width)
        self._image_ids = file.reserve("image_ids", shape, np.int64)
        self._scores = file.reserve("scores", shape, np.float64)

    def write(self, row: int, image_ids: np.ndarray, scores: np.ndarray) -> None:
        """Write image ids and scores (rows, k) from ``row`` on."""
        self._image_ids[row : row + len(image_ids)] = image_ids
        self._scores[row : row + len(scores)] = scores


@contextmanager
def ranking_writer(path: Path, info: PartInfo, query_ids: np.ndarray, width: int) -> Iterator[RankingWriter]:
    """Open a new ranking of so many images a query; it appears when all rows were written without error."""
    attributes = {
        "first_image": info.first_image,
        "num_images": info.num_images,
        "asks_itself": int(info.asks_itself),
        "made_from": json.dumps(info.made_from, sort_keys=True),
    }
    with created(path, _KIND, FORMAT_VERSION, attributes) as file:
        file.put("without_features", np.asarray(info.without_features, np.int64))
        put_unturned(file, *info.unturned)
        yield RankingWriter(file, query_ids, width)


def read_ranking(path: Path, cell: str | None = None) -> Ranking:
    """Read a ranking as a whole.

    Args:
        path: the file.
        cell: method and dataset that it must be of, as its search was told; None: of any.

    Raises:
        StaleFileError: it is of another method or dataset.
        DataError: it is damaged, or its rows are not rankings: images that were not searched or stand there
            twice, scores that are not finite or not in order; the message names the query.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        info, query_ids = _head(file)
        ids, scores = file.array("image_ids", np.int64, 2), file.array("scores", np.float64, 2)
        check_rows(info, query_ids, ids, scores)
    _check_cell(path, info, cell)
    return Ranking(query_ids, ids, scores)


def check_rows(info: PartInfo, query_ids: np.ndarray, image_ids: np.ndarray, scores: np.ndarray) -> None:
    """Refuse rows (Q, k) that are not rankings.

    NaN is the score of an image without descriptor: such images come last.

    Raises:
        ValueError: names the first query (Q,) with an image that was not searched or stands there twice, or
            scores that are infinite or not in order.
    """
    if image_ids.shape != scores.shape or len(query_ids) != len(image_ids):
        raise ValueError(f"{len(query_ids)} queries, image ids {image_ids.shape}, scores {scores.shape}")
    first, last = info.first_image, info.first_image + info.num_images - 1
    for query, ids, values in zip(query_ids, image_ids, scores, strict=True):
        if not len(ids):
            continue
        if not first <= ids.min() <= ids.max() <= last:
            raise ValueError(f"query {query} ranks images outside {first} to {last}")
        absent = np.isnan(values)
        before, after = values[:-1], values[1:]
        ordered = (before > after) | ((before == after) | absent[:-1] & absent[1:]) & (ids[:-1] < ids[1:])
        if np.isinf(values).any() or not (ordered | (absent[1:] & ~absent[:-1])).all():
            raise ValueError(f"scores of query {query} are infinite, or not best first with ties by image id")
        if len(np.unique(ids)) < len(ids):
            raise ValueError(f"query {query} ranks an image twice")


def _head(file: Hdf5Reader) -> tuple[PartInfo, np.ndarray]:
    """What a ranking covers, and its queries (Q,)."""
    first, number = file.number("first_image"), file.number("num_images")
    without = file.array("without_features", np.int64)
    made_from, itself = read_mapping(file.text("made_from")), bool(file.number("asks_itself"))
    info = PartInfo(first, number, made_from, tuple(without.tolist()), itself, read_unturned_numbers(file, 2))
    query_ids = file.array("query_ids", np.int64)
    if number < 0 or (np.diff(query_ids) <= 0).any():
        raise ValueError("queries that do not ascend, or a negative number of images")
    if len(without) and not (first <= without[0] and (np.diff(without) > 0).all() and without[-1] < first + number):
        raise ValueError("images without features that were not searched, or that do not ascend")
    return info, query_ids


def read_part_info(path: Path) -> PartInfo:
    """What a ranking covers and was made from.

    Raises:
        DataError: no ranking, or a damaged one.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        return _head(file)[0]


def count_searched(path: Path) -> int:
    """Number of images that a ranking was made of; more than it holds where it was cut."""
    with opened(path, _KIND, FORMAT_VERSION) as file:
        return _head(file)[0].num_ranked


def images_without_features(path: Path) -> tuple[int, ...]:
    """Ids of the images that a ranking was made of but that have no features."""
    with opened(path, _KIND, FORMAT_VERSION) as file:
        return _head(file)[0].without_features


def found_images(ranking: Ranking) -> np.ndarray:
    """Which entries of a ranking were found (Q, k) bool: all but those that could not be compared."""
    return ~np.isnan(ranking.scores)


def count_level(scores: np.ndarray) -> tuple[int, int]:
    """Queries whose scores (Q, k) are one, up to rounding, and all that were compared; NaN is an unreadable image."""
    if scores.shape[1] < 2:
        return 0, 0
    spread = np.fmax.reduce(scores, axis=1) - np.fmin.reduce(scores, axis=1)
    known = spread[~np.isnan(spread)]
    return int((known <= _ROUNDING).sum()), known.size


def rank_scores(image_ids: np.ndarray, scores: np.ndarray, top_k: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Order scores.

    Args:
        image_ids: (n,) or (Q, n), in any order.
        scores: (Q, n).
        top_k: images kept of each query; None = all.

    Returns:
        image ids and scores, both (Q, min(top_k, n)).
    """
    ids = np.broadcast_to(image_ids, scores.shape)
    if top_k is not None and top_k < scores.shape[1]:
        return _best(ids, scores, top_k)
    # Zeros of either sign are one score; NaN sorts last.
    if np.ndim(image_ids) == 1 and (np.diff(image_ids) > 0).all():
        order = np.argsort(-scores, axis=-1, kind="stable")
    else:
        order = np.lexsort((ids, -scores), axis=-1)
    return np.take_along_axis(ids, order, -1), np.take_along_axis(scores, order, -1)


def _best(ids: np.ndarray, scores: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best of each row: only what reaches the last score that is kept, ties included, is ordered."""
    best_ids = np.empty((len(scores), top_k), ids.dtype)
    best_scores = np.empty((len(scores), top_k), scores.dtype)
    negated = -scores
    last = np.partition(negated, top_k - 1, axis=-1)[:, top_k - 1] if len(scores) and top_k else np.zeros(len(scores))
    for row, (values, reach) in enumerate(zip(negated, last, strict=True)):
        kept = np.flatnonzero(~(values > reach)) if reach == reach else np.arange(len(values))
        order = kept[np.lexsort((ids[row, kept], values[kept]))[:top_k]]
        best_ids[row], best_scores[row] = ids[row, order], scores[row, order]
    return best_ids, best_scores


def merge_rankings(
    parts: Sequence[Path],
    output: Path,
    *,
    top_k: int | None,
    num_queries: int,
    asks_itself: bool = False,
    cell: str | None = None,
) -> None:
    """Merge rankings of the same queries over different images.

    A query that is missing from the parts becomes a row in which all images have score NaN, so that
    rows never shift against the ground truth.

    Args:
        parts: partial rankings, in any order.
        output: the ranking to write.
        top_k: images kept of each query; None = all.
        num_queries: number of queries of the dataset; their ids are 0 to num_queries - 1.
        asks_itself: the queries are the database images of the same ids, and each is left out of its own ranking.
        cell: method and dataset that the parts must be of; None: not compared.

    Raises:
        DataError: no parts, parts that overlap, leave gaps, are cut shorter than ``top_k``, or have other
            queries.
        StaleFileError: parts made from different features, codebooks or settings, or of another method or dataset.
    """
    if not parts:
        raise DataError(f"{output}: no partial rankings to merge.")
    cut = None if top_k is None else top_k + asks_itself
    infos = {path: _read_part(path, cut) for path in parts}
    for path, (info, _) in infos.items():
        _check_cell(path, info, cell)
    ordered = sorted(parts, key=lambda path: infos[path][0].first_image)
    query_ids = infos[ordered[0]][1]
    for path in ordered:
        _check_part(path, infos[path], ordered[0], infos[ordered[0]], num_queries)
    _check_ranges(ordered, infos)
    first = infos[ordered[0]][0]
    searched = sum(info.num_images for info, _ in infos.values())
    total = searched - asks_itself
    if total < 1:
        raise DataError(f"{output}: the only image of this dataset would be searched for itself; add photographs.")
    without = tuple(image for path in ordered for image in infos[path][0].without_features)
    unturned = first.unturned[0], sum(info.unturned[1] for info, _ in infos.values())
    merged = PartInfo(first.first_image, searched, first.made_from, without, asks_itself, unturned)
    width = total if top_k is None else min(top_k, total)
    with ranking_writer(output, merged, np.arange(num_queries), width) as writer:
        step = max(1, _BLOCK_BYTES // (16 * max(1, total)))
        for start in range(0, len(query_ids), step):
            ids, scores = _merged_rows(ordered, slice(start, start + step), cut)
            for row, query in enumerate(query_ids[start : start + step]):
                kept = _others(ids[row], query, width) if asks_itself else slice(None)
                writer.write(query, ids[row, kept][None], scores[row, kept][None])
        every_id = np.arange(merged.first_image, merged.first_image + searched)
        for query in np.setdiff1d(np.arange(num_queries), query_ids):
            kept = _others(every_id, query, width) if asks_itself else slice(width)
            writer.write(query, every_id[kept][None], np.full((1, width), np.nan))


def _others(image_ids: np.ndarray, query: int, width: int) -> np.ndarray:
    """Positions (width,) of the first images (n,) that are not the query itself."""
    return np.flatnonzero(image_ids != query)[:width]


def _read_part(path: Path, top_k: int | None) -> tuple[PartInfo, np.ndarray]:
    with opened(path, _KIND, FORMAT_VERSION) as file:
        info, query_ids = _head(file)
        width = file.rows("image_ids", np.int64, 2).shape[1]
    if width < (info.num_images if top_k is None else min(top_k, info.num_images)):
        raise DataError(f"{path}: ranks only {width} of {info.num_images} images; search again with the larger top_k.")
    return info, query_ids


def _check_part(
    path: Path,
    part: tuple[PartInfo, np.ndarray],
    other: Path,
    reference: tuple[PartInfo, np.ndarray],
    num_queries: int,
) -> None:
    (info, query_ids), (first, expected) = part, reference
    for name in sorted({*info.made_from, *first.made_from}):
        if info.made_from.get(name) != first.made_from.get(name):
            raise StaleFileError(
                f"{path} and {other}: parts of one ranking that were made with another {name}: "
                f"{info.made_from.get(name)} and {first.made_from.get(name)}. Delete both and rerun."
            )
    if not np.array_equal(query_ids, expected) or (np.diff(query_ids) <= 0).any():
        raise DataError(f"{path}: its queries differ from those of the other parts; delete it and run again.")
    if len(query_ids) and not 0 <= query_ids[0] <= query_ids[-1] < num_queries:
        raise DataError(
            f"{path}: query {query_ids[-1]} of a dataset of {num_queries} queries; delete it and run again."
        )


def _check_cell(path: Path, info: PartInfo, cell: str | None) -> None:
    if cell is not None and info.made_from.get("cell") != cell:
        raise StaleFileError(f"{path}: a ranking of {info.made_from.get('cell')}, not of {cell}; delete it and rerun.")


def _check_ranges(ordered: Sequence[Path], infos: Mapping[Path, tuple[PartInfo, np.ndarray]]) -> None:
    end = infos[ordered[0]][0].first_image
    for path, before in zip(ordered, (ordered[0], *ordered), strict=False):
        info = infos[path][0]
        if info.first_image != end:
            raise DataError(
                f"{path}: its images begin at {info.first_image}, but {end} is next after {before}; "
                "a part is missing, given twice, or of another dataset: delete both and rerun."
            )
        end += info.num_images


def _merged_rows(paths: Sequence[Path], rows: slice, top_k: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of all parts in one order; ``paths`` ascend by the images of their parts."""
    ids, scores = [], []
    for path in paths:
        with opened(path, _KIND, FORMAT_VERSION, checked=True) as file:
            info, query_ids = _head(file)
            part_ids, part_scores = file.mapped("image_ids", np.int64, 2), file.mapped("scores", np.float64, 2)
            if not len(query_ids) == len(part_ids) == len(part_scores):
                raise ValueError(f"{len(query_ids)} queries, {len(part_ids)} rows")
            part_ids, part_scores = part_ids[rows, :top_k], part_scores[rows, :top_k]
            check_rows(info, query_ids[rows], part_ids, part_scores)
        ids.append(part_ids)
        scores.append(part_scores)
    every_id, every_score = np.concatenate(ids, axis=1), np.concatenate(scores, axis=1)
    # Each part is in order and its ids lie above those of the part before: a stable sort leaves ties by id,
    # and merges the runs that it finds.
    order = np.argsort(-every_score, axis=-1, kind="stable")[:, :top_k]
    return np.take_along_axis(every_id, order, -1), np.take_along_axis(every_score, order, -1)
