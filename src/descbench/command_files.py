"""What commands read of a workflow: its configuration, and files that it has made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from descbench.config.base import close_names
from descbench.config.load import load_config_files
from descbench.config.models import Config
from descbench.config.published import SUFFIX as FIGURES_SUFFIX
from descbench.config.yaml_files import at_home, read_yaml
from descbench.errors import ConfigError, DataError
from descbench.planning import find_default_config
from descbench.project import project_folder, snakemake_command


def read_configuration(files: Sequence[Path]) -> Config:
    """As the workflow reads it: config/config.yaml of this folder, or else the project's, and files over it."""
    home = project_folder()
    return load_config_files(find_default_config(str(home)), *files, home=home)


def blocks_laid_over(files: Sequence[Path], config: Config) -> list[str]:
    """Blocks of the files that lie over one of the same name in the catalogue, with the catalogue's file."""
    home = project_folder()
    catalog = [at_home(path, home) for path in config.catalog]
    below = [(path, read_yaml(path)) for path in catalog if path.suffix.lower() != FIGURES_SUFFIX]
    found = []
    for file in files:
        for section, blocks in read_yaml(file).items():
            for name in blocks if isinstance(blocks, Mapping) else ():
                known = [path for path, content in below if name in (content.get(section) or {})]
                found += [f"{section}.{name} lies over that of {known[0]}"] if known else []
    return found


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
