"""What metrics are called above a column: the field's name of a metric, its unit, and which values are better."""

from __future__ import annotations

import re

from descbench.metrics.scores import UNITS, Metric

# First word of the name of a metric -> what it is called; others are called as they are named.
_NAMES = {
    "map": "mAP",
    "mp": "mP",
    "fpr95": "FPR95",
    "mma": "MMA",
    "homography": "homography accuracy",
    "verification": "verification mAP",
    "matching": "matching mAP",
    "retrieval": "retrieval mAP",
    "median": "median error of",
}
# Later words: parts of what is scored.
_PARTS = {"v": "viewpoint", "i": "illumination", "micro": "over pairs"}
_THRESHOLD = re.compile(r"(\d+(?:\.\d+)?)(m|deg)")


def metric_title(name: str, metric: Metric | None = None) -> str:
    """A metric in words, such as ``mAP medium (%)`` for ``map_medium``.

    Args:
        name: key of a scores file.
        metric: of that name, from any scores file; None: the unit is left out.
    """
    first, *parts = name.split("_")
    stem, at, most = first.partition("@")
    words = [f"{_NAMES.get(stem, stem)}{at}{most}", *map(_word, parts)]
    if metric is None:
        return " ".join(words)
    lower = ", lower is better" if metric.direction == "lower" else ""
    return f"{' '.join(words)} ({UNITS[metric.unit].sign}{lower})"


def _word(part: str) -> str:
    if found := _THRESHOLD.fullmatch(part):
        return f"{found[1]} {found[2]}"
    return _PARTS.get(part, part)
