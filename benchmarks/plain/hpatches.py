"""HPatches' patch benchmark as its page states it, without care for speed: one distance and one sort after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, cityblock, euclidean

Table = Mapping[str, np.ndarray]
STRIPS = ("ref", *(f"{letter}{image}" for letter in "eht" for image in range(1, 6)))
LETTERS = {"easy": "e", "hard": "h", "tough": "t"}


def curve(scores: Sequence[float], labels: Sequence[int], positives: int | None = None) -> tuple[np.ndarray, ...]:
    """Counts of right and wrong ones, right ones in all, wrong ones."""
    scores, labels = np.asarray(scores, float), np.asarray(labels)
    count, wrong = int(labels.sum()), int((labels == 0).sum())
    if positives is not None:
        scores = np.concatenate([scores, np.full(positives - count, -np.inf)])
        labels = np.concatenate([labels, np.ones(positives - count, labels.dtype)])
        count = positives
    order = np.argsort(-scores, kind="mergesort")
    order = order[scores[order] > -np.inf]
    tp = np.concatenate([[0], np.cumsum(labels[order] == 1)])
    fp = np.concatenate([[0], np.cumsum(labels[order] == 0)])
    return tp, fp, count, wrong


def pr(scores: Sequence[float], labels: Sequence[int], positives: int | None = None) -> float:
    tp, fp, count, _ = curve(scores, labels, positives)
    return float(np.trapezoid(np.maximum(tp, 1e-10) / np.maximum(tp + fp, 1e-10), tp / max(count, 1e-10)))


def auc(scores: Sequence[float], labels: Sequence[int]) -> float:
    tp, fp, count, wrong = curve(scores, labels)
    return float(np.trapezoid(tp / max(count, 1e-10), fp / max(wrong, 1e-10)))


def classical(scores: Sequence[float], labels: Sequence[int], positives: int | None = None) -> float:
    tp, fp, count, _ = curve(scores, labels, positives)
    rises = np.flatnonzero(np.diff(tp)) + 1
    return float((tp[rises] / (tp[rises] + fp[rises])).sum() / count)


def measure(name: str):
    return euclidean if name == "L2" else cityblock


def split_masks(descriptors: Table, distance: str) -> Table:
    if distance != "masked_L1":
        return descriptors
    halves = {name: np.split(array, 2, axis=2) for name, array in descriptors.items()}
    return {name: first * mask for name, (first, mask) in halves.items()}


def view(descriptors: Table, name: str, noise: str, image: int) -> np.ndarray:
    return descriptors[name][STRIPS.index(f"{LETTERS[noise]}{image}") if image else 0]


def verification(descriptors: Table, tasks: Any, distance: str = "L2") -> dict[tuple[str, str], dict]:
    descriptors = split_masks(descriptors, distance)
    found = {}
    for noise in LETTERS:

        def distances(pairs: tuple[Any, Any], noise: str = noise) -> list[float]:
            rows = []
            for number in range(len(pairs[0])):
                a, b = (
                    view(descriptors, side.names[side.sequences[number]], noise, side.images[number])[
                        side.patches[number]
                    ].astype(float)
                    for side in pairs
                )
                rows.append(measure(distance)(a, b))
            return rows

        right = distances(tasks.positives)
        for kind in ("inter", "intra"):
            wrong = distances(getattr(tasks, kind))
            scores = -np.array(wrong + right)
            labels = np.array([0] * len(wrong) + [1] * len(right))
            few = len(wrong) + int(0.2 * len(right))
            found[noise, kind] = {
                "balanced_auc": auc(scores, labels),
                "imbalanced_ap": pr(scores[:few], labels[:few]),
                "matlab_ap": classical(scores[:few], labels[:few]),
            }
    return found


def matching(descriptors: Table, sequences: Sequence[str], distance: str = "L2") -> np.ndarray:
    """(S, 3, 5, 3): area, share of right matches, classical average precision."""
    descriptors = split_masks(descriptors, distance)
    return np.array([
        [[match(descriptors, name, noise, image, distance) for image in range(1, 6)] for noise in LETTERS]
        for name in sequences
    ])  # fmt: skip


def match(descriptors: Table, name: str, noise: str, image: int, distance: str) -> tuple[float, float, float]:
    first, other = (view(descriptors, name, noise, number).astype(float) for number in (0, image))
    distances = cdist(first, other, "euclidean" if distance == "L2" else "cityblock")
    chosen = distances.argmin(axis=1)
    labels = (chosen == np.arange(len(first))).astype(int)
    scores = -distances[np.arange(len(first)), chosen]
    return pr(scores, labels, len(first)), labels.mean(), classical(scores, labels, len(first))


def retrieval(
    descriptors: Table, tasks: Any, pools: Sequence[int], distance: str = "L2", rows: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(Q, 3, K) areas and (Q, 3) average precision of the MATLAB kind, of some queries."""
    descriptors = split_masks(descriptors, distance)
    others = tasks.distractors
    table = np.stack(
        [
            descriptors[others.names[number]][0][patch]
            for number, patch in zip(others.sequences, others.patches, strict=True)
        ]
    ).astype(float)
    areas, averages = [], []
    for row in range(len(tasks.queries)) if rows is None else rows:
        sequence, patch = int(tasks.queries.sequences[row]), int(tasks.queries.patches[row])
        name = tasks.queries.names[sequence]
        query = view(descriptors, name, "easy", 0)[patch].astype(float)
        distances = cdist(query[None], table, "euclidean" if distance == "L2" else "cityblock")[0]
        valid = distances[others.sequences != sequence]
        one, two = [], []
        for noise in LETTERS:
            images = [view(descriptors, name, noise, image)[patch].astype(float) for image in range(1, 6)]
            own = [measure(distance)(query, image) for image in images]
            pool, labels = -np.concatenate([own, valid]), np.array([1] * 5 + [0] * len(valid))
            one.append([pr(pool[:size], labels[:size]) for size in pools])
            two.append(classical(pool, labels))
        areas.append(one)
        averages.append(two)
    return np.array(areas), np.array(averages)
