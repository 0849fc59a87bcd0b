"""Intervals hold what they promise: the truth, 95 times of 100."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, permutation_test

from descbench.metrics.intervals import bootstrap_interval, compare_paired, wilson_interval

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
