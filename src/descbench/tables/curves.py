"""Learning curves: the history of a training as a drawing for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from descbench.io.csvfiles import read_csv
from descbench.tables.drawings import INK, draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 3.8, 2.4
_SERIES = (("train_loss", "#2f7fd0", "Training loss"), ("score", "#c05f1c", "Validation score"))


@dataclass(frozen=True)
class LearningCurve:
    """A training in the report.

    Attributes:
        model: name of the trained model.
        caption: epochs, the best one, and what the curves begin and end with.
        drawing: an ``<svg>`` element.
    """

    model: str
    caption: str
    drawing: Markup


@dataclass(frozen=True)
class _Series:
    """One column of a history: ``values`` at ``epochs``, those that have one."""

    title: str
    colour: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]


def learning_curve(model: str, history: Path) -> LearningCurve:
    """The training loss and, where there was a validation, its score, each on its own scale.

    Args:
        model: name of the trained model.
        history: CSV of the training, one row an epoch.

    Raises:
        DataError: as of :func:`descbench.io.csvfiles.read_csv`.
    """
    _, rows = read_csv(history, "training history")
    best = next((int(row["epoch"]) for row in reversed(rows) if row["best"] == "1"), len(rows))
    shown = [series for described in _SERIES if (series := _series(rows, *described)).epochs]
    what = "best validation score" if any(row["score"] for row in rows) else "lowest training loss"
    count = "1 epoch" if len(rows) == 1 else f"{len(rows)} epochs, {what} in epoch {best} (dotted)"
    caption = f"Training of {model}: {count}.{''.join(_in_words(series, best) for series in shown)}"

    def draw(figure: Figure) -> None:
        for number, series in enumerate(shown, start=1):
            _draw(figure.add_subplot(1, len(shown), number), series, best, len(rows))

    size = _WIDTH * max(1, len(shown)), _HEIGHT
    return LearningCurve(model, caption, draw_svg(f"curve-{model}", caption, size, draw))


def _in_words(series: _Series, best: int) -> str:
    """First and last value of a series, and that of the epoch whose network was kept."""
    values = dict(zip(series.epochs, series.values, strict=True))
    if len(values) == 1:
        return f" {series.title}: {series.values[0]:.3g}."
    kept = f", {values[best]:.3g} in epoch {best}" if best in values and best != series.epochs[-1] else ""
    return f" {series.title}: {series.values[0]:.3g} to {series.values[-1]:.3g}{kept}."


def _series(rows: Sequence[dict[str, str]], column: str, colour: str, title: str) -> _Series:
    points = [(int(row["epoch"]), float(row[column])) for row in rows if row[column]]
    return _Series(title, colour, tuple(e for e, _ in points), tuple(v for _, v in points))


def _draw(axes: Axes, series: _Series, best: int, last: int) -> None:
    axes.axvline(best, color=INK, linestyle=":", linewidth=0.8)
    axes.plot(series.epochs, series.values, "o-", color=series.colour, markersize=3, linewidth=1.5)
    # A score that is missing for some epochs does not move the axis.
    axes.set_xlim(1 - 0.04 * last, last + 0.04 * last)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(series.title, loc="left", color=series.colour)
    axes.set_xlabel("epoch")
