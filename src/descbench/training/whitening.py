"""Stage whiten_checkpoint: the reduction becomes a PCA-whitening; its mathematics, and the stage.

Definition: docs/protocols/how.md, Whitening; docs/protocols/fire.md, Whitening.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from descbench.config.networks import Model
from descbench.config.weights import WhitenedWeights
from descbench.device import pick_device
from descbench.errors import DataError
from descbench.models.checkpoints import checkpoint_digest, load_network, save_network
from descbench.training.images import TrainingImages, training_manifest


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


def whiten_checkpoint(
    start: Path,
    manifest: Path,
    image_root: Path,
    model: Model,
    output: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    workers: int = 2,
) -> None:
    """Learn a whitening from unreduced descriptors of training images, and write the network with it.

    Mean and covariance are summed up image by image; descriptors are never held together.

    Args:
        start: checkpoint of ours of the same architecture.
        manifest: of the training images.
        image_root: folder that its paths are relative to.
        model: block of the model; its weights say which images, and how many descriptors of each.
        output: the checkpoint.
        seed: of which images are mirrored, where the settings ask for it.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: processes that load images; no effect on the result.

    Raises:
        DataError: missing images, or fewer descriptors than the reduction has dimensions.
    """
    settings: WhitenedWeights = model.weights
    listed = training_manifest(manifest, settings.role, image_root, settings.images)
    chosen = pick_device(device)
    network = load_network(start, model).to(chosen)
    images = TrainingImages.of(listed, image_root, settings.image_size, network)
    weight = network.dim_reduction.weight
    moments = StreamedMoments(weight.shape[1])
    flips = torch.rand((len(listed), 1), generator=torch.Generator().manual_seed(seed)) < settings.flip
    with torch.inference_mode():
        loader = images.loader([[i] for i in range(len(listed))], flips, workers=workers, label="descriptors")
        for (image,) in loader:
            moments.add(network.unreduced(image.to(chosen), settings.n).cpu().numpy())
    if moments.count < weight.shape[0]:
        raise DataError(
            f"{manifest}: {moments.count} descriptors of {len(listed)} images are too few for a whitening to "
            f"{weight.shape[0]} dimensions; raise `images` or `n` of the model's weights."
        )
    logging.info("whitening learned from %d descriptors of %d images", moments.count, len(listed))
    whitening = whitening_convolution(*pca_whitening(moments), weight.shape[0])
    with torch.no_grad():
        for parameter, value in zip((weight, network.dim_reduction.bias), whitening, strict=True):
            parameter.copy_(value)
    source = {"start": checkpoint_digest(start), **settings.model_dump(mode="json")}
    save_network(network, model, output, source)
