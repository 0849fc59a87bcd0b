"""HPatches verification: are two patches of one point? (docs/protocols/hpatches_patches.md, Verification).

Curves are not drawn: the wrong pairs before each right one are counted, and areas are sums over the right pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from descbench.datasets.hpatches_tasks import Listed, Verification
from descbench.metrics.hpatches_curves import ap_terms, precision_terms
from descbench.metrics.hpatches_distances import IMAGES, NOISES, pair_distances, prepared, view_of

KINDS = ("inter", "intra")
_SHARE = 0.2  # of the right pairs, the first ones, that the unbalanced lists hold


@dataclass(frozen=True)
class SequenceSums:
    """A mean over right pairs, kept as sums over those of each sequence.

    Attributes:
        sums: (S,) float64.
        counts: (S,) int64 right pairs of each sequence, by their first patch.
    """

    sums: np.ndarray
    counts: np.ndarray

    @property
    def mean(self) -> float:
        """Over all right pairs."""
        return float(self.sums.sum() / self.counts.sum())


@dataclass(frozen=True)
class VerificationResult:
    """Of one noise and one kind of wrong pairs.

    Attributes:
        balanced_auc: area under the ROC curve of all pairs.
        imbalanced_ap: area under precision over recall, with a fifth of the right pairs; the published figure.
        matlab_ap: the MATLAB benchmark's mean of the precision at each right pair, of the same list.
        before: (P,) int64 ascending, how many wrong pairs stand before each right pair of this list.
        sequences: (P,) of these right pairs, from 0.
        wrong: number of wrong pairs.
    """

    balanced_auc: SequenceSums
    imbalanced_ap: SequenceSums
    matlab_ap: SequenceSums
    before: np.ndarray
    sequences: np.ndarray
    wrong: int


def score_verification(
    descriptors: Mapping[str, np.ndarray], tasks: Verification, distance: str = "L2"
) -> dict[tuple[str, str], VerificationResult]:
    """Results by noise (``easy``, ``hard``, ``tough``) and kind of wrong pairs (``inter``, ``intra``).

    Args:
        descriptors: (16, N, D) of each test sequence, finite.
        tasks: the lists of pairs.
        distance: key of ``DISTANCES``.

    Raises:
        DataError: the distance is unknown, or does not fit the descriptors.
    """
    descriptors = prepared(descriptors, distance)
    table, found = _Table(descriptors, tasks.positives[0].names), {}
    lists = [getattr(tasks, kind) for kind in ("positives", *KINDS)]
    first, seconds = table.rows(tasks.positives[0]), [table.rows(second) for _, second in lists]
    # Pairs go by their first patch, so that rows lie near each other.
    by_row = np.argsort(first)
    first, seconds = first[by_row], [second[by_row] for second in seconds]
    for noise in NOISES:
        table.fill(descriptors, noise)
        sorted_right, *wrongs = pair_distances(table.descriptors, first, seconds, distance)
        right = np.empty_like(sorted_right)
        right[by_row] = sorted_right
        order = stable_order(right)
        for kind, wrong in zip(KINDS, wrongs, strict=True):
            # Wrong pairs come first among equal distances.
            before = np.searchsorted(np.sort(wrong), right[order], side="right")
            found[noise, kind] = _result(before, order, tasks.positives[0], len(wrong))
    return found


def stable_order(values: np.ndarray) -> np.ndarray:
    """(M,) int64, as ``np.argsort(values, kind="stable")`` gives it, in a quarter of the time.

    Any order of the values is found first; then indices of equal ones are put in theirs.
    """
    order = np.argsort(values)
    ordered = values[order]
    equal = ordered[1:] == ordered[:-1]
    places = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    runs = np.append(0, np.cumsum(~equal))[places]
    # Runs ascend, so that sorting moves indices within their run only.
    order[places] = np.sort(runs * len(values) + order[places]) % len(values)
    return order


class _Table:
    """The reference and the five images of a noise of all sequences, one below the other."""

    def __init__(self, descriptors: Mapping[str, np.ndarray], names: tuple[str, ...]) -> None:
        self._names, self._sizes = names, np.array([descriptors[name].shape[1] for name in names], np.int64)
        self._ends = (IMAGES + 1) * np.cumsum(self._sizes)
        first = descriptors[names[0]]
        self.descriptors = np.empty((self._ends[-1], first.shape[2]), first.dtype)

    def rows(self, listed: Listed) -> np.ndarray:
        """(M,) rows of the patches of a list."""
        sizes = self._sizes[listed.sequences]
        return self._ends[listed.sequences] - (IMAGES + 1 - listed.images) * sizes + listed.patches

    def fill(self, descriptors: Mapping[str, np.ndarray], noise: str) -> None:
        """Take the images of a noise."""
        for name, size, end in zip(self._names, self._sizes, self._ends, strict=True):
            block = self.descriptors[end - (IMAGES + 1) * size : end].reshape(IMAGES + 1, size, -1)
            for image in range(IMAGES + 1):
                block[image] = descriptors[name][view_of(noise, image)]


def _result(before: np.ndarray, order: np.ndarray, right: Listed, wrong: int) -> VerificationResult:
    """Areas, from the wrong pairs before each right pair in their order."""
    few = order < int(_SHARE * len(right))
    sequences, fewer = right.sequences[order], right.sequences[order[few]]
    count = len(right.names)
    return VerificationResult(
        _sums(1 - before / wrong, sequences, count),
        _sums(ap_terms(before[few]), fewer, count),
        _sums(precision_terms(before[few]), fewer, count),
        before[few],
        fewer,
        wrong,
    )


def _sums(terms: np.ndarray, sequences: np.ndarray, count: int) -> SequenceSums:
    return SequenceSums(np.bincount(sequences, terms, count), np.bincount(sequences, minlength=count))
