"""Stages cluster_descriptors and initialise_checkpoint: a NetVLAD layer from clusters of local descriptors.

Definition: docs/protocols/netvlad.md, Clusters; docs/protocols/netvlad.md, Initialisation. The clusters file has the
original's datasets, ``descriptors`` (n, D) and ``centroids`` (K, D), both float32; what they were made from is in
attributes, where the original has only a file name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from descbench.config.networks import NetVladModel
from descbench.config.weights import ClusteredWeights
from descbench.device import pick_device
from descbench.errors import DataError
from descbench.io.digests import check_digest, digest_of
from descbench.io.hdf5 import created, opened
from descbench.models.checkpoints import checkpoint_digest, load_network, save_network
from descbench.models.folding import prepare_for_inference
from descbench.models.netvlad import NetVladNet
from descbench.models.netvlad_init import initialise_pooling
from descbench.neighbours.kmeans import kmeans
from descbench.retrieval import FORMAT_VERSION
from descbench.training.images import TrainingImages, training_manifest

_KIND = "clusters"
_KMEANS_SEED = 1234  # of faiss, which the original leaves as it is


def cluster_descriptors(
    start: Path,
    manifest: Path,
    image_root: Path,
    model: NetVladModel,
    output: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 2,
) -> None:
    """Draw local descriptors of training images, and cluster them.

    Descriptors are of unit length always, as the layer's input is. The original leaves them raw for a layer with
    bias (``vladv2``), so that its clusters are on another scale than what is compared with them.

    Args:
        start: checkpoint of ours of the same architecture.
        manifest: of the training images.
        image_root: folder that its paths are relative to.
        model: block of the model; its weights say what is drawn.
        output: the clusters file.
        device: ``auto``, ``cpu`` or ``cuda``, for the network; k-means runs on the CPU.
        threads: of the k-means; None = all processors, no effect on the result.
        workers: processes that load images; no effect on the result.

    Raises:
        DataError: missing images, fewer than are to be drawn, maps with fewer locations than are to be drawn, or
            fewer descriptors than clusters.
    """
    settings: ClusteredWeights = model.weights
    images = training_manifest(manifest, settings.role, image_root)
    _check_enough(manifest, len(images), model)
    generator = np.random.RandomState(settings.seed)
    visits = visiting_order(draw_images(generator, len(images), settings.images), settings.seed)
    chosen = pick_device(device)
    network = prepare_for_inference(load_network(start, model)).to(chosen)
    source = TrainingImages.of(images, image_root, settings.image_size, network)
    loader = source.loader([[i] for i in visits], workers=workers, label="local descriptors")
    pictures = (image.to(chosen) for (image,) in loader)
    names = [images.rows[i].path for i in visits]
    descriptors = sample_descriptors(network, pictures, names, settings.descriptors, generator)
    logging.info("%d descriptors of %d images", len(descriptors), len(visits))
    centroids = kmeans(descriptors, model.clusters, iterations=settings.iterations, seed=_KMEANS_SEED, threads=threads)
    attributes = {
        "checkpoint": checkpoint_digest(start),
        "images": images.digest(),
        "settings": _settings_digest(model),
        "made_from": json.dumps(settings.model_dump(mode="json"), sort_keys=True),
    }
    with created(output, _KIND, FORMAT_VERSION, attributes) as file:
        file.put("descriptors", descriptors)
        file.put("centroids", centroids)


def initialise_checkpoint(start: Path, clusters: Path, model: NetVladModel, output: Path) -> None:
    """Write the checkpoint of the start network with its NetVLAD layer set from clusters.

    Args:
        start: checkpoint that the clustered descriptors were made with.
        clusters: file of :func:`cluster_descriptors`.
        model: block of the model.
        output: the checkpoint.

    Raises:
        DataError: no clusters file, or a damaged one.
        StaleFileError: clusters of other weights or other settings.
    """
    network, digest = load_network(start, model), checkpoint_digest(start)
    with opened(clusters, _KIND, FORMAT_VERSION) as file:
        check_digest(clusters, "weights", file.text("checkpoint"), digest)
        check_digest(clusters, "settings", file.text("settings"), _settings_digest(model))
        centroids, descriptors = file.array("centroids", np.float32, 2), file.array("descriptors", np.float32, 2)
        if not (np.isfinite(centroids).all() and np.isfinite(descriptors).all()):
            raise ValueError("centroids or descriptors that are not finite")
    alpha = initialise_pooling(network.pool, centroids, descriptors, model.weights.alpha)
    logging.info("alpha %.6g from %d descriptors", alpha, len(descriptors))
    save_network(network, model, output, {"start": digest, "alpha": alpha, **model.weights.model_dump(mode="json")})


def _check_enough(manifest: Path, images: int, model: NetVladModel) -> None:
    """Refuse to draw more images than there are, or fewer descriptors than there will be clusters."""
    settings: ClusteredWeights = model.weights
    if images < settings.images:
        raise DataError(
            f"{manifest}: {images} {settings.role} images, of which {settings.images} cannot be drawn; lower "
            "`images` of the model's weights."
        )
    if settings.images * settings.descriptors < model.clusters:
        raise DataError(
            f"{manifest}: {settings.images * settings.descriptors} descriptors are too few for {model.clusters} "
            "clusters; raise `images` or `descriptors` of the model's weights."
        )


def draw_images(generator: np.random.RandomState, total: int, count: int) -> np.ndarray:
    """``count`` of ``total`` images, each once: the first draw of a generator that was just seeded."""
    return generator.choice(total, count, replace=False)


def visiting_order(images: np.ndarray, seed: int) -> list[int]:
    """The images in the order of a permutation by torch, as a shuffling loader visits them.

    The original's own order depends on how many random numbers its network took before; this one on the seed.
    """
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order.numpy()].tolist()


@torch.inference_mode()
def sample_descriptors(
    network: NetVladNet,
    images: Iterable[torch.Tensor],
    names: Sequence[str],
    count: int,
    generator: np.random.RandomState,
) -> np.ndarray:
    """Local descriptors at locations drawn in each image: (images * count, D) float32 of unit length.

    Args:
        network: in eval mode.
        images: (1, 3, H, W) each, in visiting order.
        names: of the images, for messages.
        count: locations of an image, drawn from its map in rows, each at most once.
        generator: draws the locations of one image after the other.

    Raises:
        DataError: an image gives fewer than ``count`` locations.
    """
    found = []
    for image, name in zip(images, names, strict=True):
        # An image too small for a map has no locations: an empty tensor stands for them.
        local = network.local_map(image)[0].flatten(1).T if _large_enough(network, image) else image[0, 0, :0]
        if len(local) < count:
            raise DataError(
                f"{name}: its map has {len(local)} locations, of which {count} cannot be drawn; lower `descriptors` "
                "of the model's weights, or raise `image_size`."
            )
        rows = torch.from_numpy(generator.choice(len(local), count, replace=False))
        found.append(local[rows.to(local.device)].cpu().numpy())
    return np.concatenate(found)


def _large_enough(network: NetVladNet, image: torch.Tensor) -> bool:
    return min(image.shape[-2:]) >= network.smallest_side


def _settings_digest(model: NetVladModel) -> str:
    """Of all that decides the clusters; how a layer is then initialised does not."""
    settings = model.weights.model_dump(mode="json", exclude={"alpha", "start"})
    return digest_of([model.backbone, model.clusters, settings])
