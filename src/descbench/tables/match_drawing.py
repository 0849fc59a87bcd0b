"""Two images side by side with lines between places that correspond, as one drawing for a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

_GAP = 6
_QUALITY = 70
# Colours of lines in turn, so that neighbours can be told apart on photographs.
_COLOURS = ("#ffb000", "#00d5ff", "#ff5ca8", "#7dff5c")


def encode_picture(pixels: np.ndarray) -> str:
    """Data address of a picture (h, w, 3) or (h, w) uint8, as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def draw_matches(first: np.ndarray, second: np.ndarray, lines: np.ndarray, label: str, *, most: int = 60) -> Markup:
    """An ``<svg>`` element that needs no other file: both pictures, and a line for each pair of places.

    Args:
        first, second: pictures (h, w, 3) or (h, w) uint8.
        lines: (m, 4) x, y in the first and x, y in the second picture, in pixels; the corner is (0, 0).
        label: what the drawing shows, in words.
        most: of more lines, so many are drawn, evenly chosen.

    Raises:
        ValueError: lines of another shape, or places that are not finite.
    """
    if lines.ndim != 2 or lines.shape[1] != 4 or not np.isfinite(lines).all():
        raise ValueError(f"lines of shape {lines.shape}, or places that are not finite")
    (high, wide), (other_high, other_wide) = first.shape[:2], second.shape[:2]
    shift, height = wide + _GAP, max(high, other_high)
    chosen = lines[np.unique(np.linspace(0, len(lines) - 1, min(len(lines), most)).astype(np.int64))]
    parts = [
        f'<svg class="matches" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {shift + other_wide} {height}" xmlns="http://www.w3.org/2000/svg">',
        f'<image width="{wide}" height="{high}" href="{encode_picture(first)}"/>',
        f'<image x="{shift}" width="{other_wide}" height="{other_high}" href="{encode_picture(second)}"/>',
    ]
    for number, (x, y, u, v) in enumerate(chosen.tolist()):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{shift + u:.1f}" y2="{v:.1f}" '
            f'stroke="{colour}" stroke-width="1" stroke-opacity="0.8"/>'
        )
    return Markup("\n".join([*parts, "</svg>"]))
