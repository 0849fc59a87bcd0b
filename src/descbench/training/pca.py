"""Stage pca_checkpoint: a PCA-whitening of global descriptors behind a network, as NetVLAD's authors and
Patch-NetVLAD learn it; its mathematics, and the stage.

Definition: docs/protocols/netvlad.md, PCA-whitening.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from descbench.config.networks import NetVladModel
from descbench.config.weights import PcaWeights
from descbench.device import pick_device
from descbench.errors import DataError
from descbench.models.checkpoints import build_empty_network, checkpoint_digest, load_network, save_network
from descbench.models.folding import prepare_for_inference
from descbench.models.state_dicts import load_state
from descbench.training.images import TrainingImages, training_manifest

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
