"""Features and matches of images as they are handed to other pipelines and taken from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ExchangedFeatures:
    """Features of an image, in the order of their file.

    Attributes:
        keypoints: (N, 2) float32 x, y in pixels; the middle of the first pixel is 0.5, 0.5, as in the feature store.
        descriptors: (N, D) float32.
        scores: (N,) float32 of the detector, the best is the largest; None: unknown.
        scales: (N,) float32; None: unknown.
        orientations: (N,) float32, radians from the x axis towards the y axis (down); None: unknown.
        size: width and height of the image in pixels; None: unknown.
        uncertainty: standard deviation of keypoints in pixels; None: unknown.

    Raises:
        ValueError: arrays that do not fit each other, NaN or infinity.
    """

    keypoints: np.ndarray
    descriptors: np.ndarray
    scores: np.ndarray | None = None
    scales: np.ndarray | None = None
    orientations: np.ndarray | None = None
    size: tuple[int, int] | None = None
    uncertainty: float | None = None

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        shapes = {"keypoints": (count, 2), "descriptors": (count, *np.shape(self.descriptors)[1:2])}
        for name in ("scores", "scales", "orientations"):
            if getattr(self, name) is not None:
                shapes[name] = (count,)
        for name, shape in shapes.items():
            values = getattr(self, name)
            if np.shape(values) != shape or (name == "descriptors" and len(shape) != 2):
                raise ValueError(f"{name} have shape {np.shape(values)} for {count} keypoints")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} hold NaN or infinity")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"an image of {self.size[0]} x {self.size[1]} pixels")
        if self.uncertainty is not None and not 0 <= self.uncertainty < np.inf:
            raise ValueError(f"an uncertainty of {self.uncertainty} pixels")

    def order(self) -> np.ndarray | None:
        """(N,) positions, best score first, equal ones in the order of the file; None where they stand so already."""
        if self.scores is None or (np.diff(self.scores) <= 0).all():
            return None
        return np.argsort(-self.scores, kind="stable")

    def strongest_first(self) -> ExchangedFeatures:
        """The same features in the order of the feature store."""
        order = self.order()
        if order is None:
            return self
        names = ("keypoints", "descriptors", "scores", "scales", "orientations")
        columns = {name: getattr(self, name) for name in names}
        sorted_columns = {name: None if values is None else values[order] for name, values in columns.items()}
        return ExchangedFeatures(**sorted_columns, size=self.size, uncertainty=self.uncertainty)


@dataclass(frozen=True)
class ExchangedMatches:
    """Matches of two images.

    Attributes:
        indices: (M, 2) int64, features of the first and of the second image, in the order of their file.
        scores: (M,) float64, the best is the largest.

    Raises:
        ValueError: arrays that do not fit each other, negative indices, NaN or infinity.
    """

    indices: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        if self.indices.shape != (len(self.scores), 2) or self.scores.shape != (len(self.scores),):
            raise ValueError(f"indices {self.indices.shape} with scores {self.scores.shape}")
        if (self.indices < 0).any():
            raise ValueError("a match of a feature with a negative number")
        if not np.isfinite(self.scores).all():
            raise ValueError("scores hold NaN or infinity")

    def swapped(self) -> ExchangedMatches:
        """The same matches, the second image first; rows by feature of what is now the first image."""
        return ExchangedMatches(self.indices[:, ::-1], self.scores).by_first()

    def by_first(self) -> ExchangedMatches:
        """The same matches by feature of the first image."""
        order = np.argsort(self.indices[:, 0], kind="stable")
        return ExchangedMatches(self.indices[order], self.scores[order])


def same_or_none(values: Sequence[float] | np.ndarray | None) -> np.ndarray | None:
    """As float32; None stays."""
    return None if values is None else np.asarray(values, np.float32)
