"""Mean matching accuracy over its thresholds, as a drawing: ours with its intervals, published runs beside it.

Definition: docs/protocols/hpatches_sequences.md, Mean matching accuracy; the same page, Summaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from descbench.metrics.mma import THRESHOLDS
from descbench.metrics.scores import Scores
from descbench.tables.drawings import draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (9.0, 3.4)
_OURS = "#2f7fd0"
# One colour for each source of published runs, in turn; none is that of ours.
_SOURCES = ("#e69f00", "#009e73", "#cc79a7", "#d55e00", "#8c8c8c")
_PANELS = {"_v": "v: viewpoint", "_i": "i: light", "": "avg of both"}
# Pairs of the protocol that published runs are of.
PUBLISHED_PAIRS = 540


@dataclass(frozen=True)
class PublishedRun:
    """A published run.

    Attributes:
        name: of its result in the catalogue.
        source: number of its source on the page, from 1.
        curves: by ending of the metric (``_v``, ``_i`` and empty for the mean of both), percent at each threshold.
    """

    name: str
    source: int
    curves: dict[str, tuple[float, ...]]

    @property
    def at_three(self) -> tuple[float, ...]:
        """Percent at 3 pixels, in the order of the drawing."""
        return tuple(self.curves[ending][THRESHOLDS.index(3)] for ending in _PANELS)


@dataclass(frozen=True)
class MatchingCurves:
    """A drawing for a page.

    Attributes:
        drawing: an ``<svg>`` element.
        caption: what it shows, in words.
        runs: published runs, the best at 3 pixels first.
        sources: where they were read; the first has number 1.
    """

    drawing: Markup
    caption: str
    runs: tuple[PublishedRun, ...]
    sources: tuple[str, ...]


def matching_curves(scores: Scores, figures: Sequence[Mapping[str, Any]]) -> MatchingCurves:
    """MMA at 1 to 10 pixels with 95 % intervals, one panel a kind of sequences; kinds that are not there have none.

    Published runs stand beside ours where both are of the 540 pairs of the protocol and errors are in pixels of the
    original images; they are of other settings each.

    Args:
        scores: of the family matching.
        figures: published ones of this dataset: ``result``, ``metric``, ``kind``, ``value`` in percent and ``source``
            (:func:`descbench.config.published.figures_on`). Results without all thresholds are left out.
    """
    alike = scores.num_queries == PUBLISHED_PAIRS and scores.facts["pixels"] == "original"
    runs, sources = published_runs(figures if alike else ())
    panels = {ending: title for ending, title in _PANELS.items() if scores.metrics[f"mma@3{ending}"].value is not None}
    if len(panels) == 2:  # the mean of one kind of sequences is that kind
        panels.pop("")

    def draw(figure: Figure) -> None:
        for number, (ending, title) in enumerate(panels.items(), start=1):
            axes = figure.add_subplot(1, len(panels), number)
            _draw(axes, scores, ending, runs)
            axes.set_title(title if ending or len(panels) > 1 else "all pairs", loc="left")
            axes.set_ylabel("MMA (%)" if number == 1 else "")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(panels), frameon=False)

    size = (_SIZE[0] * len(panels) / len(_PANELS), _SIZE[1])
    caption = _caption(scores, runs)
    return MatchingCurves(draw_svg("mma", caption, size, draw), caption, runs, sources)


def published_runs(figures: Sequence[Mapping[str, Any]]) -> tuple[tuple[PublishedRun, ...], tuple[str, ...]]:
    """Runs that have MMA of both kinds at all thresholds, and their sources; arguments as above.

    Of a result that was printed and stated for released weights, the latter counts. Where no mean of both kinds was
    published it is computed of them.
    """
    values: dict[str, dict[str, float]] = {}
    texts: dict[str, str] = {}
    for figure in sorted(figures, key=lambda found: found["kind"]):  # "paper" before "released"
        values.setdefault(figure["result"], {})[figure["metric"]] = figure["value"]
        texts[figure["result"]] = figure["source"]
    whole = [
        name for name in values if all(f"mma@{t}{end}" in values[name] for t in THRESHOLDS for end in ("_v", "_i"))
    ]
    sources = tuple(dict.fromkeys(texts[name] for name in whole))
    runs = [PublishedRun(name, 1 + sources.index(texts[name]), _curves(values[name])) for name in whole]
    return tuple(sorted(runs, key=lambda run: (-run.at_three[-1], run.name))), sources


def _curves(values: Mapping[str, float]) -> dict[str, tuple[float, ...]]:
    kinds = {ending: tuple(values[f"mma@{t}{ending}"] for t in THRESHOLDS) for ending in ("_v", "_i")}
    means = (values.get(f"mma@{t}", (v + i) / 2) for t, v, i in zip(THRESHOLDS, *kinds.values(), strict=True))
    return {**kinds, "": tuple(means)}


def _draw(axes: Axes, scores: Scores, ending: str, runs: Sequence[PublishedRun]) -> None:
    """One panel; published runs first, so that ours lies on them."""
    seen: set[int] = set()
    for run in sorted(runs, key=lambda run: run.source):
        label = "_" if run.source in seen else f"published, source {run.source}"
        seen.add(run.source)
        colour = _SOURCES[(run.source - 1) % len(_SOURCES)]
        axes.plot(THRESHOLDS, run.curves[ending], color=colour, linewidth=0.7, alpha=0.7, label=label)
    found = [scores.metrics[f"mma@{t}{ending}"] for t in THRESHOLDS]
    value, low, high = (
        np.array([100 * getattr(metric, key) for metric in found], float) for key in ("value", "low", "high")
    )
    axes.fill_between(THRESHOLDS, low, high, color=_OURS, alpha=0.25, linewidth=0, label="95 % interval")
    axes.plot(THRESHOLDS, value, "o-", color=_OURS, markersize=3, linewidth=1.8, label="measured here")
    axes.set(xlim=(0.7, 10.3), ylim=(0, 100), xticks=THRESHOLDS, xlabel="threshold (pixels)")


def _caption(scores: Scores, runs: Sequence[PublishedRun]) -> str:
    pixels = "original" if scores.facts["pixels"] == "original" else "reduced"
    metric = scores.metrics["mma@3"]
    parts = [
        f"Mean matching accuracy of {scores.num_queries} pairs at 1 to {THRESHOLDS[-1]} pixels of the {pixels} images. "
        f"At 3 pixels: {100 * metric.value:.1f} % ({100 * metric.low:.1f} to {100 * metric.high:.1f})."
    ]
    if runs:
        parts.append(
            f"Thin lines: {len(runs)} published runs on the same pairs, of other settings each; "
            "where no mean of both kinds was published, it is computed here."
        )
    return " ".join(parts)
