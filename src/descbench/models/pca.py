"""PCA-whitening of global descriptors, as Patch-NetVLAD and NetVLAD's authors learn it.

Definition: docs/protocols/netvlad.md, PCA-whitening.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_EPSILON = 1e-9
_BLOCK = 1024  # columns or rows that are held in float64 at once


@dataclass(frozen=True)
class PcaWhitening:
    """y = weight @ x + bias, to be L2-normalised.

    Attributes:
        weight: (P, D) float32; row k is eigenvector k divided by the root of its eigenvalue. Signs are arbitrary.
        bias: (P,) float32.
        mean: (D,) float32 of the descriptors.
        values: (P,) float64 eigenvalues, descending.
    """

    weight: np.ndarray
    bias: np.ndarray
    mean: np.ndarray
    values: np.ndarray


def learn_pca(descriptors: np.ndarray, dim: int) -> PcaWhitening:
    """Learn a whitening; with fewer descriptors than dimensions by way of their products with each other.

    Args:
        descriptors: (n, D) float32; centred in place, to save memory.
        dim: P, at most D and n - 1, beyond which there is no variance.

    Raises:
        ValueError: too large a ``dim``.
    """
    count, width = descriptors.shape
    if dim > min(width, count - 1):
        raise ValueError(f"{count} descriptors of {width} dimensions have no {dim} principal ones")
    mean = descriptors.mean(0, dtype=np.float64)
    descriptors -= mean.astype(np.float32)
    dual = count < width
    products = np.zeros((count, count) if dual else (width, width))
    for start in range(0, width if dual else count, _BLOCK):
        part = slice(start, start + _BLOCK)
        block = np.asarray(descriptors[:, part] if dual else descriptors[part].T, np.float64)
        products += block @ block.T
    values, vectors = np.linalg.eigh(products / (count - 1))
    del products
    values, vectors = values[::-1][:dim], vectors[:, ::-1][:, :dim]
    if dual:
        scale = 1 / np.sqrt(np.maximum(values, _EPSILON)) / np.sqrt(count - 1) / np.sqrt(values + _EPSILON)
        weight = np.empty((dim, width), np.float32)
        for start in range(0, width, _BLOCK):
            part = slice(start, start + _BLOCK)
            weight[:, part] = (vectors * scale).T @ descriptors[:, part].astype(np.float64)
    else:
        weight = (vectors / np.sqrt(values + _EPSILON)).T.astype(np.float32)
    return PcaWhitening(weight, (-(weight @ mean)).astype(np.float32), mean.astype(np.float32), values)
