"""Rows of extraction and training: HOW with ResNet-50-, FIRe and NetVLAD with VGG16, one image after the other.

The plain side is the loop of the definitions (``benchmarks/plain/how.py`` and its like): eager modules, BatchNorm
of its own, contiguous tensors, NetVLAD's layer a cluster at a time. Ours is what extraction runs. The pyramid (seven
scales and 1,000 features, for NetVLAD one scale) and the weights are the same; the weights are random, which takes as
long as released ones.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.case import Case
from benchmarks.plain import fire as plain_fire
from benchmarks.plain import how as plain_how
from benchmarks.plain import netvlad as plain_netvlad
from descbench.config.base import HOW_SCALES
from descbench.config.models import Backend
from descbench.config.networks import FireModel, HowModel, Model, NetVladModel
from descbench.features.images import to_tensor
from descbench.models.backends import use_backend
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.models.folding import prepare_for_inference
from descbench.models.levels import LevelNetwork
from descbench.models.local import LocalDescriptors
from descbench.training.steps import freeze_batch_norm_statistics, tuple_loss

_RANDOM = {"source": "random", "seed": 0}
HOW = HowModel.model_validate({"architecture": "how", "backbone": "resnet50", "skip_layer": 1, "weights": _RANDOM})
FIRE = FireModel.model_validate({"architecture": "fire", "weights": _RANDOM})
NETVLAD = NetVladModel.model_validate({"architecture": "netvlad", "weights": _RANDOM})
FEATURES = 1000
_OPTIONAL: tuple[Backend, ...] = ("openvino", "onnxruntime")
_TOLERANCE = 1e-4


def extract_cases(side: int, folder: Path) -> Iterator[Case]:
    """Rows ``extract_how``, ``extract_fire`` and ``extract_netvlad`` (the fastest backend installed), each by torch
    too, and ``train_step_how``.

    Args:
        side: longer side of the images in pixels.
        folder: where the checkpoints may lie meanwhile.
    """
    images = draw_images(side)
    for model in (HOW, FIRE):
        checkpoint = folder / f"{model.architecture}.pt"
        convert_checkpoint(model, None, checkpoint)
        yield from _extraction(model, checkpoint, images, f"{len(images)} images of {side} pixels")
    yield from netvlad_cases(5 * side // 4, folder)
    yield _training_case(folder / "how.pt", side)


def netvlad_cases(side: int, folder: Path) -> Iterator[Case]:
    """Rows ``extract_netvlad`` (the fastest backend installed) and ``extract_netvlad_torch``: VGG16, 64 clusters.

    Args:
        side: longer side of the image in pixels; 640 x 480 is Pittsburgh's.
        folder: where the checkpoint may lie meanwhile.
    """
    checkpoint = folder / "netvlad.pt"
    convert_checkpoint(NETVLAD, None, checkpoint)
    image = draw_images(side, 3 * side // 4)[0]
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    plain = plain_netvlad.PlainNetVlad(state, NETVLAD.backbone)
    networks = networks_by_backend(checkpoint, NETVLAD)

    @torch.inference_mode()
    def ours(name: str) -> torch.Tensor:
        return networks[name].describe(image)

    fastest = min(networks, key=lambda name: seconds_of(lambda: ours(name)))
    for row_name, name in (("extract_netvlad", fastest), ("extract_netvlad_torch", "torch")):
        yield Case(
            row_name,
            lambda: plain_netvlad.describe(plain, image),
            lambda name=name: ours(name),
            same_global,
            f"an image of {side} x {3 * side // 4} pixels, by {name}; installed: {', '.join(networks)}",
        )


def _extraction(model: HowModel | FireModel, checkpoint: Path, images: list[torch.Tensor], note: str) -> Iterator[Case]:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    if isinstance(model, FireModel):
        way, plain = plain_fire, plain_fire.PlainFire(state, model.backbone, model.skip_layer, model.iterations)
    else:
        way, plain = plain_how, plain_how.PlainHow(state, model.backbone, model.skip_layer)
    networks = networks_by_backend(checkpoint, model)
    fastest = min(networks, key=lambda name: seconds_of(lambda: _ours(networks[name], images)))
    row = f"extract_{model.architecture}"
    for row_name, name in ((row, fastest), (f"{row}_torch", "torch")):
        yield Case(
            row_name,
            lambda: [way.local(plain, image, HOW_SCALES, FEATURES) for image in images],
            lambda name=name: _ours(networks[name], images),
            same_local,
            f"{note}, {len(HOW_SCALES)} scales, by {name}; installed: {', '.join(networks)}",
        )


def _training_case(checkpoint: Path, side: int) -> Case:
    """Forward and backward of a tuple: tensors contiguous, and channels last as the loop has them."""
    images = [image for image in draw_images(side // 2) for _ in range(2)]
    return Case(
        "train_step_how",
        training_step(checkpoint, images, torch.contiguous_format),
        training_step(checkpoint, images, torch.channels_last),
        lambda theirs, ours: np.allclose(theirs, ours, rtol=1e-2),
        f"a tuple of 4 images of {side // 2} pixels, forward and backward",
    )


def training_step(
    checkpoint: Path,
    images: Sequence[torch.Tensor],
    layout: torch.memory_format,
    forward: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Callable[[], list[float]]:
    """Forward and backward of HOW on a tuple.

    Args:
        checkpoint: of HOW.
        images: query, positive and two negatives, on the device of the step.
        layout: of the network.
        forward: what the forward runs under.

    Returns:
        What runs a step and gives its loss and the norm of every gradient.
    """
    labels = torch.tensor([-1, 1, 0, 0], device=images[0].device)
    network = load_network(checkpoint, HOW).to(images[0].device, memory_format=layout).train()
    freeze_batch_norm_statistics(network)

    def run() -> list[float]:
        network.zero_grad()
        with forward():
            loss, _ = tuple_loss(network, images, labels, margin=2.0)
        loss.backward()
        norms = [parameter.grad.norm() for parameter in network.parameters() if parameter.grad is not None]
        return torch.stack([loss.detach(), *norms]).tolist()

    return run


def draw_images(side: int, short: int | None = None) -> list[torch.Tensor]:
    """A wide and a high image of smooth random colours: (1, 3, H, W) each; the shorter side is 9/16 by default."""
    rng, short = np.random.default_rng(0), short or 9 * side // 16
    images = []
    for height, width in ((short, side), (side, short)):
        coarse = rng.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        images.append(to_tensor(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))[None])
    return images


def networks_by_backend(checkpoint: Path, model: Model) -> dict[str, LevelNetwork]:
    """The network as extraction runs it, by each backend that is installed."""
    installed = [name for name in _OPTIONAL if importlib.util.find_spec("onnx") and importlib.util.find_spec(name)]
    backends: tuple[Backend, ...] = ("torch", "winograd", *installed)
    networks = {name: prepare_for_inference(load_network(checkpoint, model)) for name in backends}
    for name, network in networks.items():
        use_backend(network, name)
    return networks


@torch.inference_mode()
def _ours(network: LevelNetwork, images: list[torch.Tensor]) -> list[LocalDescriptors]:
    return [network.local(image, HOW_SCALES, FEATURES) for image in images]


def seconds_of(run: Callable[[], object]) -> float:
    """Time of the second run: the first one may compile."""
    run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def same_global(theirs: torch.Tensor, ours: torch.Tensor) -> bool:
    """Whether descriptors of unit length agree within 1e-4."""
    return bool((theirs - ours).norm() <= _TOLERANCE)


def same_local(theirs: list[list[np.ndarray]], ours: list[LocalDescriptors]) -> bool:
    """Whether the plain way's local features of images and ours are the same but for rounding."""
    return len(theirs) == len(ours) and all(map(_same_image, theirs, ours))


