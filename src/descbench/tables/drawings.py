"""Drawings inside pages: Matplotlib's figures as SVG elements, the same bytes on every machine.

Matplotlib is imported when something is drawn, because not every page holds a drawing.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Frames and words are drawn in this colour, which becomes that of the text around the drawing: light or dark.
INK = "#1c2430"
_SCALE = 1.5  # pixels a unit, at most
_LEAST = 1.2  # and where the window is narrow, so that letters of 9 units can be read
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_SETTINGS = {
    "svg.fonttype": "none",
    # Comes with Matplotlib, so that words take the same room on every machine.
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK),
}


def draw_svg(name: str, label: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> Markup:
    """An ``<svg>`` element for a page, without fixed size.

    Args:
        name: of the drawing, unique on its page; ids inside begin with it.
        label: what the drawing shows, in words.
        size: width and height in inches of 72 units; what stays empty at the edges is cut off.
        draw: draws on an empty figure. Text must be of our own: Matplotlib would set formulas in it.
    """
    with _settings(name):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure, stream = Figure(figsize=size, layout="constrained"), io.BytesIO()
        draw(figure)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_figure(
            stream, format="svg", bbox_inches="tight", pad_inches=0.05, metadata=nothing
        )
    return Markup(_embedded(stream.getvalue(), name, label))


@contextmanager
def _settings(name: str) -> Iterator[None]:
    """Matplotlib's own defaults and ours, whatever the user's matplotlibrc says, and nothing of it in the log.

    Where the home folder cannot be written, Matplotlib keeps its list of fonts in a temporary folder and warns.
    """
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import matplotlib

        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update({**_SETTINGS, "svg.hashsalt": name})
            yield
    finally:
        logger.setLevel(level)


def _embedded(drawing: bytes, name: str, label: str) -> str:
    """A drawing of Matplotlib as an element of a page that may hold several."""
    root = ElementTree.fromstring(drawing)
    # Its style sheet would be that of the whole page.
    for definitions in root.findall(f"{{{_SVG}}}defs"):
        for sheet in definitions.findall(f"{{{_SVG}}}style"):
            definitions.remove(sheet)
    # Letters of narrow drawings are not larger than those of wide ones, and these are scrolled where there is no room.
    width = float(root.attrib["viewBox"].split()[2])
    sizes = f"--widest: {_SCALE * width:.0f}px; --least: {_LEAST * width:.0f}px"
    shape = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label, "style": sizes}
    root.attrib = {**shape, "stroke-linejoin": "round", "stroke-linecap": "butt"}
    for element in list(root.iter())[1:]:
        _say_once(element)
        attributes = {key.removeprefix(f"{{{_XLINK}}}"): value for key, value in element.attrib.items()}
        element.attrib = {key: _localised(key, value, name) for key, value in attributes.items()}
    for element in root.iter():
        element.tail = None
    ElementTree.indent(root, "")
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _localised(key: str, value: str, name: str) -> str:
    """An attribute whose ids are of this drawing alone, and whose ink is the page's."""
    if key == "id":
        return f"{name}-{value}"
    if key in ("href", "clip-path"):
        return value.replace("#", f"#{name}-")
    return value.replace(INK, "currentColor")


def _say_once(group: ElementTree.Element) -> None:
    """Give a group the style that all its marks repeat: a map has thousands."""
    marks = group.findall(f"{{{_SVG}}}use")
    styles = {mark.get("style", "") for mark in marks}
    if len(styles) == 1 and len(marks) == len(group):
        group.set("style", styles.pop())
        for mark in marks:
            mark.attrib.pop("style", None)
