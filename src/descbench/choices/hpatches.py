"""Choices of how the tasks of HPatches are scored.

Definition: docs/protocols/choices.md, Patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.spatial.distance import cdist

from descbench.choices.choice import Choice, NotMeantError, Values
from descbench.choices.described_parts import DescribedParts
from descbench.datasets.hpatches_patches import STRIPS
from descbench.metrics.hpatches_distances import DISTANCES, prepared
from descbench.metrics.score_patches import MATLAB

Tasks = Mapping[str, str]


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
    """``matching`` and its parts as plain means over the test sequences that have a value."""
    found = {}
    for name, values in results.ours.per_query.items():
        known = [value for value in values if value is not None]
        if known and name.removeprefix(MATLAB).startswith("matching"):
            found[name] = float(np.mean(known))
    if not found:
        raise NotMeantError("matching was not computed")
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


def of_first_distractors(results: DescribedParts, count: int) -> Values:
    """``retrieval`` as the MATLAB benchmark has it, with so many distractors, the first of the list."""
    protocol = results.protocol
    if protocol.retrieval is None:
        raise NotMeantError("retrieval was not computed")
    listed = protocol.retrieval.distractors
    if len(listed) <= count:
        raise NotMeantError(f"the list has no more than {count} distractors")
    columns = {key: getattr(listed, key)[:count] for key in ("sequences", "images", "patches")}
    fewer = replace(protocol.retrieval, distractors=replace(listed, **columns))
    found = replace(protocol, verification=None, retrieval=fewer).score(results.descriptors, results.labels).metrics
    return dict.fromkeys(("retrieval", f"{MATLAB}retrieval"), found[f"{MATLAB}retrieval"].value)


def by_ratio(results: DescribedParts) -> Values:
    """``matching`` as the MATLAB benchmark has it, matches in the order of their distance over that of the second
    nearest."""
    protocol = results.protocol
    if protocol.normalisation != "none":
        raise NotMeantError("descriptors are normalised")
    parts = {name: results.descriptors[name] for name in protocol.split.test}
    views = prepared(
        {name: array.reshape(len(STRIPS), -1, array.shape[1]) for name, array in parts.items()}, protocol.distance
    )
    kind = DISTANCES[protocol.distance].__name__
    values = [np.mean([_ratio_ap(array[0], view, kind) for view in array[1:]]) for array in views.values()]
    name = f"{MATLAB}matching"
    return dict.fromkeys(("matching", name), float(np.average(values, weights=results.ours.weights[name])))


def _ratio_ap(first: np.ndarray, other: np.ndarray, kind: str) -> float:
    """Mean of the precisions at each right match of reference patches (N, D) with those of an image, over N."""
    distances = cdist(first.astype(float), other.astype(float), kind)
    right = distances.argmin(axis=1) == np.arange(len(first))
    nearest, second = np.partition(distances, 1, axis=1)[:, :2].T
    order = np.argsort(nearest / np.maximum(second, np.finfo(float).tiny), kind="stable")
    places = np.flatnonzero(right[order])
    return float((np.arange(1, len(places) + 1) / (places + 1)).sum() / len(first))


def with_decimals(results: DescribedParts, decimals: int) -> Values:
    """All metrics of descriptors that were rounded to so many decimals."""
    made = {name: array.astype(float).round(decimals).astype(np.float32) for name, array in results.descriptors.items()}
    if all(np.array_equal(made[name], array) for name, array in results.descriptors.items()):
        raise NotMeantError(f"descriptors have no more than {decimals} decimals")
    found = results.protocol.score(made, results.labels).metrics
    return {name: metric.value for name, metric in found.items() if metric.value is not None}


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
_PYTHON = "HPatches' benchmark in Python"
_PRINTED = f"{_PYTHON} (its printed tables)"
CHOICES: Sequence[Choice[DescribedParts]] = (
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
        _PYTHON,
    ),
    Choice(
        "success",
        "matching is the share of right matches, whatever their order",
        successes,
        f"{_PYTHON} (the success rate beside its average precision)",
    ),
    Choice(
        "second_nearest",
        "matches in the order of their distance over that of the second nearest, mean of the precisions at right ones",
        by_ratio,
        "HPatches' benchmark in MATLAB (its ratio of nearest neighbours)",
    ),
    Choice(
        "auc",
        "verification is the area under the ROC curve of balanced lists",
        partial(inter_or_intra, kind="both", area="auc"),
        _PRINTED,
    ),
    Choice(
        "distractors_2000",
        "retrieval among the first 2000 distractors, mean of the precisions at each right sample",
        partial(of_first_distractors, count=2000),
        "HPatches' benchmark in MATLAB (its default num_neg)",
    ),
    Choice(
        "largest_pool",
        "retrieval from the largest pool alone",
        partial(of_pool, smallest=False),
        "HPatches' benchmark in MATLAB (its auc)",
    ),
    Choice(
        "sequences_alike",
        "matching is the mean over test sequences, each weighing the same",
        sequences_alike,
        _PRINTED,
    ),
    Choice(
        "decimals_5",
        "descriptors with five decimals, as written to CSV files",
        partial(with_decimals, decimals=5),
        "HardNet (its export for HPatches), the benchmark's script for OpenCV's SIFT",
    ),
    Choice(
        "distance_L1",
        "sums of absolute differences",
        partial(scored_by, distance="L1"),
        f"{_PYTHON} with --dist=L1",
    ),
    Choice("distance_L2", "Euclidean distances", partial(scored_by, distance="L2"), _PYTHON),
    Choice("not_normalised", "descriptors as they are", partial(scored_by, normalisation="none"), _PYTHON),
    Choice(
        "pca_power",
        "PCA whitening and power law, learned on the training sequences",
        partial(scored_by, normalisation="pca_power"),
        f"{_PYTHON} with --pcapl",
    ),
    Choice("smallest_pool", "retrieval from the smallest pool alone", partial(of_pool, smallest=True)),
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
    Choice("viewpoint_only", "the sequences of viewpoint alone", partial(of_kind, viewpoint=True)),
    Choice("illumination_only", "the sequences of illumination alone", partial(of_kind, viewpoint=False)),
)
