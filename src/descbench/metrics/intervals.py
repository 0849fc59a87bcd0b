"""How sure a figure is: 95 % intervals over queries, and a test of two methods on the same queries.

A metric here is the mean of one value a query. Its interval is the percentile bootstrap (Efron 1979): queries are
drawn with replacement, as many as there are, and the interval holds the middle 95 % of the means. A proportion, such
as Recall@N, has Wilson's score interval (Wilson 1927), which is right for few queries and near 0 and 1 too. Two methods
are compared on the same queries, by the mean of their differences; its p-value is that of a permutation test in which
the two values of a query change places at random.

Random numbers come from a fixed seed, and sums are taken in whole numbers, so that the same values give the same bytes
on every processor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
DRAWS = 2000
_SEED = 20200820
# Values of a query lie in [-1, 1]: with 40 binary places a sum of four million of them still fits 63 bits.
_UNIT = float(1 << 40)
_BLOCK = 1 << 22
# Bits of the lower half of a whole number.
_HALF = 24
# Values of two methods for the same queries, and the weights of the queries.
Paired = tuple[Sequence[float | None], Sequence[float | None], Sequence[float] | None]


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same queries.

    Attributes:
        difference: mean of the second's values minus the first's.
        low, high: 95 % bootstrap interval of the difference.
        p: of a permutation test of no difference, two-sided.
        queries: how many both have a value for.
    """

    difference: float
    low: float
    high: float
    p: float
    queries: int


def bootstrap_interval(
    values: Sequence[float | None], weights: Sequence[float] | None = None
) -> tuple[float, float] | None:
    """Percentile bootstrap of a mean.

    Args:
        values: (Q,) one value a query in [-1, 1]; None or NaN for a query that does not count.
        weights: (Q,) what each counts for in the mean, not negative, not all 0; None: all the same. A query with
            weight 0 does not count either.

    Returns:
        lowest and highest plausible mean; None of fewer than two values, which say nothing of their spread.
    """
    if weights is not None:
        return _weighted_interval(np.array(values, float), np.asarray(weights, float))
    known = _known(values)
    if len(known) < 2:
        return None
    means = np.concatenate([known[rows].sum(axis=1) for rows in draw_rows(len(known))]) / (_UNIT * len(known))
    return middle(means)


def wilson_interval(hits: int, total: int) -> tuple[float, float] | None:
    """Wilson's score interval of a proportion ``hits / total``; None where ``total`` is 0."""
    if not total:
        return None
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share, spread = hits / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def compare_paired(
    first: Sequence[float | None],
    second: Sequence[float | None],
    weights: Sequence[float] | None = None,
    permutations: int = DRAWS,
) -> Comparison | None:
    """Compare two methods by their values for the same queries.

    Args:
        first, second: (Q,) each, in [0, 1]; a query counts where both have a value.
        weights: as in :func:`bootstrap_interval`.
        permutations: of the test; the smallest p-value is one over one more than these.

    Returns:
        None where fewer than two queries count.

    Raises:
        ValueError: different numbers of queries.
    """
    return compare_pairs([(first, second, weights)], permutations)[0]


def compare_pairs(pairs: Sequence[Paired], permutations: int = DRAWS) -> list[Comparison | None]:
    """:func:`compare_paired` of several pairs, with the same results: where as many queries count, draws are shared.

    Args:
        pairs: values of two methods for the same queries, and the weights of these or None.
        permutations: of each test.

    Raises:
        ValueError: different numbers of queries.
    """
    found: list[Comparison | None] = [None] * len(pairs)
    by_size: dict[int, dict[int, _Differences]] = {}
    for place, pair in enumerate(pairs):
        differences = _differences(*pair)
        if len(differences.known) >= 2:
            by_size.setdefault(len(differences.known), {})[place] = differences
    for group in by_size.values():
        for place, comparison in zip(group, _compare(list(group.values()), permutations), strict=True):
            found[place] = comparison
    return found


@dataclass(frozen=True)
class _Differences:
    """Differences of two methods that count, as whole numbers, weighted where there are weights.

    Attributes:
        known: (n,) int64.
        steps: (n,) int64 weights; None: all the same.
        total: what the sum of ``known`` is divided by for their mean.
    """

    known: np.ndarray
    steps: np.ndarray | None
    total: float


