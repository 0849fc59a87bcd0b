"""Read the configuration once, and refuse what is wrong with the file and the path of the key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from descbench.config.base import Problem
from descbench.config.check import check_fits, check_names, check_spelling
from descbench.config.derive import derive_features
from descbench.config.explain import explain, is_index
from descbench.config.models import Config
from descbench.config.published import SUFFIX as FIGURES_SUFFIX
from descbench.config.published import check_figures, check_rows, read_published, with_figures
from descbench.config.yaml_files import at_home, read_yaml
from descbench.errors import ConfigError, refusal

Layer = tuple[str, Mapping[str, Any]]
_COMMAND_LINE = "--config (command line)"
# Mappings that are one choice, of which parts, so that an overlay replaces them; in all others it changes single keys.
_WHOLE = (("training", None, "patches"), ("training", None, "validation", "patches"))


def load_config(values: Mapping[str, Any], files: Iterable[str | Path] = (), home: str | Path = ".") -> Config:
    """Merge the catalogue files under ``values``, derive what they leave out, validate everything, resolve every name.

    Args:
        values: the merged mapping that Snakemake hands over (config files, then ``--config``).
        files: the config files ``values`` was merged from, first to last; used to name the file of
            a wrong key.
        home: folder in which a catalogue file is looked for that is not in the working directory.

    Raises:
        ConfigError: one message that lists every problem as ``file: path.of.key: what is wrong``.
    """
    # Read again before anything else: what Snakemake read may hold more than can be walked through.
    written: list[Layer] = [(str(path), read_yaml(path)) for path in files]
    for path, content in written:
        if "checksum" in content and path.endswith(".json"):
            raise ConfigError(
                f"{path}: is a result, not a configuration: --configfile takes all names that follow it; put `--` "
                "before the target."
            )
    written.append((_COMMAND_LINE, values))
    catalog = _catalog(values, written, Path(home))
    layers = [(str(path), read_yaml(path)) for path in catalog if path.suffix.lower() != FIGURES_SUFFIX] + written
    published = read_published(path for path in catalog if path.suffix.lower() == FIGURES_SUFFIX)
    merged: dict[str, Any] = {}
    for _, content in (*layers[: len(layers) - len(written)], ("", _replaced(values, written[:-1]))):
        _overlay(merged, content)
    problems = list(_not_finite(merged))
    if problems:
        raise _refusal(problems, layers)
    problems = derive_features(merged)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        known = {path for path, _ in problems}
        details = error.errors()
        told = [detail for detail in details if not _follows(detail, details)]
        problems += [found for detail in told if (found := explain(detail, merged))[0] not in known]
        raise _refusal(problems, layers) from None
    known = {path for path, _ in problems}
    found = (*check_names(config), *check_spelling(config), *check_rows(config, published))
    problems += [problem for problem in found if problem[0] not in known]
    problems = problems or list(check_fits(config))
    figures = list(check_figures(config, published))
    if problems or figures:
        raise _refusal(problems, layers, figures)
    return with_figures(config, published)


def _follows(detail: ErrorDetails, others: Sequence[ErrorDetails]) -> bool:
    """Whether a list is called too short only because something in it is wrong."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in others
    )


def _catalog(values: Mapping[str, Any], layers: Sequence[Layer], home: Path) -> list[Path]:
    """The catalogue files, where they are."""
    named = values.get("catalog", ())
    if not isinstance(named, list | tuple) or not all(isinstance(path, str | Path) and str(path) for path in named):
        wanted = "must be a list of files, such as [config/catalog/datasets.yaml]; [] for none"
        raise _refusal([(("catalog",), f"{wanted}, not {named!r:.80}")], layers)
    paths = [Path(path).expanduser() if str(path).startswith("~/") else Path(path) for path in named]
    return [at_home(path, home) for path in paths]


def _not_finite(content: Any, path: tuple[Any, ...] = ()) -> Iterator[Problem]:
    """Numbers that are none, wherever they stand."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _not_finite(value, (*path, key))
    elif isinstance(content, list | tuple):
        for number, value in enumerate(content):
            yield from _not_finite(value, (*path, number))
    elif isinstance(content, float) and not math.isfinite(content):
        yield path, f"{content} is not a finite number"


def load_config_files(*files: str | Path, home: str | Path = ".") -> Config:
    """Load a configuration outside Snakemake: ``files`` overlay each other from first to last; ``home`` as above."""
    merged: dict[str, Any] = {}
    for path in files:
        _overlay(merged, read_yaml(path), whole=False)
    return load_config(merged, files, home)


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration laid over another one, as Snakemake lays files over each other; neither is changed."""
    both: dict[str, Any] = {}
    for layer in (below, above):
        _overlay(both, layer, whole=False)
    return both


def _overlay(target: dict[str, Any], layer: Mapping[str, Any], path: tuple[Any, ...] = (), whole: bool = True) -> None:
    """Merge ``layer`` into ``target``: mappings merge, but for those that are one choice; everything else replaces.

    Args:
        target: changed in place.
        layer: laid over it.
        path: where both stand.
        whole: whether mappings that are one choice replace each other; Snakemake merges them too.
    """
    for key, value in layer.items():
        below = (*path, key)
        if isinstance(value, Mapping) and isinstance(target.get(key), dict) and not (whole and _is_whole(below)):
            _overlay(target[key], value, below, whole)
        else:
            target[key] = _copied(value)


def _is_whole(path: tuple[Any, ...]) -> bool:
    """Whether what stands there is one choice."""
    return any(
        len(path) == len(known) and all(name in (None, key) for key, name in zip(path, known, strict=True))
        for known in _WHOLE
    )


def _replaced(values: Mapping[str, Any], files: Sequence[Layer]) -> Mapping[str, Any]:
    """What Snakemake merged of files, where mappings that are one choice are those of the last file that has them.

    Where the command line changes such a mapping, it stays as Snakemake has it.
    """
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    for _, content in files:
        _overlay(ours, content)
        _overlay(theirs, content, whole=False)
    return _chosen(values, ours, theirs)


def _chosen(values: Any, ours: Any, theirs: Any, path: tuple[Any, ...] = ()) -> Any:
    """``values`` with mappings that are one choice from ``ours``, where both are as merged key by key, ``theirs``."""
    if _is_whole(path):
        return ours if values == theirs and ours is not None else values
    if not isinstance(values, Mapping):
        return values
    parts = [part if isinstance(part, Mapping) else {} for part in (ours, theirs)]
    return {key: _chosen(value, *(part.get(key) for part in parts), (*path, key)) for key, value in values.items()}


def _copied(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: _copied(item) for key, item in value.items()}


def _refusal(problems: Sequence[Problem], layers: Sequence[Layer], more: Sequence[str] = ()) -> ConfigError:
    lines = [f"{_origin(path, layers)}: {'.'.join(map(str, path))}: {message}" for path, message in problems]
    return refusal([*lines, *more])


def _origin(path: Sequence[Any], layers: Sequence[Layer]) -> str:
    """The last layer that holds the longest beginning of ``path``."""
    depths = [_depth(content, path) for _, content in layers]
    deepest = max(depths)
    # The command line repeats what the files hold, so it is named only when no file reaches as deep.
    candidates = [name for (name, _), depth in zip(layers, depths, strict=True) if depth == deepest]
    return next((name for name in reversed(candidates) if name != _COMMAND_LINE), _COMMAND_LINE)


def _depth(content: Any, path: Sequence[Any]) -> int:
    for depth, key in enumerate(path):
        present = key in content if isinstance(content, Mapping) else is_index(content, key)
        if not present:
            return depth
        content = content[key]
    return len(path)
