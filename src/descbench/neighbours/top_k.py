"""The best images of some queries by exact scores of long vectors, the same on every machine.

An inner product is made in float64, where a product of two float32 numbers is exact: of each 256 dimensions,
dimension d is added in lane d % 8, then lanes as in ``nearest.py``, and these sums are added in order. The score
by distance is (2 q.c - q.q) - c.c in float64. Equal scores are ordered by id.

A filter with a proven bound decides what is measured: cosines by integers of eight bits, as seen from the mean of
the queries (kernel ``vnni``), or by BLAS in float32 (all others, and where vectors are too much alike for integers).
"""

from __future__ import annotations

import numpy as np

from descbench.neighbours import _flat
from descbench.neighbours.nearest import COMPILED, kernel_name
from descbench.neighbours.threads import num_threads
from descbench.retrieval.ranking import rank_scores

_CENTRED = 64  # queries whose mean is the centre
_TRIED = 256  # images that show whether integers help
_PART = 4096  # dimensions of one product by BLAS: the more, the looser its bound
_ROWS = 512  # queries that are measured together: parts of them stay in the cache
_SPARSE = 8  # integers have not helped if a pair in so many would be measured
# Norms between which float32 cannot over- or underflow.
_NORMS = (1e-10, 1e15)

# Squared norms (n,) float64, distances from the centre of the filter (n,) float64, its relative errors (n,) float32.
_Found = tuple[np.ndarray, np.ndarray, np.ndarray]


