"""What all commands share: the application, texts that teach with examples, and options that many have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from descbench import __version__

_SUMMARY = "Benchmark tables of image retrieval and local features, and their methods on images of your own."
_WORKFLOW = """\
Tables, scores and trainings are made by Snakemake, in the folder that holds config/:
  snakemake -n results/table2.csv           # what would be done
  snakemake --cores 8 results/table2.csv    # do it
Results lie in results/ (`results_dir`), downloads in data/. The commands here do the rest."""
_EXAMPLES = (
    ("descbench list tables", "what there is, and what each table needs"),
    ("descbench doctor results/table2.csv", "what is missing before it can be computed?"),
    ("descbench search --images photos --query a.jpg --method gem_sfm120k_tl_r50", "images most similar to a.jpg"),
    ("descbench check mine.yaml", "is the configuration valid, with mine.yaml over it? Writes nothing."),
    ("descbench compare how_r18_n1000 fire_n1000 roxford5k", "are two methods different, or is it noise?"),
    ("descbench pairs --map m --query q --method fire_n1000 -o pairs.txt", "pairs of images of kapture folders"),
)
_EXIT_CODES = (
    "Exit codes: 0 done; 1 refused, with one line that says why and what to do; 2 no such command or option; 130 or "
    "143 stopped by Ctrl-C or SIGTERM. `descbench COMMAND --help` explains each option."
)
# Headings of the list of commands.
CONFIGURATION = "Configuration and results"
OWN_DATA = "Images of your own"
PATCHES = "Patches"
OTHERS = "Other pipelines"


def help_text(summary: str, description: str = "", examples: Sequence[tuple[str, str]] = ()) -> str:
    """Text of a command: a line for the list of commands, what it does, and examples with what they are for."""
    shown = [f"  {command}\n      {what}" for command, what in examples]
    return "\n\n".join(filter(None, [summary, description, "\n".join(["Examples:", *shown]) if shown else ""]))


def _named(section: str) -> Callable[[str], list[str]]:
    """Completion by the names in a section of the configuration of this folder."""

    def complete(incomplete: str) -> list[str]:
        from descbench.command_files import read_configuration
        from descbench.errors import DescbenchError

        try:
            names = getattr(read_configuration([]), section)
        except DescbenchError:
            return []
        return [name for name in names if name.startswith(incomplete)]

    return complete


METHODS, DATASETS, PATCH_SETS, MODELS, FEATURES, TABLES = map(
    _named, ("methods", "datasets", "patch_sets", "models", "features", "tables")
)

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--configfile", metavar="FILE...", help="Overlays of config/config.yaml, one or several."),
]
MethodOption = Annotated[
    str,
    typer.Option("--method", help="Method of the configuration, such as fire_n1000.", autocompletion=METHODS),
]
KeptFolder = Annotated[
    Path | None,
    typer.Option("--work", help="Folder to keep features in, for the next call; default: none is kept."),
]
OnBadFile = Annotated[
    Literal["stop", "skip"],
    typer.Option("--on-bad-file", help="A file in the folder that is not an image or is unreadable: stop, or skip it."),
]

app = typer.Typer(
    name="descbench",
    help="\n\n".join([help_text(_SUMMARY, _WORKFLOW, _EXAMPLES), _EXIT_CODES]),
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"descbench {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Nothing is done before a command but what ``--version`` asks for."""


def repeat_configfile(arguments: Sequence[str]) -> list[str]:
    """Arguments in which every file behind ``--configfile`` has that option before it, as Snakemake's has several.

    Files end at the next option, or at ``--``, which is left out: what follows are not files. Of several such options
    the last one counts, as with Snakemake.
    """
    others, files, place, reading = [], [], None, False
    for argument in arguments:
        if argument == "--configfile":
            files, place, reading = [], len(others), True
        elif reading and not argument.startswith("-"):
            files.append(argument)
        elif not (reading and argument == "--"):
            reading = False
            others.append(argument)
        else:
            reading = False
    if place is None:
        return others
    # Without a file behind it, the option alone is refused.
    repeated = [part for file in files for part in ("--configfile", file)] or ["--configfile"]
    return [*others[:place], *repeated, *others[place:]]
