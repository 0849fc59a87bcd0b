"""What a valid configuration can still have wrong: names that lead nowhere or to one file, blocks that do not fit.

Which names a block uses, its fields say (:class:`descbench.config.base.Section`); whether what they lead to fits, the
block says itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from descbench.config.base import Block, Problem, close_names, names_used
from descbench.config.models import Config

# Sections whose names are names of files or folders.
_FILES = ("sources", "datasets", "patch_sets", "models", "features", "methods", "tables", "cross_tables", "remeasured")
_ALIKE = (
    "{!r} and {!r} differ in upper and lower case alone, and would be one file on many disks of macOS and Windows; "
    "rename one"
)


def check_names(config: Config) -> Iterator[Problem]:
    """Yield ``(path, message)`` for every name that leads nowhere."""
    for section, name, block in _blocks(config):
        for path, sections, used in names_used(block):
            if all(used not in getattr(config, wanted) for wanted in sections):
                yield (section, name, *path), _nowhere(config, sections, used)
    for name in config.report_tables or ():
        if name not in config.tables:
            yield ("report_tables",), _nowhere(config, ("tables",), name)


def check_spelling(config: Config) -> Iterator[Problem]:
    """Yield ``(path, message)`` for every name that would be the file of another one where a disk ignores case."""
    for section in _FILES:
        # Scores on a patch set lie where those on a dataset do.
        before = config.datasets if section == "patch_sets" else ()
        for name, other in _alike([*before, *getattr(config, section)]):
            # Features of models have their names, and are told of with these.
            if name not in before and (section != "features" or not {name, other} <= config.models.keys()):
                yield (section, name), _ALIKE.format(name, other)
    for name, block in config.patch_sets.items():
        for part, other in _alike(block.parts):
            yield ("patch_sets", name, "parts"), _ALIKE.format(part, other)


def _alike(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names that differ in case alone from one before them, with that one."""
    known: dict[str, str] = {}
    for name in names:
        if (other := known.setdefault(name.casefold(), name)) != name:
            yield name, other


def check_fits(config: Config) -> Iterator[Problem]:
    """Yield ``(path, message)`` for every block that cannot do what another wants of it. All names lead somewhere."""
    if config.device == "cuda" and config.backend != "torch":
        yield ("backend",), f"{config.backend} runs on the CPU; set `device: cpu`, or `backend: torch` for CUDA"
    for section, name, block in _blocks(config):
        for path, message in block.fits(name, config):
            yield (section, name, *path), message


def _blocks(config: Config) -> Iterator[tuple[str, str, Block]]:
    """``(section, name, block)`` of all sections."""
    for section in type(config).model_fields:
        found = getattr(config, section)
        for name, block in found.items() if isinstance(found, dict) else ():
            if isinstance(block, Block):
                yield section, name, block


def _nowhere(config: Config, sections: Sequence[str], name: str) -> str:
    if "features" in sections and name in config.models:
        # Features of a model need no block, but for those of a custom one, which may be local or global.
        return f"model {name!r} does not say what features it has; write `features: {{{name}: {{kind: ...}}}}`"
    known = [key for section in sections for key in getattr(config, section)]
    return f"there is no {name!r} in section {' or '.join(f'`{s}`' for s in sections)}; {close_names(name, known)}"
