"""Commands for other pipelines: features, matches and pairs files of hloc and kapture, written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from descbench.commands.app import DATASETS, FEATURES, METHODS, OTHERS, ConfigFiles, help_text

PipelineFormat = Literal["hloc", "kapture"]
Format = Annotated[PipelineFormat, typer.Argument(metavar="{hloc|kapture}", help="Whose files.")]
FeaturesArgument = Annotated[str, typer.Argument(help="Features block of the configuration.", autocompletion=FEATURES)]
MethodArgument = Annotated[
    str, typer.Argument(help="Method of the configuration that matches features.", autocompletion=METHODS)
]
DatasetArgument = Annotated[str, typer.Argument(help="Dataset of the configuration.", autocompletion=DATASETS)]
Target = Annotated[Path, typer.Argument(help="File of hloc, or kapture folder, to write to.")]
Source = Annotated[Path, typer.Argument(help="File of hloc, or kapture folder, to read.")]
Roles = Annotated[list[str] | None, typer.Option(help="Only images of this role (may be repeated); default: all.")]
Kind = Annotated[
    str | None,
    typer.Option(help="Name of the features in a kapture folder; default: that of the features block."),
]
Below = Annotated[
    str,
    typer.Option(
        metavar="FOLDER",
        help="Folder that names of images are relative to, itself below the folder of datasets, such as "
        "aachen/images_upright; default: the folder of datasets, or the user's own of images.",
    ),
]

commands = typer.Typer()


@commands.command(
    "export-features",
    rich_help_panel=OTHERS,
    help=help_text(
        "Write features that Snakemake made as hloc's feature file or into a kapture folder.",
        "Images have the names of the manifest. docs/interop.md says what is written.",
        [("descbench export-features hloc sift mine features.h5", "features `sift` of dataset `mine`, for hloc")],
    ),
)
def export_features(
    format: Format,
    features: FeaturesArgument,
    dataset: DatasetArgument,
    place: Target,
    role: Roles = None,
    kind: Kind = None,
    below: Below = "",
    configfile: ConfigFiles = None,
) -> None:
    from descbench.interop_commands import Exchange, export_features

    export_features(Exchange(format, dataset, place, kind, below, tuple(configfile or ()), tuple(role or ())), features)


@commands.command(
    "import-features",
    rich_help_panel=OTHERS,
    help=help_text(
        "Read features of hloc or kapture as feature shards of a dataset.",
        "The shards lie where the workflow has those of the features block. Those that are there are kept, unless "
        "--replace is given.",
        [("descbench import-features hloc sift mine features.h5", "the other way round")],
    ),
)
def import_features(
    format: Format,
    features: FeaturesArgument,
    dataset: DatasetArgument,
    place: Source,
    role: Roles = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over shards that are there.")] = False,
    kind: Kind = None,
    below: Below = "",
    configfile: ConfigFiles = None,
) -> None:
    from descbench.interop_commands import Exchange, import_features

    exchange = Exchange(format, dataset, place, kind, below, tuple(configfile or ()), tuple(role or ()))
    import_features(exchange, features, replace=replace)


@commands.command(
    "export-matches",
    rich_help_panel=OTHERS,
    help=help_text(
        "Write matches that Snakemake made as hloc's matches file or into a kapture folder.",
        "Of a method that matches features, all pairs of the dataset.",
        [("descbench export-matches kapture aachen_rootsift aachen_v11_hndesc out", "into the kapture folder `out`")],
    ),
)
def export_matches(
    format: Format,
    method: MethodArgument,
    dataset: DatasetArgument,
    place: Target,
    kind: Kind = None,
    below: Below = "",
    configfile: ConfigFiles = None,
) -> None:
    from descbench.interop_commands import Exchange, export_matches

    export_matches(Exchange(format, dataset, place, kind, below, tuple(configfile or ())), method)


@commands.command(
    "import-matches",
    rich_help_panel=OTHERS,
    help=help_text(
        "Read matches of hloc or kapture as those of a method.",
        "Matches of exactly the pairs that the workflow lists, of features that are there.",
        [
            (
                "descbench import-matches hloc sift mine matches.h5 --features-file features.h5",
                "matches of features that were imported from features.h5",
            )
        ],
    ),
)
def import_matches(
    format: Format,
    method: MethodArgument,
    dataset: DatasetArgument,
    place: Source,
    features_file: Annotated[
        Path | None, typer.Option(help="hloc's feature file, where features were imported from it.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over matches that are there.")] = False,
    kind: Kind = None,
    below: Below = "",
    configfile: ConfigFiles = None,
) -> None:
    from descbench.interop_commands import Exchange, import_matches

    exchange = Exchange(format, dataset, place, kind, below, tuple(configfile or ()))
    import_matches(exchange, method, replace=replace, features_file=features_file)


@commands.command(
    "convert-pairs",
    rich_help_panel=OTHERS,
    help=help_text(
        "Write a pairs file of hloc as one of kapture, or the other way round.",
        "hloc: lines `query map`; kapture: lines `query, map, score`.",
        [("descbench convert-pairs pairs.txt pairsfile.txt --to kapture", "pairs.txt is hloc's")],
    ),
)
def convert_pairs(
    input: Annotated[Path, typer.Argument(help="Pairs file to read.")],
    output: Annotated[Path, typer.Argument(help="Pairs file to write.")],
    to: Annotated[PipelineFormat, typer.Option(help="Format that is written; the other one is read.")],
) -> None:
    from descbench.interop_commands import convert_pairs

    convert_pairs(input, output, to)
