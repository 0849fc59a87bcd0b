"""Commands for descriptors of patches: text files of them, a strip described, a network for use elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from descbench.command_files import made, read_configuration
from descbench.config.base import close_names
from descbench.config.models import Config
from descbench.datasets.descriptor_csv import DELIMITERS, STYLES
from descbench.errors import ConfigError
from descbench.features.describe_patches import network_describer
from descbench.features.descriptor_files import export_descriptors
from descbench.features.strips import extract_strip
from descbench.models.export import export_network
from descbench.plan import Plan


def add_patch_commands(commands: Any) -> None:
    """Add the commands to those of :mod:`descbench.cli`."""
    descriptors = commands.add_parser(
        "descriptors",
        help="write a method's descriptors of HPatches patches as the benchmark's text files",
        description="Write FOLDER/<sequence>/<view>.csv, a row a patch, from the descriptors that Snakemake made. "
        "`describe: files` reads such a folder.",
    )
    descriptors.add_argument("method", help="method of the configuration that describes patches")
    descriptors.add_argument("patch_set", help="patch set of the configuration, of format hpatches_patches")
    descriptors.add_argument("folder", type=Path, help="folder to write to")
    descriptors.add_argument("--delimiter", choices=DELIMITERS, default=",", help="between numbers; default: a comma")
    descriptors.add_argument(
        "--style",
        choices=STYLES,
        default="fixed",
        help="fixed: 5 decimals, as the benchmark's files (default); general: 5 digits; exact: all of a float32",
    )
    descriptors.set_defaults(run=_descriptors)
    describe = commands.add_parser(
        "describe",
        help="describe the patches of a strip, as text",
        description="STRIP is a grey image of square patches, one below the other. Writes a line a patch, numbers with "
        "5 decimals.",
    )
    describe.add_argument("strip", type=Path, help="image of patches")
    describe.add_argument("output", type=Path, help="text file to write")
    describe.add_argument("--model", required=True, help="model of the configuration that describes patches")
    describe.add_argument(
        "--separator", choices=(" ", *DELIMITERS), default=" ", help="between numbers; default: a blank"
    )
    describe.add_argument(
        "--lenient", action="store_true", help="make a colour image grey, and leave out rows that fill no patch"
    )
    describe.set_defaults(run=_describe)
    export = commands.add_parser(
        "export",
        help="write a network of patches as TorchScript or ONNX",
        description="Input: patches (N, 1, 32, 32) float32, grey values divided by 255; output: descriptors (N, 128).",
    )
    export.add_argument("model", help="model of the configuration that describes patches")
    export.add_argument("output", type=Path, help="file to write, .pt (TorchScript) or .onnx")
    export.set_defaults(run=_export)
    for command in (descriptors, describe, export):
        command.add_argument("--configfile", type=Path, nargs="+", default=[], help="overlays of config/config.yaml")


def _descriptors(options: argparse.Namespace) -> None:
    config = read_configuration(options.configfile)
    method = _named(config, "methods", options.method)
    _named(config, "patch_sets", options.patch_set)
    if method.family != "patches":
        raise ConfigError(f"method {options.method!r} searches images; name one that describes patches.")
    plan = Plan(config)
    described = plan.descriptors(options.method, options.patch_set)
    parts = [
        tuple(made(Path(path), options.configfile) for path in pair)
        for pair in zip(plan.patches(options.patch_set), described, strict=True)
    ]
    for patches, descriptors in parts:
        export_descriptors(patches, descriptors, options.folder, delimiter=options.delimiter, style=options.style)


def _describe(options: argparse.Namespace) -> None:
    config = read_configuration(options.configfile)
    model = _named(config, "models", options.model)
    checkpoint = made(Path(Plan(config).paths.checkpoint(options.model)), options.configfile)
    describer = network_describer(checkpoint, model, device=config.device)
    extract_strip(options.strip, describer, options.output, separator=options.separator, lenient=options.lenient)


def _export(options: argparse.Namespace) -> None:
    config = read_configuration(options.configfile)
    model = _named(config, "models", options.model)
    export_network(made(Path(Plan(config).paths.checkpoint(options.model)), options.configfile), model, options.output)


def _named(config: Config, section: str, name: str) -> Any:
    """A block; ConfigError with close names where there is none."""
    known = getattr(config, section)
    if name not in known:
        raise ConfigError(f"there is no {name!r} in section `{section}`; {close_names(name, known)}.")
    return known[name]
