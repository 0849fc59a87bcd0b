"""HPatches sequences against what HNDesc's evaluation gave (docs/protocols/hpatches_sequences.md, What was checked)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from goldens import golden_files

from descbench.choices.matches import MatchedResults, mean_over_pairs, without_large
from descbench.matching.homography import count_inliers, estimate_homography
from descbench.matching.matcher import MatchSettings, match_descriptors
from descbench.metrics.homography_accuracy import (
    FIXED_SIZE,
    corner_error,
    fixed_corner_error,
    image_corners,
    matching_score,
    scaled_homography,
)
from descbench.metrics.matched_pairs import MatchedPair
from descbench.metrics.mma import match_errors, matching_accuracy, warp
from descbench.metrics.score_matches import MatchScoring

EXACT = 1e-9
# Float32 keypoints and another order of sums, in pixels; and where another release of OpenCV draws other samples.
CORNER = 1e-3
RESULTS = golden_files("hpatches_sequences", "*results*.json")
IMAGES = range(2, 7)


class Golden:
    """Results, and the sequences that lie beside them under the same name."""

    def __init__(self, path: Path) -> None:
        self.expected: dict[str, Any] = json.loads(path.read_text())
        with np.load(path.with_name(path.name.replace("results", "sequences")).with_suffix(".npz")) as found:
            self.arrays = dict(found)
        self.names = [name for name in self.expected["sequences"] if name not in self.expected["excluded"]]

    def pairs(self, kind: str = "") -> list[tuple[str, int]]:
        return [(name, k) for name in self.names if name.startswith(kind) for k in IMAGES]

    def of(self, name: str, k: int, what: str) -> np.ndarray:
        return self.arrays[f"{name}_{k}_{what}"]

    def size(self, name: str, k: int) -> tuple[int, int]:
        height, width = self.of(name, k, "hw").tolist()
        return width, height

    def matched(self, name: str, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Places of the matches in both images."""
        found = match_descriptors(self.of(name, 1, "desc"), self.of(name, k, "desc")).indices
        return self.of(name, 1, "kpts")[found[:, 0]], self.of(name, k, "kpts")[found[:, 1]]

    def fixed(self, name: str, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints as in an image of 640 x 480, and descriptors."""
        scale = (np.array(FIXED_SIZE) / self.size(name, k)).astype(np.float32)
        return self.of(name, k, "kpts") * scale, self.of(name, k, "desc")

    def fixed_homography(self, name: str, k: int) -> np.ndarray:
        sizes = self.size(name, 1), self.size(name, k)
        return scaled_homography(self.of(name, k, "H"), sizes, (FIXED_SIZE, FIXED_SIZE))


@pytest.fixture(scope="module", params=RESULTS, ids=lambda path: path.stem)
def golden(request) -> Golden:
    return Golden(request.param)


def test_matches(golden):
    for name, k in golden.pairs():
        first, second = golden.matched(name, k)
        np.testing.assert_array_equal(first, golden.of(name, k, "match_a"))
        np.testing.assert_array_equal(second, golden.of(name, k, "match_b"))
    for kind, counts in golden.expected["n_matches"].items():
        assert [len(golden.matched(name, k)[0]) for name, k in golden.pairs(f"{kind}_")] == counts


def test_matching_accuracy(golden):
    thresholds = [float(t) for t in golden.expected["mma"]]
    kinds = {}
    for kind in "vi":
        rows = []
        for name, k in golden.pairs(f"{kind}_"):
            errors = match_errors(*golden.matched(name, k), golden.of(name, k, "H"))
            rows.append(matching_accuracy(errors, thresholds))
            # At 1, 2 and so on.
            expected = golden.expected["per_pair"][f"{name}_{k}"]["mma"]
            found = matching_accuracy(errors, range(1, len(expected) + 1))
            np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT)
        kinds[kind] = np.array(rows)
    for column, expected in enumerate(golden.expected["mma"].values()):
        v, i = (kinds[kind][:, column] for kind in "vi")
        found = {"v": v.mean(), "i": i.mean(), "avg_macro": (v.mean() + i.mean()) / 2}
        found["avg_micro_d2net"] = np.concatenate([v, i]).mean()
        assert found == pytest.approx(expected, rel=0, abs=EXACT)


def test_choices_of_scoring(golden):
    """All sequences without the large ones are those that were scored, and their mean over pairs is that of D2-Net."""
    pairs = []
    for name in golden.expected["sequences"]:
        for k in IMAGES:
            sizes = golden.size(name, 1), golden.size(name, k)
            points, counts = golden.matched(name, k), (len(golden.of(name, 1, "desc")), len(golden.of(name, k, "desc")))
            scores = np.ones(len(points[0]), np.float32)
            paths = f"{name}/1.ppm", f"{name}/{k}.ppm"
            pairs.append(MatchedPair(*paths, (0, k), golden.of(name, k, "H"), points, scores, counts, sizes))
    every = MatchedResults(pairs, None, MatchScoring(), MatchSettings())
    kept = MatchedResults(
        [pair for pair in pairs if pair.sequence in golden.names], None, MatchScoring(), MatchSettings()
    )
    means = mean_over_pairs(kept)
    without = without_large(every) if golden.expected["excluded"] else {}
    known = {threshold: mma for threshold, mma in golden.expected["mma"].items() if f"mma@{threshold}" in means}
    assert known
    for threshold, expected in known.items():
        assert means[f"mma@{threshold}"] == pytest.approx(expected["avg_micro_d2net"], rel=0, abs=EXACT)
        if golden.expected["excluded"]:
            assert without[f"mma@{threshold}"] == pytest.approx(expected["avg_macro"], rel=0, abs=EXACT)


def corner_errors(golden: Golden, kind: str) -> list[float]:
    found = []
    for name, k in golden.pairs(kind):
        sizes = golden.size(name, 1), golden.size(name, k)
        estimated = estimate_homography(*golden.matched(name, k)).matrix
        found.append(corner_error(estimated, golden.of(name, k, "H"), image_corners(*sizes)))
    return found


def test_homography_accuracy(golden):
    if cv2.__version__ == golden.expected["opencv"]:
        for (name, k), error in zip(golden.pairs(), corner_errors(golden, ""), strict=True):
            expected = golden.expected["per_pair"][f"{name}_{k}"]["corner_error"]
            assert error == pytest.approx(expected, rel=0, abs=CORNER), (name, k)
    for threshold, expected in golden.expected["homography"].items():
        for kind, prefix in (("v", "v_"), ("i", "i_"), ("total", "")):
            right = [error < float(threshold) for error in corner_errors(golden, prefix)]
            # By one pair with another release of OpenCV, or an error within rounding of the threshold.
            assert abs(np.mean(right) - expected[kind]) <= 1 / len(right) + EXACT


def test_homography_at_fixed_size(golden):
    for threshold, expected in golden.expected["homography_640x480"].items():
        for kind, prefix in (("v", "v_"), ("i", "i_"), ("total", "")):
            errors = [
                fixed_corner_error(golden.fixed(name, 1), golden.fixed(name, k), golden.fixed_homography(name, k))
                for name, k in golden.pairs(prefix)
            ]
            right = [error <= float(threshold[1:]) for error in errors]
            assert abs(np.mean(right) - expected[kind]) <= 1 / len(right) + EXACT


def test_matching_score(golden):
    expected = golden.expected["matching_score_640x480"]
    every = []
    for kind in "vi":
        found = [
            matching_score(golden.fixed(name, 1), golden.fixed(name, k), golden.fixed_homography(name, k))
            for name, k in golden.pairs(f"{kind}_")
        ]
        np.testing.assert_allclose(found, expected[f"{kind}_all"], rtol=0, atol=EXACT)
        assert np.mean(found) == pytest.approx(expected[kind], abs=EXACT)
        every += found
    assert np.mean(every) == pytest.approx(expected["total"], abs=EXACT)


@pytest.mark.parametrize("path", golden_files("hpatches_sequences", "*homography*.npz"), ids=lambda path: path.stem)
def test_scaled_homographies_and_points(path):
    """``pre`` scales the second image from 500 x 700 to 640 x 480, ``post`` the first from 800 x 600."""
    with np.load(path) as found:
        same = (7, 9)
        pre = scaled_homography(found["H"], (same, (500, 700)), (same, (640, 480)))
        np.testing.assert_allclose(pre, found["pre"], rtol=0, atol=EXACT)
        post = scaled_homography(found["H"], ((800, 600), same), ((640, 480), same))
        np.testing.assert_allclose(post, found["post"], rtol=0, atol=EXACT)
        np.testing.assert_allclose(warp(found["warp_in"], found["H"]), found["warp_out"], rtol=0, atol=EXACT)


MATCHING = golden_files("hndesc", "matching*.npz")


@pytest.mark.parametrize("path", MATCHING, ids=lambda path: path.stem)
def test_mutual_nearest_neighbours(path):
    with np.load(path) as found:
        arrays = dict(found)
    cases = [name.removeprefix("matches") for name in arrays if name.startswith("matches")]
    assert cases
    for case in cases:
        number, _, limit = case.partition("_thr")
        settings = MatchSettings(max_distance=float(limit) if limit else None)
        matches = match_descriptors(arrays[f"a{number}"], arrays[f"b{number}"], settings).indices
        np.testing.assert_array_equal(matches, arrays[f"matches{case}"])


@pytest.mark.parametrize("path", MATCHING, ids=lambda path: path.stem)
def test_inliers_of_a_pair(path):
    with np.load(path) as arrays:
        if "inl_count" not in arrays:
            pytest.skip(f"{path.name} has no inliers of a pair; nothing to compare")
        matches = match_descriptors(arrays["inl_desc_a"], arrays["inl_desc_b"]).indices
        places = []
        for column, image in enumerate("ab"):
            ratio = (arrays[f"inl_orig_{image}"] / arrays[f"inl_new_{image}"]).astype(np.float32)
            points = (arrays[f"inl_kpts_{image}"][matches[:, column]] + np.float32(0.5)) * ratio - np.float32(0.5)
            np.testing.assert_allclose(points, arrays[f"inl_pos_{image}"], rtol=0, atol=1e-3)
            places.append(points)
        assert math.isclose(count_inliers(*places), int(arrays["inl_count"]), abs_tol=1)
