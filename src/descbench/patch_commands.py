"""What the commands for patches do: descriptors as text files, a strip described, a network for use elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from descbench.command_files import made, named, read_configuration
from descbench.config.models import Config
from descbench.config.network_base import ModelBase
from descbench.errors import ConfigError
from descbench.features.dense import describe_densely
from descbench.features.describe_patches import network_describer
from descbench.features.descriptor_files import export_descriptors
from descbench.features.strips import extract_strip
from descbench.io.atomic import into_folder
from descbench.models.export import export_network
from descbench.plan import Plan


def write_descriptors(
    method: str, patch_set: str, folder: Path, *, delimiter: str, style: str, configfiles: Sequence[Path]
) -> None:
    """Write a method's descriptors of a patch set as the benchmark's text files.

    Args:
        method, patch_set: of the configuration.
        folder: to write to.
        delimiter, style: see :mod:`descbench.datasets.descriptor_csv`.
        configfiles: overlays of the configuration.

    Raises:
        ConfigError: names that are not in the configuration, or a method that describes no patches.
        DataError: descriptors that are not there yet.
    """
    config = read_configuration(configfiles)
    named(config.patch_sets, "patch set", patch_set)
    if named(config.methods, "method", method).family != "patches":
        raise ConfigError(f"method {method!r} searches images; name one that describes patches.")
    plan = Plan(config)
    parts = [
        tuple(made(Path(path), configfiles) for path in pair)
        for pair in zip(plan.patches(patch_set), plan.descriptors(method, patch_set), strict=True)
    ]
    with into_folder(folder) as made_there:  # sequences of two methods in one folder would be scored as one's
        for patches, descriptors in parts:
            export_descriptors(patches, descriptors, made_there, delimiter=delimiter, style=style)
    print(f"{folder}: descriptors of {len(parts)} sequences.")


def describe_strip(
    strip: Path, output: Path, model: str, *, separator: str, lenient: bool, configfiles: Sequence[Path]
) -> None:
    """Write the descriptors of a strip of patches by a model of the configuration as text.

    Raises:
        ConfigError: no such model, or one that describes no patches.
        DataError: a checkpoint that is not there yet, or a damaged strip.
    """
    config = read_configuration(configfiles)
    model, block = _find_model(config, model)
    checkpoint = made(Path(Plan(config).paths.checkpoint(model)), configfiles)
    describer = network_describer(checkpoint, block, device=config.device)
    extract_strip(strip, describer, output, separator=separator, lenient=lenient)
    print(f"{output}: descriptors of the patches of {strip}.")


def describe_image(
    image: Path, output: Path, model: str, *, configfiles: Sequence[Path], **settings: Any
) -> tuple[int, ...]:
    """Write dense descriptors of an image by a model of the configuration; the shape of the array.

    Args:
        image: the file.
        output: the file to write, ``.npy``.
        model: of the configuration.
        configfiles: overlays of the configuration.
        settings: ``stride``, ``upscale``, ``stored`` and ``image_size`` of
            :func:`descbench.features.dense.describe_densely`.

    Raises:
        ConfigError: no such model, one without dense descriptors, or an output that holds something else.
        DataError: a checkpoint that is not there yet, or an image that cannot be described.
    """
    config = read_configuration(configfiles)
    model, block = _find_model(config, model)
    checkpoint = Path(Plan(config).paths.checkpoint(model))
    if block.DESCRIBES_PATCHES:  # others are refused, and nobody should make their checkpoint first
        made(checkpoint, configfiles)
    shape = describe_densely(image, checkpoint, block, output, device=config.device, **settings)
    print(f"{output}: {shape[0]} numbers for {shape[2]} x {shape[1]} places of {image}.")
    return shape


def export_model(model: str, output: Path, configfiles: Sequence[Path]) -> None:
    """Write a network of patches of the configuration as TorchScript or ONNX.

    Raises:
        ConfigError: no such model, or one that describes no patches.
        DataError: a checkpoint that is not there yet.
    """
    config = read_configuration(configfiles)
    model, block = _find_model(config, model)
    checkpoint = Path(Plan(config).paths.checkpoint(model))
    if block.DESCRIBES_PATCHES:  # others are refused, and nobody should make their checkpoint first
        made(checkpoint, configfiles)
    export_network(checkpoint, block, output)
    print(f"{output}: the network {model}.")


def _find_model(config: Config, name: str) -> tuple[str, ModelBase]:
    """Name and block of a model; ``hardnet++``, as papers write it, is ``hardnet_plusplus``."""
    if name not in config.models:
        name = re.sub(r"\++", lambda found: "_" + "plus" * len(found[0]), name)
    return name, named(config.models, "model", name)
