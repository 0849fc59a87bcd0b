"""What commands read of a workflow: its configuration, and files that it has made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from descbench.config.base import close_names
from descbench.config.load import load_config_files
from descbench.config.models import Config
from descbench.errors import ConfigError, DataError
from descbench.planning import find_default_config
from descbench.project import project_folder, snakemake_command


def read_configuration(files: Sequence[Path]) -> Config:
    """As the workflow reads it: config/config.yaml of this folder, or else the project's, and files over it."""
    home = project_folder()
    return load_config_files(find_default_config(str(home)), *files, home=home)


def named(known: Mapping[str, Any], what: str, name: str) -> Any:
    """A block of a section; where there is none of that name, ConfigError says which names are close."""
    if name not in known:
        raise ConfigError(f"there is no {what} {name!r}; {close_names(name, known)}.")
    return known[name]


def made(path: Path, configfiles: Sequence[Path] = ()) -> Path:
    """A file of the workflow; where it is not there, DataError names the command that makes it."""
    if not path.is_file():
        raise DataError(f"{path}: not there yet; `{snakemake_command(configfiles)} {path}` makes it.")
    return path
