"""Two crops of one image by random homographies, and keypoints in both (docs/protocols/hndesc.md, Training pairs)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np

Fallback = Literal["unrelated", "same_crop"]

MOST_POINTS = 200
_SCALE, _PERSPECTIVE, _DEGREES = 0.8, 0.6, 15.0
_SHIFT = 0.1  # of the second crop's centre, as a part of the side
_ATTEMPTS = 10
_LEAST_CONTRAST = 20.0  # standard deviation of a crop's mean colour


class Jitter(NamedTuple):
    """What a homography is made from, each uniform in 0..1, in the order in which they are drawn."""

    scale: float
    centre: tuple[float, float]
    perspective: tuple[float, float]
    rotation: float


class Warp(NamedTuple):
    """A crop of an image.

    Attributes:
        centre: (2,) float64 x, y in the image.
        matrix: (3, 3) float64, from pixels of the image to those of the crop.
    """

    centre: np.ndarray
    matrix: np.ndarray


@dataclass(frozen=True)
class CropPair:
    """Two crops and the keypoints that both show.

    Attributes:
        crops: two of (S, S, 3) uint8.
        points: two of (n, 2) float32 x, y; row i of both is the same keypoint.
        found: False where no attempt gave crops that overlap, and the pair is what the fallback makes.
    """

    crops: tuple[np.ndarray, np.ndarray]
    points: tuple[np.ndarray, np.ndarray]
    found: bool = True


def place_first(jitter: Jitter, axis: int, size: tuple[int, int], side: int) -> Warp:
    """A crop anywhere in an image, its corners' circle within it.

    Args:
        jitter: what was drawn.
        axis: 0: the upper and lower edges are shortened, 1: the left and right ones.
        size: width and height of the image.
        side: of the crop in pixels.
    """
    radius = 0.5 * np.sqrt(2 * (_zoom(jitter) * side) ** 2)
    centre = radius + np.array(jitter.centre) * (np.array(size) - 2 * radius)
    return Warp(centre, _image_to_crop(jitter, axis, centre, side))


def place_second(jitter: Jitter, axis: int, before: Warp, signs: tuple[int, int], side: int) -> Warp:
    """A crop beside another one: its centre is a tenth of the side away along each axis, to the sides of ``signs``."""
    centre = before.centre + _SHIFT * side * np.array(signs)
    return Warp(centre, _image_to_crop(jitter, axis, centre, side))


def map_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(n, 2) points by a homography (3, 3)."""
    mapped = np.column_stack([points, np.ones(len(points), points.dtype)]) @ matrix.T.astype(points.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):  # points of the horizon are nowhere
        return mapped[:, :2] / mapped[:, 2:]


def inside(points: np.ndarray, side: int) -> np.ndarray:
    """(n,) bool, whether points (n, 2) lie between the middles of the outermost pixels."""
    return ((points >= 0) & (points <= side - 1)).all(1)


def crop_image(image: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 3) uint8: bilinear, black outside the image."""
    return cv2.warpPerspective(image, matrix, (side, side))


def relative(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Homographies (3, 3) float32 from the second crop to the first, and back, of those from the image to each."""
    to_image = np.linalg.inv(second)
    to_first = (first @ (to_image / to_image[2, 2])).astype(np.float32)
    return to_first, np.linalg.inv(to_first)


