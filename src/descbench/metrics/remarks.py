"""What stands under a table about the scores of each protocol: what counts, and why a metric is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from descbench.metrics.poses import NOBODY, TRUE_POSES
from descbench.metrics.protocols import PROTOCOLS
from descbench.metrics.scores import Scores


def rule_of(dataset: str, scores: Scores) -> str | None:
    """What counts as right on a dataset, in one sentence; None: nothing to say."""
    return _RULES[scores.protocol](dataset, scores)


def why_missing(metric: str, scores: Scores) -> str | None:
    """Why scores lack a metric of their protocol; None: they do not."""
    if scores.facts.get("scored_by") == NOBODY:
        return "the true poses are on the benchmark's server"
    if _of_matlab(scores) and not metric.startswith("matlab_"):
        return f"normalisation {scores.facts['normalisation']} has figures of HPatches' benchmark in MATLAB alone"
    ranked = PROTOCOLS.get(scores.protocol)
    return None if ranked is None else ranked.beyond(metric, scores)


def why_empty(metric: str, scores: Scores) -> str | None:
    """Why a cell of these scores is empty, beside :func:`why_missing`: nothing had a value; None: it is not."""
    if why := why_missing(metric, scores):
        return why
    found = scores.metrics.get(metric)
    if found is None or found.value is not None:
        return None
    return "half of the queries or more have no pose" if found.statistic == "median" else "no query counts"


def _fpr95(dataset: str, scores: Scores) -> str:
    return f"{dataset}: false positive rate of non-matching pairs at 95 % recall of matching ones; lower is better."


def _hpatches(dataset: str, scores: Scores) -> str:
    language = "MATLAB" if _of_matlab(scores) else "Python"
    return (
        f"{dataset}: the {scores.num_queries} test sequences of split {scores.facts['split']}, scored as by HPatches' "
        f"benchmark in {language}."
    )


def _of_matlab(scores: Scores) -> bool:
    return scores.facts.get("implementation") == "matlab"


def _poses(dataset: str, scores: Scores) -> str:
    facts = scores.facts
    filled = f"{facts['filled']} others have the pose of the first map image that they were matched with"
    if facts["scored_by"] != TRUE_POSES:
        inside = facts["localised"] + facts["filled"]
        return (
            f"{dataset}: its true poses are on the benchmark's server. SHA-256 of the file of poses: {facts['poses']}; "
            f"{inside} of {scores.num_queries} queries are in it{f' ({filled})' if facts['filled'] else ''}; "
            f"scored by: {facts['scored_by']}."
        )
    lost = f"{filled}, which is scored as theirs" if facts["filled"] else "the others count as wrong"
    return (
        f"{dataset}: {facts['localised']} of {scores.num_queries} queries were localised; {lost}. "
        "Medians of positions are in centimetres."
    )


def _resized(image_size: int | list[int] | None) -> str:
    """What images had been brought to whose pixels errors are measured in."""
    if isinstance(image_size, list):
        return f"images of {image_size[1]} x {image_size[0]} pixels"
    return "the original images" if image_size is None else f"images of at most {image_size} pixels"


def _homographies(dataset: str, scores: Scores) -> str:
    facts = scores.facts
    matching, resized = facts["matching"], facts["pixels"] == "resized"
    tests = [f"{name.replace('_', ' ')} {matching[name]}" for name in ("ratio", "max_distance") if matching.get(name)]
    size = _resized(facts["image_size"]) if resized else "the original images"
    return (
        f"{dataset}: {scores.num_queries} pairs of {facts['sequences']} sequences; mutual: "
        f"{str(matching.get('mutual', True)).lower()}, {', '.join(tests) or 'no ratio test'}; errors in pixels of "
        f"{size}; homographies by {facts['estimator']} at {facts['threshold']:g} pixels, corners: {facts['corners']}."
    )


_RULES: Mapping[str, Callable[[str, Scores], str | None]] = {
    **{name: protocol.rule for name, protocol in PROTOCOLS.items()},
    "fpr95": _fpr95,
    "hpatches": _hpatches,
    "homographies": _homographies,
    "poses": _poses,
}
