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
from benchmarks.extract_cases import FIRE, HOW, NETVLAD, WAYS, Ways, draw_images, training_step
from descbench.config.networks import Model
from descbench.device import device_name
from descbench.models.checkpoints import convert_checkpoint, load_network
from descbench.models.folding import prepare_for_inference


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


def difference(ways: Ways, full: Sequence[Any], other: Sequence[Any]) -> Difference:
    """Features of the same images, in float32 and in less."""
    pairs, total = [], 0
    for one, two in zip(map(ways.by_key, full), map(ways.by_key, other), strict=True):
        total += len(one)
        pairs += [(one[key], two[key]) for key in one.keys() & two.keys()]
    vectors = np.array(pairs, np.float64)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    cosines = (vectors[:, 0] * vectors[:, 1]).sum(-1)
    largest = float(np.abs(vectors[:, 0] - vectors[:, 1]).max())
    return Difference(len(pairs) / total, largest, float(cosines.min()), float(cosines.mean()))


def _extraction(model: Model, checkpoint: Path, side: int, device: torch.device) -> Iterator[Case]:
    ways, images = WAYS[model.architecture], [image.to(device) for image in draw_images(side)]
    network = prepare_for_inference(load_network(checkpoint, model)).to(device)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    plain = ways.plain(model, {key: value.to(device) for key, value in state.items()})

    @torch.inference_mode()
    def ours(name: str) -> list[Any]:
        with precision(name, device):
            return [ways.ours(network, image) for image in images]

    def plainly() -> list[Any]:
        with precision("float32", device):
            return [plain(image) for image in images]

    row, note = f"extract_{model.architecture}", f"images of {side} pixels on {device_name(device)}"
    yield Case(row, plainly, partial(ours, "float32"), ways.same, f"{note}, float32")
    for name in _lower(device):
        apart = difference(ways, ours("float32"), ours(name))
        yield Case(
            f"{row}_{name}",
            partial(ours, "float32"),
            partial(ours, name),
            lambda full, other: difference(ways, full, other).bearable,
            f"{note}; plain: ours in float32; {apart}",
        )


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
