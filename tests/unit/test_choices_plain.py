"""Choices of scoring against plain computations of them, one image or pair after another, on drawn results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from benchmarks.plain import hpatches as plain
from test_choices import matched, ranked, streets
from test_hpatches import SPLIT, TEST, flat, lists, made

from descbench.choices import fpr95, hpatches, labels, matches, recall
from descbench.choices.choice import Choice, NotMeantError
from descbench.choices.described_parts import DescribedParts
from descbench.datasets.image_pairs import Homography
from descbench.datasets.patch_sets import PatchLabels
from descbench.metrics.matched_pairs import MatchedPair
from descbench.metrics.score_patches import Fpr95, HPatches

SEEDS = (1, 2, 3)


def rescored(choices: Sequence[Choice], name: str, results: object) -> dict[str, float]:
    return next(choice for choice in choices if choice.name == name).rescore(results)


# --- rankings with labels ------------------------------------------------------------------------

Row = list[tuple[bool, float]]  # whether each image that counts is right, and its score


def precisions(row: Row) -> list[float]:
    """Precision at each image."""
    return [sum(right for right, _ in row[:rank]) / rank for rank in range(1, len(row) + 1)]


def at_hits(row: Row) -> list[float]:
    return [value for value, (right, _) in zip(precisions(row), row, strict=True) if right]


def with_ties(row: Row, positives: int) -> float:
    """An image stands at the last place of its score."""
    total = 0.0
    for right, score in row:
        last = max(rank for rank, (_, other) in enumerate(row, start=1) if other == score)
        total += precisions(row)[last - 1] if right else 0
    return total / positives


def highest(row: Row, positives: int, recalls: Sequence[float], above: bool) -> float:
    """Mean of the highest precision at, or above, each recall."""
    values = []
    for wanted in recalls:
        found, hits = [], 0
        for (right, _), precision in zip(row, precisions(row), strict=True):
            hits += right
            reached = hits / positives > wanted if above else hits / positives >= wanted - 1e-12
            found += [precision] if reached else []
        values.append(max(found, default=0.0))
    return sum(values) / len(values)


PLAIN_AP = {
    "ap_sum": lambda row, positives: sum(at_hits(row)) / positives,
    "ap_of_scores": with_ties,
    "ap_interpolated": lambda row, positives: (
        sum(max(precisions(row)[rank:]) for rank, (right, _) in enumerate(row) if right) / positives
    ),
    "ap_11_points": lambda row, positives: highest(row, positives, [step / 10 for step in range(11)], above=False),
    "ap_100_points": lambda row, positives: highest(row, positives, np.arange(0, 1, 0.01), above=True),
    "map_at_100": lambda row, positives: sum(at_hits(row[:100])) / min(positives, 100),
    "map_cut_100": lambda row, positives: sum(at_hits(row[:100])) / positives,
    "map_at_r": lambda row, positives: sum(at_hits(row[:positives])) / positives,
}


def drawn_rankings(seed: int) -> tuple[labels.RankedLabels, list[tuple[Row, int]]]:
    """Rankings of 240 images, 130 of them right for the first query, with a few scores for many images."""
    random = np.random.default_rng(seed)
    found, scores, queries, rows = [], [], [], []
    for count in (130, 7, 20):
        ids, of_query = random.permutation(240), np.sort(random.integers(0, 40, 240) / 8)[::-1]
        chosen = random.permutation(240)
        right, ignored = (set(part.tolist()) for part in (chosen[:count], chosen[count : count + 9]))
        found.append(ids.tolist())
        scores.append(of_query.tolist())
        queries.append({"ok": tuple(right), "junk": tuple(ignored)})
        pairs = zip(ids.tolist(), of_query.tolist(), strict=True)
        rows.append(([(i in right, score) for i, score in pairs if i not in ignored], count))
    return ranked(*queries, found=found, scores=scores), rows


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", PLAIN_AP)
def test_average_precision(name, seed):
    results, rows = drawn_rankings(seed)
    expected = np.mean([PLAIN_AP[name](*row) for row in rows])
    assert rescored(labels.CHOICES, name, results)["map"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_rankings_ordered_by_names(seed):
    """All images have a name here, so that the whole ranking is sorted twice: by names, then by scores."""
    results, _ = drawn_rankings(seed)
    names = {row.image_id: row.path for row in results.manifest.of_role("database").rows}
    found = []
    for ids, scores in zip(results.found, results.scores, strict=True):
        rows = sorted(zip(ids.tolist(), scores, strict=True), key=lambda row: names.get(row[0], str(row[0])))[::-1]
        found.append(np.array([image for image, _ in sorted(rows, key=lambda row: -row[1])]))
    assert rescored(labels.CHOICES, "ties_by_name", results)["map"] == pytest.approx(
        labels.mean_ap(replace(results, found=found))["map"], abs=1e-12
    )


# --- recall --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_what_lies_farther_is_ignored(seed):
    """Queries at 0, 25 and 500 m, of which the last has nothing within 10 m and is left out."""
    ids = np.random.default_rng(seed).permuted(np.tile(np.arange(10), (3, 1)), axis=1)
    results = replace(streets(), image_ids=ids, found=np.ones(ids.shape, bool))
    hits = []
    for place, row in ((0.0, ids[0].tolist()), (25.0, ids[1].tolist())):
        distances = [abs(10.0 * image - place) for image in row]
        counted = [distance <= 10 for distance in distances if distance <= 10 or distance > 25]
        hits.append([any(counted[:depth]) for depth in (1, 5)])
    expected = dict(zip(("recall@1", "recall@5"), np.mean(hits, axis=0), strict=True))
    found = rescored(recall.CHOICES, "farther_ignored", results)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_nothing_lies_farther_than_a_small_radius():
    with pytest.raises(NotMeantError, match="nothing farther than 10 m"):
        recall.farther_ignored(streets(radius=10.0))


# --- image pairs ---------------------------------------------------------------------------------

SIZES = (120, 90), (100, 80)
TRUE = np.array([[0.9, 0.05, 20.0], [-0.04, 1.1, -8.0], [2e-4, -1e-4, 1.0]])


class DrawnFeatures:
    """Keypoints in both images, a third of them of the same points, with descriptors of 8 numbers."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        first, second = (random.uniform(0, size, (60, 2)) for size in SIZES)
        mapped = np.column_stack([first, np.ones(60)]) @ TRUE.T
        second[:20] = (mapped[:, :2] / mapped[:, 2:])[:20]
        described = random.normal(size=(2, 60, 8))
        described[1, :20] = described[0, :20] + random.normal(0, 0.2, (20, 8))
        self.places = first.astype(np.float32), second.astype(np.float32)
        self.rows = [(part / np.linalg.norm(part, axis=1, keepdims=True)).astype(np.float32) for part in described]

    def keypoints(self, image: int, n: int | None = None) -> np.ndarray:
        return self.places[image][:n]

    def descriptors(self, image: int, n: int | None = None) -> np.ndarray:
        return self.rows[image][:n]


