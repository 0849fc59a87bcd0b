"""Where Snakefile, ``workflow/`` and ``config/`` lie: in a checkout, or in an installed package."""

from __future__ import annotations

from pathlib import Path

# What `setup.py` puts into the package when it is built.
INSTALLED = "_project"


def project_folder() -> Path:
    """The folder that holds the Snakefile: the checkout that this package lies in, or else its own copy."""
    package = Path(__file__).resolve().parent
    checkout = package.parents[1]
    return checkout if (checkout / "Snakefile").is_file() else package / INSTALLED


def snakemake_command() -> str:
    """How Snakemake is called from the folder one is in, for messages."""
    if Path("Snakefile").is_file():
        return "snakemake --cores 8"
    return 'snakemake --cores 8 -s "$(descbench snakefile)"'
