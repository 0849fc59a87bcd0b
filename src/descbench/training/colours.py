"""Random changes of colour, blur and noise of a crop (docs/protocols/hndesc.md, Training pairs).

Each operation takes and gives an RGB image (H, W, 3) uint8, and does what that of albumentations 1.1 of the same
parameters does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

_TILES = (8, 8)


def brightness_contrast(image: np.ndarray, contrast: float, brightness: float) -> np.ndarray:
    """Values times ``contrast``, plus ``brightness`` times 255; clipped, fractions cut off."""
    table = np.arange(256, dtype=np.float32) * np.float32(contrast) + np.float32(brightness * 255)
    return cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8))


def hue_saturation(image: np.ndarray, hue: float, saturation: float) -> np.ndarray:
    """Hue (a circle of 180) and saturation (0..255) moved by so much; fractions cut off."""
    values = np.arange(256)
    hues = np.mod(values + hue, 180).astype(np.uint8)
    saturations = np.clip(values + saturation, 0, 255).astype(np.uint8)
    channels = list(cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)))
    channels[:2] = cv2.LUT(channels[0], hues), cv2.LUT(channels[1], saturations)
    return cv2.cvtColor(cv2.merge(channels), cv2.COLOR_HSV2RGB)


def equalise(image: np.ndarray, clip: float) -> np.ndarray:
    """The lightness of Lab equalised in 8 x 8 tiles, contrast limited by ``clip`` (CLAHE)."""
    channels = list(cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB)))
    channels[0] = cv2.createCLAHE(clip, _TILES).apply(channels[0])
    return cv2.cvtColor(cv2.merge(channels), cv2.COLOR_LAB2RGB)


def to_grey(image: np.ndarray) -> np.ndarray:
    """Three channels of the same grey."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def shuffle_channels(image: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """The channels in another order."""
    return np.ascontiguousarray(image[..., list(order)])


def gaussian_blur(image: np.ndarray, side: int) -> np.ndarray:
    """A Gaussian of ``side`` pixels, as wide as OpenCV has it for that side."""
    return cv2.GaussianBlur(image, (side, side), 0)


def box_blur(image: np.ndarray, side: int) -> np.ndarray:
    """The mean of ``side`` x ``side`` pixels."""
    return cv2.blur(image, (side, side))


def add_noise(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """``noise`` (H, W, 3) added; clipped, fractions cut off."""
    return np.clip(image.astype(np.float32) + noise, 0, 255).astype(np.uint8)


def change_colours(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """At most one change of colour, at most one blur, and noise, each with its probability."""
    for probability, changes in _STEPS:
        if random.random() < probability:
            weights = np.array([weight for weight, _ in changes])
            chosen = random.choice(len(changes), p=weights / weights.sum())
            image = changes[chosen][1](image, random)
    return image


def _draw_brightness_contrast(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return brightness_contrast(image, 1 + random.uniform(-0.2, 0.2), random.uniform(-0.3, 0.3))


def _draw_hue_saturation(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return hue_saturation(image, random.uniform(-10, 10), random.uniform(-30, 30))


def _draw_gaussian_blur(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Of 3 to 7 pixels; even sides become the next odd one."""
    return gaussian_blur(image, int(random.integers(3, 8)) | 1)


def _draw_noise(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return add_noise(image, random.normal(0, random.uniform(10, 50) ** 0.5, image.shape))


# Probability of each step, and its changes with their weights, of which one is taken.
_STEPS: tuple[tuple[float, tuple[tuple[float, Change], ...]], ...] = (
    (
        0.6,
        (
            (0.7, _draw_brightness_contrast),
            (0.7, _draw_hue_saturation),
            (0.5, lambda image, random: equalise(image, random.uniform(1, 4))),
            (0.5, lambda image, _random: to_grey(image)),
            (0.1, lambda image, random: shuffle_channels(image, random.permutation(3))),
        ),
    ),
    (
        0.3,
        (
            (0.5, _draw_gaussian_blur),
            (0.5, lambda image, random: box_blur(image, int(random.choice([3, 5, 7])))),
        ),
    ),
    (0.1, ((1.0, _draw_noise),)),
)
