"""Stage pca_checkpoint: a PCA-whitening of global descriptors behind a network.

Definition: docs/protocols/netvlad.md, PCA-whitening.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from descbench.config.networks import NetVladModel
from descbench.config.weights import PcaWeights
from descbench.device import pick_device
from descbench.errors import DataError
from descbench.models.checkpoints import build_empty_network, checkpoint_digest, load_network, save_network
from descbench.models.folding import prepare_for_inference
from descbench.models.pca import learn_pca
from descbench.models.state_dicts import load_state
from descbench.training.images import TrainingImages, training_manifest


def pca_checkpoint(
    start: Path,
    manifest: Path,
    image_root: Path,
    model: NetVladModel,
    output: Path,
    *,
    device: str = "auto",
    workers: int = 2,
) -> None:
    """Learn a whitening from descriptors of training images, and write the network with it.

    All descriptors are held at once (10,000 of 32,768 numbers: 1.3 GB, with their products about 5 GB).

    Args:
        start: checkpoint of ours of the same architecture without whitening.
        manifest: of the training images.
        image_root: folder that its paths are relative to.
        model: block of the model; its weights say which images.
        output: the checkpoint.
        device: ``auto``, ``cpu`` or ``cuda``, for the network.
        workers: processes that load images; no effect on the result.

    Raises:
        DataError: missing images, or too few of them for the whitening.
    """
    settings: PcaWeights = model.weights
    plain = model.model_copy(update={"whitening": None})
    listed = training_manifest(manifest, settings.role, image_root, settings.images)
    chosen = pick_device(device)
    network = load_network(start, plain)
    if model.whitening > min(network.dim, len(listed) - 1):
        raise DataError(
            f"{manifest}: {len(listed)} descriptors of {network.dim} dimensions are too few for a whitening to "
            f"{model.whitening}; raise `images` of the model's weights, or lower `whitening`."
        )
    state = {key: value.clone() for key, value in network.state_dict().items()}
    prepare_for_inference(network).to(chosen)
    images = TrainingImages.of(listed, image_root, settings.image_size, network)
    descriptors = np.empty((len(listed), network.dim), np.float32)
    with torch.inference_mode():
        loader = images.loader([[i] for i in range(len(listed))], workers=workers, label="descriptors")
        for i, (image,) in enumerate(loader):
            descriptors[i] = network.describe(image.to(chosen)).cpu().numpy()
    whitening = learn_pca(descriptors, model.whitening)
    logging.info("whitening to %d dimensions learned from %d descriptors", model.whitening, len(listed))
    state["WPCA.0.weight"] = torch.from_numpy(whitening.weight)[:, :, None, None]
    state["WPCA.0.bias"] = torch.from_numpy(whitening.bias)
    whitened = build_empty_network(model)
    load_state(whitened, state, start)
    whitened.mean, whitened.std = network.mean, network.std
    source = {"start": checkpoint_digest(start), **settings.model_dump(mode="json")}
    save_network(whitened, model, output, source)
