"""FPR95 by counting, and its interval, which holds the truth with and without points that pairs share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descbench.metrics.fpr95 import design_effect, fooled_pairs, fpr95, fpr95_interval

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=100, deadline=None)
@given(labels=st.lists(st.booleans(), min_size=2, max_size=60).filter(lambda x: 0 < sum(x) < len(x)), seed=seeds)
def test_fpr95_by_counting(labels, seed):
    matches = np.array(labels).astype(int)
    values = np.random.default_rng(seed).integers(0, 6, len(matches)) / 4
    found = fooled = right = 0
    for place in sorted(range(len(matches)), key=lambda i: values[i]):
        if right >= 0.95 * matches.sum():
            break
        right += matches[place]
        fooled += 1 - matches[place]
    found = fooled / (matches == 0).sum()
    assert fpr95(values, matches) == pytest.approx(found, abs=1e-12)
    flags = fooled_pairs(values, matches)
    assert np.isnan(flags).tolist() == labels
    assert np.nanmean(flags) == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "matches", "message"),
    [
        ([1.0, 2.0], [1, 1], "2 of 2 pairs are right"),
        ([1.0, 2.0], [0, 0], "0 of 2 pairs are right"),
        ([1.0, np.nan], [0, 1], "NaN or infinite"),
        ([1.0], [0, 1], "do not fit"),
    ],
)
def test_pairs_without_fpr95(values, matches, message):
    with pytest.raises(ValueError, match=message):
        fpr95(np.array(values), np.array(matches))


def drawn_pairs(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    matches = np.arange(count) % 2
    return random.normal(size=count) + 2.5 * (1 - matches), matches


def test_the_interval_of_fpr95_holds_the_truth():
    """Of 95 % of lists, the share of wrong pairs below the true threshold; 150 lists of 400 pairs."""
    # 95 % of N(0, 1) is below 1.645, and of N(2.5, 1) the share that is below it:
    truth = 0.19629
    random = np.random.default_rng(0)
    held = 0
    for _ in range(150):
        low, high = fpr95_interval(*drawn_pairs(random, 400))
        held += low <= truth <= high
    assert 0.88 <= held / 150 <= 1.0


def test_the_interval_of_fpr95_is_the_same_every_time_and_around_the_value():
    pairs = drawn_pairs(np.random.default_rng(1), 5000)
    low, high = fpr95_interval(*pairs)
    assert (low, high) == fpr95_interval(*pairs)
    assert low < fpr95(*pairs) < high
    wide = fpr95_interval(*drawn_pairs(np.random.default_rng(1), 500))
    assert wide[1] - wide[0] > 2 * (high - low)
    assert fpr95_interval(np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1])) is None


def drawn_points(random: np.random.Generator, points: int, each: int) -> tuple[np.ndarray, ...]:
    """Distances, labels and points of pairs, ``each`` right and as many wrong ones of a point.

    Distances are N(0, 1) and N(2.5, 1); four fifths of the variance are the points' own.
    """
    right = np.repeat(np.arange(points), each)
    wrong = random.permutation(right).reshape(2, -1)
    hard, alike = np.sqrt(0.8) * random.normal(size=points), np.sqrt(0.4) * random.normal(size=points)
    own = np.concatenate([hard[right], 2.5 + alike[wrong].sum(axis=0)])
    matches = np.repeat([1, 0], [right.size, wrong.shape[1]])
    shown = np.concatenate([np.stack([right, right], axis=1), wrong.T])
    return own + np.sqrt(0.2) * random.normal(size=len(own)), matches, shown


def test_the_interval_of_fpr95_knows_of_shared_points():
    """120 lists of 360 right and 180 wrong pairs of 60 points: drawn as if they shared none, it is too narrow."""
    truth, random, held, narrow = 0.19629, np.random.default_rng(0), 0, 0
    for _ in range(120):
        distances, matches, points = drawn_points(random, 60, 6)
        low, high = fpr95_interval(distances, matches, points)
        held += low <= truth <= high
        low, high = fpr95_interval(distances, matches)
        narrow += low <= truth <= high
    assert narrow / 120 < 0.85
    assert 0.9 <= held / 120 <= 1.0


def test_pairs_that_share_no_point_are_independent():
    distances, matches = drawn_pairs(np.random.default_rng(1), 500)
    alone = np.arange(1000).reshape(2, 500).T
    points = np.where(matches[:, None] == 1, alone[:, :1], alone)
    assert design_effect(distances, matches, points) == pytest.approx(1)
    assert fpr95_interval(distances, matches, points) == fpr95_interval(distances, matches)
    # Every pair ten times: nothing new is learned from nine of them.
    again = design_effect(np.tile(distances, 10), np.tile(matches, 10), np.tile(points, (10, 1)))
    assert again == pytest.approx(10, rel=0.02)
