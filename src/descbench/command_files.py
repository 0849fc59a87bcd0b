"""What commands read of a workflow: its configuration, and files that it has made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from descbench.config.load import load_config_files
from descbench.config.models import Config
from descbench.errors import DataError
from descbench.planning import find_default_config

# The folder of the project, which the package lies in where it is installed from a checkout.
_HOME = Path(__file__).resolve().parents[2]


def read_configuration(files: Sequence[Path]) -> Config:
    """As the workflow reads it: config/config.yaml of this folder, or else the project's, and files over it."""
    return load_config_files(find_default_config(str(_HOME)), *files, home=_HOME)


def made(path: Path, configfiles: Sequence[Path] = ()) -> Path:
    """A file of the workflow; where it is not there, DataError names the command that makes it."""
    if not path.is_file():
        given = f"--configfile {' '.join(map(str, configfiles))} -- " if configfiles else ""
        raise DataError(f"{path}: not there yet; `snakemake --cores 8 {given}{path}` makes it.")
    return path
