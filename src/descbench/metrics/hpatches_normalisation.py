"""Normalisation of HPatches' descriptors by the training sequences of a split, the two benchmarks' ways.

Definition: docs/protocols/hpatches_patches.md, PCA and power law, and The MATLAB benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from descbench.errors import DataError

_CLIPPED = 0.6  # share of eigenvalues
# Least eigenvalue over the largest: smaller ones are rounding.
_LEAST = 1e-12


def whiten_and_root(
    descriptors: Mapping[str, np.ndarray], train: Sequence[str], test: Sequence[str]
) -> dict[str, np.ndarray]:
    """PCA whitening (ZCA) with clipped eigenvalues, power law and L2 length of the descriptors of ``test``.

    The transform is learnt from the reference patches of ``train``; each view of a sequence is centred by itself
    (docs/protocols/hpatches_patches.md, PCA and power law). What is returned is float64.

    Raises:
        DataError: no training sequences.
    """
    _some(train)
    learnt = np.concatenate([descriptors[name][0] for name in train]).astype(float)
    centred = learnt - learnt.mean(axis=0)
    values, vectors = _spectrum(centred.T @ centred / len(centred))
    transform = _zca(np.maximum(values, values[int(_CLIPPED * len(values))]), vectors)
    views = {name: descriptors[name].astype(float) for name in test}
    return {
        name: np.stack([_rooted((view - view.mean(axis=0)) @ transform) for view in array])
        for name, array in views.items()
    }


def whiten_by_energy(
    descriptors: Mapping[str, np.ndarray], train: Sequence[str], test: Sequence[str], clipped: float
) -> dict[str, np.ndarray]:
    """ZCA whose eigenvalues are clipped by their cumulative energy, power law and L2 length, as the CVPR 2017 article.

    Mean and transform are learnt from all views of ``train``
    (docs/protocols/hpatches_patches.md, The MATLAB benchmark).

    Args:
        descriptors: (16, N, D) of each sequence.
        train, test: sequences.
        clipped: share of the energy, at its small end, whose eigenvalues are raised; 0: none are.

    Returns:
        (16, N, D) float64 of each sequence of ``test``.

    Raises:
        DataError: no training sequences, or equal descriptors alone.
    """
    _some(train)
    count = sum(array.shape[0] * array.shape[1] for array in map(descriptors.get, train))
    mean = sum(descriptors[name].sum(axis=(0, 1), dtype=float) for name in train) / count
    covariance = np.zeros((len(mean), len(mean)))
    for name in train:
        centred = descriptors[name].reshape(-1, len(mean)) - mean
        covariance += centred.T @ centred
    values, vectors = _spectrum(covariance / count)
    if values[-1] <= 0:
        raise DataError("all descriptors of the training sequences are equal; there is nothing to whiten by.")
    values = np.maximum(values, _LEAST * values[-1])
    energy = np.cumsum(values[::-1])
    # Of the largest, as many as hold the rest of the energy stay.
    kept = min(int(np.searchsorted(energy, (1 - clipped) * energy[-1])), len(values) - 1)
    transform = _zca(np.maximum(values, values[::-1][kept]), vectors)
    return {name: _rooted((descriptors[name] - mean) @ transform) for name in test}


def _some(train: Sequence[str]) -> None:
    if not train:
        raise DataError("this split has no training sequences to learn PCA from; use split a, b or c.")


def _spectrum(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (D,), ascending, and eigenvectors (D, D) of the symmetric part."""
    return np.linalg.eigh((covariance + covariance.T) / 2)


def _zca(values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(D, D) transform."""
    return vectors @ np.diag(1 / np.sqrt(values)) @ vectors.T


def _rooted(turned: np.ndarray) -> np.ndarray:
    """Power 1/2 with the sign, and unit length."""
    powered = np.sign(turned) * np.sqrt(np.abs(turned))
    with np.errstate(invalid="ignore"):  # a row of zeros stays one
        return np.nan_to_num(powered / np.linalg.norm(powered, axis=-1, keepdims=True), nan=0.0)
