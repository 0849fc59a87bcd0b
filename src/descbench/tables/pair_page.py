"""A page of two matched images: lines between the features that match, and which of them one homography explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from descbench.features.images import load_image
from descbench.tables.match_drawing import Stroke, draw_matches, places_in_picture
from descbench.tables.pages import write_page

_PICTURE = 480
_DRAWN = 150


@dataclass(frozen=True)
class _Kind:
    """Matches that are drawn alike."""

    label: str
    stroke: Stroke


_KINDS = (_Kind("inlier", Stroke("#00d5ff")), _Kind("no inlier", Stroke("#ff4d6d", "2 3")))


def show_pair(
    images: tuple[Path, Path],
    points: tuple[np.ndarray, np.ndarray],
    inliers: np.ndarray,
    output: Path,
    *,
    title: str,
    rule: str,
    reading: Mapping[str, Any],
) -> None:
    """Write a page that needs no other file.

    Args:
        images: both files.
        points: (M, 2) places of matches in both, in pixels; the first pixel has its centre at (0, 0).
        inliers: (M,) bool.
        output: the page (HTML).
        title, rule: heading, and a sentence on what was matched how.
        reading: ``reading_options`` of the features block, so that pictures are read as they were.

    Raises:
        DataError: an image that cannot be read, or a page that cannot be written.
    """
    pictures = [load_image(path, _PICTURE, **reading) for path in images]
    order = _choose(inliers)
    lines = np.column_stack([places_in_picture(*found) for found in zip(points, pictures, strict=True)])[order]
    strokes = [_KINDS[0 if inlier else 1].stroke for inlier in inliers[order].tolist()]
    counts = int(inliers.sum()), int((~inliers).sum())
    caption = f"{images[0].name} and {images[1].name}"
    caption += f"; {len(lines)} of {len(inliers)} lines are drawn, inliers first" if len(lines) < len(inliers) else ""
    label = f"{caption}: {counts[0]} inliers of {sum(counts)} matches"
    drawing = draw_matches(*(p.pixels for p in pictures), lines, label, most=_DRAWN, strokes=strokes)
    shown = {"title": title, "rule": rule, "drawing": drawing, "caption": caption, "kinds": _KINDS, "counts": counts}
    write_page(output, "pair.html.jinja", **shown)


def _choose(inliers: np.ndarray) -> np.ndarray:
    """Matches whose lines are drawn: inliers, which come last and so lie on top, and evenly chosen others."""
    kinds = []
    for kind in (np.flatnonzero(inliers), np.flatnonzero(~inliers)):
        left = min(len(kind), _DRAWN - sum(map(len, kinds)))
        kinds.append(kind[np.linspace(0, len(kind) - 1, left).astype(np.int64)])
    return np.concatenate(kinds[::-1])
