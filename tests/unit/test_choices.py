"""Choices of scoring on a few samples, computed by hand, and the file of what a cell scores under each."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scores_files import write_told

from descbench.choices import fpr95 as fpr
from descbench.choices import hpatches, labels, matches, poses, recall
from descbench.choices.choice import Choice, NotMeantError, read_rescored, rescore
from descbench.choices.protocol_table import COLUMNS, build_protocol_table, protocol_cells
from descbench.choices.rescore_ranking import RESCORED
from descbench.choices.why import explain
from descbench.config.tables import Table
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.image_pairs import Homography
from descbench.datasets.manifest import Manifest, ManifestRow, rows_of
from descbench.datasets.places import PlaceLabels
from descbench.errors import DataError, StaleFileError
from descbench.matching.homography import HomographySettings
from descbench.matching.matcher import MatchSettings
from descbench.metrics.fpr95 import fpr95
from descbench.metrics.matched_pairs import MatchedPair
from descbench.metrics.protocols import PROTOCOLS
from descbench.metrics.score_matches import MatchScoring
from descbench.metrics.score_patches import ScoredPatches
from descbench.metrics.scores import Metric

EVERY = {
    "labels": labels.CHOICES,
    "recall": recall.CHOICES,
    "matches": matches.CHOICES,
    "fpr95": fpr.CHOICES,
    "hpatches": hpatches.CHOICES,
    "poses": poses.CHOICES,
}


@pytest.mark.parametrize("family", EVERY)
def test_choices_have_names_of_their_own_and_stand_on_their_page(family, project):
    page = (project / "docs/protocols/choices.md").read_text()
    names = [choice.name for choice in EVERY[family]]
    assert len(set(names)) == len(names) >= 6
    for choice in EVERY[family]:
        head, _, last = choice.name.rpartition("_")
        assert f"`{choice.name}`" in page or (f"`{head}_" in page and f"`{last}`" in page), choice.name
        assert choice.text
        assert not choice.text.endswith(".")


# --- rankings with labels ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        # Right, wrong, right of three listed: precisions 1 and 2/3; before them 1 and 1/2.
        (labels.trapezoid, (1 + (1 / 2 + 2 / 3) / 2) / 3),
        (labels.finite_sum, (1 + 2 / 3) / 3),
        (labels.of_found, (1 + (1 / 2 + 2 / 3) / 2) / 2),
        # Recall 1/3 at precision 1 (points 0 to 0.3), 2/3 at 2/3 (0.4 to 0.6), never more.
        (labels.eleven_points, (4 * 1 + 3 * 2 / 3) / 11),
    ],
)
def test_average_precision_of_right_wrong_right(area, expected):
    assert area(np.array([0, 2]), 3) == pytest.approx(expected, abs=1e-12)


def test_interpolated_precision_is_the_highest_behind():
    # Wrong, right, right: precisions 1/2 and 2/3, the first of which becomes 2/3.
    assert labels.interpolated(np.array([1, 2]), 2) == pytest.approx(2 / 3, abs=1e-12)
    assert labels.finite_sum(np.array([1, 2]), 2) == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-12)


def test_of_the_first_images_alone():
    places = np.array([0, 3, 5])
    assert labels.of_first(places, 4, depth=4) == pytest.approx((1 + 2 / 4) / 4, abs=1e-12)
    assert labels.of_first(places, 4, depth=2) == pytest.approx(1 / 2, abs=1e-12)


@pytest.mark.parametrize("area", [labels.eleven_points, labels.of_found, labels.finite_sum, labels.interpolated])
def test_nothing_found_is_nothing(area):
    assert area(np.zeros(0, np.int64), 3) == 0


def ranked(
    *queries: dict[str, tuple[int, ...]],
    found: list[list[int]],
    scores: list[list[float]] | None = None,
    protocol: str = "classic",
    own: int = 0,
):
    """Rankings of images 0 to 9; the first query was cut from image ``own``."""
    database = rows_of("database", [f"jpg/{i}.jpg" for i in range(10)])
    asked = [ManifestRow(i, f"jpg/{own if i == 0 else f'q{i}'}.jpg", "query") for i in range(len(queries))]
    scores = [-np.arange(float(len(row))) for row in found] if scores is None else [np.array(row) for row in scores]
    return labels.RankedLabels(
        [np.array(row) for row in found], scores, GroundTruth(protocol, queries), Manifest((*asked, *database))
    )


def test_ignored_images_wrong():
    results = ranked({"ok": (2, 3), "junk": (0,)}, found=[[0, 2, 1, 3]])
    # Without image 0: right, wrong, right; with it: wrong, right, wrong, right.
    assert labels.mean_ap(results)["map"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    expected = ((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2
    assert labels.ignored_wrong(results)["map"] == pytest.approx(expected)
    with pytest.raises(NotMeantError, match="no image is ignored"):
        labels.ignored_wrong(ranked({"ok": (2,), "junk": ()}, found=[[2]]))


def test_queries_without_positives():
    results = ranked({"ok": (0,), "junk": ()}, {"ok": (), "junk": ()}, found=[[0, 1], [0, 1]])
    assert labels.mean_ap(results) == {"map": 1.0}
    assert labels.without_positives_zero(results) == {"map": 0.5} | {f"mp@{k}": 0.5 for k in (1, 5, 10)}
    with pytest.raises(NotMeantError):
        labels.without_positives_zero(ranked({"ok": (0,), "junk": ()}, found=[[0]]))


def test_positives_beyond_a_cut():
    assert labels.found_only(ranked({"ok": (0, 7), "junk": ()}, found=[[0, 1]])) == {"map": 1.0}
    with pytest.raises(NotMeantError, match="every positive"):
        labels.found_only(ranked({"ok": (0, 1), "junk": ()}, found=[[0, 2, 1]]))


def test_the_image_of_the_query_itself():
    results = ranked({"ok": (4, 5), "junk": ()}, found=[[4, 1, 5]], own=4)
    assert labels.own_image_left_out(results)["map"] == pytest.approx((0 + 1 / 2) / 2)  # wrong, right, of one
    foreign = replace(results, manifest=Manifest((ManifestRow(0, "q.jpg", "query"), *results.manifest.rows[1:])))
    with pytest.raises(NotMeantError, match="cut from"):
        labels.own_image_left_out(foreign)


def test_precision_over_all_places():
    query = {"easy": (1,), "hard": (3,), "junk": (2,)}
    results = ranked(query, found=[[1, 2, 0, 3]], protocol="revisited")
    assert labels.mean_ap(results)["map_hard"] == pytest.approx((0 + 1 / 2) / 2)  # wrong, right
    assert labels.mean_precision(results)["mp@10_medium"] == pytest.approx(2 / 3)
    found = labels.mean_precision(results, clamped=False)
    assert found["mp@10_medium"] == pytest.approx(2 / 10)
    assert found["mp@1_hard"] == 0


def test_images_of_equal_score():
    """Of two images of one score, behind a right one, the right one goes first, by its number or by its name."""
    query, tied = {"ok": (1, 3), "junk": ()}, [[3.0, 2.0, 2.0, 1.0]]
    first, last = ranked(query, found=[[1, 3, 5, 0]], scores=tied), ranked(query, found=[[1, 5, 3, 0]], scores=tied)
    assert labels.mean_ap(first, labels.finite_sum) == {"map": 1.0}
    assert labels.of_scores(first) == {"map": pytest.approx((1 + 2 / 3) / 2)}  # both stand at the third place
    assert labels.ties_by_name(first)["map"] == labels.mean_ap(last)["map"] < 1  # 5.jpg goes before 3.jpg
    nothing_left = ranked({"ok": (1,), "junk": (0,)}, found=[[0]])
    for choice in (labels.of_scores, labels.ties_by_name):
        for results in (last, nothing_left):
            with pytest.raises(NotMeantError, match="equal scores make no difference"):
                choice(results)


# --- recall --------------------------------------------------------------------------------------


def streets(**changes) -> recall.RankedPlaces:
    """Images at 0, 10, 20 ... 90 m, queries at 0, 25 and 500 m; right is what lies within 25 m."""
    database = [ManifestRow(i, f"{i}.jpg", "database", easting=10.0 * i, northing=0.0) for i in range(10)]
    asked = [ManifestRow(i, f"q{i}.jpg", "query", easting=x, northing=0.0) for i, x in enumerate((0.0, 25.0, 500.0))]
    known = PlaceLabels(25.0, ((0, 1, 2), (0, 1, 2, 3, 4, 5), ()), ((), (), ()))
    ids = np.array([[9, 1, 3, 0, 2, 4], [8, 9, 7, 5, 3, 0], [0, 1, 2, 3, 4, 5]])
    found = np.ones(ids.shape, bool)
    return recall.RankedPlaces(ids, found, replace(known, **changes), Manifest((*asked, *database)), False)


def test_queries_that_nothing_is_right_for():
    assert recall.recall(streets()) == {"recall@1": 0.0, "recall@5": pytest.approx(2 / 3)}
    assert recall.without_positive_left_out(streets())["recall@5"] == 1.0
    with pytest.raises(NotMeantError):
        recall.without_positive_left_out(streets(positives=((0,), (0,), (0,))))


def test_other_radii():
    # 5 m: image 0 alone is right for query 0, ranked fourth; images 2 and 3 for query 1, ranked fifth.
    assert recall.within(streets(), 5)["recall@5"] == pytest.approx(2 / 3)
    assert recall.within(streets(), 50)["recall@1"] == 0.0
    assert recall.within(streets(), 100)["recall@1"] == pytest.approx(2 / 3)
    with pytest.raises(NotMeantError, match="how it was scored"):
        recall.within(streets(), 25)


def test_the_very_radius():
    """Images 0 and 5 lie 25 m off the second query, which was right by image 5, fourth, and is so by image 3, fifth."""
    results = streets(positives=((0, 1, 2), (0, 5), ()))
    moved = Manifest(
        tuple(replace(row, easting=1000.0) if row.path == "3.jpg" else row for row in results.manifest.rows)
    )
    narrow = replace(results, manifest=moved)
    assert recall.recall(narrow)["recall@5"] == pytest.approx(2 / 3)
    assert recall.radius_exclusive(narrow)["recall@5"] == pytest.approx(1 / 3)


def test_share_of_right_images():
    # Of three right images of the first query all are among the first five, of the second's six two.
    found = recall.recall_of_positives(streets())
    assert found["recall@5"] == pytest.approx((3 / 3 + 2 / 6) / 2)
    assert found["recall@1"] == 0


def test_panoramas_times_and_conditions():
    paired = streets(views_per_panorama=2)
    assert recall.recall(paired)["recall@1"] == 0
    assert recall.every_view(paired) == recall.recall(streets())
    timed = streets(query_times=(1.0, 2.0, 3.0), database_times=(5.0, 1.0, *[5.0] * 8))
    assert recall.recall(timed)["recall@1"] == 0
    assert recall.own_time_counted(timed) == recall.recall(streets())
    conditions = streets(conditions=("day", "night"))
    # Queries 0 and 2 by day, one of them found; query 1 by night.
    assert recall.mean_of_conditions(conditions)["recall@5"] == pytest.approx((1 / 2 + 1) / 2)
    for choice in (recall.every_view, recall.own_time_counted, recall.mean_of_conditions):
        with pytest.raises(NotMeantError):
            choice(streets())


# --- image pairs ---------------------------------------------------------------------------------


def pair(name: str, errors: list[float], number: int = 2) -> MatchedPair:
    """A pair of images of 400 x 300 pixels, the second twice as large, whose matches have such errors in it."""
    places = np.random.default_rng(len(errors)).uniform(0, 300, (len(errors), 2)).astype(np.float32)
    moved = 2 * places + np.array([[error, 0] for error in errors], np.float32).reshape(-1, 2)
    sizes = (400, 300), (800, 600)
    homography = Homography(tuple(np.diag([2.0, 2.0, 1.0]).ravel())).matrix
    return MatchedPair(
        f"{name}/1.ppm",
        f"{name}/{number}.ppm",
        (0, 1),
        homography,
        (places, moved.astype(np.float32)),
        np.ones(len(errors), np.float32),
        (len(errors), len(errors)),
        sizes,
    )


PAIRS = [
    pair("i_one", [0.0] * 8),
    pair("v_one", [0.0] * 6 + [4.0] * 6),
    pair("v_one", [4.0] * 4, 3),
    pair("v_talent", []),
]


def matched(pairs=PAIRS, **scoring) -> matches.MatchedResults:
    return matches.MatchedResults(pairs, None, MatchScoring(**scoring), MatchSettings())


def test_means_of_pairs():
    """Accuracies at 3 pixels: 1 by illumination; 1/2, 0 and 0 by viewpoint."""
    results = matched()
    assert matches._values(results.ours)["mma@3"] == pytest.approx((1 + 1 / 6) / 2)
    assert matches.mean_over_pairs(results)["mma@3"] == pytest.approx((1 + 1 / 2) / 4)
    assert matches.mean_over_sequences(results)["mma@3"] == pytest.approx((1 + 1 / 4 + 0) / 3)
    assert matches.matches_pooled(results)["mma@3"] == pytest.approx(14 / 24)
    assert matches.without_large(results)["mma@3"] == pytest.approx((1 + 1 / 4) / 2)
    assert matches.without_matches_left_out(results)["mma@3"] == pytest.approx((1 + 1 / 4) / 2)
    with pytest.raises(NotMeantError, match="none of the eight"):
        matches.without_large(matched(PAIRS[:3]))
    with pytest.raises(NotMeantError, match="every pair has matches"):
        matches.without_matches_left_out(matched(PAIRS[:3]))


def test_errors_of_matches():
    """Four pixels in the second image are two in the first, and three on the average of both."""
    results = matched([pair("v_one", [4.0] * 4)])
    values = {t: results.ours[0].accuracy[t - 1] for t in (3, 4)}
    assert values[3] == 0
    assert matches.in_first_image(results)["mma@3"] == 1
    assert matches.in_first_image(results)["mma@1"] == 0
    assert matches.in_both_images(results)["mma@2"] == 0
    assert matches.in_both_images(results)["mma@4"] == 1


def test_errors_of_exactly_the_threshold():
    exact = MatchedPair(
        "v_one/1.ppm",
        "v_one/2.ppm",
        (0, 1),
        np.eye(3),
        (np.zeros((2, 2), np.float32), np.array([[3, 0], [0, 1]], np.float32)),
        np.ones(2, np.float32),
        (2, 2),
        ((9, 9), (9, 9)),
    )
    results = matched([exact])
    assert matches._values(results.ours)["mma@3"] == 1.0
    assert matches.below(results)["mma@3"] == 0.5
    assert matches.below(results)["mma@1"] == 0.0


def test_homographies_of_exactly_the_threshold():
    results = matched()
    results.ours[0] = replace(results.ours[0], corner_error=3.0)
    assert matches._values(results.ours)["homography@3"] == matches.homography_at_most(results)["homography@3"] - 1 / 4


def test_settings_of_estimators_reach_them(monkeypatch):
    """What is not changed stays as it was scored."""
    seen = []
    real = matches.estimate_homography
    monkeypatch.setattr(matches, "estimate_homography", lambda *given: seen.append(given[2]) or real(*given))
    for name in ("estimator_usac_magsac", "threshold_5", "iterations_2000"):
        next(choice for choice in matches.CHOICES if choice.name == name).rescore(matched(PAIRS[:1]))
    used = HomographySettings()
    assert seen == [
        replace(used, estimator="usac_magsac"),
        replace(used, threshold=5.0),
        replace(used, iterations=2000, confidence=0.995),
    ]


def test_pixels_of_reduced_images():
    """Images reduced to 400 pixels: the second by half, so that four pixels are two."""
    with pytest.raises(NotMeantError, match="full size"):
        matches.in_pixels(matched(), "resized")
    results = matched([pair("v_one", [4.0] * 4)], image_size=400)
    assert matches.in_pixels(results, "resized")["mma@2"] == pytest.approx(1.0)
    with pytest.raises(NotMeantError, match="how it was scored"):
        matches.in_pixels(results, "original")


def test_other_homographies():
    results = matched(PAIRS[:1])
    for changes in ({"estimator": "usac_magsac"}, {"threshold": 1.0}):
        assert matches.estimated_by(results, **changes)["homography@3"] == 1.0
        scored = replace(results.scoring, homography=HomographySettings(**changes))
        with pytest.raises(NotMeantError, match="how it was scored"):
            matches.estimated_by(replace(results, scoring=scored), **changes)
    assert matches.corners_of(results, "first")["homography@1"] == 1.0
    with pytest.raises(NotMeantError):
        matches.corners_of(results, "second")


class Described:
    """Descriptors in two dimensions, strongest first: angles in degrees."""

    ANGLES = ((0.0, 50.0, 52.0), (1.0, 51.2, 80.0))

    def descriptors(self, image: int, n: int | None = None) -> np.ndarray:
        turns = np.radians(self.ANGLES[image][:n])
        return np.column_stack([np.cos(turns), np.sin(turns)]).astype(np.float32)

    def keypoints(self, image: int, n: int | None = None) -> np.ndarray:
        return np.array([[10.0 * i, 5.0 * i * i] for i in range(len(self.ANGLES[image]))], np.float32)[:n]


def test_matches_made_anew():
    """0 and 1, 52 and 51.2 degrees are mutual; 50 has 51.2 as its nearest too, and no rival far off it."""
    one = replace(PAIRS[0], homography=np.eye(3), points=(np.zeros((0, 2)),) * 2, counts=(3, 3))
    results = replace(matched([one]), features=Described())
    assert len(matches._rematched(results, one, MatchSettings()).points[0]) == 2
    # 0 -> 0 is in place, 2 -> 1 is not; one way 1 -> 1 is right as well.
    assert matches._values(
        matches.MatchedResults(
            [matches._rematched(results, one, MatchSettings())], None, MatchScoring(), MatchSettings()
        ).ours
    )["mma@1"] == pytest.approx(1 / 2)
    assert matches.matched_by(results, mutual=False)["mma@1"] == pytest.approx(2 / 3)
    # 51.2 degrees has rivals at 0.8 and 1.2: 0.67; the only match that passes 0.5 is the first.
    assert matches.matched_by(results, ratio=0.5)["mma@1"] == 1.0
    assert matches.matched_by(results, n=1)["mma@1"] == 1.0
    with pytest.raises(NotMeantError, match="more than 500"):
        matches.matched_by(results, n=500)
    with pytest.raises(NotMeantError, match="how it was scored"):
        matches.matched_by(results, mutual=True)


# --- patches -------------------------------------------------------------------------------------


def test_false_positive_rates():
    """Twenty right pairs at 1 to 20 and ten wrong ones: at 2.5, 19, 19.5 and far off."""
    distances = np.array([*np.arange(1.0, 21.0), 2.5, 19.0, 19.5, *np.arange(30.0, 37.0)])
    right = np.array([1] * 20 + [0] * 10)
    # The nineteenth right pair is reached at 19, where one wrong pair stands as well.
    assert fpr95(distances, right) == pytest.approx(1 / 10)
    assert fpr.equal_passes(distances, right) == pytest.approx(2 / 10)
    assert fpr.false_discovery(distances, right) == pytest.approx(1 / 20)
    # The percentile is at place 0.95 * 19 = 18.05, between 19 and 20.
    assert fpr.at_percentile(distances, right) == pytest.approx(2 / 10)
    # At 19 recall is 19/20 = 0.95 exactly, with two wrong pairs at or below it.
    assert fpr.at_recall(distances, right) == pytest.approx(2 / 10)


def test_a_recall_between_two_points():
    """Two right pairs: 0.95 lies nine tenths of the way from recall 0.5 to 1, from no wrong pair to one of two."""
    distances, right = np.array([1.0, 2.0, 3.0, 9.0]), np.array([1, 0, 1, 0])
    assert fpr95(distances, right) == 1 / 2
    assert fpr.at_recall(distances, right) == pytest.approx(0.5)  # the rate rises at 2, before the recall does
    tied = np.array([1.0, 3.0, 3.0, 9.0])
    assert fpr.at_recall(tied, right) == pytest.approx(0.9 * 0.5)


def tasks() -> SimpleNamespace:
    """Two sequences of illumination and one of viewpoint, with values of matching and of one noise."""
    rows = {
        "matching": [0.2, 0.4, 0.9],
        "matlab_matching": [0.3, 0.5, 0.9],
        "matching_easy": [0.5, 0.5, 0.9],
        "verification": [0.1, 0.2, 0.3],
        **{f"matching_{noise}_success": [0.4, 0.6, 1.0] for noise in ("easy", "hard", "tough")},
    }
    weights = {name: [1.0, 1.0, 2.0] if name == "matching" else [1.0] * 3 for name in rows}
    metrics = {
        name: Metric(float(np.average(row, weights=weights[name])), None, None, "bootstrap")
        for name, row in rows.items()
    }
    facts = {"sequences": ["i_a", "i_b", "v_a"], "pools": [100, 500]}
    return SimpleNamespace(ours=ScoredPatches(3, metrics, rows, facts, weights))


def test_tasks_of_hpatches():
    assert hpatches.instead(tasks(), {"matching": "matlab_matching"}) == {"matching": pytest.approx(1.7 / 3)}
    assert hpatches.successes(tasks()) == {"matching": pytest.approx((0.4 + 0.6 + 2) / 4)}
    assert hpatches.sequences_alike(tasks())["matching"] == pytest.approx(0.5)
    assert "verification" not in hpatches.sequences_alike(tasks())
    assert hpatches.of_kind(tasks(), viewpoint=True)["matching"] == pytest.approx(0.9)
    assert hpatches.of_kind(tasks(), viewpoint=False)["matching"] == pytest.approx(0.3)
    assert hpatches.of_noise(tasks(), "easy") == {"matching": pytest.approx(1.9 / 3)}
    for choice, key in ((hpatches.inter_or_intra, "inter"), (hpatches.of_pool, True), (hpatches.of_noise, "tough")):
        with pytest.raises(NotMeantError, match="not computed"):
            choice(tasks(), key)


# --- poses ---------------------------------------------------------------------------------------


def located() -> poses.PoseResults:
    """Four queries: exact, exactly at the first limit, far turned, and not localised."""
    return poses.PoseResults(
        np.array([0.0, 0.25, 0.04, math.inf]),
        np.array([0.0, 2.0, 8.0, math.inf]),
        np.array([100, 20, 10, 0]),
        ("day", "day", "day", "night"),
    )


def choice_of(name: str) -> Choice:
    return next(choice for choice in poses.CHOICES if choice.name == name)


@pytest.mark.parametrize(
    ("name", "metric", "expected"),
    [
        ("below", "within_0.25m_2deg", 1 / 4),
        ("localised_only", "within_0.25m_2deg", 2 / 3),
        ("localised_only", "median_position", 0.04),
        ("position_only", "within_0.25m_2deg", 3 / 4),
        ("rotation_only", "within_5m_10deg", 3 / 4),
        ("limits_inloc", "within_0.25m_2deg", 3 / 4),
        ("limits_indoor", "within_0.25m_2deg", 1 / 4),
        ("limits_indoor", "within_5m_10deg", 2 / 4),
        ("centimetres_5_5deg", "within_5m_10deg", 1 / 4),
        ("inliers_12", "within_5m_10deg", 2 / 4),
        ("inliers_30", "within_5m_10deg_day", 1 / 3),
        ("mean_errors", "median_rotation", 10 / 3),
        ("mean_of_conditions", "within_0.25m_2deg", (2 / 3 + 0) / 2),
    ],
)
def test_poses(name, metric, expected):
    assert choice_of(name).rescore(located())[metric] == pytest.approx(expected)


def test_without_true_poses_nothing_is_said():
    hidden = poses.PoseResults(np.zeros(0), np.zeros(0), np.array([4, 5]))
    for choice in poses.CHOICES:
        with pytest.raises(NotMeantError, match="true poses"):
            choice.rescore(hidden)


# --- files and tables ----------------------------------------------------------------------------


def silent(results: float) -> dict[str, float]:
    raise NotMeantError("for a reason")


MADE_UP = (
    Choice("nearer", "twice", lambda value: {"map_medium": 2 * value}, "somebody"),
    Choice("farther", "half", lambda value: {"map_medium": value / 2, "unknown": 1.0}, "another"),
    Choice("unheard", "three times", lambda value: {"map_medium": 3 * value}),
    Choice("silent", "nothing", silent),
)


def rescored_cell(folder: Path, value: float = 0.3) -> tuple[Path, Path]:
    scores = write_told(folder / "scores.json", {"map_medium": value}, cell="a on b")
    rescore(MADE_UP, value, scores, {"map_medium": value}, folder / "rescored.json")
    return scores, folder / "rescored.json"


def made_up(paper: float | None = None) -> Table:
    figures = [] if paper is None else [{"dataset": "b", "metric": "map_medium", "paper": paper, "source": "a book"}]
    return Table(
        title="Made up",
        columns=[{"dataset": "b", "metric": "map_medium", "label": "M"}],
        rows=[{"label": "A", "method": "a", "reference_results": figures}],
    )


def test_what_a_cell_scores_is_written_and_read(tmp_path):
    scores, path = rescored_cell(tmp_path)
    found = {choice.name: choice for choice in read_rescored(path, "a on b", scores).choices}
    assert found["nearer"].values == {"map_medium": 0.6}
    assert found["farther"].values == {"map_medium": 0.15}  # metrics that the scores do not have are left out
    assert (found["silent"].values, found["silent"].reason) == ({}, "for a reason")


def test_results_of_other_scores_are_refused(tmp_path):
    scores, path = rescored_cell(tmp_path)
    with pytest.raises(StaleFileError, match=r"0\.3, but the results that it was made from give 0\.4"):
        rescore(MADE_UP, 0.4, scores, {"map_medium": 0.4}, path)
    with pytest.raises(StaleFileError, match="of a on b, not of a on c"):
        read_rescored(path, "a on c", scores)
    write_told(scores, {"map_medium": 0.4}, cell="a on b")
    with pytest.raises(StaleFileError, match="other scores"):
        read_rescored(path, "a on b", scores)


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-20], lambda text: text.replace("0.6", "0.7"), lambda text: "{}"]
)
def test_damaged_files_are_refused(tmp_path, damage):
    scores, path = rescored_cell(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError):
        read_rescored(path, "a on b", scores)


def test_a_table_of_choices(tmp_path):
    scores, path = rescored_cell(tmp_path)
    cell, written = ("a", "b"), tmp_path / "t.csv"
    build_protocol_table("t", made_up(58.0), {cell: scores}, {cell: path}, written, tmp_path / "t.md")
    found = pd.read_csv(written)
    assert tuple(found.columns) == COLUMNS
    assert found["choice"].tolist() == ["ours", "nearer", "farther", "unheard"]
    assert found["value"].tolist() == [30.0, 60.0, 15.0, 90.0]
    assert found["difference"].tolist() == [0.0, 30.0, -15.0, 60.0]
    assert found["distance"].tolist() == [-28.0, 2.0, -43.0, 32.0]
    assert set(found["lowest"]) == {15.0}
    assert set(found["highest"]) == {60.0}  # nobody is known to score three times
    text = (tmp_path / "t.md").read_text()
    assert "| A | M | 30.0 | 58.0 | 60.0 (nearer) | 15.0 (farther) | 60.0 (nearer) |" in text
    known, unknown = text.split("Nobody is known to score so")
    assert "- `nearer`: twice (somebody)." in known
    assert "- `unheard`: three times." in unknown
    assert "- Not more than 2 choices of other code concern these results in M." in text
    assert "- On b, nothing is said by `silent` (for a reason). Rows: A." in text


def test_cells_that_are_not_there_are_named(tmp_path):
    """With the reason: on demand, left empty, without a value; rows that share it share a line."""
    (tmp_path / "c").mkdir()
    scores, path = rescored_cell(tmp_path)
    found = {("a", "b"): scores}
    for method in ("a", "c"):
        values = {"map_medium": None if method == "a" else 0.2, "map_hard": 0.1}
        found[method, "d"] = write_told(tmp_path / "c" / f"{method}.json", values, cell=f"{method} on d")
    rescored = {("a", "b"): path}
    for cell, number in ((("a", "d"), 0.0), (("c", "d"), 0.2)):
        rescored[cell] = tmp_path / f"{cell[0]}.json"
        known = {"map_medium": number or math.nan, "map_hard": 0.1}
        rescore((), number, found[cell], known, rescored[cell])
    shown = [("b", "map_medium", "M"), ("d", "map_medium", "DM"), ("d", "map_hard", "DH")]
    columns = [{"dataset": dataset, "metric": metric, "label": label} for dataset, metric, label in shown]
    columns += [{"dataset": "big", "metric": m, "label": f"R1M {m[4]}", "on_demand": True} for m in ("map_m", "map_h")]
    rows = [{"label": "A", "method": "a"}, {"label": "C, D", "method": "c", "leave_empty": ["b"]}]
    table = Table(title="Made up", columns=columns, rows=rows)
    build_protocol_table("t", table, found, rescored, tmp_path / "t.csv", tmp_path / "t.md")
    told = [line for line in (tmp_path / "t.md").read_text().splitlines() if "Not here" in line]
    assert told == [
        "- Not here: DM of A, since no query counts.",
        "- Not here: R1M m, R1M h of every row, since columns on demand are not scored otherwise.",
        '- Not here: M of "C, D", since the table leaves them empty (`leave_empty`).',
    ]


def test_a_table_of_choices_leads_to_pages_and_names_licences(tmp_path):
    """In its Markdown alone; licences also of what the cells are made from otherwise."""
    scores, path = rescored_cell(tmp_path)
    other = write_told(tmp_path / "other.json", {"map_medium": 0.5}, cell="other on b")
    variant = {"choice": "otherwise", "text": "otherwise", "methods": {"a": "other"}}
    table = Table.model_validate({**made_up().model_dump(), "variants": [variant]})
    found, plain = {("a", "b"): scores, ("other", "b"): other}, tmp_path / "plain.csv"
    build_protocol_table("t", table, found, {("a", "b"): path}, plain, tmp_path / "plain.md")
    restricted = {"other": {"w.pth": "CC BY-NC 4.0"}, "unseen": {"v.pth": "CC BY-NC 4.0"}}
    given = restricted, {("a", "b"): "../pages/a/b.html"}
    build_protocol_table("t", table, found, {("a", "b"): path}, tmp_path / "t.csv", tmp_path / "t.md", *given)
    assert (tmp_path / "t.csv").read_bytes() == plain.read_bytes()
    text = (tmp_path / "t.md").read_text()
    assert "| A | M | [30.0](../pages/a/b.html) | - |" in text
    assert text.splitlines()[-1] == "- No commercial use of w.pth (CC BY-NC 4.0), which these rows rest on: A."
    assert "No commercial use" not in (tmp_path / "plain.md").read_text()


@pytest.mark.parametrize(
    ("paper", "expected"),
    [
        (
            58.0,
            "nearer comes closest: 60.00, +2.00 from the published figure instead of -28.00 "
            "(twice; so scores somebody)",
        ),
        (31.0, "No choice of other code brings it closer."),
        (None, "nothing published; 2 choices of other code: 15.00 (farther) to 60.00 (nearer)."),
        (89.0, "nearer comes closest: 60.00, -29.00 from the published figure"),
        (89.0, "unheard would come closer still: 90.00, +1.00 from the published figure (three times), but nobody is"),
    ],
)
def test_why(tmp_path, paper, expected):
    scores, path = rescored_cell(tmp_path)
    cells = protocol_cells("t", made_up(paper), {("a", "b"): scores}, {("a", "b"): path})
    assert expected in "\n".join(explain(cells[0]))


def test_rows_of_several_seeds_have_means(tmp_path):
    files = {}
    for name, value in (("a", 0.3), ("c", 0.4)):
        (tmp_path / name).mkdir()
        scores = write_told(tmp_path / name / "s.json", {"map_medium": value}, cell=f"{name} on b")
        rescore(MADE_UP, value, scores, {"map_medium": value}, tmp_path / name / "r.json")
        files[name, "b"] = scores, tmp_path / name / "r.json"
    table = Table.model_validate({**made_up().model_dump(), "rows": [{"label": "A", "method": "a", "repeats": ["c"]}]})
    both = ({cell: pair[number] for cell, pair in files.items()} for number in (0, 1))
    cells = protocol_cells("t", table, *both)
    assert [(found.choice, found.value) for found in cells[0].outcomes] == [
        ("nearer", 70.0),
        ("farther", 17.5),
        ("unheard", 105.0),
    ]


def test_rankings_of_every_protocol_are_scored_again():
    assert RESCORED.keys() == PROTOCOLS.keys()
