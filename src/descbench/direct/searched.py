"""Methods that search images by themselves, for whoever searches without the workflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from descbench.command_files import made, named
from descbench.config.models import Config
from descbench.errors import ConfigError
from descbench.plan import Plan


def check_searches(config: Config, method: str) -> None:
    """Refuse what is not a method that searches images by itself.

    Raises:
        ConfigError: there is no such method, or it starts from the ranking of another, or is of another family.
    """
    if not named(config.methods, "method", method).ranks_shards:
        raise ConfigError(f"{method!r} searches no images by itself, as is needed here; name another method.")


def find_codebook(config: Config, method: str, configfiles: Sequence[Path] = ()) -> Path | None:
    """Codebook of a method, which the workflow made; None of a method without.

    Raises:
        DataError: it is not there; the message names the command that makes it.
    """
    if not config.methods[method].needs_codebook:
        return None
    return made(Path(Plan(config).paths.codebook(method)), configfiles)
