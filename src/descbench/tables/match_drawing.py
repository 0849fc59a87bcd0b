"""Two images side by side with lines between places that correspond, as one drawing for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from descbench.features.images import LoadedImage

_GAP = 6
_QUALITY = 70
# Colours of lines in turn, so that neighbours can be told apart on photographs.
LINE_COLOURS = ("#ffb000", "#00d5ff", "#ff5ca8", "#7dff5c")


@dataclass(frozen=True)
class Stroke:
    """How a line is drawn: its colour, and lengths of dashes and gaps as of SVG; empty: drawn through."""

    colour: str
    dashes: str = ""


def encode_picture(pixels: np.ndarray) -> str:
    """Data address of a picture (h, w, 3) or (h, w) uint8, as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def places_in_picture(points: np.ndarray, picture: LoadedImage) -> np.ndarray:
    """(M, 2) places in a picture, whose corner is (0, 0), of points whose first pixel has its centre there."""
    return (np.asarray(points, np.float64) + 0.5) / np.array(picture.ratio)


def draw_matches(
    first: np.ndarray,
    second: np.ndarray,
    lines: np.ndarray,
    label: str,
    *,
    most: int = 60,
    strokes: Sequence[Stroke] | None = None,
) -> Markup:
    """An ``<svg>`` element that needs no other file: both pictures, and a line for each pair of places.

    Args:
        first, second: pictures (h, w, 3) or (h, w) uint8.
        lines: (m, 4) x, y in the first and x, y in the second picture, in pixels; the corner is (0, 0).
        label: what the drawing shows, in words.
        most: of more lines, so many are drawn, evenly chosen.
        strokes: of each line; None: colours in turn.

    Raises:
        ValueError: lines of another shape, places that are not finite, or another number of strokes.
    """
    if lines.ndim != 2 or lines.shape[1] != 4 or not np.isfinite(lines).all():
        raise ValueError(f"lines of shape {lines.shape}, or places that are not finite")
    if strokes is not None and len(strokes) != len(lines):
        raise ValueError(f"{len(strokes)} strokes of {len(lines)} lines")
    (high, wide), (other_high, other_wide) = first.shape[:2], second.shape[:2]
    shift, height = wide + _GAP, max(high, other_high)
    chosen = np.unique(np.linspace(0, len(lines) - 1, min(len(lines), most)).astype(np.int64)).tolist()
    parts = [
        f'<svg class="matches" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {shift + other_wide} {height}" xmlns="http://www.w3.org/2000/svg">',
        f'<image width="{wide}" height="{high}" href="{encode_picture(first)}"/>',
        f'<image x="{shift}" width="{other_wide}" height="{other_high}" href="{encode_picture(second)}"/>',
    ]
    for place, number in enumerate(chosen):
        x, y, u, v = lines[number].tolist()
        stroke = Stroke(LINE_COLOURS[place % len(LINE_COLOURS)]) if strokes is None else strokes[number]
        dashes = f' stroke-dasharray="{stroke.dashes}"' if stroke.dashes else ""
        parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{shift + u:.1f}" y2="{v:.1f}" '
            f'stroke="{stroke.colour}" stroke-width="1" stroke-opacity="0.8"{dashes}/>'
        )
    return Markup("\n".join([*parts, "</svg>"]))
