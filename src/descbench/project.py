"""Where Snakefile, ``workflow/`` and ``config/`` lie: in a checkout, or in an installed package."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

# What `setup.py` puts into the package when it is built.
INSTALLED = "_project"


def project_folder() -> Path:
    """The folder that holds the Snakefile: the checkout that this package lies in, or else its own copy."""
    package = Path(__file__).resolve().parent
    checkout = package.parents[1]
    return checkout if (checkout / "Snakefile").is_file() else package / INSTALLED


def snakemake_command(configfiles: Sequence[str | Path] = ()) -> str:
    """How Snakemake is called from the folder one is in, up to the target, for messages.

    Args:
        configfiles: overlays of the configuration.
    """
    workflow = [] if Path("Snakefile").is_file() else ["-s", '"$(descbench snakefile)"']
    given = ["--configfile", *(shlex.quote(_in_short(Path(file))) for file in configfiles), "--"] if configfiles else []
    return " ".join(["snakemake", "--cores 8", *workflow, *given])


def _in_short(path: Path) -> str:
    """A path as one writes it: relative where it lies below the folder one is in."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
