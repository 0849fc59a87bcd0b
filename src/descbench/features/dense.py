"""Dense descriptors: HardNet over a whole image, a descriptor for every pixel, or every fourth.

Definition: docs/protocols/hardnet.md, Dense descriptors.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from descbench.config.networks import Model
from descbench.device import pick_device
from descbench.errors import ConfigError, DataError
from descbench.features.finite import all_finite
from descbench.features.images import load_image
from descbench.io.atomic import atomic_path
from descbench.io.outputs import check_output
from descbench.models.checkpoints import load_network
from descbench.models.hardnet import to_bytes

Stored = Literal["float32", "uint8"]
# Numbers of the map before the last layer, which takes the most memory: 2 GB, several times over.
_MOST_NUMBERS = 2**29


def describe_densely(
    image: Path,
    checkpoint: Path,
    model: Model,
    output: Path,
    *,
    stride: Literal[1, 2] = 2,
    upscale: bool = False,
    stored: Stored = "float32",
    image_size: int | None = None,
    device: str = "auto",
) -> tuple[int, ...]:
    """Write the dense descriptors of an image as a NumPy file (``.npy``), an array (128, H', W').

    Args:
        image: the file; its colours are averaged.
        checkpoint: checkpoint of ours.
        model: its block of the configuration.
        output: the file to write.
        stride: of the two layers that halve the map of a patch; 1: a descriptor for every pixel.
        upscale: give a descriptor for each pixel of the image, bilinearly between those of the network.
        stored: ``float32``, or ``uint8``: (d + 0.45) * 210 without its fraction, in 0..255.
        image_size: longer side in pixels that the image is reduced to; None: its full size.
        device: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        The shape of the array.

    Raises:
        ConfigError: a network without dense descriptors, an output that is read or holds something else, or an absent
            device.
        DataError: no image, one too small or too large, no checkpoint of ours, or descriptors that are not finite.
    """
    check_output(output, [image, checkpoint], endings=(".npy",), read=_read_array)
    chosen = pick_device(device)
    network = load_network(checkpoint, model).dense(stride) if model.DESCRIBES_PATCHES else None
    if network is None:
        raise ConfigError(f"architecture {model.architecture} has no dense descriptors; name a HardNet.")
    loaded = load_image(image, image_size)
    if loaded.note:
        logging.info("%s: %s", image, loaded.note)
    grey = loaded.pixels.mean(2, dtype=np.float32)
    height, width = grey.shape
    if min(grey.shape) < network.smallest:
        raise DataError(f"{image}: {width} x {height} pixels are too few; {network.smallest} are needed each way.")
    maps = grey.size if upscale else grey.size // stride**2
    if maps * network.dim > _MOST_NUMBERS:
        raise DataError(
            f"{image}: {width} x {height} pixels give more than {_MOST_NUMBERS:,} numbers in a map; reduce the image "
            "(`--image-size`), or take stride 2 without upscaling."
        )
    with torch.inference_mode():
        tensor = torch.from_numpy(grey)[None, None].to(chosen)
        found = network.eval().to(chosen)(tensor, upscale=upscale)[0].cpu().numpy()
    if not all_finite(found):
        raise DataError(f"{image}: not described, descriptors hold NaN or infinity; check the weights.")
    with atomic_path(output) as temporary, open(temporary, "wb") as stream:
        np.save(stream, to_bytes(found) if stored == "uint8" else found)
    return found.shape


def _read_array(path: Path) -> None:
    """Refuse what is not such an array, by its head."""
    try:
        dimensions = np.lib.format.open_memmap(path, mode="r").ndim
    except (OSError, ValueError):
        raise DataError(f"{path}: not a NumPy array.") from None
    if dimensions != 3:
        raise DataError(f"{path}: not dense descriptors.")