def _same_image(theirs: list[np.ndarray], ours: LocalDescriptors) -> bool:
    """Same keypoints, and descriptors within 1e-4 of their norm.

    Rounding may exchange features at the cut, whose strengths differ by less than it.
    """
    descriptors, strengths, locations, scales = theirs
    expected = dict(zip(_keys(scales, locations), zip(descriptors, strengths, strict=True), strict=True))
    values = zip(ours.descriptors.numpy(), ours.strengths.numpy(), strict=True)
    found = dict(zip(feature_keys(ours), values, strict=True))
    one_side = found.keys() ^ expected.keys()
    exchanged = [(found.get(key) or expected[key])[1] - strengths[-1] for key in one_side]
    return (
        len(found) == len(expected) == len(strengths)
        and all(abs(difference) < 1e-5 for difference in exchanged)
        and all(
            np.linalg.norm(found[key][0] - expected[key][0]) <= _TOLERANCE * np.linalg.norm(expected[key][0])
            for key in found.keys() & expected.keys()
        )
    )


def feature_keys(found: LocalDescriptors) -> list[tuple[float, int, int]]:
    """Scale and place of each feature, which no other feature of the image has."""
    return _keys(found.scales.numpy(), found.locations.numpy())


def _keys(scales: np.ndarray, locations: np.ndarray) -> list[tuple[float, int, int]]:
    return [(float(scale), int(x), int(y)) for scale, (x, y) in zip(scales, locations, strict=True)]
