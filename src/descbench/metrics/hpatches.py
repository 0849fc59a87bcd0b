"""The tasks of HPatches as metrics: of each a value a sequence, whose weighted mean is the published kind of figure.

Definition: docs/protocols/hpatches_patches.md, Summaries. Names that begin with ``matlab_`` are computed as the MATLAB
benchmark does; all others are the Python benchmark's, and the two are never to be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from descbench.datasets.hpatches_tasks import Retrieval, Split, Verification
from descbench.metrics.hpatches_distances import NOISES
from descbench.metrics.hpatches_matching import MatchingResult, score_matching
from descbench.metrics.hpatches_retrieval import RetrievalResult, score_retrieval
from descbench.metrics.hpatches_verification import KINDS, SequenceSums, VerificationResult, score_verification
from descbench.metrics.patch_curves import Curve, sequence_curve


@dataclass(frozen=True)
class Column:
    """A metric of S sequences.

    Attributes:
        values: (S,) float64; NaN for sequences with nothing in it.
        weights: (S,) float64, how much of the metric each is.
    """

    values: np.ndarray
    weights: np.ndarray

    @property
    def mean(self) -> float:
        """The metric."""
        known = self.weights > 0
        return float(np.average(self.values[known], weights=self.weights[known]))


Columns = dict[str, Column]


def score_tasks(
    descriptors: Mapping[str, np.ndarray],
    split: Split,
    verification: Verification | None,
    retrieval: Retrieval | None,
    distance: str,
    pools: Sequence[int],
) -> tuple[Columns, dict[str, Curve]]:
    """All metrics of a split, and the curves of verification by name.

    Args:
        descriptors: (16, N, D) of each test sequence, finite.
        split: its sequences.
        verification, retrieval: lists; None: the task is left out.
        distance: key of ``DISTANCES``.
        pools: of retrieval.

    Raises:
        DataError: the distance is unknown, or does not fit the descriptors.
    """
    columns, curves = matching_columns(score_matching(descriptors, split.test, distance)), {}
    if verification is not None:
        results = score_verification(descriptors, verification, distance)
        columns |= verification_columns(results)
        curves = verification_curves(results, len(split.test))
    if retrieval is not None:
        found = score_retrieval(descriptors, retrieval, distance, pools)
        columns |= retrieval_columns(found, retrieval.queries.sequences, len(split.test), pools)
    return columns, curves


def verification_columns(results: Mapping[tuple[str, str], VerificationResult]) -> Columns:
    """``verification``, ``verification_easy_inter_ap``, ``verification_easy_inter_auc``..., ``matlab_verification``."""
    columns = {
        "verification": _average([_of_sums(found.imbalanced_ap) for found in results.values()]),
        "matlab_verification": _average([_of_sums(found.matlab_ap) for found in results.values()]),
    }
    for (noise, kind), found in results.items():
        columns[f"verification_{noise}_{kind}_ap"] = _of_sums(found.imbalanced_ap)
        columns[f"verification_{noise}_{kind}_auc"] = _of_sums(found.balanced_auc)
    return columns


def verification_curves(results: Mapping[tuple[str, str], VerificationResult], count: int) -> dict[str, Curve]:
    """Of the list of ``verification``, by noise and kind of wrong pairs, such as ``easy inter``.

    Args:
        results: of the descriptors.
        count: of sequences.
    """
    ordered = ((kind, noise) for kind in KINDS for noise in NOISES)
    found = {f"{noise} {kind}": results[noise, kind] for kind, noise in ordered}
    return {name: sequence_curve(part.before, part.sequences, part.wrong, count) for name, part in found.items()}


def matching_columns(found: MatchingResult) -> Columns:
    """``matching``, ``matching_easy``, ``matching_easy_success``..., and ``matlab_matching``.

    In the first and the last, sequences of viewpoint (``v_``) and of illumination (all others) weigh as much in all.
    """
    viewpoint = np.array([name.startswith("v_") for name in found.sequences])
    equal = np.ones(len(viewpoint))
    shares = np.where(viewpoint, max(1, (~viewpoint).sum()), max(1, viewpoint.sum())).astype(float)
    columns = {
        "matching": Column(found.ap.mean(axis=(1, 2)), shares),
        "matlab_matching": Column(found.matlab_ap.mean(axis=(1, 2)), shares),
    }
    for number, noise in enumerate(NOISES):
        columns[f"matching_{noise}"] = Column(found.ap[:, number].mean(axis=1), equal)
        columns[f"matching_{noise}_success"] = Column(found.success[:, number].mean(axis=1), equal)
    return columns


def retrieval_columns(found: RetrievalResult, sequences: np.ndarray, count: int, pools: Sequence[int]) -> Columns:
    """``retrieval``, ``retrieval_easy``, ``retrieval_easy@100``..., and ``matlab_retrieval``.

    Args:
        found: of the queries.
        sequences: (Q,) of the queries.
        count: of sequences.
        pools: sizes.
    """

    def column(values: np.ndarray) -> Column:
        sums = np.bincount(sequences, values, count), np.bincount(sequences, minlength=count)
        return _of_sums(SequenceSums(*sums))

    columns = {
        "retrieval": column(found.ap.mean(axis=(1, 2))),
        "matlab_retrieval": column(found.matlab_ap.mean(axis=1)),
    }
    for number, noise in enumerate(NOISES):
        columns[f"retrieval_{noise}"] = column(found.ap[:, number].mean(axis=1))
        for place, pool in enumerate(pools):
            columns[f"retrieval_{noise}@{pool}"] = column(found.ap[:, number, place])
    return columns


def _of_sums(found: SequenceSums) -> Column:
    with np.errstate(invalid="ignore"):  # a sequence with nothing in it has no value
        return Column(found.sums / found.counts, found.counts.astype(float))


def _average(columns: Sequence[Column]) -> Column:
    """Of metrics over the same samples."""
    return Column(np.mean([column.values for column in columns], axis=0), columns[0].weights)
