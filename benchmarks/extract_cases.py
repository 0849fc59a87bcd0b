"""Rows of extraction: HOW with ResNet-50-, seven scales, 1,000 features, one image after the other.

The plain side is the loop of the fact sheet (``tests/golden/plain_how.py``): eager modules, BatchNorm
of its own, contiguous tensors. Ours is what extraction runs. The pyramid and the weights are the same;
the weights are drawn, which takes as long as released ones.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tests.golden import plain_how

from benchmarks.cases import Case
from descbench.config.base import HOW_SCALES
from descbench.config.models import Backend
from descbench.config.networks import HowModel
from descbench.features.images import to_tensor
from descbench.models.backends import use_backend
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.models.folding import prepare_for_inference
from descbench.models.how import HowNet
from descbench.models.local import LocalDescriptors

MODEL = HowModel.model_validate(
    {"architecture": "how", "backbone": "resnet50", "skip_layer": 1, "weights": {"source": "random", "seed": 0}}
)
FEATURES = 1000
_OTHERS: tuple[Backend, ...] = ("openvino", "onnxruntime")
_TOLERANCE = 1e-4


def extract_cases(side: int, folder: Path) -> Iterator[Case]:
    """Rows ``extract_how`` (the fastest backend installed) and ``extract_how_torch``.

    Args:
        side: longer side of the images in pixels.
        folder: where the checkpoint may lie meanwhile.
    """
    checkpoint = folder / "how.pt"
    convert_checkpoint(MODEL, None, checkpoint)
    images = draw_images(side)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    plain = plain_how.PlainHow(state, MODEL.backbone, MODEL.skip_layer)
    installed = [name for name in _OTHERS if importlib.util.find_spec("onnx") and importlib.util.find_spec(name)]
    networks = {name: _network(checkpoint, name) for name in ("torch", *installed)}
    fastest = min(networks, key=lambda name: _seconds(networks[name], images))
    note = f"{len(images)} images of {side} pixels, {len(HOW_SCALES)} scales"
    for row, name in (("extract_how", fastest), ("extract_how_torch", "torch")):
        yield Case(
            row,
            lambda: [plain_how.local(plain, image, HOW_SCALES, FEATURES) for image in images],
            lambda name=name: _ours(networks[name], images),
            _same,
            f"{note}, by {name}; installed: {', '.join(networks)}",
        )


def draw_images(side: int) -> list[torch.Tensor]:
    """A wide and a high image of smooth random colours: (1, 3, H, W) each."""
    rng = np.random.default_rng(0)
    images = []
    for height, width in ((9 * side // 16, side), (side, 9 * side // 16)):
        coarse = rng.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        images.append(to_tensor(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))[None])
    return images


def _network(checkpoint: Path, backend: Backend) -> HowNet:
    network = prepare_for_inference(load_network(checkpoint, MODEL))
    use_backend(network, backend)
    return network


@torch.inference_mode()
def _ours(network: HowNet, images: list[torch.Tensor]) -> list[LocalDescriptors]:
    return [network.local(image, HOW_SCALES, FEATURES) for image in images]


def _seconds(network: HowNet, images: list[torch.Tensor]) -> float:
    """Time of the second run: the first one may compile."""
    _ours(network, images)
    start = time.perf_counter()
    _ours(network, images)
    return time.perf_counter() - start


def _same(theirs: list[list[np.ndarray]], ours: list[LocalDescriptors]) -> bool:
    return len(theirs) == len(ours) and all(map(_same_image, theirs, ours))


def _same_image(theirs: list[np.ndarray], ours: LocalDescriptors) -> bool:
    """Same keypoints, and descriptors within 1e-4 of their norm.

    Rounding may exchange features at the cut, whose strengths differ by less than it.
    """
    descriptors, strengths, locations, scales = theirs
    expected = dict(zip(_keys(scales, locations), zip(descriptors, strengths, strict=True), strict=True))
    found = dict(
        zip(
            _keys(ours.scales.numpy(), ours.locations.numpy()),
            zip(ours.descriptors.numpy(), ours.strengths.numpy(), strict=True),
            strict=True,
        )
    )
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
    return [(float(scale), int(x), int(y)) for scale, (x, y) in zip(scales, locations, strict=True)]
