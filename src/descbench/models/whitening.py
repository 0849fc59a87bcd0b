"""PCA-whitening, with which HOW initialises its dimensionality reduction (docs/protocols/how.md, Whitening)."""

from __future__ import annotations

import numpy as np
import torch


class StreamedMoments:
    """Mean and covariance of descriptors that are never all in memory.

    Sums are kept in float64, so that the result agrees with a computation over the whole matrix up to
    rounding (the original holds, and doubles, up to 20 GB).
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self._sum = np.zeros(dim)
        self._outer = np.zeros((dim, dim))

    def add(self, descriptors: np.ndarray) -> None:
        """Add (N, D) descriptors."""
        values = np.asarray(descriptors, np.float64)
        self.count += len(values)
        self._sum += values.sum(0)
        self._outer += values.T @ values

    @property
    def mean(self) -> np.ndarray:
        """(D,) float64."""
        return self._sum / self.count

    @property
    def covariance(self) -> np.ndarray:
        """(D, D) float64, divided by N."""
        covariance = self._outer / self.count - np.outer(self.mean, self.mean)
        return (covariance + covariance.T) / 2


def pca_whitening(moments: StreamedMoments) -> tuple[np.ndarray, np.ndarray]:
    """Whitening directions.

    Returns:
        ``(mean (D,), projection (D, D))``, both float32; row k of the projection is
        eigenvector k divided by the root of its eigenvalue, eigenvalues descending and clipped below
        at 1e-14. Signs are arbitrary.
    """
    values, vectors = np.linalg.eigh(moments.covariance)
    values = np.maximum(values[::-1], 1e-14)
    projection = vectors[:, ::-1].T / np.sqrt(values)[:, None]
    return moments.mean.astype(np.float32), projection.astype(np.float32)


def whitening_convolution(mean: np.ndarray, projection: np.ndarray, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (dim, D, 1, 1) and bias (dim,) of the 1x1 convolution that applies a whitening."""
    rows = projection[:dim]
    weight = torch.from_numpy(np.ascontiguousarray(rows))[:, :, None, None]
    return weight, torch.from_numpy(-(rows @ mean))
