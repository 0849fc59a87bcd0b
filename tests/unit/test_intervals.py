"""Intervals hold what they promise: the truth, 95 times of 100."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, permutation_test

from descbench.metrics import intervals
from descbench.metrics.intervals import bootstrap_interval, compare_paired, compare_pairs, wilson_interval

SIMULATIONS = 2000


def precisions(random, count):
    """Values such as average precisions: many near 0, many near 1."""
    return random.beta(0.6, 0.5, count)


def test_bootstrap_covers_the_truth():
    random = np.random.default_rng(0)
    truth, covered = 0.6 / 1.1, 0
    for _ in range(SIMULATIONS):
        low, high = bootstrap_interval(precisions(random, 150))
        covered += low <= truth <= high
    assert covered / SIMULATIONS == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("truth", [0.03, 0.4, 0.9])
def test_wilson_covers_the_truth(truth):
    """A binomial takes few values, so the mean is taken over sizes."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(SIMULATIONS):
        total = int(random.integers(100, 400))
        low, high = wilson_interval(random.binomial(total, truth), total)
        covered += low <= truth <= high
    assert covered / SIMULATIONS == pytest.approx(0.95, abs=0.01)


def test_as_scipy_has_it():
    random = np.random.default_rng(1)
    values = precisions(random, 70)
    theirs = bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=random).confidence_interval
    assert bootstrap_interval(values) == pytest.approx(tuple(theirs), abs=0.01)
    for hits, total in ((0, 5), (3, 10), (10, 10), (411, 600)):
        wilson = binomtest(hits, total).proportion_ci(method="wilson")
        assert wilson_interval(hits, total) == pytest.approx((wilson.low, wilson.high), abs=1e-12)
    better = np.clip(values + random.normal(0.02, 0.1, 70), 0, 1)
    found = compare_paired(values, better)
    assert found.difference == pytest.approx((better - values).mean(), abs=1e-9)
    p = permutation_test(
        (better, values), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=20000, rng=random
    ).pvalue
    assert found.p == pytest.approx(p, abs=0.02)


def test_p_is_uniform_where_nothing_differs():
    random = np.random.default_rng(2)
    ps = [compare_paired(random.random(40), random.random(40)).p for _ in range(400)]
    assert np.mean(np.array(ps) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_the_same_values_give_the_same_bits():
    values = precisions(np.random.default_rng(3), 90)
    assert bootstrap_interval(values) == bootstrap_interval(list(values))
    low, high = bootstrap_interval([1.0, None, 0.0, math.nan, 1.0])
    assert 0 <= low <= 2 / 3 <= high <= 1


def test_nothing_to_go_by():
    assert bootstrap_interval([None]) is None
    assert bootstrap_interval([0.5, None]) is None
    assert wilson_interval(0, 0) is None
    assert compare_paired([None, 1.0], [0.0, None]) is None
    assert compare_paired([0.2], [0.9]) is None
    with pytest.raises(ValueError, match="1 and 2 queries"):
        compare_paired([0.0], [0.0, 1.0])
    same = compare_paired([0.5, 1.0], [0.5, 1.0])
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_weighted_values_are_drawn_with_their_weights():
    random = np.random.default_rng(2)
    values, weights = precisions(random, 60), random.integers(1, 50, 60).astype(float)
    known = np.concatenate([values, [np.nan, 0.5]]), np.concatenate([weights, [7.0, 0.0]])
    low, high = bootstrap_interval(*known)
    assert low < np.average(values, weights=weights) < high
    theirs = bootstrap(
        (values, weights), lambda v, w, axis: (v * w).sum(axis) / w.sum(axis), n_resamples=20000, method="percentile",
        paired=True, vectorized=True, rng=random,
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx(tuple(theirs), abs=0.01)
    # The same weight everywhere is none.
    assert bootstrap_interval(values, np.full(60, 3.0)) == pytest.approx(bootstrap_interval(values), abs=1e-8)
    assert bootstrap_interval(values, [5.0] + [0.0] * 59) is None
    found = compare_paired(values, np.clip(values + 0.1, 0, 1), weights)
    assert found.difference == pytest.approx(
        np.average(np.clip(values + 0.1, 0, 1) - values, weights=weights), abs=1e-8
    )
    assert found.low < found.difference < found.high
    assert found.p < 0.01
    assert compare_paired([0.5], [0.6], [1.0]) is None


def plainly(first, second, weights, permutations):
    """Interval and p-value of two methods by sums of what is drawn, row by row, in Python's whole numbers."""
    differences = np.array(second, float) - np.array(first, float)
    if weights is None:
        known, steps = [round(float(value) * 2**40) for value in differences[~np.isnan(differences)]], None
    else:
        known, steps = (part.tolist() for part in intervals._weighted(differences, np.array(weights, float)))
    means = []
    for rows in intervals.draw_rows(len(known)):
        for row in rows.tolist():
            total = len(known) * 2**40 if steps is None else sum(steps[place] for place in row)
            means.append(sum(known[place] for place in row) / total / (1 if steps is None else 2**30))
    signs = [row for block in intervals._signs(len(known), permutations) for row in block.tolist()]
    sums = [abs(sum(sign * value for sign, value in zip(row, known, strict=True))) for row in signs]
    return intervals.middle(np.array(means)), (sum(one >= abs(sum(known)) for one in sums) + 1) / (permutations + 1)


def test_many_pairs_at_once_are_as_each_alone(monkeypatch):
    """To the last bit: with queries that do not count, with weights, of proportions, however the draws are cut."""
    random = np.random.default_rng(7)
    values = [precisions(random, 37) for _ in range(5)]
    values[1][[3, 7]] = np.nan
    values[2][5] = np.nan
    hits = [(random.random(37) < share).astype(float) for share in (0.2, 0.9)]
    weights = random.integers(1, 90, 37).astype(float)
    pairs = [(values[a], values[b], None) for a, b in ((0, 1), (0, 2), (3, 4), (1, 2), (4, 0))]
    pairs += [(*hits, None), (hits[0], hits[0], None), (np.zeros(37), np.ones(37), None)]
    pairs += [(values[0], values[3], weights), (values[1], values[3], weights), (np.ones(37), np.zeros(37), weights)]
    pairs.append(([None] * 37, values[0], None))
    found = compare_pairs(pairs, 300)
    assert found[-1] is None
    assert found == [compare_paired(*pair, 300) for pair in pairs]
    for (first, second, of), one in zip(pairs[:-1], found, strict=False):
        ends, p = plainly(first, second, of, 300)
        assert ((one.low, one.high), one.p) == (ends, p)
    # Blocks of 512 numbers are another row of them, of which each pair has its own.
    monkeypatch.setattr(intervals, "_BLOCK", 512)
    assert compare_pairs(pairs, 300) == [compare_paired(*pair, 300) for pair in pairs]


def test_products_are_exact():
    random = np.random.default_rng(8)
    left = random.integers(-3, 900, (20, 500))
    right = random.integers(-(1 << 43), 1 << 43, (500, 6))
    columns = right.T.tolist()
    wanted = [[sum(a * b for a, b in zip(row, one, strict=True)) for one in columns] for row in left.tolist()]
    assert intervals._product(left, right).tolist() == wanted
