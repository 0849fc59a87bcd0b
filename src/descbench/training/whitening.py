"""Stage whiten_checkpoint: the reduction becomes a PCA-whitening.

Definition: docs/protocols/how.md, Whitening; docs/protocols/fire.md, Whitening.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from descbench.config.networks import Model
from descbench.config.weights import WhitenedWeights
from descbench.device import pick_device
from descbench.errors import DataError
from descbench.models.checkpoints import checkpoint_digest, load_network, save_network
from descbench.models.whitening import StreamedMoments, pca_whitening, whitening_convolution
from descbench.training.images import TrainingImages, training_manifest


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