def _differences(
    first: Sequence[float | None], second: Sequence[float | None], weights: Sequence[float] | None
) -> _Differences:
    """Of the second less the first."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} queries are not the same ones")
    differences = np.array(second, float) - np.array(first, float)
    if weights is None:
        known = _known(differences)
        return _Differences(known, None, _UNIT * len(known))
    known, steps = _weighted(differences, np.asarray(weights, float))
    return _Differences(known, steps, float(steps.sum() << 30))


def _compare(group: Sequence[_Differences], permutations: int) -> Iterator[Comparison]:
    """Comparisons of pairs of which as many queries count."""
    known = np.stack([one.known for one in group], axis=1)
    size, places = known.shape
    weighted = [place for place, one in enumerate(group) if one.steps is not None]
    both = np.concatenate([known, *(group[place].steps[:, None] for place in weighted)], axis=1)
    drawn = np.concatenate([_product(_count_drawn(rows, size), both) for rows in draw_rows(size)])
    totals = dict(zip(weighted, drawn.T[places:], strict=True))
    observed = np.abs(known.sum(axis=0))
    extreme = sum((np.abs(_product(signs, known)) >= observed).sum(axis=0) for signs in _signs(size, permutations))
    for place, one in enumerate(group):
        sums = drawn[:, place]
        means = sums / one.total if one.steps is None else sums / totals[place] / (1 << 30)
        low, high = middle(means)
        difference = float(known[:, place].sum() / one.total)
        # The order that was observed is one of the permutations.
        yield Comparison(difference, low, high, (int(extreme[place]) + 1) / (permutations + 1), size)


def _count_drawn(rows: np.ndarray, size: int) -> np.ndarray:
    """How often each of ``size`` positions stands in each of the rows (r, drawn): (r, size) int64."""
    flat = rows + size * np.arange(len(rows))[:, None]
    return np.bincount(flat.ravel(), minlength=size * len(rows)).reshape(len(rows), size)


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(r, n) int64 times (n, p) int64, exactly: each half of the bits as float64, whose sums are whole below 2**53."""
    given = left.astype(np.float64)
    high, low = right >> _HALF, right & ((1 << _HALF) - 1)
    upper, lower = ((given @ part.astype(np.float64)).astype(np.int64) for part in (high, low))
    return (upper << _HALF) + lower


def _weighted_interval(values: np.ndarray, weights: np.ndarray) -> tuple[float, float] | None:
    """Of a weighted mean."""
    products, steps = _weighted(values, weights)
    if len(products) < 2:
        return None
    drawn = [(products[rows].sum(axis=1), steps[rows].sum(axis=1)) for rows in draw_rows(len(steps))]
    sums, totals = (np.concatenate(column) for column in zip(*drawn, strict=True))
    return middle(sums / totals / (1 << 30))


def _weighted(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values that count times their weights, and these weights, as whole numbers.

    Weights are steps of 2**-20 of the largest, values of 2**-30, so that thousands of products fit 63 bits.
    """
    counts = ~np.isnan(values) & (weights > 0)
    if not counts.any():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    steps = np.maximum(1, np.rint(weights[counts] / weights[counts].max() * (1 << 20))).astype(np.int64)
    return steps * np.rint(values[counts] * (1 << 30)).astype(np.int64), steps


def _known(values: Sequence[float | None]) -> np.ndarray:
    """Values that count, as whole numbers of 2**-40."""
    array = np.array(values, float)
    return np.rint(array[~np.isnan(array)] * _UNIT).astype(np.int64)


def draw_rows(size: int, stream: int = 0, drawn: int | None = None) -> Iterator[np.ndarray]:
    """Rows of ``drawn`` positions among ``size`` (None: as many), (n, drawn) each, DRAWS in all.

    Each stream draws others, always the same.
    """
    random = np.random.Generator(np.random.PCG64(_SEED + stream))
    drawn = size if drawn is None else drawn
    step = max(1, _BLOCK // drawn)
    for start in range(0, DRAWS, step):
        yield random.integers(0, size, (min(step, DRAWS - start), drawn))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, each corrected for all of them (Holm 1979), in the order given.

    A test of them is passed at 5 % where its corrected value is below 0.05; that any is passed by chance alone then
    has a probability below 5 %.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for done, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[place]))
        corrected[place] = largest
    return corrected


def _signs(size: int, draws: int) -> Iterator[np.ndarray]:
    """Rows of -1 and 1, (n, size) each, so many in all."""
    random = np.random.Generator(np.random.PCG64(_SEED))
    step = max(1, _BLOCK // size)
    for start in range(0, draws, step):
        yield 2 * random.integers(0, 2, (min(step, draws - start), size)) - 1


def middle(means: np.ndarray) -> tuple[float, float]:
    """Ends of the middle 95 % of what the draws gave."""
    outside = (1 - LEVEL) / 2
    return float(np.quantile(means, outside)), float(np.quantile(means, 1 - outside))
