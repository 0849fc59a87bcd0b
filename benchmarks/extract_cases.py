"""Rows of extraction and training: HOW with ResNet-50-, FIRe and NetVLAD with VGG16, one image after the other.

The plain side is the loop of the definitions (``benchmarks/plain/how.py`` and its like): eager modules, BatchNorm
of its own, contiguous tensors, NetVLAD's layer a cluster at a time. Ours is what extraction runs. The pyramid (seven
scales and 1,000 features, for NetVLAD one scale) and the weights are the same; the weights are random, which takes as
long as released ones.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
State = Mapping[str, torch.Tensor]
Describe = Callable[[torch.Tensor], Any]
_OPTIONAL: tuple[Backend, ...] = ("openvino", "onnxruntime")
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Ways:
    """Both ways of describing an image (1, 3, H, W) by a network.

    Attributes:
        plain: block and weights -> what describes an image plainly.
        ours: network as extraction runs it, and image -> its features.
        same: features of images by the plain way, and ours -> whether they are the same but for rounding.
        by_key: our features of an image -> its descriptors, (D,) each, by what tells one from another.
    """

    plain: Callable[[Any, State], Describe]
    ours: Callable[[Any, torch.Tensor], Any]
    same: Callable[[Sequence[Any], Sequence[Any]], bool]
    by_key: Callable[[Any], dict[Any, np.ndarray]]


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
        yield from _extraction(
            model, checkpoint, images, f"{len(images)} images of {side} pixels, {len(HOW_SCALES)} scales"
        )
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
    yield from _extraction(NETVLAD, checkpoint, [image], f"an image of {side} x {3 * side // 4} pixels")


def _extraction(model: Model, checkpoint: Path, images: list[torch.Tensor], note: str) -> Iterator[Case]:
    ways = WAYS[model.architecture]
    plain = ways.plain(model, torch.load(checkpoint, weights_only=True)["state_dict"])
    networks = networks_by_backend(checkpoint, model)

    @torch.inference_mode()
    def ours(name: str) -> list[Any]:
        return [ways.ours(networks[name], image) for image in images]

    fastest = min(networks, key=lambda name: seconds_of(lambda: ours(name)))
    row = f"extract_{model.architecture}"
    for row_name, name in ((row, fastest), (f"{row}_torch", "torch")):
        yield Case(
            row_name,
            lambda: [plain(image) for image in images],
            lambda name=name: ours(name),
            ways.same,
            f"{note}, by {name}; installed: {', '.join(networks)}",
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


def seconds_of(run: Callable[[], object]) -> float:
    """Time of the second run: the first one may compile."""
    run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _same_global(theirs: Sequence[torch.Tensor], ours: Sequence[torch.Tensor]) -> bool:
    """Whether descriptors of unit length, one an image, agree within 1e-4."""
    return all(bool((one - other).norm() <= _TOLERANCE) for one, other in zip(theirs, ours, strict=True))


def _same_local(theirs: list[list[np.ndarray]], ours: list[LocalDescriptors]) -> bool:
    """Whether the plain way's local features of images and ours are the same but for rounding."""
    return len(theirs) == len(ours) and all(map(_same_image, theirs, ours))


def _same_image(theirs: list[np.ndarray], ours: LocalDescriptors) -> bool:
    """Same keypoints, and descriptors within 1e-4 of their norm.

    Rounding may exchange features at the cut, whose strengths differ by less than it.
    """
    descriptors, strengths, locations, scales = theirs
    expected = dict(zip(_keys(scales, locations), zip(descriptors, strengths, strict=True), strict=True))
    values = zip(ours.descriptors.numpy(), ours.strengths.numpy(), strict=True)
    found = dict(zip(_keys(ours.scales.numpy(), ours.locations.numpy()), values, strict=True))
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


def _keys(scales: np.ndarray, locations: np.ndarray) -> list[tuple[float, int, int]]:
    """Scale and place of each feature, which no other feature of the image has."""
    return [(float(scale), int(x), int(y)) for scale, (x, y) in zip(scales, locations, strict=True)]


def _plain_how(model: Any, state: State) -> Describe:
    network = plain_how.PlainHow(state, model.backbone, model.skip_layer)
    return lambda image: plain_how.local(network, image, HOW_SCALES, FEATURES)


def _plain_fire(model: Any, state: State) -> Describe:
    network = plain_fire.PlainFire(state, model.backbone, model.skip_layer, model.iterations)
    return lambda image: plain_fire.local(network, image, HOW_SCALES, FEATURES)


def _plain_netvlad(model: Any, state: State) -> Describe:
    network = plain_netvlad.PlainNetVlad(state, model.backbone)
    return lambda image: plain_netvlad.describe(network, image).cpu()


def _our_local(network: Any, image: torch.Tensor) -> LocalDescriptors:
    found = network.local(image, HOW_SCALES, FEATURES)
    return LocalDescriptors(
        found.descriptors.float().cpu(),
        found.strengths.float().cpu(),
        found.locations.cpu(),
        found.scales.cpu(),
        found.scale_indexes.cpu(),
    )


def _our_global(network: Any, image: torch.Tensor) -> torch.Tensor:
    return network.describe(image).float().cpu()


def _local_by_key(found: LocalDescriptors) -> dict[Any, np.ndarray]:
    return dict(zip(_keys(found.scales.numpy(), found.locations.numpy()), found.descriptors.numpy(), strict=True))


WAYS = {
    "how": Ways(_plain_how, _our_local, _same_local, _local_by_key),
    "fire": Ways(_plain_fire, _our_local, _same_local, _local_by_key),
    "netvlad": Ways(_plain_netvlad, _our_global, _same_global, lambda found: {0: found[0].numpy()}),
}
