"""Two images of one's own matched in one call: places, inliers, the page, and what is refused."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from own_images import set_up
from PIL import Image

import descbench
from descbench.cli import main
from descbench.errors import ConfigError, DataError
from descbench.matching.homography import EstimatedHomography
from descbench.tables import pair_page

SHIFT = (12, 5)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two windows of one picture, the second further right and down, in two folders."""
    monkeypatch.chdir(tmp_path)
    set_up(tmp_path, images=0)
    squares = np.random.default_rng(0).integers(0, 255, (20, 20), dtype=np.uint8)
    picture = Image.fromarray(squares).resize((220, 220), Image.Resampling.BICUBIC)
    (tmp_path / "a").mkdir()
    picture.crop((0, 0, 200, 200)).save(tmp_path / "a/one.png")
    picture.crop((SHIFT[0], SHIFT[1], 200 + SHIFT[0], 200 + SHIFT[1])).save(tmp_path / "two.png")
    return tmp_path


def test_a_shift_is_found(place):
    found = descbench.match_pair("a/one.png", place / "two.png", "sift")
    assert len(found.scores) == len(found.first) == len(found.second) == len(found.inliers) > 50
    assert found.inliers.mean() > 0.8
    moved = found.first - found.second
    assert np.abs(moved[found.inliers] - SHIFT).max() < 3
    assert np.allclose(found.homography, [[1, 0, -SHIFT[0]], [0, 1, -SHIFT[1]], [0, 0, 1]], atol=0.5)
    assert min(found.features) >= len(found.scores)


def test_the_command_and_its_page(place, capsys):
    assert main(["match", "a/one.png", "two.png", "--method", "sift", "--html", "p/out.html"]) == 0
    told = capsys.readouterr().out
    matches, inliers = (int(re.search(rf"(\d+) {word}", told)[1]) for word in ("matches", "inliers"))
    page = Path("p/out.html").read_text()
    assert f"{matches} matches by sift, of which {inliers} are inliers" in page
    assert page.count("data:image/jpeg") == 2
    drawing = page[page.index("<svg") : page.index("</svg>")]
    assert matches <= 150  # all are drawn
    assert (drawing.count("<line "), drawing.count("stroke-dasharray")) == (matches, matches - inliers)
    assert f"</svg>inlier: {inliers}" in page
    assert f"</svg>no inlier: {matches - inliers}" in page


def test_all_inliers_are_drawn(place, monkeypatch):
    """Of many lines those of others are left out, evenly."""
    found = descbench.match_pair("a/one.png", "two.png", "sift")
    inliers, others = int(found.inliers.sum()), int((~found.inliers).sum())
    assert others >= 2
    monkeypatch.setattr(pair_page, "_DRAWN", inliers + others // 2)
    descbench.match_pair("a/one.png", "two.png", "sift", html="out.html")
    page = Path("out.html").read_text()
    assert f"{inliers + others // 2} of {inliers + others} lines are drawn, inliers first" in page
    drawing = page[page.index("<svg") : page.index("</svg>")]
    assert drawing.count("stroke-dasharray") == others // 2
    assert drawing.count("<line ") == inliers + others // 2
    # They lie on top.
    assert "stroke-dasharray" not in drawing[drawing.rindex("stroke-dasharray") + 1 :]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_fewer_than_four_inliers_are_no_homography(place, monkeypatch, count):
    """Estimators may leave fewer than they fitted, once they have refined what they found."""

    def few(first, _second, _settings):
        return EstimatedHomography(np.eye(3), np.arange(len(first)) < count)

    monkeypatch.setattr(descbench.direct.match_pair, "estimate_homography", few)
    found = descbench.match_pair("a/one.png", "two.png", "sift")
    assert (found.homography is None) == (count < 4)
    assert found.inliers.sum() == (0 if count < 4 else count)


def test_no_photograph_is_replaced_by_a_page(place):
    before = Path("two.png").read_bytes()
    with pytest.raises(ConfigError, match=r"html: two\.png does not end in \.html"):
        descbench.match_pair("a/one.png", "two.png", "sift", html="two.png")
    assert Path("two.png").read_bytes() == before


def test_what_cannot_be_matched(place):
    other = place / os.fsdecode(b"t\xff.png")
    other.write_bytes(Path("two.png").read_bytes())
    with pytest.raises(DataError, match="not valid Unicode; rename the file"):
        descbench.match_pair("two.png", other, "sift")
    blank, damaged = place / "blank.png", place / "damaged.png"
    Image.new("L", (64, 64)).save(blank)
    damaged.write_bytes(b"no image")
    found = descbench.match_pair("two.png", blank, "sift")
    assert (len(found.scores), found.homography, found.features[1]) == (0, None, 0)
    for arguments, error, message in (
        (("two.png", "gone.png", "sift"), DataError, "gone.png: no such image"),
        (("two.png", damaged, "sift"), DataError, "damaged.png"),
        (("two.png", "a/one.png", "whole"), ConfigError, "'whole' matches no features; name a method of sift"),
        (("two.png", "a/one.png", "sitf"), ConfigError, "there is no method 'sitf'; close names: sift"),
    ):
        with pytest.raises(error, match=message):
            descbench.match_pair(*arguments)