def draw_pair(
    image: np.ndarray,
    second: np.ndarray,
    keypoints: np.ndarray,
    side: int,
    random: np.random.Generator,
    fallback: Fallback = "unrelated",
    most: int = MOST_POINTS,
) -> CropPair:
    """Two crops that overlap, with the first keypoints that both show.

    Args:
        image: (H, W, 3) uint8, whose keypoints are known.
        second: the same, or the same scene in another style: of its size.
        keypoints: (N, 2) float32 x, y.
        side: of the crops.
        random: what is drawn from.
        fallback: what a pair is where ten attempts gave none. ``unrelated``: two crops that have nothing to do with
            each other, with random points that are said to be the same, as in the original; ``same_crop``: one twice.
        most: keypoints of a pair.
    """
    size = (image.shape[1], image.shape[0])
    for _ in range(_ATTEMPTS):
        first = _draw_first(size, side, random)
        other = _draw_second(first, side, random)
        pair = _overlapping(image, second, keypoints, side, (first, other), most)
        if pair is not None:
            return pair
    crops = [crop_image(image, _draw_first(size, side, random).matrix, side) for _ in range(2)]
    points = random.integers(0, side, (most, 2)).astype(np.float32)
    chosen = {"unrelated": (crops[0], crops[1]), "same_crop": (crops[0], crops[0])}[fallback]
    return CropPair(chosen, (points, points), found=False)


def _overlapping(
    image: np.ndarray, second: np.ndarray, keypoints: np.ndarray, side: int, warps: tuple[Warp, Warp], most: int
) -> CropPair | None:
    """The pair of two warps, or None where it is none to learn from."""
    crop = crop_image(image, warps[0].matrix, side)
    points = map_points(warps[0].matrix, keypoints)
    points = points[inside(points, side)].astype(np.float32)
    to_first, to_second = relative(warps[0].matrix, warps[1].matrix)
    if not len(points) or crop.mean(2).std() < _LEAST_CONTRAST or not _overlap(to_first, to_second, side):
        return None
    targets = map_points(to_second, points)
    kept = inside(targets, side)
    if not kept.any():
        points = points[:most]
        return CropPair((crop, crop), (points, points))
    points, targets = points[kept][:most], targets[kept][:most]
    return CropPair((crop, crop_image(second, warps[1].matrix, side)), (points, targets.astype(np.float32)))


def _overlap(to_first: np.ndarray, to_second: np.ndarray, side: int) -> bool:
    """Whether pixels of each crop lie within the other one."""
    rows, columns = np.indices((side, side), np.float32)
    grid = np.column_stack([columns.ravel(), rows.ravel()])
    return all(inside(map_points(matrix, grid), side).any() for matrix in (to_first, to_second))


def _draw_jitter(random: np.random.Generator) -> tuple[Jitter, int]:
    """Six numbers in their order, and the axis."""
    scale, x, y, one, other, rotation = random.random(6)
    return Jitter(scale, (x, y), (one, other), rotation), int(random.random() < 0.5)


def _draw_first(size: tuple[int, int], side: int, random: np.random.Generator) -> Warp:
    return place_first(*_draw_jitter(random), size, side)


def _draw_second(first: Warp, side: int, random: np.random.Generator) -> Warp:
    jitter, axis = _draw_jitter(random)
    across, down = random.choice([-1, 1], 2)
    return place_second(jitter, axis, first, (across, down), side)


def _zoom(jitter: Jitter) -> float:
    return _SCALE * jitter.scale + (1 - jitter.scale)


def _image_to_crop(jitter: Jitter, axis: int, centre: np.ndarray, side: int) -> np.ndarray:
    """(3, 3) float64 homography that brings the jittered corners around ``centre`` to those of the crop."""
    half = (side - 1) / 2
    corners = np.array([(-half, -half), (half, -half), (-half, half), (half, half)]) * _zoom(jitter)
    one, other = (_PERSPECTIVE * value + (1 - value) for value in jitter.perspective)
    # Of the corners top left, top right, bottom left, bottom right.
    shortened = {0: (0, [one, one, other, other]), 1: (1, [one, other, one, other])}[axis]
    corners[:, shortened[0]] *= shortened[1]
    angle = np.deg2rad((2 * jitter.rotation - 1) * _DEGREES)
    turned = corners @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).T
    last = side - 1
    targets = np.array([(0, 0), (last, 0), (0, last), (last, last)], np.float32)
    return cv2.getPerspectiveTransform((turned + centre).astype(np.float32), targets)
