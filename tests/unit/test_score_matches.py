"""Scores of matches: errors of points and corners, estimators, summaries, and the stage on images without anything."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from descbench.datasets.image_pairs import Homography, ImagePair, write_image_pairs
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.errors import DataError, StaleFileError
from descbench.features.images import read_size
from descbench.features.store import ShardInfo, ShardWriter
from descbench.matching.homography import HomographySettings, count_inliers, estimate_homography
from descbench.matching.match_features import PairShard, match_features
from descbench.matching.matcher import MatchSettings
from descbench.metrics.homography_accuracy import corner_error, image_corners, matching_score
from descbench.metrics.matched_pairs import MatchedFiles, MatchedPair, read_matched_pairs
from descbench.metrics.mma import match_errors, matching_accuracy, warp
from descbench.metrics.score_matches import MatchScoring, PairScore, _warnings, pair_errors, score_matches, summarise
from descbench.metrics.scores import read_scores

TILT = np.array([[1.1, 0.02, 5.0], [-0.03, 0.95, -2.0], [1e-4, 2e-5, 1.0]])
ESTIMATORS = ("ransac", "usac_magsac", "poselib")


def points(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 300, (count, 2)).astype(np.float32)


def test_errors_are_distances_in_the_second_image():
    first = points(50)
    second = warp(first, TILT) + np.array([3.0, -4.0])
    np.testing.assert_allclose(match_errors(first, second, TILT), 5.0, atol=1e-9)
    assert matching_accuracy(np.array([1.0, 1.0000001, 10.0])) == pytest.approx([1 / 3, *[2 / 3] * 8, 1.0])
    assert matching_accuracy(np.zeros(0)) == [0.0] * 10


def test_errors_in_pixels_of_resized_images():
    """Images of 100 x 50 and 200 x 80 pixels, brought to 50 x 200 pixels or to at most 50."""
    first = points(4)
    second = (warp(first, TILT) + np.array([4.0, 4.0])).astype(np.float32)
    pair = MatchedPair(
        "v_x/1.png", "v_x/2.png", (0, 1), TILT, (first, second), np.ones(4), (4, 4), ((100, 50), (200, 80))
    )
    for size, expected in ((None, np.hypot(4, 4)), (50, np.hypot(1, 1)), ((200, 50), np.hypot(1, 10))):
        np.testing.assert_allclose(pair_errors(pair, MatchScoring("resized", size)), expected, rtol=1e-4)
        np.testing.assert_allclose(pair_errors(pair, MatchScoring("original", size)), np.hypot(4, 4), rtol=1e-4)


def test_points_that_a_homography_sends_to_infinity_are_wrong():
    away = np.array([[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]])
    errors = match_errors(np.array([[100.0, 0.0], [0.0, 0.0]]), np.zeros((2, 2)), away)
    assert errors.tolist() == [math.inf, 0.0]
    assert matching_accuracy(errors) == [0.5] * 10


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_find_a_homography_among_outliers(estimator):
    first = points(80)
    second = warp(first, TILT).astype(np.float32)
    second[::4] = points(20, seed=9)
    settings = HomographySettings(estimator)
    found = estimate_homography(first, second, settings)
    assert corner_error(found.matrix, TILT, image_corners((300, 200), (300, 200))) < 0.5
    assert 60 <= found.inliers.sum() <= 63
    again = estimate_homography(first, second, settings)
    np.testing.assert_array_equal(found.matrix, again.matrix)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_matches_have_no_homography(estimator, count):
    found = estimate_homography(points(count), points(count), HomographySettings(estimator))
    assert found.matrix is None
    assert found.inliers.tolist() == [False] * count
    assert corner_error(found.matrix, TILT, image_corners((9, 9), (9, 9))) == math.inf


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_matches_of_one_place_end_well(estimator):
    """Identical points and points of a line determine nothing: whatever comes out, it is a matrix or nothing."""
    line = np.column_stack([np.arange(9.0), np.arange(9.0)]).astype(np.float32)
    for same in (np.ones((9, 2), np.float32), line):
        found = estimate_homography(same, same, HomographySettings(estimator))
        assert found.matrix is None or np.isfinite(found.matrix).all()
        assert len(found.inliers) == 9
    assert count_inliers(points(3), points(3)) == 0


def test_corners_of_either_image():
    first, second = (100, 50), (80, 60)
    assert image_corners(first, second).tolist() == [[0, 0], [0, 59], [79, 59], [79, 0]]
    assert image_corners(first, second, "first").tolist() == [[0, 0], [0, 49], [99, 49], [99, 0]]
    assert image_corners(first, second, "swapped").tolist() == [[0, 0], [0, 79], [59, 79], [59, 0]]
    moved = np.eye(3)
    moved[:2, 2] = 3, 4
    assert corner_error(moved, np.eye(3), image_corners(first, second)) == pytest.approx(5)


def test_matching_score_of_images_without_keypoints():
    none = (np.zeros((0, 2), np.float32), np.zeros((0, 8), np.float32))
    one = (points(1), np.ones((1, 8), np.float32))
    assert matching_score(none, one, np.eye(3)) == matching_score(one, none, np.eye(3)) == 0.0
    assert matching_score(one, one, np.eye(3)) == 1.0


def pair(name: str, share: float, error: float) -> PairScore:
    return PairScore(name, name[0] if name[1] == "_" else "", 10, 20.0, [share] * 10, error)


def test_kinds_count_the_same_in_the_mean():
    pairs = [pair("v_a 1-2", 0.2, 0.5), pair("v_a 1-3", 0.4, 2.0), pair("v_b 1-2", 0.6, 1.0), pair("i_c 1-2", 1.0, 9.0)]
    metrics, values, weights = summarise(pairs)
    assert metrics["mma@3_v"].value == pytest.approx(0.4)
    assert metrics["mma@3_i"].value == pytest.approx(1.0)
    assert metrics["mma@3"].value == pytest.approx(0.7)
    assert metrics["mma@3_micro"].value == pytest.approx(0.55)
    assert values["mma@3_v"] == [0.2, 0.4, 0.6, None]
    assert weights["mma@3"] == pytest.approx([4 / 3] * 3 + [4])
    # Below the threshold, not at it.
    assert values["homography@1"] == [1, 0, 0, 0]
    assert metrics["homography@10"].value == 1
    assert metrics["homography@3_v"].value == pytest.approx(1.0)
    assert all(metric.direction == "higher" and metric.unit == "fraction" for metric in metrics.values())


def test_sequences_of_no_kind_and_of_one():
    metrics, _, _ = summarise([pair("graf 1-2", 0.5, math.inf)])
    assert metrics["mma@1"].value == metrics["mma@1_micro"].value == 0.5
    assert metrics["mma@1_v"].value is None
    metrics, _, _ = summarise([pair("v_a 1-2", 0.25, 1), pair("v_a 1-3", 0.75, 1)])
    assert metrics["mma@1"].value == metrics["mma@1_v"].value == 0.5


@pytest.fixture
def place(tmp_path) -> Path:
    """A sequence: image 2 shows the same, 3 has no features, 4 was not read, 5 has one feature, 6 many alike."""
    dice = np.random.default_rng(0)
    rows, keypoints = dice.normal(size=(40, 8)), dice.uniform(0.5, 99, (40, 2)).astype(np.float32)
    images = [(rows, keypoints)] * 2 + [(rows[:0], keypoints[:0]), None, (rows[:1], keypoints[:1])]
    images.append((np.tile(rows[:1], (40, 1)), keypoints))
    with ShardWriter(tmp_path / "f.h5", ShardInfo("local", "f", "i", "", "cpu"), 8) as writer:
        for number, image in enumerate(images):
            if image is None:
                writer.skip(number, "broken")
            else:
                writer.add(number, image[0], keypoints=image[1])
    (tmp_path / "v_x").mkdir()
    for number in range(1, 7):
        Image.fromarray(np.zeros((80, 100, 3), np.uint8)).save(tmp_path / f"v_x/{number}.ppm")
    write_manifest(Manifest(tuple(rows_of("database", [f"v_x/{k}.ppm" for k in range(1, 7)]))), tmp_path / "m.csv")
    identity = Homography((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    write_image_pairs([ImagePair(0, k, identity) for k in range(1, 6)], tmp_path / "p.csv")
    match_features(
        [tmp_path / "f.h5"],
        PairShard(tmp_path / "p.csv", tmp_path / "m.csv"),
        tmp_path / "x.h5",
        MatchSettings(),
        cell="a on b",
    )
    return tmp_path


def files(place: Path, **changes) -> MatchedFiles:
    return MatchedFiles([place / "x.h5"], [place / "f.h5"], place / "p.csv", place / "m.csv", place, **changes)


def test_pairs_without_matches_are_named_so_that_none_is_taken_for_two():
    """The first three, and how many more."""
    pairs = [PairScore(name, "", 0, 10.0, [0.0] * 10, math.inf) for name in ("a, b 1-2", "c 1-2", "c 1-3", "d", "e")]
    assert list(_warnings(pairs, {"x, y.ppm": "a reason"})) == [
        '5 of 5 pairs have no match and count as wrong ("a, b 1-2", c 1-2, c 1-3 and 2 more)',
        '1 images could not be read, and their pairs count as wrong ("x, y.ppm")',
    ]


def test_pairs_without_matches_count_as_wrong_and_are_told(place):
    score_matches(files(place, cell="a on b"), MatchScoring(), place / "s.json")
    found = read_scores(place / "s.json", "a on b")
    assert found.per_query["mma@1"] == [1, 0, 0, 1, 1]
    assert found.per_query["homography@1"] == [1, 0, 0, 0, 0]
    assert found.facts["without_matches"] == 2
    assert found.facts["without_homography"] == 4
    assert found.warnings == [
        "2 of 5 pairs have no match and count as wrong (v_x 1-3, v_x 1-4)",
        "1 images could not be read, and their pairs count as wrong (v_x/4.ppm)",
    ]
    assert found.facts["matches"] == pytest.approx((40 + 0 + 0 + 1 + 1) / 5)
    assert found.facts["matches_i"] is None


def test_errors_in_resized_pixels(place):
    """Of images of 100 pixels that were halved for their features, an error is half as large."""
    (first, *_) = read_matched_pairs(files(place))
    from dataclasses import replace

    from descbench.metrics.score_matches import score_pair

    off = replace(first, points=(first.points[0], first.points[1] + np.float32(3)))
    full, half = (score_pair(off, MatchScoring(pixels=p, image_size=50)) for p in ("original", "resized"))
    assert full.accuracy[3] == half.accuracy[1] == 0  # 4.24 and 2.12 pixels
    assert full.accuracy[4] == half.accuracy[2] == 1
    assert full.corner_error == pytest.approx(2 * half.corner_error, rel=1e-3)
    assert score_pair(off, MatchScoring(pixels="resized", image_size=200)).accuracy == full.accuracy


def test_what_does_not_belong_together_is_refused(place):
    with pytest.raises(StaleFileError, match=r"x\.h5"):
        list(read_matched_pairs(files(place, cell="c on b")))
    with pytest.raises(StaleFileError, match=r"x\.h5"):
        list(read_matched_pairs(files(place, configuration="other")))
    identity = Homography((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    write_image_pairs([ImagePair(0, k, identity) for k in (2, 1, 3, 4, 5)], place / "p.csv")
    with pytest.raises(StaleFileError, match="other image pairs"):
        list(read_matched_pairs(files(place)))


def test_other_features_than_were_matched_are_refused(place):
    with ShardWriter(place / "f.h5", ShardInfo("local", "f", "i", "new weights", "cpu"), 8) as writer:
        for number in range(6):
            writer.add(number, np.ones((1, 8)), keypoints=np.ones((1, 2), np.float32))
    with pytest.raises(StaleFileError, match="features of the first images"):
        list(read_matched_pairs(files(place)))


def test_sizes_of_images(place):
    assert read_size(place / "v_x/1.ppm") == (100, 80)
    (place / "v_x/1.ppm").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.ppm"):
        read_size(place / "v_x/1.ppm")
    with pytest.raises(DataError, match="gone"):
        read_size(place / "gone.png")
