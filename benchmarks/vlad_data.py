"""Global descriptors like those of NetVLAD, made by its formula from drawn local descriptors.

A place is a set of local descriptors, most of them of themes that all places share, the frequent ones more often.
An image of a place sees most of these, with noise, and some others. So images of a place are alike, images of
different places differ by various amounts, and the mean of all is far from zero.
"""

from __future__ import annotations

import numpy as np

CLUSTERS, LOCAL_DIM = 64, 512
DIM = CLUSTERS * LOCAL_DIM
_THEMES, _LOCALS = 400, 50
_OWN_LOOK, _NOISE, _OTHERS, _SHARPNESS = 0.6, 0.5, 0.3, 30.0


def draw_vlads(places: np.ndarray, seed: int = 5) -> np.ndarray:
    """Descriptors (N, DIM) float32 of unit length, of images of these places (N,)."""
    generator = np.random.default_rng(seed)
    centres = _unit(generator.standard_normal((CLUSTERS, LOCAL_DIM), np.float32))
    near = centres[generator.integers(0, CLUSTERS, _THEMES)]
    themes = _unit(near + 0.8 * _unit(generator.standard_normal((_THEMES, LOCAL_DIM), np.float32)))
    frequencies = 1 / np.arange(1, _THEMES + 1) ** 0.7
    frequencies /= frequencies.sum()

    def looks(count: int) -> np.ndarray:
        own = _OWN_LOOK * _unit(generator.standard_normal((count, LOCAL_DIM), np.float32))
        return themes[generator.choice(_THEMES, count, p=frequencies)] + own

    of_places = [looks(_LOCALS) for _ in range(int(places.max()) + 1)]
    images = np.empty((len(places), DIM), np.float32)
    for number, place in enumerate(places):
        seen = of_places[place].copy()
        other = generator.random(_LOCALS) < _OTHERS
        seen[other] = looks(int(other.sum()))
        noise = _unit(generator.standard_normal(seen.shape, np.float32))
        images[number] = _aggregate(_unit(seen + _NOISE * noise), centres)
    return images


def _aggregate(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """NetVLAD of local descriptors: soft assignment, residuals, both normalisations."""
    logits = _SHARPNESS * features @ centres.T
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    residuals = weights.T @ features - weights.sum(axis=0)[:, None] * centres
    return _unit(_unit(residuals).reshape(-1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
