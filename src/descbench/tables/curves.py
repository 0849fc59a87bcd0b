"""Learning curves: the history of a training as a small SVG drawing inside the report."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from descbench.io.csvfiles import read_csv

_WIDTH, _HEIGHT, _MARGIN = 560, 180, 40
_LINES = (("train_loss", "#2459a8", "training loss"), ("score", "#b3541e", "validation score"))


def learning_curve(model: str, history: Path) -> str:
    """A figure with the training loss and, where there was a validation, its score, each on its own scale.

    Args:
        model: name of the trained model.
        history: CSV of the training, one row an epoch.
    """
    _, rows = read_csv(history, "training history")
    best = next((int(row["epoch"]) for row in reversed(rows) if row["best"] == "1"), len(rows))
    drawn = [_line(rows, *line) for line in _LINES]
    x = _x(best, len(rows))
    marks = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="10" y2="{_HEIGHT - 30}" stroke="#9aa4b1" stroke-dasharray="3 3"/>'
    return (
        f'<figure id="training-{escape(model)}"><figcaption>Training of {escape(model)}: {len(rows)} epochs, best '
        f'{best}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" '
        f'aria-label="learning curve of {escape(model)}">{marks}{"".join(drawn)}</svg></figure>'
    )


def _line(rows: Sequence[dict[str, str]], column: str, colour: str, label: str) -> str:
    points = [(int(row["epoch"]), float(row[column])) for row in rows if row[column]]
    if not points:
        return ""
    low, high = min(value for _, value in points), max(value for _, value in points)
    span = (high - low) or 1.0
    places = [(_x(epoch, len(rows)), 20 + (high - value) / span * (_HEIGHT - 70)) for epoch, value in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places)
    at = 0 if column == "train_loss" else _WIDTH / 2
    text = f"{label}: {points[0][1]:.3g} to {points[-1][1]:.3g}"
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>{dots}'
        f'<text x="{at + 10}" y="{_HEIGHT - 8}" fill="{colour}" font-size="13">{escape(text)}</text>'
    )


def _x(epoch: int, epochs: int) -> float:
    return _MARGIN + (epoch - 1) / max(epochs - 1, 1) * (_WIDTH - 2 * _MARGIN)