class BestImages:
    """Collects the best images of some queries, block by block.

    Args:
        queries: (N, D) float32, both at least 1.
        width: images kept of each query, at least 1.
        by_distance: scores are negative squared distances, not inner products.
        total: images that will come at most.
        threads: None = all processors. The result does not depend on it.

    Raises:
        ValueError: NaN, infinity, or squared norms beyond float32.
        DescbenchError: DESCBENCH_KERNEL names no kernel of this machine.
    """

    def __init__(
        self, queries: np.ndarray, width: int, *, by_distance: bool, total: int, threads: int | None = None
    ) -> None:
        name = kernel_name()
        self._kernel = name if name in COMPILED else "portable"
        self._queries = np.ascontiguousarray(queries, np.float32)
        self._by_distance, self._threads = by_distance, num_threads(threads)
        self._codes = self._encode() if name == "vnni" and width < total else None
        self._found = self._codes.found if self._codes else self._norms(self._queries)
        _check(self._found[0])
        self._ids = np.empty((len(queries), width), np.int64)
        self._scores = np.empty((len(queries), width))
        self._kept = 0

    def add(self, images: np.ndarray, ids: np.ndarray) -> None:
        """Take images (M, D) float32 with ids (M,) int64, which ascend and lie above those of earlier calls.

        Raises:
            ValueError: NaN, infinity, or squared norms beyond float32.
        """
        if not len(images):
            return
        images, width = np.ascontiguousarray(images, np.float32), self._ids.shape[1]
        if self._kept + len(images) <= width:
            self._take(images, ids)
        elif self._codes is None:
            self._filter_by_floats(images, ids, self._norms(images), range(0, len(self._queries), _ROWS))
        else:
            self._filter_by_integers(images, ids)
        self._kept = min(width, self._kept + len(images))

    def ranked(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids (N, k) int64 and scores (N, k) float64, best first; k is the width, or fewer if fewer images came."""
        return rank_scores(self._ids[:, : self._kept], self._scores[:, : self._kept], None)

    def _take(self, images: np.ndarray, ids: np.ndarray) -> None:
        squares = _flat.squares(self._kernel, images, self._threads)
        _check(squares)
        scores = _flat.products(self._kernel, self._queries, images, self._threads)
        if self._by_distance:
            scores = 2 * scores - self._found[0][:, None] - squares
        columns = slice(self._kept, self._kept + len(images))
        self._ids[:, columns], self._scores[:, columns] = ids, scores

    def _filter_by_integers(self, images: np.ndarray, ids: np.ndarray) -> None:
        """Try integers on some of the images, then on all; where they leave too much to measure, floats."""
        blocks = [images[:_TRIED], images[_TRIED:]] if len(images) >= 4 * _TRIED else [images]
        parts = []
        for block in blocks:
            parts.append(self._codes.cosines(block, self._threads))
            _check(parts[-1][1][0])
            if len(blocks) > 1 and len(parts) == 1 and self._is_dense(block, *parts[0], len(block) / len(images)):
                self._filter_by_floats(images, ids, self._norms(images), range(0, len(self._queries), _ROWS))
                return
        cosines = np.concatenate([part[0] for part in parts], axis=1)
        found = tuple(np.concatenate(column) for column in zip(*(part[1] for part in parts), strict=True))
        for start in range(0, len(self._queries), _ROWS):
            rows = slice(start, start + _ROWS)
            asked, part, rounding = _rows(self._found, rows), cosines[rows], self._codes.rounding
            most = part.size // _SPARSE
            if self._improve(rows, asked, images, found, ids, part, rounding, most) > most:
                self._filter_by_floats(images, ids, self._norms(images), range(start, start + 1))

    def _is_dense(self, images: np.ndarray, cosines: np.ndarray, found: _Found, share: float) -> bool:
        """Whether a filter by integers leaves too much of some images, among which that share of the best will be."""
        rows, k = slice(0, _ROWS), max(1, round(share * self._ids.shape[1]))
        part = cosines[rows].copy()
        # Nothing is kept and nothing measured: this only counts.
        scratch = (np.empty((len(part), k)), np.empty((len(part), k), np.int64))
        ids = np.arange(len(images))
        counted = self._improve(
            rows, _rows(self._found, rows), images, found, ids, part, self._codes.rounding, -1, scratch
        )
        return counted > part.size // _SPARSE

    def _filter_by_floats(self, images: np.ndarray, ids: np.ndarray, found: _Found, starts: range) -> None:
        # Any order of summation of a part in float32, sums of parts, and the roundings of what follows.
        dim = images.shape[1]
        rounding = 1.01 * (min(dim, _PART) + -(-dim // _PART) + 8) / (1 << 24)
        for start in starts:
            rows = slice(start, start + _ROWS)
            queries = self._queries[rows]
            asked = self._norms(queries)
            with np.errstate(all="ignore"):  # what leaves float32 is replaced
                cosines = queries[:, :_PART] @ images[:, :_PART].T
                for first in range(_PART, dim, _PART):
                    cosines += queries[:, first : first + _PART] @ images[:, first : first + _PART].T
                cosines *= (1 / asked[1]).astype(np.float32)[:, None]
                cosines *= (1 / found[1]).astype(np.float32)
            cosines[asked[2] > 0] = 0
            cosines[:, found[2] > 0] = 0
            self._improve(rows, asked, images, found, ids, cosines, rounding, cosines.size)

    def _improve(
        self,
        rows: slice,
        asked: _Found,
        images: np.ndarray,
        found: _Found,
        ids: np.ndarray,
        cosines: np.ndarray,
        rounding: float,
        most: int,
        best: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> int:
        scores, best_ids = best or (self._scores[rows], self._ids[rows])
        return _flat.improve_best(
            self._kernel,
            (self._queries[rows], asked),
            (images, found),
            cosines,
            rounding,
            self._by_distance,
            np.ascontiguousarray(ids, np.int64),
            scores,
            best_ids,
            0 if best else self._kept,
            most,
            self._threads,
        )

    def _encode(self) -> _flat.Codes:
        some = self._queries[:: -(-len(self._queries) // _CENTRED)]
        with np.errstate(all="ignore"):  # NaN and infinity are found below
            centre = some.mean(axis=0, dtype=np.float64).astype(np.float32)
        return _flat.Codes(self._queries, centre, self._threads)

    def _norms(self, vectors: np.ndarray) -> _Found:
        """What is found of vectors by the filter of floats, whose centre is the origin."""
        squares = _flat.squares(self._kernel, vectors, self._threads)
        _check(squares)
        norms = np.sqrt(squares)
        errors = np.select([norms < _NORMS[0], norms > _NORMS[1]], [1, np.inf], 0).astype(np.float32)
        return squares, norms, errors


def _rows(found: _Found, rows: slice) -> _Found:
    return found[0][rows], found[1][rows], found[2][rows]


def _check(squares: np.ndarray) -> None:
    if not (squares <= np.finfo(np.float32).max).all():
        raise ValueError("vectors hold NaN or infinity, or are too large for products in float32")
