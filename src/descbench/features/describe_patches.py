"""Stage describe_patches: descriptors of all patches of a part, by a network or by a classical rule.

Definition: docs/protocols/hardnet.md, Extraction; docs/protocols/hardnet.md, Other descriptors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from descbench.config.networks import Model
from descbench.datasets.patch_sets import read_patches
from descbench.device import device_name, pick_device
from descbench.errors import ConfigError
from descbench.features.classical_patches import CLASSICAL, library
from descbench.features.patch_descriptors import Maker, write_descriptors
from descbench.features.patch_pixels import resize_patches, to_tensor
from descbench.models.checkpoints import checkpoint_digest, load_network
from descbench.models.folding import prepare_for_inference
from descbench.models.patches import PatchNetwork
from descbench.progress import progress

BLOCK = 1024
_CACHED = 32  # patches whose maps stay in the cache of a CPU


@dataclass(frozen=True)
class Describer:
    """Something that describes patches.

    Attributes:
        maker: for the record.
        describe: (n, H, W) uint8 -> (n, dim) float32.
    """

    maker: Maker
    describe: Callable[[np.ndarray], np.ndarray]


def network_describer(checkpoint: Path, model: Model, *, device: str = "auto", raw: bool = False) -> Describer:
    """Descriptors of a network, made ready for inference.

    Args:
        checkpoint: checkpoint of ours.
        model: its block of the configuration.
        device: ``auto``, ``cpu`` or ``cuda``.
        raw: give it pixels in 0..255, neither divided nor normalised (docs/protocols/hardnet.md, Extraction).

    Raises:
        ConfigError: the network describes no patches, or the device is absent.
        DataError: no checkpoint of ours, or of another model.
    """
    if not model.DESCRIBES_PATCHES:
        raise ConfigError(f"architecture {model.architecture} describes whole images, no patches; name another model.")
    chosen = pick_device(device)
    network = prepare_for_inference(load_network(checkpoint, model)).to(chosen)
    digest = f"{checkpoint_digest(checkpoint)}{' raw' if raw else ''}"
    maker = Maker(model.architecture, network.dim, digest, device_name(chosen))

    def prepare(patches: np.ndarray) -> torch.Tensor:
        resized = resize_patches(patches, network.side)
        return _raw(resized) if raw else to_tensor(resized, network.mean, network.std)

    return Describer(maker, lambda patches: run_network(network, patches, chosen, prepare))


def classical_describer(name: str) -> Describer:
    """A descriptor of :data:`descbench.features.classical_patches.CLASSICAL`.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in CLASSICAL:
        raise ConfigError(f"there is no descriptor {name!r}; known: {', '.join(CLASSICAL)}.")
    found = CLASSICAL[name]
    return Describer(Maker(name, found.dim, f"{name} by {library()}"), found.describe)


def run_network(
    network: PatchNetwork,
    patches: np.ndarray,
    device: torch.device,
    prepare: Callable[[np.ndarray], torch.Tensor],
) -> np.ndarray:
    """(n, dim) float32 descriptors of (n, H, W) uint8 patches, of which ``prepare`` makes the network's input."""
    with torch.inference_mode():
        tensor = prepare(patches).to(device)
        together = _CACHED if device.type == "cpu" else len(tensor)
        return torch.cat([network(part).float() for part in tensor.split(max(1, together))]).cpu().numpy()


def with_decimals(describer: Describer, decimals: int) -> Describer:
    """The same rounded to so many decimals, as descriptors are that went through a text file."""
    factor = 10.0**decimals

    def describe(patches: np.ndarray) -> np.ndarray:
        # Exact, like printing and reading: float32 times 10 ** 5 has no more than 53 bits.
        return (np.rint(describer.describe(patches).astype(np.float64) * factor) / factor).astype(np.float32)

    maker = replace(describer.maker, digest=f"{describer.maker.digest} {decimals} decimals")
    return Describer(maker, describe)


def of_configuration(describer: Describer, digest: str) -> Describer:
    """The same, whose descriptors say which configuration made them."""
    return Describer(replace(describer.maker, configuration=digest), describer.describe)


def in_blocks(describer: Describer, patches: np.ndarray, block: int = BLOCK) -> Iterator[np.ndarray]:
    """Descriptors of so many patches at a time."""
    for start in range(0, len(patches), block):
        yield describer.describe(np.asarray(patches[start : start + block]))


def describe_patches(
    patches: Path, describer: Describer, output: Path, *, block: int = BLOCK, of: tuple[str, str] | None = None
) -> None:
    """Describe all patches of a part of a patch set.

    Args:
        patches: the part, see :mod:`descbench.datasets.patch_sets`.
        describer: of :func:`network_describer` or :func:`classical_describer`.
        output: the file, see :mod:`descbench.features.patch_descriptors`.
        block: patches described at a time.
        of: patch set and part that the patches must be of; None: any.

    Raises:
        StaleFileError: the patches are of another patch set or part.
        DataError: a damaged file, or a descriptor that is not finite.
    """
    found = read_patches(patches, of)
    steps = -(-len(found.patches) // block)
    blocks = progress(in_blocks(describer, found.patches, block), steps, f"{found.patch_set} {found.part}")
    write_descriptors(found, describer.maker, blocks, output)


def _raw(patches: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(patches).float()[:, None]
