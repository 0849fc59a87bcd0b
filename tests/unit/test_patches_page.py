"""The page of confused pairs of patches: which are shown, in which order, with which pictures."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from drawn_patches import draw_patches
from PIL import Image

from descbench.datasets.patch_sets import ALL, PatchLabels, PatchSource, read_patches, write_patches
from descbench.errors import DataError, StaleFileError
from descbench.features.patch_descriptors import Maker, write_descriptors
from descbench.metrics.fpr95 import fooled_pairs, threshold
from descbench.tables.patches_page import show_patches

# Distances of 20 right pairs, of which the last is missed, then of 4 wrong ones, of which two pass.
RIGHT = [*(0.1 * (1 + number) for number in range(19)), 9.0]
WRONG = [5.0, 0.7, 7.0, 0.3]


def make(folder: Path, right: list[float] = RIGHT, wrong: list[float] = WRONG) -> tuple[Path, Path, np.ndarray]:
    """A part whose pair k is of patches 2 k and 2 k + 1, with descriptors at these distances."""
    distances = np.array([*right, *wrong])
    count = 2 * len(distances)
    patches = draw_patches(2, count, 1)
    points = np.arange(count) // 2
    points[2 * len(right) :] = np.arange(2 * len(right), count)
    matches = np.repeat([1, 0], [len(right), len(wrong)]).astype(np.uint8)
    labels = PatchLabels(points, np.zeros(count, np.int64), (ALL,), np.arange(count).reshape(-1, 2), matches)
    write_patches(PatchSource(labels, 64, iter([patches])), "set", "quay", folder / "quay.h5")
    rows = np.zeros((count, 2), np.float32)
    rows[1::2, 0] = distances
    write_descriptors(read_patches(folder / "quay.h5"), Maker("x", 2, "y"), iter([rows]), folder / "d.h5")
    return folder / "quay.h5", folder / "d.h5", patches


def show(folder: Path, patches: Path, descriptors: Path, **changes: int) -> str:
    show_patches([patches], [descriptors], "L2", folder / "p.html", method="<m>", patch_set="s", **changes)
    return (folder / "p.html").read_text()


def test_pairs_in_order_side_by_side(tmp_path):
    path, descriptors, patches = make(tmp_path)
    page = show(tmp_path, path, descriptors)
    assert "<title>&lt;m&gt; on s</title>" in page
    assert "95 % of the 20 right pairs are at most 1.9 apart. So are 2 of the 4 wrong pairs (50.00 %); 1 right" in page
    assert re.findall(r"([0-9.]+) apart<br/>pair (\d+): patches (\d+) and (\d+)", page) == [
        ("0.3", "23", "46", "47"),
        ("0.7", "21", "42", "43"),
        ("9", "19", "38", "39"),
    ]
    pictures = [base64.b64decode(text) for text in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert len(pictures) == 6
    for picture, patch in zip(pictures, (46, 47, 42, 43, 38, 39), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(picture))), patches[patch])


def test_so_many_pairs(tmp_path):
    page = show(tmp_path, *make(tmp_path)[:2], pairs=1)
    assert re.findall(r"pair (\d+):", page) == ["23", "19"]


def test_pairs_without_pictures_are_listed(tmp_path, monkeypatch):
    paths = make(tmp_path, RIGHT, [*WRONG, 0.9])[:2]
    listed = r'<tr><th scope="row">(\d+)</th><td>(\d+), (\d+)</td><td>(.*?)</td></tr>'
    assert "without pictures" not in show(tmp_path, *paths)
    page = show(tmp_path, *paths, pairs=1)
    assert re.findall(listed, page) == [("21", "42", "43", "0.7"), ("24", "48", "49", "0.9")]
    assert "<summary>2 more without pictures</summary>" in page
    monkeypatch.setattr("descbench.tables.patches_page.ROOM", 200)
    page = show(tmp_path, *paths, pairs=1)
    assert re.findall(listed, page) == [("21", "42", "43", "0.7")]
    assert "1 more without pictures; another 1 would make the page larger than 5 MB" in page


def test_nothing_confused(tmp_path):
    page = show(tmp_path, *make(tmp_path, [0.1], [3.0])[:2])
    assert "No wrong pair passes." in page
    assert "No right pair is missed." in page


def test_threshold_is_that_of_the_scores():
    random = np.random.default_rng(0)
    distances, matches = random.integers(0, 30, 200).astype(float), random.integers(0, 2, 200)
    limit, passed = threshold(distances, matches)
    np.testing.assert_array_equal(passed[matches == 0], fooled_pairs(distances, matches)[matches == 0] == 1)
    assert passed[matches == 1].sum() == -(-95 * matches.sum() // 100)
    assert limit == distances[passed].max()


def test_what_is_refused(tmp_path):
    _, descriptors, _ = make(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(StaleFileError, match=r"d\.h5: describes other patches"):
        show(tmp_path, make(other, RIGHT[:5])[0], descriptors)
    with pytest.raises(DataError, match="part quay: 20 of 20 test pairs match"):
        show(tmp_path, *make(other, RIGHT, [])[:2])
