"""Choices of how descriptors of patches are scored: FPR95, and the tasks of HPatches.

Definition: docs/protocols/choices.md, Patches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from descbench.choices.choice import Choice, NotMeantError, Values, rescore
from descbench.datasets.patch_sets import PatchLabels
from descbench.metrics.fpr95 import fpr95, threshold
from descbench.metrics.hpatches_distances import pair_distances
from descbench.metrics.score_patches import MATLAB, Fpr95, HPatches, PatchProtocol, ScoredPatches, check_descriptors

_RECALL = 0.95
Rate = Callable[[np.ndarray, np.ndarray], float]
Tasks = Mapping[str, str]


@dataclass(frozen=True)
class DescribedParts:
    """Descriptors of a patch set, and how they are scored.

    Attributes:
        descriptors: (N, D) of the patches of each part.
        labels: of the same parts.
        protocol: how.
    """

    descriptors: Mapping[str, np.ndarray]
    labels: Mapping[str, PatchLabels]
    protocol: PatchProtocol

    @cached_property
    def ours(self) -> ScoredPatches:
        """What they score as they are."""
        return self.protocol.score(self.descriptors, self.labels)

    @cached_property
    def distances(self) -> dict[str, np.ndarray]:
        """(M,) float64 of the test pairs of each part."""
        return {name: _distances(self, name, self.protocol.distance) for name in self.labels}


def rescore_patches(
    descriptors: Mapping[str, np.ndarray],
    labels: Mapping[str, PatchLabels],
    protocol: PatchProtocol,
    scores: Path,
    output: Path,
) -> None:
    """Score descriptors under each choice; :class:`descbench.choices.choice.RescoredCell` says what the file holds.

    Args:
        descriptors, labels, protocol: as :func:`descbench.metrics.score_patches.score_patches` takes them.
        scores: what it made of them.
        output: the file to write.

    Raises:
        StaleFileError: the scores are of other descriptors.
        DataError: descriptors that do not fit their labels, or labels that the protocol cannot score.
    """
    check_descriptors(descriptors, labels)
    results = DescribedParts(descriptors, labels, protocol)
    ours = {name: metric.value for name, metric in results.ours.metrics.items() if metric.value is not None}
    rescore(CHOICES[protocol.protocol], results, scores, ours, output)


# --- FPR95 ---


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


def rates(results: DescribedParts, rate: Rate) -> Values:
    """``fpr95_<part>`` by another rate of distances (M,) and labels (M,)."""
    return {f"fpr95_{name}": rate(results.distances[name], part.matches) for name, part in results.labels.items()}


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


def _distances(results: DescribedParts, name: str, distance: str) -> np.ndarray:
    pairs = results.labels[name].pairs
    return pair_distances(results.descriptors[name], pairs[:, 0], [pairs[:, 1]], distance)[0]


def _differs(results: DescribedParts, distance: str) -> None:
    if results.protocol.distance == distance:
        raise NotMeantError("this is how it was scored")


def _unit(array: np.ndarray) -> np.ndarray:
    rows = array.astype(np.float64)
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)


# --- HPatches ---


def instead(results: DescribedParts, metrics: Tasks) -> Values:
    """Metrics of one name as those of another, where both were computed."""
    known = results.ours.metrics
    found = {
        name: known[other].value
        for name, other in metrics.items()
        if name in known and other in known and known[other].value is not None
    }
    if not found:
        raise NotMeantError("these metrics were not computed")
    return found


def inter_or_intra(results: DescribedParts, kind: str, area: str = "ap") -> Values:
    """``verification`` from one kind of wrong pairs, or as another area, the mean over the three noises."""
    kinds = ("inter", "intra") if kind == "both" else (kind,)
    names = [f"verification_{noise}_{one}_{area}" for noise in ("easy", "hard", "tough") for one in kinds]
    known = results.ours.metrics
    if any(name not in known for name in names):
        raise NotMeantError("verification was not computed")
    return {"verification": float(np.mean([known[name].value for name in names]))}


def of_noise(results: DescribedParts, noise: str) -> Values:
    """``matching``, ``retrieval`` and ``verification`` of one noise alone."""
    known = results.ours.metrics
    found = {task: known[f"{task}_{noise}"].value for task in ("matching", "retrieval") if f"{task}_{noise}" in known}
    verified = [f"verification_{noise}_{kind}_ap" for kind in ("inter", "intra")]
    if all(name in known for name in verified):
        found["verification"] = float(np.mean([known[name].value for name in verified]))
    if not found:
        raise NotMeantError("these metrics were not computed")
    return found


def of_pool(results: DescribedParts, smallest: bool) -> Values:
    """``retrieval`` from the smallest or the largest pool alone, the mean over the three noises."""
    pools = results.ours.facts["pools"]
    pool = min(pools) if smallest else max(pools)
    names = [f"retrieval_{noise}@{pool}" for noise in ("easy", "hard", "tough")]
    known = results.ours.metrics
    if any(name not in known for name in names):
        raise NotMeantError("retrieval was not computed")
    return {"retrieval": float(np.mean([known[name].value for name in names]))}


def successes(results: DescribedParts) -> Values:
    """``matching`` as the share of right matches, sequences of both kinds weighing as much in all."""
    columns = [results.ours.per_query.get(f"matching_{noise}_success") for noise in ("easy", "hard", "tough")]
    if any(column is None for column in columns):
        raise NotMeantError("matching by the Python benchmark was not computed")
    values = np.mean(np.array(columns, float), axis=0)
    return {"matching": float(np.average(values, weights=results.ours.weights["matching"]))}


def sequences_alike(results: DescribedParts) -> Values:
    """Every metric as the plain mean over the test sequences that have a value."""
    found = {}
    for name, values in results.ours.per_query.items():
        known = [value for value in values if value is not None]
        if known:
            found[name] = float(np.mean(known))
    return found


def of_kind(results: DescribedParts, viewpoint: bool) -> Values:
    """Every metric of the sequences of viewpoint, or of those of illumination, alone."""
    chosen = np.array([name.startswith("v_") == viewpoint for name in results.ours.facts["sequences"]])
    if chosen.all() or not chosen.any():
        raise NotMeantError("the test sequences are of one kind")
    found = {}
    for name, values in results.ours.per_query.items():
        row = np.array([np.nan if value is None else value for value in values])
        weights = np.where(chosen & ~np.isnan(row), np.asarray(results.ours.weights[name], float), 0.0)
        if weights.sum():
            found[name] = float(np.average(np.nan_to_num(row), weights=weights))
    return found


def scored_by(results: DescribedParts, **changes: str) -> Values:
    """All metrics with another distance or normalisation."""
    protocol = results.protocol
    if all(getattr(protocol, key) == value for key, value in changes.items()):
        raise NotMeantError("this is how it was scored")
    if changes.get("normalisation", "none") != "none" and not _learnt(results):
        raise NotMeantError("the split has no training sequences that are described")
    found = replace(protocol, **changes).score(results.descriptors, results.labels).metrics
    return {name: metric.value for name, metric in found.items() if metric.value is not None}


def _learnt(results: DescribedParts) -> bool:
    train = results.protocol.split.train
    return bool(train) and all(name in results.descriptors for name in train)


_TASKS = ("verification", "matching", "retrieval")
FPR95_CHOICES: Sequence[Choice[DescribedParts]] = (
    Choice("roc_interpolated", "the ROC curve is interpolated at a recall of 95 %", partial(rates, rate=at_recall)),
    Choice(
        "percentile",
        "the threshold is the 95th percentile of the distances of matching pairs, interpolated",
        partial(rates, rate=at_percentile),
    ),
    Choice("equal_passes", "wrong pairs at the very distance of the threshold pass", partial(rates, rate=equal_passes)),
    Choice(
        "false_discovery",
        "share of wrong pairs among all that pass (FDR), not among all wrong ones",
        partial(rates, rate=false_discovery),
    ),
    Choice("distance_L1", "sums of absolute differences", partial(by_distance, distance="L1")),
    Choice("distance_L2", "Euclidean distances", partial(by_distance, distance="L2")),
    Choice("unit_length", "descriptors are divided by their lengths first", of_unit_length),
)
HPATCHES_CHOICES: Sequence[Choice[DescribedParts]] = (
    Choice(
        "ap_sum",
        "mean of the precisions at each right sample, retrieval in one pool",
        partial(instead, metrics={task: MATLAB + task for task in _TASKS}),
        "HPatches' benchmark in MATLAB",
    ),
    Choice(
        "ap_trapezoid",
        "area under precision over recall by trapezoids, retrieval the mean over pools",
        partial(instead, metrics={MATLAB + task: task for task in _TASKS}),
        "HPatches' benchmark in Python",
    ),
    Choice("success", "matching is the share of right matches, whatever their order", successes),
    Choice(
        "auc",
        "verification is the area under the ROC curve of balanced lists",
        partial(inter_or_intra, kind="both", area="auc"),
    ),
    *(
        Choice(
            f"{kind}_only", f"verification has the wrong pairs of list {kind} alone", partial(inter_or_intra, kind=kind)
        )
        for kind in ("inter", "intra")
    ),
    *(
        Choice(f"{noise}_only", f"the {noise} patches alone", partial(of_noise, noise=noise))
        for noise in ("easy", "hard", "tough")
    ),
    Choice("smallest_pool", "retrieval from the smallest pool alone", partial(of_pool, smallest=True)),
    Choice("largest_pool", "retrieval from the largest pool alone", partial(of_pool, smallest=False)),
    Choice("sequences_alike", "the mean over test sequences, each weighing the same", sequences_alike),
    Choice("viewpoint_only", "the sequences of viewpoint alone", partial(of_kind, viewpoint=True)),
    Choice("illumination_only", "the sequences of illumination alone", partial(of_kind, viewpoint=False)),
    Choice("distance_L1", "sums of absolute differences", partial(scored_by, distance="L1")),
    Choice("distance_L2", "Euclidean distances", partial(scored_by, distance="L2")),
    Choice("not_normalised", "descriptors as they are", partial(scored_by, normalisation="none")),
    Choice(
        "pca_power",
        "PCA whitening and power law, learned on the training sequences",
        partial(scored_by, normalisation="pca_power"),
        "HPatches' benchmark in Python with --pcapl",
    ),
)
CHOICES: Mapping[str, Sequence[Choice[DescribedParts]]] = {
    Fpr95.protocol: FPR95_CHOICES,
    HPatches.protocol: HPATCHES_CHOICES,
}
