"""Curves of pairs of patches: by counting, with bands that agree with the interval of FPR95 and hold the truth."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from descbench.errors import DataError
from descbench.metrics.fpr95 import fpr95, fpr95_interval
from descbench.metrics.patch_curves import RECALLS, pair_curve, read_curves, sequence_curve


def drawn_pairs(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    matches = random.permutation(np.arange(count) % 3 == 0).astype(int)
    return random.normal(size=count).round(2) + 2.0 * (1 - matches), matches


def test_the_curve_of_pairs_by_counting():
    distances, matches = drawn_pairs(0, 700)
    curve = pair_curve(distances, matches)
    order = sorted(range(len(distances)), key=lambda pair: distances[pair])
    for recall, rate, precision in zip(curve.recall, curve.false_positives, curve.precision, strict=True):
        right = wrong = 0
        for pair in order:
            if 100 * right >= recall * matches.sum():
                break
            right, wrong = right + matches[pair], wrong + 1 - matches[pair]
        assert rate[0] == pytest.approx(wrong / (matches == 0).sum(), abs=1e-12)
        assert precision[0] == pytest.approx(right / (right + wrong), abs=1e-12)
    assert curve.recall == list(RECALLS)


def test_the_band_at_95_percent_is_the_interval_of_fpr95():
    distances, matches = drawn_pairs(1, 900)
    points = np.random.default_rng(2).integers(0, 90, (900, 2))
    points[matches == 1, 1] = points[matches == 1, 0]
    for shared in (None, points):
        value, low, high = pair_curve(distances, matches, shared).false_positives[RECALLS.index(95)]
        assert value == fpr95(distances, matches)
        assert (low, high) == fpr95_interval(distances, matches, shared)
    assert pair_curve(np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1])).precision[0] == (1.0, None, None)


def test_the_band_of_precision_is_that_of_the_false_positives():
    """Of as many pairs in each draw as there are, one follows from the other: more of the ones is less of the other."""
    distances, matches = drawn_pairs(5, 900)
    curve, right, wrong = pair_curve(distances, matches), matches.sum(), (matches == 0).sum()
    for recall, rates, precisions in zip(curve.recall, curve.false_positives, curve.precision, strict=True):
        needed = -(-recall * right // 100)
        expected = [needed / (needed + wrong * rates[end]) for end in (0, 2, 1)]
        assert precisions == pytest.approx(expected, abs=0.01)


def test_the_curve_of_sequences_by_counting():
    """With one block a right pair, draws are counted to the pair."""
    random = np.random.default_rng(3)
    before, sequences = np.sort(random.integers(0, 400, 300)), random.integers(0, 12, 300)
    curve = sequence_curve(before, sequences, 400, 12)
    for place, recall in enumerate(RECALLS):
        needed = -(-recall * 300 // 100)
        assert curve.false_positives[place][0] == before[needed - 1] / 400
        assert curve.precision[place][0] == needed / (needed + before[needed - 1])
    draws = np.random.Generator(np.random.PCG64(20200820)).integers(0, 12, (2000, 12))
    drawn = []
    for row in draws:
        rows = np.concatenate([before[sequences == sequence] for sequence in row])
        drawn.append(np.sort(rows)[-(-50 * len(rows) // 100) - 1])
    low, high = np.quantile(np.array(drawn) / 400, [0.025, 0.975])
    assert curve.false_positives[RECALLS.index(50)][1:] == pytest.approx((low, high), abs=1e-12)


def test_many_right_pairs_of_sequences_are_gathered_without_harm():
    """Of 20,000 right pairs, blocks of 20 move the band by less than a thousandth of the wrong pairs."""
    random = np.random.default_rng(4)
    before, sequences = np.sort(random.integers(0, 9000, 20000)), random.integers(0, 7, 20000)
    curve = sequence_curve(before, sequences, 9000, 7)
    for place, recall in enumerate(RECALLS):
        value, low, high = curve.false_positives[place]
        assert low <= value + 0.001
        assert value <= high + 0.001
        assert abs(value - recall / 100) < 0.02
    # A single sequence says nothing of its spread.
    assert sequence_curve(before, np.zeros(20000, int), 9000, 1).precision[3][1:] == (None, None)


def test_the_band_of_sequences_holds_the_truth():
    """Right pairs of 30 sequences at distances of their own before wrong pairs that are even; 100 lists."""
    held, middle = 0, RECALLS.index(50)
    for seed in range(100):
        random = np.random.default_rng(seed)
        sequences = np.repeat(np.arange(30), 20)
        # Half of all right pairs have fewer than 5,000 wrong ones before them: sums of two even numbers.
        before = 5000 * random.random(30)[sequences] + 5000 * random.random(600)
        order = np.argsort(before)
        _, low, high = sequence_curve(before[order].astype(int), sequences[order], 10000, 30).false_positives[middle]
        held += low <= 0.5 <= high
    assert 0.9 <= held / 100 <= 1.0


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("precision"),
        lambda record: record["precision"].pop(),
        lambda record: record["precision"].__setitem__(2, [1.5, 0.1, 1.6]),
        lambda record: record["false_positives"].__setitem__(2, [0.5, 0.7, 0.6]),
        lambda record: record["false_positives"].__setitem__(2, [0.5, None, 0.7]),
        lambda record: record.__setitem__("recall", ["x"] * 23),
    ],
)
def test_what_is_no_curve_is_refused(damage):
    record = asdict(pair_curve(*drawn_pairs(0, 50)))
    assert read_curves({"curves": {"mill": record}}, "scores.json")["mill"].recall == list(RECALLS)
    damage(record)
    with pytest.raises(DataError, match=r"scores\.json: curve mill is none .* delete the file and rerun"):
        read_curves({"curves": {"mill": record}}, "scores.json")
