"""Drawn descriptors and codes of images."""

from __future__ import annotations

import numpy as np

from benchmarks.case import Sizes
from descbench.retrieval.asmk import Aggregated

DIM = 128


class Town:
    """Descriptors scattered around random words, as a codebook sees those of images."""

    def __init__(self, sizes: Sizes, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.centroids = self._normal((sizes.words, DIM))
        self.sizes = sizes

    def images(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Descriptors (N, D) of so many images, and the first descriptor of each (count + 1,)."""
        per_image = self.sizes.descriptors
        words = self.generator.integers(0, len(self.centroids), count * per_image)
        vectors = self.centroids[words] + 0.3 * self._normal((len(words), DIM))
        return vectors, np.arange(count + 1) * per_image

    def codes(self, images: int, words: int) -> Aggregated:
        """Binary codes of images that have about nine words in ten descriptors, without any descriptors."""
        chosen = [np.unique(self.generator.integers(0, words, self.sizes.descriptors)) for _ in range(images)]
        offsets = np.cumsum([0, *map(len, chosen)])
        rows = self.generator.integers(0, 256, (offsets[-1], DIM // 8), np.uint8)
        return Aggregated(rows, np.concatenate(chosen), offsets)

    def _normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.generator.standard_normal(shape, np.float32)
