"""Matching: the matcher against plain loops, files of matches, and the stage on small feature shards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from retrieval_data import draw_images, poison, write_shard
from sealed import altered

from descbench.datasets.image_pairs import Homography, ImagePair, write_image_pairs
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.errors import DataError, StaleFileError
from descbench.features.image_features import ImageFeatures
from descbench.features.store import ShardInfo, ShardWriter
from descbench.matching.match_features import PairShard, match_features
from descbench.matching.matcher import (
    MatchSettings,
    PairMatches,
    distance_of,
    match_descriptors,
    match_pairs,
    normalised,
)
from descbench.matching.matches import MatchesInfo, read_matches, write_matches

IDENTITY = Homography((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
INFO = MatchesInfo("first", "second", "settings", "sift on walls")


def descriptors(count: int, seed: int = 0, dim: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


def noisy(rows: np.ndarray, seed: int = 1, spread: float = 0.4) -> np.ndarray:
    """The same descriptors in another order, with noise."""
    dice = np.random.default_rng(seed)
    return (rows[dice.permutation(len(rows))] + dice.normal(0, spread, rows.shape)).astype(np.float32)


def plain(first: np.ndarray, second: np.ndarray, settings: MatchSettings) -> list[tuple[int, int]]:
    """Matches as the page says them, by loops over the whole matrix of distances."""
    distances = distance_of(normalised(first).astype(float) @ normalised(second).astype(float).T, settings.distance)

    def passes(row: np.ndarray) -> bool:
        one, two = np.sort(row)[:2]
        return settings.ratio is None or one < settings.ratio * two

    found = []
    for i, row in enumerate(distances):
        j = int(np.argmin(row))
        back = int(np.argmin(distances[:, j])) == i and passes(distances[:, j])
        far = settings.max_distance is not None and row[j] > settings.max_distance
        if passes(row) and (back or not settings.mutual) and not far:
            found.append((i, j))
    return found


@pytest.mark.parametrize("mutual", [True, False])
@pytest.mark.parametrize("ratio", [None, 0.7, 1.0])
@pytest.mark.parametrize("limit", [None, 0.6])
@pytest.mark.parametrize("distance", ["euclidean", "angle"])
def test_matches_are_those_of_plain_loops(mutual, ratio, limit, distance):
    first = descriptors(120)
    second = np.concatenate([noisy(first)[:90], descriptors(20, seed=5)])
    settings = MatchSettings(mutual=mutual, ratio=ratio, max_distance=limit, distance=distance)
    found = match_descriptors(first, second, settings)
    assert list(map(tuple, found.indices.tolist())) == plain(first, second, settings)
    assert 10 < len(found.indices) <= 120
    products = np.einsum("ij,ij->i", normalised(first)[found.indices[:, 0]], normalised(second)[found.indices[:, 1]])
    np.testing.assert_allclose(found.scores, products, atol=1e-6)
    assert found.indices.dtype == np.int32
    assert found.scores.dtype == np.float32


def test_equal_distances_go_to_the_lowest_row():
    first, second = np.tile(descriptors(1), (4, 1)), np.tile(descriptors(1), (3, 1))
    assert match_descriptors(first, second).indices.tolist() == [[0, 0]]
    assert match_descriptors(first, second, MatchSettings(mutual=False)).indices.tolist() == [[i, 0] for i in range(4)]
    # Of two equal neighbours none is clearly the nearest.
    assert not len(match_descriptors(first, second, MatchSettings(ratio=0.99)).indices)


def test_one_descriptor_and_none():
    one, none = descriptors(1), np.zeros((0, 16), np.float32)
    assert match_descriptors(one, one, MatchSettings(ratio=0.5)).indices.tolist() == [[0, 0]]
    for first, second in ((one, none), (none, one), (none, none)):
        found = match_descriptors(first, second, MatchSettings(ratio=0.8))
        assert found.indices.shape == (0, 2)
        assert found.scores.shape == (0,)
        assert found.counts == (len(first), len(second))
    zeros = match_descriptors(np.zeros((2, 16)), one)  # has no direction: as far from all
    assert zeros.indices.tolist() == [[0, 0]]
    assert zeros.scores.tolist() == [0.0]


def test_lengths_do_not_matter_unless_descriptors_are_taken_as_they_are():
    first, second = descriptors(40), noisy(descriptors(40))
    lengths = np.random.default_rng(3).uniform(0.1, 1e30, (40, 1))
    usual = match_descriptors(first, second)
    assert match_descriptors(first * lengths, second).indices.tolist() == usual.indices.tolist()
    raw = match_descriptors(normalised(first) * 1.5, normalised(second), MatchSettings(normalise=False))
    assert raw.indices.tolist() == usual.indices.tolist()
    assert raw.scores.max() <= 1 < 1.5 * usual.scores.max()


def test_what_cannot_be_matched_is_refused():
    with pytest.raises(ValueError, match="dimensions"):
        match_descriptors(descriptors(3), descriptors(3, dim=8))
    bad = descriptors(3)
    bad[1, 2] = np.nan
    for settings in (MatchSettings(), MatchSettings(ratio=0.8)):
        with pytest.raises(ValueError, match=r"NaN|finite"):
            match_descriptors(descriptors(3), bad, settings)


class Images:
    """Descriptors in memory that count how often they are asked for."""

    def __init__(self, rows: list[np.ndarray]) -> None:
        self.rows, self.asked = rows, []

    def descriptors(self, image_id: int, n: int | None = None) -> np.ndarray:
        self.asked.append(image_id)
        return self.rows[image_id][:n]


def test_pairs_of_two_sets_of_images():
    """As of queries and a map: the first image of consecutive pairs is read once."""
    first, second = Images([descriptors(9), descriptors(7, 1)]), Images([descriptors(9), descriptors(12, 1)])
    found = list(match_pairs(first, second, [(0, 0), (0, 1), (1, 1)], MatchSettings(n=8)))
    assert [pair.counts for pair in found] == [(8, 8), (8, 8), (7, 8)]
    assert found[0].indices.tolist() == [[i, i] for i in range(8)]
    assert first.asked == [0, 1]
    assert second.asked == [0, 1, 1]


def matches() -> list[PairMatches]:
    return [
        PairMatches(np.array([[0, 2], [3, 0]], np.int32), np.array([0.5, -1], np.float32), (4, 3)),
        PairMatches(np.zeros((0, 2), np.int32), np.zeros(0, np.float32), (4, 0)),
        PairMatches(np.array([[1, 1]], np.int32), np.ones(1, np.float32), (2, 2)),
    ]


@pytest.fixture
def stored(tmp_path) -> Path:
    write_matches([(0, 1), (0, 2), (3, 1)], matches(), INFO, tmp_path / "m.h5")
    return tmp_path / "m.h5"


def test_matches_are_read_as_they_were_written(stored):
    found = read_matches(stored, cell="sift on walls", configuration="settings", first="first", second="second")
    assert found.info == INFO
    assert found.pairs.tolist() == [[0, 1], [0, 2], [3, 1]]
    assert len(found) == 3
    for number, pair in enumerate(matches()):
        read = found.of(number)
        assert read.indices.tolist() == pair.indices.tolist()
        assert read.scores.tolist() == pair.scores.tolist()
        assert read.counts == pair.counts
    assert found.indices.dtype == np.int32
    assert found.scores.dtype == np.float32


def test_equal_matches_are_equal_bytes(stored, tmp_path):
    write_matches([(0, 1), (0, 2), (3, 1)], matches(), INFO, tmp_path / "again.h5")
    assert stored.read_bytes() == (tmp_path / "again.h5").read_bytes()


@pytest.mark.parametrize("asked", [{"cell": "orb on walls"}, {"configuration": "x"}, {"first": "x"}, {"second": "x"}])
def test_matches_of_something_else_are_stale(stored, asked):
    with pytest.raises(StaleFileError, match=r"m\.h5"):
        read_matches(stored, **asked)


@pytest.mark.parametrize(
    ("name", "row", "value", "message"),
    [
        ("indices", (1, 1), 3, "not there"),
        ("indices", (1, 0), 0, "ascend"),
        ("indices", (0, 0), -1, "not there"),
        ("scores", 0, np.nan, "scores"),
        ("scores", 0, 1.01, "scores"),
        ("pair_offsets", 1, 4, "pair_offsets"),
        ("pair_offsets", 0, 1, "pair_offsets"),
        ("counts", (1, 1), -1, "negative"),
        ("counts", (0, 0), 3, "not there"),
        ("pairs", (0, 0), -5, "negative"),
    ],
)
def test_damaged_matches_are_refused(stored, name, row, value, message):
    with altered(stored) as file:
        file[name][row] = value
    with pytest.raises(DataError, match=message):
        read_matches(stored)


def test_files_of_other_types_and_shapes_are_refused(stored):
    for name, values in (
        ("indices", np.zeros((3, 2), np.int64)),
        ("indices", np.zeros((3, 3), np.int32)),
        ("scores", np.zeros(2, np.float32)),
        ("pairs", np.zeros((2, 2), np.int64)),
    ):
        write_matches([(0, 1), (0, 2), (3, 1)], matches(), INFO, stored)
        with altered(stored) as file:
            del file[name]
            file.create_dataset(name, data=values, track_times=False)
        with pytest.raises(DataError, match=r"m\.h5"):
            read_matches(stored)
    stored.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"m\.h5"):
        read_matches(stored)


# --- the stage ---


@pytest.fixture
def place(tmp_path) -> Path:
    """Five images in two shards, of which image 3 has no features and image 4 could not be read; four pairs."""
    rows = descriptors(30)
    images = [rows, noisy(rows), noisy(rows, 2), rows[:0], rows[:0]]
    write_shard(tmp_path / "a.h5", images[:2])
    write_shard(tmp_path / "b.h5", images[2:], first=2, skip=(4,))
    manifest = Manifest(tuple(rows_of("database", [f"{k}.ppm" for k in range(5)])))
    write_manifest(manifest, tmp_path / "m.csv")
    write_image_pairs([ImagePair(0, k, IDENTITY) for k in range(1, 5)], tmp_path / "p.csv")
    return tmp_path


def run(place: Path, start: int = 0, stop: int | None = None, **changes) -> Path:
    shard = PairShard(place / "p.csv", place / "m.csv", start, stop)
    output = place / f"out{start}.h5"
    match_features([place / "a.h5", place / "b.h5"], shard, output, changes.pop("settings", MatchSettings()), **changes)
    return output


def test_stage_matches_all_pairs(place):
    found = read_matches(run(place, cell="x on y", configuration="c"), cell="x on y", configuration="c")
    assert found.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [0, 4]]
    assert found.counts.tolist() == [[30, 30], [30, 30], [30, 0], [30, 0]]
    with ImageFeatures([place / "a.h5", place / "b.h5"]) as images:
        assert found.info.first == found.info.second == images.digest
        expected = match_descriptors(images.descriptors(0), images.descriptors(2))
        assert images.skipped == {4: "broken"}
    assert found.of(1).indices.tolist() == expected.indices.tolist()


def test_shards_of_pairs_together_are_the_whole(place):
    whole = read_matches(run(place, settings=MatchSettings(ratio=0.9)))
    parts = [read_matches(run(place, *cut, settings=MatchSettings(ratio=0.9))) for cut in ((0, 3), (3, 4))]
    assert np.concatenate([part.indices for part in parts]).tolist() == whole.indices.tolist()
    assert [len(part) for part in parts] == [3, 1]


def test_stage_refuses_what_does_not_fit(place, tmp_path):
    with pytest.raises(DataError, match="ends before pair 5"):
        run(place, 0, 5)
    with pytest.raises(StaleFileError, match="features digest"):
        run(place, made_by="0" * 64)
    with pytest.raises(DataError, match="image 2 is in none of the 2 images"):
        match_features([place / "a.h5"], PairShard(place / "p.csv", place / "m.csv"), place / "o.h5", MatchSettings())
    with pytest.raises(DataError, match="is in another shard too"):
        match_features(
            [place / "a.h5"] * 2, PairShard(place / "p.csv", place / "m.csv"), place / "o.h5", MatchSettings()
        )
    poison(place / "a.h5", 3)
    with pytest.raises(DataError, match=r"out0\.h5"):
        run(place)
    write_shard(place / "b.h5", draw_images([5, 5, 5], dim=8), first=2)
    write_shard(place / "a.h5", draw_images([5, 5]))
    with pytest.raises(DataError, match="dimensions"):
        run(place)


def test_other_features_have_another_digest(place):
    with ImageFeatures([place / "a.h5", place / "b.h5"]) as images:
        before = images.digest
    write_shard(place / "b.h5", draw_images([3, 3, 3]), first=2, checkpoint="b" * 64)
    with ImageFeatures([place / "a.h5", place / "b.h5"]) as images:
        assert images.digest != before


def test_places_count_from_the_centre_of_the_first_pixel(tmp_path):
    info = ShardInfo("local", "f", "i", "", "cpu")
    with ShardWriter(tmp_path / "k.h5", info, 4) as writer:
        writer.add(0, np.ones((2, 4)), keypoints=np.array([[0.5, 0.5], [10.75, 3.5]], np.float32))
        writer.add(1, np.zeros((0, 4)))
    with ImageFeatures([tmp_path / "k.h5"]) as images:
        assert images.keypoints(0).tolist() == [[0, 0], [10.25, 3]]
        assert images.keypoints(0, 1).tolist() == [[0, 0]]
        assert images.keypoints(1).shape == (0, 2)
    write_shard(tmp_path / "k.h5", draw_images([3]))
    with ImageFeatures([tmp_path / "k.h5"]) as images, pytest.raises(DataError, match="without a place"):
        images.keypoints(0)


def test_settings_have_the_keys_of_the_configuration():
    from descbench.config.matching_methods import MatchMethod

    block = MatchMethod(match="nearest", features="sift", ratio=0.8, mutual=False)
    settings = MatchSettings(**block.matching())
    assert settings == replace(MatchSettings(), ratio=0.8, mutual=False)
