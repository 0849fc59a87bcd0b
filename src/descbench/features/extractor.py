"""What makes features of one image, whatever it is: a network over the whole image, or descriptors of patches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from descbench.features.images import LoadedImage


@dataclass(frozen=True)
class Described:
    """Features of one image, as the store takes them (:class:`descbench.features.store.Block`); None: it has none."""

    descriptors: np.ndarray
    keypoints: np.ndarray | None = None
    scales: np.ndarray | None = None
    strengths: np.ndarray | None = None
    orientations: np.ndarray | None = None


@dataclass(frozen=True)
class Extractor:
    """Something that describes images.

    Attributes:
        scope: whether it gives many descriptors of an image, or one.
        dim: dimensions of a descriptor.
        checkpoint: SHA-256 of the weights; empty without a network.
        device: where it runs, in words.
        backend: what runs it, with its version.
        describe: from an image and its path, for messages. Raises DataError for one that cannot be described.
    """

    scope: Literal["local", "global"]
    dim: int
    checkpoint: str
    device: str
    backend: str
    describe: Callable[[LoadedImage, str], Described]
