"""Ground truth as the retrieval benchmarks store it: imlist, qimlist, gnd.

Definition: docs/protocols/revisitop.md, Ground truth.

Light on purpose: the workflow reads a user's own ground truth when it plans the shards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from descbench.datasets.ground_truth import LABELS, GroundTruth
from descbench.errors import DataError

Box = tuple[float, float, float, float]


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
        if not isinstance(labels, Mapping):
            raise DataError(f"{path}: query {number}: no mapping of labels but {_shown(labels)}.")
        missing = [label for label in LABELS[protocol] if label not in labels and label != "junk"]
        if missing:
            raise DataError(f"{path}: query {number} has no {', '.join(missing)}; not of protocol {protocol}.")
        foreign = [label for other in LABELS.values() for label in other if label not in LABELS[protocol]]
        mixed = [label for label in foreign if label in labels]
        if mixed:
            raise DataError(
                f"{path}: query {number} has {', '.join(mixed)}, not a label of protocol {protocol}; give every "
                "query the labels of one protocol."
            )
        what = f"query {number}: {{}}"
        queries.append({label: indices(labels.get(label, ()), what.format(label), path) for label in LABELS[protocol]})
    return GroundTruth(protocol, tuple(queries))


def parse_box(labels: Mapping[str, Any], number: int, path: Path) -> Box | None:
    """Crop of a query in pixels, or None; a box may reach beyond the image, but must have an area.

    Raises:
        DataError: not four numbers, or no area.
    """
    box = labels.get("bbx") if isinstance(labels, Mapping) else None
    if box is None:
        return None
    try:
        # Text is refused although Python could read numbers from it.
        x1, y1, x2, y2 = (math.nan if isinstance(v, str) else float(v) for v in box)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: query {number}: bbx {_shown(box)} is not [x1, y1, x2, y2].") from None
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise DataError(f"{path}: query {number}: bbx {_shown(box)} is not [x1, y1, x2, y2] in numbers.")
    if not (x1 < x2 and y1 < y2):
        raise DataError(f"{path}: query {number}: bbx {[x1, y1, x2, y2]} has no area; x1 < x2 and y1 < y2 are needed.")
    return x1, y1, x2, y2


def check_benchmark(content: Any, path: Path) -> dict[str, Any]:
    """imlist and qimlist as lists of safe names, and one gnd entry per query.

    Raises:
        DataError: something else.
    """
    wanted = ("imlist", "qimlist", "gnd")
    if not isinstance(content, Mapping) or any(key not in content for key in wanted):
        raise DataError(f"{path}: no retrieval ground truth; keys {', '.join(wanted)} are needed.")
    lists = {key: as_list(content[key], key, path) for key in wanted}
    for key in ("imlist", "qimlist"):
        if not lists[key]:
            raise DataError(f"{path}: {key} is empty; images that are searched and queries are both needed.")
    if len(lists["gnd"]) != len(lists["qimlist"]):
        raise DataError(f"{path}: {len(lists['gnd'])} gnd entries for {len(lists['qimlist'])} queries.")
    return lists | {key: [safe_relative(name, path) for name in lists[key]] for key in ("imlist", "qimlist")}


def as_list(value: Any, what: str, path: Path) -> list[Any]:
    """A list, tuple or one-dimensional array as a list.

    Raises:
        DataError: anything else, text included.
    """
    if isinstance(value, list | tuple):
        return list(value)
    # A numpy array, without importing numpy.
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):
        return value.tolist()
    raise DataError(f"{path}: {what} is not a list but {_shown(value)}; the file is damaged or another one.")


def indices(values: Any, what: str, path: Path) -> tuple[int, ...]:
    """Whole numbers from a list or array; 2.0 counts as 2, as arrays of the originals are sometimes floats.

    Raises:
        DataError: no list, or something in it is not a whole number.
    """
    listed = as_list(values, what, path)
    try:
        numbers = tuple(int(v) for v in listed)
        # Python takes True for 1.
        exact = all(n == v and not isinstance(v, bool) for n, v in zip(numbers, listed, strict=True))
    except (TypeError, ValueError, OverflowError):
        exact = False
    if not exact:
        raise DataError(f"{path}: {what} is not a list of whole numbers: {_shown(listed)}.")
    return numbers


def safe_relative(name: Any, source: Path) -> str:
    """A path that stays below its root.

    Raises:
        DataError: it is not text, empty, absolute or climbs out with ``..``.
    """
    if not isinstance(name, str):
        raise DataError(f"{source}: image name {_shown(name)} is not text; the list is damaged or another one.")
    if not name or name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or "\0" in name:
        raise DataError(f"{source}: image name {name!r} leaves the dataset's folder; the list is damaged or hostile.")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise DataError(f"{source}: image name {name!r} is not valid Unicode; rename the file.")
    return str(name)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
