"""Rows of networks on one device: ``python -m benchmarks.bench --device cuda``.

``extract_*`` and ``train_step_how`` compare the plain way with ours, both on the device and in float32. The rows
``*_bf16`` (autocast) and, on a GPU, ``*_tf32`` (convolutions as torch has them by default) compare ours with ours in
float32; their notes say how far the results are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.case import Case
from benchmarks.extract_cases import (
    FEATURES,
    FIRE,
    HOW,
    NETVLAD,
    draw_images,
    feature_keys,
    same_global,
    same_local,
    training_step,
)
from benchmarks.plain import fire as plain_fire
from benchmarks.plain import how as plain_how
from benchmarks.plain import netvlad as plain_netvlad
from descbench.config.base import HOW_SCALES
from descbench.config.networks import FireModel, HowModel, NetVladModel
from descbench.device import device_name
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.models.folding import prepare_for_inference
from descbench.models.local import LocalDescriptors

Found = list[LocalDescriptors] | torch.Tensor


@dataclass(frozen=True)
class Difference:
    """How far features are from the same ones in float32.

    Attributes:
        share: of the features that are there in both.
        largest: difference of a component of their descriptors, L2-normalised.
        smallest_cosine, mean_cosine: between their descriptors.
    """

    share: float
    largest: float
    smallest_cosine: float
    mean_cosine: float

    @property
    def bearable(self) -> bool:
        """Whether it can be rounding; NaN cannot."""
        return self.share > 0.5 and self.mean_cosine > 0.98

    def __str__(self) -> str:
        return (
            f"{100 * self.share:.1f} % of the features the same, components differ by up to {self.largest:.1g}, "
            f"cosine {self.mean_cosine:.6f} (smallest {self.smallest_cosine:.4f})"
        )


def device_cases(side: int, folder: Path, device: torch.device) -> Iterator[Case]:
    """All rows of a device.

    Args:
        side: longer side of the images in pixels.
        folder: where the checkpoints may lie meanwhile.
        device: where both sides run.
    """
    for model in (HOW, FIRE, NETVLAD):
        checkpoint = folder / f"{model.architecture}.pt"
        convert_checkpoint(model, None, checkpoint)
        yield from _extraction(model, checkpoint, side, device)
    yield from _training(folder / f"{HOW.architecture}.pt", side // 2, device)


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """Arithmetic of networks: ``float32`` throughout, ``tf32`` in convolutions, or autocast to ``bf16``."""
    flags = {"enabled": True, "benchmark": False, "deterministic": False, "allow_tf32": name == "tf32"}
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16")
    with torch.backends.cudnn.flags(**flags), autocast:
        yield


def difference(full: Found, other: Found) -> Difference:
    """Features of the same images, in float32 and in less."""
    pairs, total = [], 0
    for one, two in zip(_by_key(full), _by_key(other), strict=True):
        total += len(one)
        pairs += [(one[key], two[key]) for key in one.keys() & two.keys()]
    vectors = np.array(pairs, np.float64)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    cosines = (vectors[:, 0] * vectors[:, 1]).sum(-1)
    largest = float(np.abs(vectors[:, 0] - vectors[:, 1]).max())
    return Difference(len(pairs) / total, largest, float(cosines.min()), float(cosines.mean()))


def _by_key(found: Found) -> list[dict[Any, np.ndarray]]:
    if isinstance(found, torch.Tensor):
        return [{0: found[0].numpy()}]
    return [dict(zip(feature_keys(image), image.descriptors.numpy(), strict=True)) for image in found]


def _extraction(
    model: HowModel | FireModel | NetVladModel, checkpoint: Path, side: int, device: torch.device
) -> Iterator[Case]:
    images = [image.to(device) for image in draw_images(side)]
    network = prepare_for_inference(load_network(checkpoint, model)).to(device)

    @torch.inference_mode()
    def ours(name: str) -> Found:
        with precision(name, device):
            if isinstance(model, NetVladModel):
                return network.describe(images[0]).float().cpu()
            return [_on_cpu(network.local(image, HOW_SCALES, FEATURES)) for image in images]

    def plainly() -> Any:
        with precision("float32", device):
            return plain()

    plain = _plain(model, checkpoint, images)
    same = same_global if isinstance(model, NetVladModel) else same_local
    row, note = f"extract_{model.architecture}", f"images of {side} pixels on {device_name(device)}"
    yield Case(row, plainly, partial(ours, "float32"), same, f"{note}, float32")
    for name in _lower(device):
        apart = difference(ours("float32"), ours(name))
        yield Case(
            f"{row}_{name}",
            partial(ours, "float32"),
            partial(ours, name),
            lambda full, other: difference(full, other).bearable,
            f"{note}; plain: ours in float32; {apart}",
        )


def _plain(
    model: HowModel | FireModel | NetVladModel, checkpoint: Path, images: Sequence[torch.Tensor]
) -> Callable[[], Any]:
    """The plain way over images, on their device."""
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    state = {key: value.to(images[0].device) for key, value in state.items()}
    if isinstance(model, NetVladModel):
        netvlad = plain_netvlad.PlainNetVlad(state, model.backbone)
        return lambda: plain_netvlad.describe(netvlad, images[0]).cpu()
    if isinstance(model, FireModel):
        fire = plain_fire.PlainFire(state, model.backbone, model.skip_layer, model.iterations)
        return lambda: [plain_fire.local(fire, image, HOW_SCALES, FEATURES) for image in images]
    how = plain_how.PlainHow(state, model.backbone, model.skip_layer)
    return lambda: [plain_how.local(how, image, HOW_SCALES, FEATURES) for image in images]


def _training(checkpoint: Path, side: int, device: torch.device) -> Iterator[Case]:
    images = [image.to(device) for image in draw_images(side) for _ in range(2)]

    def step(name: str, layout: torch.memory_format = torch.channels_last) -> Callable[[], list[float]]:
        context: Callable[[], AbstractContextManager[None]] = partial(precision, name, device)
        return training_step(checkpoint, images, layout, context)

    note = f"a tuple of 4 images of {side} pixels on {device_name(device)}, forward and backward"
    full = step("float32")
    yield Case("train_step_how", step("float32", torch.contiguous_format), full, _same_step, f"{note}, float32")
    for name in _lower(device):
        other = step(name)
        losses = f"loss {full()[0]:.5g} becomes {other()[0]:.5g}"
        yield Case(f"train_step_how_{name}", full, other, _like_step, f"{note}; plain: ours in float32; {losses}")


def _same_step(theirs: list[float], ours: list[float]) -> bool:
    return np.allclose(theirs, ours, rtol=1e-2)


def _like_step(full: list[float], other: list[float]) -> bool:
    """Loss and gradients of the same size."""
    return np.allclose(full[0], other[0], rtol=0.2) and np.allclose(
        *map(np.linalg.norm, (full[1:], other[1:])), rtol=0.5
    )


def _lower(device: torch.device) -> tuple[str, ...]:
    return ("tf32", "bf16") if device.type == "cuda" else ("bf16",)


def _on_cpu(found: LocalDescriptors) -> LocalDescriptors:
    return LocalDescriptors(
        found.descriptors.float().cpu(),
        found.strengths.float().cpu(),
        found.locations.cpu(),
        found.scales.cpu(),
        found.scale_indexes.cpu(),
    )
