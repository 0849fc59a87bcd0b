"""Stage score_patches: descriptors of the parts of a patch set become a file of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from descbench.config.patch_sets import POOLS
from descbench.datasets.hpatches_patches import STRIPS
from descbench.datasets.hpatches_tasks import Retrieval, Split, Verification
from descbench.datasets.patch_sets import PatchLabels
from descbench.errors import DataError
from descbench.metrics.fpr95 import fooled_pairs
from descbench.metrics.hpatches import score_tasks
from descbench.metrics.hpatches_distances import pair_distances
from descbench.metrics.hpatches_normalisation import whiten_and_root, whiten_by_energy
from descbench.metrics.patch_curves import RECALLS, pair_curve
from descbench.metrics.scores import Metric, Scores, Value, mean, write_scores

_FEWEST_PAIRS = 5
MATLAB = "matlab_"  # begins the names of metrics as the MATLAB benchmark has them
_CHANCE = 0.95  # of FPR95: in a random order as many wrong as right pairs pass


@dataclass(frozen=True)
class ScoredPatches:
    """What a protocol makes of descriptors; the fields are those of :class:`descbench.metrics.scores.Scores`."""

    num_queries: int
    metrics: dict[str, Metric]
    per_query: dict[str, list[Value]]
    facts: dict[str, Any]
    weights: dict[str, list[float]]


class PatchProtocol(Protocol):
    """How a patch set is scored.

    Attributes:
        protocol: its name in the scores file.
    """

    protocol: str

    def score(self, descriptors: Mapping[str, np.ndarray], labels: Mapping[str, PatchLabels]) -> ScoredPatches:
        """Scores of descriptors by part, which :func:`score_patches` has checked; DataError where they cannot be."""


def score_patches(
    descriptors: Mapping[str, np.ndarray],
    labels: Mapping[str, PatchLabels],
    protocol: PatchProtocol,
    output: Path,
    *,
    cell: str | None = None,
    digest: str | None = None,
) -> None:
    """Score the descriptors of a patch set; :class:`descbench.metrics.scores.Scores` says what the file holds.

    Metrics are ``fpr95_<part>`` of :class:`Fpr95`, whose queries are the test pairs of all parts one after another, and
    those of :class:`HPatches`, whose queries are the test sequences.

    Args:
        descriptors: (N, D) of the patches of each part, in their order.
        labels: of the same parts.
        protocol: how they are scored.
        output: the scores file to write.
        cell: method and patch set, such as ``hardnet on brown``.
        digest: of the labels, by which scores know that they can be compared.

    Raises:
        DataError: descriptors of other parts, of another number of patches, of several dimensions, or with NaN or
            infinity; or labels that the protocol cannot score.
    """
    check_descriptors(descriptors, labels)
    found = protocol.score(descriptors, labels)
    equal = [part for part, array in descriptors.items() if len(array) > 1 and (array == array[0]).all()]
    warnings = [f"all descriptors of {part} are equal; check the weights or the files" for part in equal]
    record = {**vars(found), "warnings": warnings, "cell": cell, "labels": digest}
    write_scores(Scores("patches", protocol.protocol, **record), output)


def check_descriptors(descriptors: Mapping[str, np.ndarray], labels: Mapping[str, PatchLabels]) -> None:
    """Refuse descriptors that are not of the labelled patches; DataError names the part."""
    if descriptors.keys() != labels.keys() or not labels:
        raise DataError(
            f"descriptors of {', '.join(descriptors) or 'nothing'} are not of the labelled parts "
            f"({', '.join(labels) or 'none'}); describe the same parts."
        )
    first = next(iter(descriptors))
    for part, array in descriptors.items():
        count = len(labels[part].points)
        if array.ndim != 2 or len(array) != count:
            raise DataError(f"part {part}: descriptors of shape {array.shape} for {count} patches; describe it again.")
        if array.shape[1] != descriptors[first].shape[1]:
            raise DataError(
                f"part {part}: descriptors of {array.shape[1]} dimensions, those of {first} have "
                f"{descriptors[first].shape[1]}; describe both with one model."
            )
        if not np.isfinite(array).all():
            row = np.flatnonzero(~np.isfinite(array).all(axis=1))[0]
            raise DataError(f"part {part}: the descriptor of patch {row} holds NaN or infinity; describe it again.")


@dataclass(frozen=True)
class Fpr95:
    """FPR95 of the test pairs of each part, as for Brown PhotoTour (docs/protocols/hpatches_patches.md, FPR95).

    Attributes:
        distance: ``L2`` or ``L1``.
    """

    distance: str = "L2"
    protocol: str = "fpr95"

    def score(self, descriptors: Mapping[str, np.ndarray], labels: Mapping[str, PatchLabels]) -> ScoredPatches:
        """One metric a part, lower is better, with a bootstrap interval over pairs that may share points."""
        total = sum(len(part.pairs) for part in labels.values())
        metrics, per_query, curves, start = {}, {}, {}, 0
        for name, known in labels.items():
            right = int(known.matches.sum())
            if not 0 < right < len(known.matches):
                raise DataError(
                    f"part {name}: {right} of {len(known.matches)} test pairs match; both kinds are needed."
                )
            distances = pair_distances(descriptors[name], known.pairs[:, 0], [known.pairs[:, 1]], self.distance)[0]
            curves[name] = pair_curve(distances, known.matches, known.points[known.pairs])
            value, low, high = curves[name].false_positives[RECALLS.index(95)]
            metric = f"fpr95_{name}"
            metrics[metric] = Metric(value, low, high, "bootstrap", direction="lower", chance=_CHANCE)
            values = np.full(total, np.nan)
            values[start : start + len(distances)] = fooled_pairs(distances, known.matches)
            per_query[metric] = _listed(values)
            start += len(distances)
        facts = {
            "queries": "pairs",
            "not_paired": "the threshold is another in each draw of pairs, which the values of pairs do not hold",
            "parts": list(labels),
            "positives": [int(part.matches.sum()) for part in labels.values()],
            "negatives": [int((part.matches == 0).sum()) for part in labels.values()],
            "curves": {name: asdict(curve) for name, curve in curves.items()},
        }
        return ScoredPatches(total, metrics, per_query, facts, {})


@dataclass(frozen=True)
class HPatches:
    """The tasks of HPatches on one split (docs/protocols/hpatches_patches.md).

    Attributes:
        split: sequences; all of its test sequences must be described, and with a normalisation those to train on.
        verification, retrieval: lists of its tasks; None: the task is left out.
        distance: ``L2``, ``L1`` or ``masked_L1``.
        normalisation: ``none``, or ``pca_power`` for the Python benchmark's PCA whitening and power law, or
            ``matlab_zca`` for the MATLAB benchmark's, with which there are metrics of its kind alone.
        clipped: share of the energy that ``matlab_zca`` clips.
        pools: of retrieval.
    """

    split: Split
    verification: Verification | None
    retrieval: Retrieval | None
    distance: str = "L2"
    normalisation: Literal["none", "pca_power", "matlab_zca"] = "none"
    clipped: float = 0.25
    pools: Sequence[int] = POOLS
    protocol: str = "hpatches"

    def score(self, descriptors: Mapping[str, np.ndarray], labels: Mapping[str, PatchLabels]) -> ScoredPatches:
        """Metrics whose queries are the test sequences, which an interval draws with all that is in them."""
        if self.verification is not None and len(self.verification.positives[0]) < _FEWEST_PAIRS:
            raise DataError(
                f"split {self.split.name!r} lists {len(self.verification.positives[0])} right pairs for verification; "
                f"with fewer than {_FEWEST_PAIRS}, a fifth of them is none: draw more."
            )
        learnt = () if self.normalisation == "none" else self.split.train
        views = {name: _views(name, self.split, descriptors, labels) for name in (*self.split.test, *learnt)}
        if self.normalisation == "pca_power":
            views = whiten_and_root(views, learnt, self.split.test)
        elif self.normalisation == "matlab_zca":
            views = whiten_by_energy(views, learnt, self.split.test, self.clipped)
        found, curves = score_tasks(views, self.split, self.verification, self.retrieval, self.distance, self.pools)
        if self.normalisation == "matlab_zca":
            found, curves = {name: column for name, column in found.items() if name.startswith(MATLAB)}, {}
        metrics, per_query, weights = {}, {}, {}
        for name, column in found.items():
            per_query[name], weights[name] = _listed(column.values), column.weights.tolist()
            metrics[name] = mean(per_query[name], column.mean, weights=column.weights)
        facts = {
            "queries": "sequences",
            "sequences": list(self.split.test),
            "split": self.split.name,
            "distance": self.distance,
            "normalisation": self.normalisation,
            "implementation": _implementation(self.normalisation),
            "verification_pairs": len(self.verification.positives[0]) if self.verification else 0,
            "retrieval_queries": len(self.retrieval.queries) if self.retrieval else 0,
            "retrieval_distractors": len(self.retrieval.distractors) if self.retrieval else 0,
            "pools": list(self.pools),
            "curves": {name: asdict(curve) for name, curve in curves.items()},
        }
        return ScoredPatches(len(self.split.test), metrics, per_query, facts, weights)


def _implementation(normalisation: str) -> str:
    return "matlab" if normalisation == "matlab_zca" else "python, and matlab where a metric says so"


def _views(
    name: str, split: Split, descriptors: Mapping[str, np.ndarray], labels: Mapping[str, PatchLabels]
) -> np.ndarray:
    """(16, N, D) descriptors of a sequence; DataError where it has none, or is not a sequence of HPatches."""
    if name not in descriptors:
        raise DataError(
            f"sequence {name} of split {split.name!r} has no descriptors; add it to the `parts` of the patch set."
        )
    known, array = labels[name], descriptors[name]
    count = len(array) // len(STRIPS)
    points, views = np.tile(np.arange(count), len(STRIPS)), np.repeat(np.arange(len(STRIPS)), count)
    if known.view_names != STRIPS or not np.array_equal(known.points, points) or not np.array_equal(known.views, views):
        raise DataError(f"part {name} is not a sequence of HPatches: its views are {', '.join(known.view_names)}.")
    return array.reshape(len(STRIPS), count, -1)


def _listed(values: np.ndarray) -> list[Value]:
    """Values of queries, None for NaN."""
    return [None if np.isnan(value) else float(value) for value in values]