def drawn_pair(seed: int) -> matches.MatchedResults:
    nothing = np.zeros((0, 2), np.float32)
    homography = Homography(tuple(TRUE.ravel())).matrix
    one = MatchedPair(
        "v_a/1.ppm", "v_a/2.ppm", (0, 1), homography, (nothing, nothing), np.zeros(0, np.float32), (60, 60), SIZES
    )
    return replace(matched([one]), features=DrawnFeatures(seed))


def accuracy(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """MMA of matched places, one match after another."""
    errors = []
    for (x, y), other in zip(first.astype(float), second.astype(float), strict=True):
        u, v, w = TRUE @ (x, y, 1)
        errors.append(np.hypot(u / w - other[0], v / w - other[1]))
    return {f"mma@{t}": np.mean([error <= t for error in errors]) for t in (1, 3, 10)}


def reciprocal(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    found = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(first, second)
    return sorted((match.queryIdx, match.trainIdx) for match in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_points_that_both_images_share(seed):
    results = drawn_pair(seed)
    kept = []
    for places, way, (width, height) in zip(
        results.features.places, (TRUE, np.linalg.inv(TRUE)), SIZES[::-1], strict=True
    ):
        mapped = [way @ (x, y, 1) for x, y in places.astype(float)]
        kept.append([n for n, (u, v, w) in enumerate(mapped) if 0 <= u / w < width and 0 <= v / w < height])
    first, second = (rows[chosen] for rows, chosen in zip(results.features.rows, kept, strict=True))
    pairs = np.array([(kept[0][i], kept[1][j]) for i, j in reciprocal(first, second)])
    expected = accuracy(*(results.features.places[image][pairs[:, image]] for image in (0, 1)))
    found = rescored(matches.CHOICES, "shared_points", results)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert all(0 < len(chosen) < 60 for chosen in kept)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["distance_0.7", "colmap"])
def test_limits_of_matches(name, seed):
    results = drawn_pair(seed)
    first, second = results.features.rows
    products = first.astype(float) @ second.T.astype(float)

    def nearest(row: np.ndarray) -> int | None:
        """Of angles: passes COLMAP's ratio test."""
        best, rival = np.sort(row)[:2]
        return int(row.argmin()) if best <= 0.7 and best < 0.8 * rival else None

    if name == "colmap":
        angles = np.arccos(np.clip(products, -1, 1))
        one, back = [nearest(row) for row in angles], [nearest(row) for row in angles.T]
        pairs = [(i, j) for i, j in enumerate(one) if j is not None and back[j] == i]
    else:
        pairs = [(i, j) for i, j in reciprocal(first, second) if np.linalg.norm(first[i] - second[j]) <= 0.7]
    chosen = np.array(pairs)
    expected = accuracy(*(results.features.places[image][chosen[:, image]] for image in (0, 1)))
    found = rescored(matches.CHOICES, name, results)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


# --- patches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_recall_nearest_to_95_percent(seed):
    """Of 18 right pairs the first 17 are nearer to it than all."""
    random = np.random.default_rng(seed)
    distances, right = np.rint(random.normal(20, 8, 90)), random.permutation(np.arange(90) < 18)
    order = sorted(range(90), key=lambda n: distances[n])  # stable
    rates, passed = [], {0: 0, 1: 0}
    for number in order:
        passed[int(right[number])] += 1
        rates.append((abs(passed[1] / right.sum() - 0.95), passed[0] / (90 - right.sum())))
    assert fpr95.at_nearest_recall(distances, right) == min(rates, key=lambda rate: rate[0])[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_distances_in_float32(seed):
    """Whole numbers are exact in float32, but 1 / (1 / (d + 1e-8) + 1e-8) of large ones is not: near ones tie."""
    random = np.random.default_rng(seed)
    described = (random.integers(0, 9, (80, 1)) + 16_000_000 * random.integers(0, 2, (80, 1))).astype(np.float32)
    pairs = random.integers(0, 80, (300, 2))
    known = PatchLabels(np.arange(80), np.zeros(80, np.int64), ("a",), pairs, random.integers(0, 2, 300, np.uint8))
    results = DescribedParts({"a": described}, {"a": known}, Fpr95())
    small, rows = np.float32(1e-8), []
    for (i, j), matches_ in zip(pairs, known.matches, strict=True):
        distance = np.float32(abs(described[i, 0] - described[j, 0]))
        rows.append((np.float32(1) / (np.float32(1) / (distance + small) + small), bool(matches_)))
    rows.sort(key=lambda row: row[0])
    limit = next(n for n in range(len(rows)) if sum(r for _, r in rows[: n + 1]) >= 0.95 * sum(r for _, r in rows))
    wrong = [not right for _, right in rows]
    found = rescored(fpr95.CHOICES, "distances_float32", results)
    assert found == {"fpr95_a": pytest.approx(sum(wrong[:limit]) / sum(wrong))}


@pytest.fixture(scope="module")
def strips() -> DescribedParts:
    """Descriptors so short that their fifth decimal matters."""
    descriptors = {name: array / np.float32(3000) for name, array in made(3, "unit").items()}
    return DescribedParts(*flat(descriptors), HPatches(SPLIT, *lists(descriptors), pools=(10, 20)))


def test_descriptors_of_five_decimals(strips):
    """Written as text, with five decimals, and read again."""
    written = {
        name: np.array([[float(f"{value:10.5f}") for value in row] for row in array], np.float32)
        for name, array in strips.descriptors.items()
    }
    expected = strips.protocol.score(written, strips.labels).metrics
    found = rescored(hpatches.CHOICES, "decimals_5", strips)
    assert found == {name: pytest.approx(metric.value, abs=1e-12) for name, metric in expected.items()}
    assert found["verification"] != strips.ours.metrics["verification"].value
    with pytest.raises(NotMeantError, match="no more than 5 decimals"):
        hpatches.with_decimals(replace(strips, descriptors=written), 5)


@pytest.mark.parametrize("distance", ["L2", "L1", "masked_L1"])
def test_matches_by_their_second_nearest(strips, distance):
    results = replace(strips, protocol=replace(strips.protocol, distance=distance))
    views = {name: results.descriptors[name].reshape(16, -1, 4) for name in TEST}
    means = {}
    for name, (first, *others) in plain.split_masks(views, distance).items():
        values = []
        for other in others:
            rows = [[plain.measure(distance)(a, b) for b in other.astype(float)] for a in first.astype(float)]
            ratios = [-sorted(row)[0] / sorted(row)[1] for row in rows]
            values.append(plain.classical(ratios, [int(np.argmin(row) == n) for n, row in enumerate(rows)], len(first)))
        means[name] = np.mean(values)
    expected = (means["i_a"] + (means["v_b"] + means["v_c"]) / 2) / 2
    found = rescored(hpatches.CHOICES, "second_nearest", results)
    assert found == {name: pytest.approx(expected, abs=1e-9) for name in ("matching", "matlab_matching")}
    assert abs(expected - results.ours.metrics["matlab_matching"].value) > 1e-6
    with pytest.raises(NotMeantError, match="normalised"):
        hpatches.by_ratio(replace(results, protocol=replace(results.protocol, normalisation="pca_power")))


def test_the_first_distractors(strips):
    descriptors = {name: array.reshape(16, -1, array.shape[1]) for name, array in strips.descriptors.items()}
    listed = strips.protocol.retrieval
    few = replace(listed.distractors, **{
        key: getattr(listed.distractors, key)[:12] for key in ("sequences", "images", "patches")
    })  # fmt: skip
    tested = {name: descriptors[name] for name in TEST}
    expected = plain.retrieval(tested, replace(listed, distractors=few), (10,))[1].mean()
    assert hpatches.of_first_distractors(strips, 12)["retrieval"] == pytest.approx(expected, abs=1e-9)
    with pytest.raises(NotMeantError, match="no more than 2000 distractors"):
        rescored(hpatches.CHOICES, "distractors_2000", strips)
