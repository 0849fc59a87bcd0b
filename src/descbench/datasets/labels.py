"""Ground truth as the retrieval benchmarks store it: imlist, qimlist, gnd (revisitop.md section 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from descbench.datasets.ground_truth import LABELS, GroundTruth
from descbench.errors import DataError


def parse_labels(gnd: Sequence[Mapping[str, Any]], protocol: str, path: Path) -> GroundTruth:
    """Labels of every query.

    Args:
        gnd: one mapping per query with the protocol's labels; ``junk`` may be absent.
        protocol: ``revisited`` or ``classic``.
        path: the file they come from, for messages.

    Raises:
        DataError: a label is missing or holds no list of whole numbers.
    """
    queries = []
    for number, labels in enumerate(gnd):
        missing = [label for label in LABELS[protocol] if label not in labels and label != "junk"]
        if missing:
            raise DataError(f"{path}: query {number} has no {', '.join(missing)}; not of protocol {protocol}.")
        queries.append({label: _ids(labels.get(label, ()), label, number, path) for label in LABELS[protocol]})
    return GroundTruth(protocol, tuple(queries))


def parse_box(labels: Mapping[str, Any], number: int, path: Path) -> tuple[float, float, float, float] | None:
    """Crop of a query, or None; a box may reach beyond the image, but must have an area.

    Raises:
        DataError: not four numbers, or no area.
    """
    box = labels.get("bbx")
    if box is None:
        return None
    try:
        x1, y1, x2, y2 = (float(v) for v in box)
    except (TypeError, ValueError):
        raise DataError(f"{path}: query {number}: bbx {box!r} is not [x1, y1, x2, y2].") from None
    if not (x1 < x2 and y1 < y2):
        raise DataError(f"{path}: query {number}: bbx {[x1, y1, x2, y2]} has no area; x1 < x2 and y1 < y2 are needed.")
    return x1, y1, x2, y2


def check_benchmark(content: Any, path: Path) -> Mapping[str, Any]:
    """A mapping with imlist, qimlist and one gnd entry per query.

    Raises:
        DataError: something else.
    """
    wanted = ("imlist", "qimlist", "gnd")
    if not isinstance(content, Mapping) or any(key not in content for key in wanted):
        raise DataError(f"{path}: no retrieval ground truth; keys {', '.join(wanted)} are needed.")
    if len(content["gnd"]) != len(content["qimlist"]):
        raise DataError(f"{path}: {len(content['gnd'])} gnd entries for {len(content['qimlist'])} queries.")
    return content


def safe_relative(path: str, source: Path) -> str:
    """A path that stays below its root.

    Raises:
        DataError: it is absolute or climbs out with ``..``.
    """
    if path.startswith(("/", "\\")) or ".." in path.replace("\\", "/").split("/") or "\0" in path or not path:
        raise DataError(f"{source}: image name {path!r} leaves the dataset's folder; the list is damaged or hostile.")
    return path


def _ids(values: Any, label: str, number: int, path: Path) -> tuple[int, ...]:
    try:
        ids = tuple(int(v) for v in values)
        exact = all(i == v for i, v in zip(ids, values, strict=True))
    except (TypeError, ValueError):
        exact = False
    if not exact:
        raise DataError(f"{path}: query {number}: {label} is not a list of image indices.")
    return ids
