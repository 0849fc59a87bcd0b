"""Commands for descriptors of patches: text files, a strip or an image described, a network for use elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from descbench.commands.app import METHODS, MODELS, PATCH_SETS, PATCHES, ConfigFiles, help_text

Delimiter = Literal[",", ";"]
Separator = Literal[" ", ",", ";"]
Stored = Literal["float32", "uint8"]
Style = Literal["fixed", "general", "exact"]

_PATCH_MODEL = "Model of the configuration that describes patches."

commands = typer.Typer()


@commands.command(
    rich_help_panel=PATCHES,
    help=help_text(
        "Write a method's descriptors of HPatches patches as the benchmark's text files.",
        "Writes FOLDER/<sequence>/<view>.csv, a row a patch, from the descriptors that Snakemake made. "
        "`describe: files` reads such a folder.",
        [("descbench descriptors hpatches_sift hpatches my_folder", "files of my_folder, a folder a sequence")],
    ),
)
def descriptors(
    method: Annotated[
        str, typer.Argument(help="Method of the configuration that describes patches.", autocompletion=METHODS)
    ],
    patch_set: Annotated[
        str,
        typer.Argument(help="Patch set of the configuration, of format hpatches_patches.", autocompletion=PATCH_SETS),
    ],
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
    delimiter: Annotated[Delimiter, typer.Option(help="Between numbers; default: a comma.")] = ",",
    style: Annotated[
        Style,
        typer.Option(
            help="fixed: 5 decimals, as the benchmark's files (default); general: 5 digits; exact: all of a float32."
        ),
    ] = "fixed",
    configfile: ConfigFiles = None,
) -> None:
    from descbench.patch_commands import write_descriptors

    write_descriptors(method, patch_set, folder, delimiter=delimiter, style=style, configfiles=configfile or [])


@commands.command(
    rich_help_panel=PATCHES,
    help=help_text(
        "Describe the patches of a strip, as text.",
        "STRIP is a grey image of square patches, one below the other. Writes a line a patch, numbers with 5 decimals.",
        [("descbench describe ref.png ref.txt --model hardnet_liberty", "128 numbers a patch, from HardNet")],
    ),
)
def describe(
    strip: Annotated[Path, typer.Argument(help="Image of patches.")],
    output: Annotated[Path, typer.Argument(help="Text file to write.")],
    model: Annotated[str, typer.Option(help=_PATCH_MODEL, autocompletion=MODELS)],
    separator: Annotated[Separator, typer.Option(help="Between numbers; default: a blank.")] = " ",
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Make a colour image grey, and leave out rows that fill no patch."),
    ] = False,
    configfile: ConfigFiles = None,
) -> None:
    from descbench.patch_commands import describe_strip

    describe_strip(strip, output, model, separator=separator, lenient=lenient, configfiles=configfile or [])


@commands.command(
    "describe-image",
    rich_help_panel=PATCHES,
    help=help_text(
        "Describe every place of an image by HardNet: dense descriptors.",
        "Writes a NumPy array (128, H', W'): a descriptor for every fourth pixel each way, or for each (--stride 1).",
        [
            ("descbench describe-image a.jpg a.npy --model hardnet_liberty", "float32, of unit length"),
            (
                "descbench describe-image a.jpg a.npy --model hardnet_liberty --stride 1 --stored uint8",
                "as small as the authors store them",
            ),
        ],
    ),
)
def describe_image(
    image: Annotated[Path, typer.Argument(help="Image.")],
    output: Annotated[Path, typer.Argument(help="NumPy file to write, .npy.")],
    model: Annotated[str, typer.Option(help="Model of the configuration, a HardNet.", autocompletion=MODELS)],
    stride: Annotated[int, typer.Option(min=1, max=2, help="Of the two layers that halve the map.")] = 2,
    upscale: Annotated[
        bool, typer.Option("--upscale", help="Give each pixel of the image a descriptor, bilinearly between them.")
    ] = False,
    stored: Annotated[Stored, typer.Option(help="Type of the numbers; uint8: (d + 0.45) * 210.")] = "float32",
    image_size: Annotated[
        int | None, typer.Option(min=32, help="Longer side in pixels that the image is reduced to; default: its own.")
    ] = None,
    configfile: ConfigFiles = None,
) -> None:
    from descbench.patch_commands import describe_image

    settings = {"stride": stride, "upscale": upscale, "stored": stored, "image_size": image_size}
    describe_image(image, output, model, configfiles=configfile or [], **settings)


@commands.command(
    rich_help_panel=PATCHES,
    help=help_text(
        "Write a network of patches as TorchScript or ONNX.",
        "Input: patches (N, 1, 32, 32) float32, grey values divided by 255; output: descriptors (N, 128).",
        [
            ("descbench export hardnet_liberty hardnet.onnx", "for use elsewhere"),
            ("descbench export hardnet++ hardnet.pt", "`+` in the name of a model is read as `_plus`"),
        ],
    ),
)
def export(
    model: Annotated[str, typer.Argument(help=_PATCH_MODEL, autocompletion=MODELS)],
    output: Annotated[Path, typer.Argument(help="File to write, .pt (TorchScript) or .onnx.")],
    configfile: ConfigFiles = None,
) -> None:
    from descbench.patch_commands import export_model

    export_model(model, output, configfile or [])
