"""Choices of how FPR95 of descriptors of patches is computed.

Definition: docs/protocols/choices.md, Patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from descbench.choices.choice import Choice, NotMeantError, Values
from descbench.choices.described_parts import DescribedParts
from descbench.metrics.fpr95 import fpr95, threshold
from descbench.metrics.hpatches_distances import pair_distances

_RECALL = 0.95
Rate = Callable[[np.ndarray, np.ndarray], float]


def at_recall(distances: np.ndarray, matches: np.ndarray) -> float:
    """False positive rate where the ROC curve, drawn through every distance, reaches a recall of 95 %, interpolated."""
    order = np.argsort(distances, kind="stable")
    last = np.append(np.diff(distances[order]) > 0, True)  # of equal distances
    right = np.asarray(matches)[order] != 0
    tpr, fpr = (np.append(0.0, np.cumsum(kind)[last] / kind.sum()) for kind in (right, ~right))
    place = int(np.searchsorted(tpr, _RECALL))  # the first point that reaches it
    share = (_RECALL - tpr[place - 1]) / (tpr[place] - tpr[place - 1])
    return float(fpr[place - 1] + share * (fpr[place] - fpr[place - 1]))


def at_percentile(distances: np.ndarray, matches: np.ndarray) -> float:
    """Share of wrong pairs at most as far as the 95th percentile of the right ones, interpolated between them."""
    right = np.asarray(matches) != 0
    return float((distances[~right] <= np.percentile(distances[right], 100 * _RECALL)).mean())


def equal_passes(distances: np.ndarray, matches: np.ndarray) -> float:
    """As ours, wrong pairs at the very distance of the threshold counting as passed."""
    limit, _ = threshold(distances, matches)
    return float((distances[np.asarray(matches) == 0] <= limit).mean())


def false_discovery(distances: np.ndarray, matches: np.ndarray) -> float:
    """Share of wrong pairs among all that pass, at the threshold of ours."""
    _, passed = threshold(distances, matches)
    return float((np.asarray(matches)[passed] == 0).mean())


def at_nearest_recall(distances: np.ndarray, matches: np.ndarray) -> float:
    """False positive rate at the first pair, by distance, where the recall is nearest to 95 %, above it or below."""
    right = np.asarray(matches)[np.argsort(distances, kind="stable")] != 0
    place = int(np.argmin(np.abs(np.cumsum(right) / right.sum() - _RECALL)))
    return float((~right)[: place + 1].sum() / (~right).sum())


def rates(results: DescribedParts, rate: Rate) -> Values:
    """``fpr95_<part>`` by another rate of distances (M,) and labels (M,)."""
    return {
        f"fpr95_{name}": rate(_distances(results, name, results.protocol.distance), part.matches)
        for name, part in results.labels.items()
    }


def by_distance(results: DescribedParts, distance: str) -> Values:
    """``fpr95_<part>`` with distances of another kind."""
    _differs(results, distance)
    return {
        f"fpr95_{name}": fpr95(_distances(results, name, distance), part.matches)
        for name, part in results.labels.items()
    }


def of_unit_length(results: DescribedParts) -> Values:
    """``fpr95_<part>`` of descriptors that are divided by their lengths."""
    made = {name: _unit(array) for name, array in results.descriptors.items()}
    if all(np.allclose(made[name], array, atol=1e-5) for name, array in results.descriptors.items()):
        raise NotMeantError("descriptors have length 1")
    return rates(replace(results, descriptors=made), fpr95)


def in_float32(results: DescribedParts) -> Values:
    """``fpr95_<part>`` of d' = 1 / (1 / (d + 1e-8) + 1e-8) in float32, d being Euclidean distances in float32."""
    if results.protocol.distance != "L2":
        raise NotMeantError("distances are not Euclidean")
    found, small = {}, np.float32(1e-8)
    for name, part in results.labels.items():
        first, second = (results.descriptors[name][column].astype(np.float32) for column in part.pairs.T)
        distances = np.sqrt(np.square(first - second).sum(axis=1, dtype=np.float32))
        found[f"fpr95_{name}"] = fpr95(1 / (1 / (distances + small) + small), part.matches)
    return found


def _distances(results: DescribedParts, name: str, distance: str) -> np.ndarray:
    pairs = results.labels[name].pairs
    return pair_distances(results.descriptors[name], pairs[:, 0], [pairs[:, 1]], distance)[0]


def _differs(results: DescribedParts, distance: str) -> None:
    if results.protocol.distance == distance:
        raise NotMeantError("this is how it was scored")


def _unit(array: np.ndarray) -> np.ndarray:
    rows = array.astype(np.float64)
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)


CHOICES: Sequence[Choice[DescribedParts]] = (
    Choice(
        "roc_interpolated",
        "the ROC curve is interpolated at a recall of 95 %",
        partial(rates, rate=at_recall),
        "DeepCompare (pytorch/eval.py)",
    ),
    Choice(
        "nearest_recall",
        "the false positive rate at the first pair whose recall is nearest to 95 %, above it or below",
        partial(rates, rate=at_nearest_recall),
        "DeepCompare (training/FPR95Meter.lua)",
    ),
    Choice(
        "equal_passes",
        "wrong pairs at the very distance of the threshold pass",
        partial(rates, rate=equal_passes),
        "scikit-learn (roc_curve, its first point at a recall of 95 % or above)",
    ),
    Choice(
        "false_discovery",
        "share of wrong pairs among all that pass (FDR), not among all wrong ones",
        partial(rates, rate=false_discovery),
        "MatchNet, TFeat (both eval_metrics.py), and HardNet's code at first",
    ),
    Choice(
        "distances_float32",
        "distances d in float32, sorted as 1 / (1 / (d + 1e-8) + 1e-8)",
        in_float32,
        "HardNet (EvalMetrics.py)",
    ),
    Choice(
        "percentile",
        "the threshold is the 95th percentile of the distances of matching pairs, interpolated",
        partial(rates, rate=at_percentile),
    ),
    Choice("distance_L1", "sums of absolute differences", partial(by_distance, distance="L1")),
    Choice("distance_L2", "Euclidean distances", partial(by_distance, distance="L2")),
    Choice("unit_length", "descriptors are divided by their lengths first", of_unit_length),
)
