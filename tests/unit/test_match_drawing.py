"""Two pictures with lines: places, numbers of lines, and what is refused."""

from xml.etree import ElementTree

import numpy as np
import pytest

from descbench.tables.match_drawing import Stroke, draw_matches

FIRST, SECOND = np.zeros((40, 60, 3), np.uint8), np.full((50, 30), 200, np.uint8)
LINES = np.array([[1.0, 2.0, 3.0, 4.0], [59.5, 39.5, 29.5, 49.5]])
SVG = "{http://www.w3.org/2000/svg}"


def test_lines_join_both_pictures():
    drawing = ElementTree.fromstring(draw_matches(FIRST, SECOND, LINES, "a <label> & more"))
    assert drawing.get("aria-label") == "a <label> & more"
    assert drawing.get("viewBox") == "0 0 96 50"
    one, other = drawing.findall(f"{SVG}image")
    assert (one.get("width"), one.get("height"), one.get("x")) == ("60", "40", None)
    assert (other.get("width"), other.get("height"), other.get("x")) == ("30", "50", "66")
    assert all(image.get("href").startswith("data:image/jpeg;base64,") for image in (one, other))
    ends = [[float(line.get(name)) for name in ("x1", "y1", "x2", "y2")] for line in drawing.findall(f"{SVG}line")]
    assert ends == [[1, 2, 69, 4], [59.5, 39.5, 95.5, 49.5]]


def test_of_many_lines_some_are_drawn():
    lines = np.tile(np.arange(200.0)[:, None], 4)
    drawing = ElementTree.fromstring(draw_matches(FIRST, SECOND, lines, "many", most=5))
    assert [float(line.get("x1")) for line in drawing.findall(f"{SVG}line")] == [0, 49, 99, 149, 199]
    assert len(ElementTree.fromstring(draw_matches(FIRST, SECOND, lines[:0], "none")).findall(f"{SVG}line")) == 0


def test_each_line_has_its_own_stroke():
    strokes = [Stroke("#ff0000"), Stroke("#00ff00", "5 3")]
    drawing = ElementTree.fromstring(draw_matches(FIRST, SECOND, LINES, "strokes", strokes=strokes))
    found = [(line.get("stroke"), line.get("stroke-dasharray")) for line in drawing.findall(f"{SVG}line")]
    assert found == [("#ff0000", None), ("#00ff00", "5 3")]
    with pytest.raises(ValueError, match="1 strokes of 2 lines"):
        draw_matches(FIRST, SECOND, LINES, "strokes", strokes=strokes[:1])


@pytest.mark.parametrize("lines", [LINES[:, :3], LINES[0], LINES * np.nan])
def test_what_is_no_line_is_refused(lines):
    with pytest.raises(ValueError, match="lines of shape"):
        draw_matches(FIRST, SECOND, lines, "broken")
