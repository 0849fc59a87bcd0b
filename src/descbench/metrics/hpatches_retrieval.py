"""HPatches retrieval: five patches of a point among distractors, without sorting any distances.

Definition: docs/protocols/hpatches_patches.md, Retrieval. The area of a query depends only on how many distractors are
nearer than each of its five positives. Products in float32 bound each distance (Higham, Accuracy and Stability of
Numerical Algorithms, section 3.1); the few distractors that the bound leaves open are measured in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from descbench.config.patch_sets import POOLS
from descbench.datasets.hpatches_tasks import Listed, Retrieval
from descbench.metrics.hpatches_curves import ap_terms, precision_terms
from descbench.metrics.hpatches_distances import DISTANCES, IMAGES, NOISES, pair_distances, prepared, view_of

_ROWS = 64  # queries of a block
_UNIT = 2.0**-24  # of rounding, float32
_VIEWS = [view_of(noise, image) for noise in NOISES for image in range(1, IMAGES + 1)]


@dataclass(frozen=True)
class RetrievalResult:
    """Of Q queries.

    Attributes:
        ap: (Q, 3, K) float64 area under precision over recall, by noise and size of the pool.
        matlab_ap: (Q, 3) float64, the MATLAB benchmark's: mean of the precision at each positive, in one pool.
    """

    ap: np.ndarray
    matlab_ap: np.ndarray


def score_retrieval(
    descriptors: Mapping[str, np.ndarray],
    tasks: Retrieval,
    distance: str = "L2",
    pools: Sequence[int] = POOLS,
    matlab_distractors: int | None = None,
) -> RetrievalResult:
    """Average precision of each query.

    Args:
        descriptors: (16, N, D) of each test sequence, finite.
        tasks: queries and distractors.
        distance: key of ``DISTANCES``.
        pools: sizes, each with the five positives, ascending.
        matlab_distractors: how many, the first of the list, MATLAB's pool has; None: all.

    Raises:
        DataError: the distance is unknown, or does not fit the descriptors.
        ValueError: pools that do not ascend, or with fewer than five.
    """
    if list(pools) != sorted(set(pools)) or pools[0] < IMAGES:
        raise ValueError(f"pools of {pools}")
    descriptors = prepared(descriptors, distance)
    names = tasks.queries.names
    others = _gather(descriptors, tasks.distractors)
    ap = np.empty((len(tasks.queries), len(NOISES), len(pools)))
    matlab = np.empty((len(tasks.queries), len(NOISES)))
    largest = max(float(np.abs(descriptors[name][0]).max()) for name in names)
    counter = _Counter(others, distance, largest)
    for number, name in enumerate(names):
        own = tasks.distractors.sequences == names.index(name)
        bounds = _bounds(own, pools, matlab_distractors)
        asked = np.flatnonzero(tasks.queries.sequences == number)
        for start in range(0, len(asked), _ROWS):
            rows = asked[start : start + _ROWS]
            patches = tasks.queries.patches[rows]
            limits = _limits(descriptors[name], patches, distance)
            before = counter.count(descriptors[name][0, patches], limits, own, bounds)
            before = np.sort(before.reshape(len(rows), len(NOISES), IMAGES, -1), axis=2)
            ap[rows] = ap_terms(before[..., :-1], axis=2).mean(axis=2)
            matlab[rows] = precision_terms(before[..., -1], axis=2).mean(axis=2)
    return RetrievalResult(ap, matlab)


def _gather(descriptors: Mapping[str, np.ndarray], listed: Listed) -> np.ndarray:
    """(M, D) reference descriptors of a list."""
    first = descriptors[listed.names[0]]
    found = np.empty((len(listed), first.shape[2]), first.dtype)
    for number, name in enumerate(listed.names):
        chosen = listed.sequences == number
        found[chosen] = descriptors[name][0, listed.patches[chosen]]
    return found


def _bounds(own: np.ndarray, pools: Sequence[int], matlab: int | None) -> list[int]:
    """Where in the list of distractors each pool ends, which takes none of the query's own sequence; last MATLAB's."""
    places = np.flatnonzero(~own)
    ends = [int(places[size - IMAGES - 1]) + 1 if 0 < size - IMAGES <= len(places) else None for size in pools]
    ends = [(len(own) if size > IMAGES else 0) if end is None else end for end, size in zip(ends, pools, strict=True)]
    return [*ends, len(own) if matlab is None else min(matlab, len(own))]


def _limits(views: np.ndarray, patches: np.ndarray, distance: str) -> np.ndarray:
    """(B, 15) float64 distances of reference patches to the same patches of all images."""
    count, dim = views.shape[1:]
    rows = [view * count + patches for view in _VIEWS]
    return pair_distances(views.reshape(-1, dim), patches, rows, distance).T


class _Counter:
    """Counts distractors (M, D) nearer than limits; neither their numbers nor those of queries exceed ``largest``."""

    def __init__(self, others: np.ndarray, distance: str, largest: float) -> None:
        self._others, self._distance = others, distance
        if distance == "L2":
            # The squared distance less the query's own square is one product: (-2 q, 1) times (d, d d).
            self._scale = max(largest, float(np.finfo(np.float32).tiny))
            scaled = others.astype(float) / self._scale
            squares = np.einsum("ij,ij->i", scaled, scaled)
            self._longest = float(np.sqrt(squares.max()))
            self._columns = np.ascontiguousarray(np.column_stack([scaled, squares]).T, np.float32)

    def count(self, queries: np.ndarray, limits: np.ndarray, own: np.ndarray, bounds: Sequence[int]) -> np.ndarray:
        """(B, T, L) int64: those nearer than limits (B, T) of the first ``bounds`` (L,), without ``own`` (M,)."""
        measures, lower, upper = (self._bounded if self._distance == "L2" else self._measured)(queries, limits)
        measures[:, own] = np.inf
        edges = sorted({0, *bounds})
        found = np.empty((*limits.shape, len(edges)), np.int64)
        for column in range(limits.shape[1]):
            nearer = measures < upper[:, column, None]
            found[:, column] = _counts(nearer, edges)
            open_ = np.logical_xor(nearer, measures < lower[:, column, None], out=nearer)
            self._settle(queries, limits[:, column], np.flatnonzero(open_), edges, found[:, column])
        totals = np.cumsum(found, axis=2)
        return totals[:, :, [edges.index(bound) for bound in bounds]]

    def _settle(
        self, queries: np.ndarray, limits: np.ndarray, places: np.ndarray, edges: Sequence[int], found: np.ndarray
    ) -> None:
        """Take from counts (B, L) what was counted but is not nearer."""
        rows, columns = np.divmod(places, len(self._others))
        far = pair_distances(queries, rows, [columns], self._distance, self._others)[0] >= limits[rows]
        parts = np.searchsorted(edges, columns[far], side="right")
        kept = parts < len(edges)
        np.subtract.at(found, (rows[far][kept], parts[kept]), 1)

    def _measured(self, queries: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As :meth:`_bounded`, in float64: sums of other orders than those of the limits differ by rounding."""
        kind = DISTANCES[self._distance].__name__
        error = 2.0**-52 * (queries.shape[1] + 8) * limits
        return cdist(queries.astype(float), self._others.astype(float), kind), limits - error, limits + error

    def _bounded(self, queries: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Measures (B, M) and limits (B, T) float32 below which they are surely, and perhaps, nearer."""
        scaled = queries.astype(float) / self._scale
        squares = np.einsum("ij,ij->i", scaled, scaled)
        rows = np.column_stack([-2 * scaled, np.ones(len(scaled))]).astype(np.float32)
        measures = rows @ self._columns
        # Any order of the sum of D + 1 products, and what was rounded before: numbers, squares, and limits.
        steps = queries.shape[1] + 8
        relative = steps * _UNIT / (1 - steps * _UNIT)
        lengths = np.sqrt(squares)
        error = relative * (2 * lengths * self._longest + self._longest**2) + 2.0**-100
        middle = (limits / self._scale) ** 2 - squares[:, None]
        error = error[:, None] + 2 * _UNIT * np.abs(middle) + 2.0**-40 * squares[:, None]
        return measures, (middle - error).astype(np.float32), (middle + error).astype(np.float32)


def _counts(marks: np.ndarray, edges: Sequence[int]) -> np.ndarray:
    """(B, L) of marks (B, M) between an edge and the one before."""
    found = np.zeros((len(marks), len(edges)), np.int64)
    for number, row in enumerate(marks):
        for part in range(1, len(edges)):
            found[number, part] = np.count_nonzero(row[edges[part - 1] : edges[part]])
    return found
