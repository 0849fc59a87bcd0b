"""Pairs of crops and changes of colour: what is drawn, what both crops show, and what there is where none is found."""

from __future__ import annotations

import numpy as np
import pytest

from descbench.training import colours
from descbench.training.homographies import MOST_POINTS, draw_pair

HEIGHT, WIDTH, SIDE = 150, 200, 64


def places() -> np.ndarray:
    """An image whose colours say where a pixel is; squares in the third channel give it contrast."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    squares = np.random.default_rng(0).integers(0, 2, (HEIGHT // 10, WIDTH // 10)) * 255
    return np.stack([columns, rows, squares.repeat(10, 0).repeat(10, 1)], 2).astype(np.uint8)


def keypoints(count: int = 4000) -> np.ndarray:
    random = np.random.default_rng(1)
    return (random.random((count, 2)) * (WIDTH, HEIGHT)).astype(np.float32)


def colour_at(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    columns, rows = np.round(points).astype(int).T
    return crop[rows, columns, :2].astype(float)


@pytest.mark.parametrize("seed", range(8))
def test_points_show_the_same_place_in_both_crops(seed):
    image, points = places(), keypoints()
    pair = draw_pair(image, image, points, SIDE, np.random.default_rng(seed))
    assert pair.found
    assert 0 < len(pair.points[0]) == len(pair.points[1]) <= MOST_POINTS
    assert all(((points >= 0) & (points <= SIDE - 1)).all() for points in pair.points)
    first, second = (colour_at(*both) for both in zip(pair.crops, pair.points, strict=True))
    # Not at the borders of the image, outside which crops are black.
    seen = (first > 3).all(1) & (second > 3).all(1)
    assert seen.mean() > 0.5
    assert np.abs(first - second)[seen].max() <= 4
    assert not np.array_equal(*pair.crops)


def test_a_seed_gives_the_same_pair_and_order_is_kept():
    image, points = places(), keypoints()
    one, same, other = (draw_pair(image, image, points, SIDE, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.crops[1], same.crops[1])
    np.testing.assert_array_equal(one.points[1], same.points[1])
    assert not np.array_equal(one.crops[0], other.crops[0])
    # The first keypoints count: more behind them change nothing.
    more = draw_pair(image, image, np.concatenate([points, points[:50]]), SIDE, np.random.default_rng(3))
    assert len(one.points[0]) == MOST_POINTS
    np.testing.assert_array_equal(one.points[0], more.points[0])


def test_the_second_crop_is_of_the_second_image():
    image = places()
    one, other = (
        draw_pair(image, second, keypoints(), SIDE, np.random.default_rng(3)) for second in (image, 255 - image)
    )
    np.testing.assert_array_equal(one.crops[0], other.crops[0])
    assert (one.crops[1].astype(int) + other.crops[1]).max() == 255
    assert not np.array_equal(one.crops[1], other.crops[1])


@pytest.mark.parametrize("what", ["one grey", "no keypoint"])
def test_where_no_attempt_gives_a_pair(what):
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8) if what == "one grey" else places()
    points = keypoints() if what == "one grey" else np.zeros((0, 2), np.float32)
    unrelated, same = (
        draw_pair(image, image, points, SIDE, np.random.default_rng(0), fallback)
        for fallback in ("unrelated", "same_crop")
    )
    for pair in (unrelated, same):
        assert not pair.found
        assert pair.points[0].shape == (MOST_POINTS, 2)
        np.testing.assert_array_equal(*pair.points)
        assert (pair.points[0] == np.round(pair.points[0])).all()
        assert pair.points[0].max() <= SIDE - 1
    np.testing.assert_array_equal(*same.crops)
    if what == "no keypoint":
        assert not np.array_equal(*unrelated.crops)


def test_every_change_of_colour_is_drawn_as_often_as_it_should_be(monkeypatch):
    drawn: list[str] = []
    names = iter("abcdefgh")

    def noting(name):
        return lambda image, _random: (drawn.append(name), image)[1]

    steps = [(chance, [(weight, noting(next(names))) for weight, _ in changes]) for chance, changes in colours._STEPS]
    monkeypatch.setattr(colours, "_STEPS", steps)
    random, image = np.random.default_rng(0), np.zeros((1, 1, 3), np.uint8)
    for _ in range(20_000):
        colours.change_colours(image, random)
    share = {name: drawn.count(name) / 20_000 for name in "abcdefgh"}
    weights = dict(zip("abcde", (0.7, 0.7, 0.5, 0.5, 0.1), strict=True))
    expected = {name: 0.6 * weight / 2.5 for name, weight in weights.items()} | {"f": 0.15, "g": 0.15, "h": 0.1}
    assert share == pytest.approx(expected, abs=0.012)


def test_changes_of_colour_keep_the_form_and_follow_the_seed():
    image = places()
    seen = set()
    for seed in range(300):
        found, same = (colours.change_colours(image, np.random.default_rng(seed)) for _ in range(2))
        assert (found.dtype, found.shape) == (np.uint8, image.shape)
        np.testing.assert_array_equal(found, same)
        seen.add(found.tobytes())
    # Some images are left as they are, and two greys are the same.
    assert 100 < len(seen) < 270


def test_sides_of_blurs_are_odd():
    image = places()
    random = np.random.default_rng(0)
    found = {colours._draw_gaussian_blur(image, random).tobytes() for _ in range(60)}
    assert found == {colours.gaussian_blur(image, side).tobytes() for side in (3, 5, 7)}
