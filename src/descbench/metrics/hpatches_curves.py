"""Precision-recall and ROC curves of HPatches' Python benchmark, with its areas by the trapezoid rule.

Definition: docs/protocols/hpatches_patches.md, Curves. Only the order of the scores matters: with n wrong samples
before the i-th right one, both areas are means over the right samples of closed formulas of i and n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SMALLEST = 1e-10  # what counts and sums are raised to before one is divided by another


@dataclass(frozen=True)
class Counts:
    """Right and wrong samples among the first 0, 1, 2... of an order.

    Attributes:
        tp, fp: (M + 1,) int64.
        positives: right samples in all, with those that are never retrieved.
        negatives: wrong samples.
        order: (M,) int64, indices of the retrieved samples, best first.
    """

    tp: np.ndarray
    fp: np.ndarray
    positives: int
    negatives: int
    order: np.ndarray


@dataclass(frozen=True)
class PrecisionRecall:
    """Curve (M + 1,) each, from recall 0 and precision 1, and the trapezoid area under it."""

    precision: np.ndarray
    recall: np.ndarray
    ap: float


@dataclass(frozen=True)
class Roc:
    """Curve (M + 1,) each, from (0, 0), and the trapezoid area under it."""

    fpr: np.ndarray
    tpr: np.ndarray
    auc: float


def count_hits(scores: np.ndarray, labels: np.ndarray, positives: int | None = None) -> Counts:
    """Order samples by score, the highest first; equal ones stay as they are.

    Args:
        scores: (N,), -inf for samples that are never retrieved.
        labels: (N,) 0 or 1.
        positives: right samples in all, at least those in ``labels``; None: those.

    Raises:
        ValueError: arrays that do not fit, NaN, or fewer ``positives`` than there are.
    """
    scores, labels = np.asarray(scores, float), np.asarray(labels) != 0
    if scores.ndim != 1 or scores.shape != labels.shape or np.isnan(scores).any():
        raise ValueError(f"{scores.shape} scores, which must be no NaN, and {labels.shape} labels do not fit")
    listed = int(labels.sum())
    if positives is not None and positives < listed:
        raise ValueError(f"{positives} right samples in all, but {listed} are listed")
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > -np.inf]
    hits = labels[order]
    tp, fp = (np.concatenate([[0], np.cumsum(kind)]) for kind in (hits, ~hits))
    return Counts(tp, fp, listed if positives is None else positives, len(labels) - listed, order)


def precision_recall(scores: np.ndarray, labels: np.ndarray, positives: int | None = None) -> PrecisionRecall:
    """Precision over recall; arguments and errors as in :func:`count_hits`."""
    found = count_hits(scores, labels, positives)
    recall = found.tp / max(found.positives, _SMALLEST)
    precision = _precision(found.tp, found.fp)
    return PrecisionRecall(precision, recall, float(np.trapezoid(precision, recall)))


def roc(scores: np.ndarray, labels: np.ndarray, positives: int | None = None) -> Roc:
    """True over false positive rate; arguments and errors as in :func:`count_hits`."""
    found = count_hits(scores, labels, positives)
    tpr, fpr = found.tp / max(found.positives, _SMALLEST), found.fp / max(found.negatives, _SMALLEST)
    return Roc(fpr, tpr, float(np.trapezoid(tpr, fpr)))


def ap_terms(before: np.ndarray, axis: int = -1) -> np.ndarray:
    """What each right sample adds to ``positives`` times the area under precision over recall.

    Recall rises only at a right sample, from the precision just before it to that with it.

    Args:
        before: wrong samples before the first, second... right one along ``axis``, ascending.
    """
    before = np.moveaxis(np.asarray(before), axis, -1)
    number = np.arange(before.shape[-1])
    terms = (_precision(number, before) + _precision(number + 1, before)) / 2
    return np.moveaxis(terms, -1, axis)


def precision_terms(before: np.ndarray, axis: int = -1) -> np.ndarray:
    """Precision at each right sample; the classical average precision is its mean. Argument as in :func:`ap_terms`."""
    before = np.moveaxis(np.asarray(before), axis, -1)
    return np.moveaxis(_precision(np.arange(1, before.shape[-1] + 1), before), -1, axis)


def _precision(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    return np.maximum(tp, _SMALLEST) / np.maximum(tp + fp, _SMALLEST)
