"""Read the configuration once, and refuse what is wrong with the file and the path of the key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from descbench.config.models import Config
from descbench.config.references import Problem, check_references
from descbench.errors import ConfigError

Layer = tuple[str, Mapping[str, Any]]
_COMMAND_LINE = "--config (command line)"


def load_config(values: Mapping[str, Any], files: Iterable[str | Path] = ()) -> Config:
    """Merge the catalogue files under ``values``, validate everything, and resolve every name.

    Args:
        values: the merged mapping that Snakemake hands over (config files, then ``--config``).
        files: the config files ``values`` was merged from, first to last; used to name the file of
            a wrong key.

    Raises:
        ConfigError: one message that lists every problem as ``file: path.of.key: what is wrong``.
    """
    layers: list[Layer] = [(str(path), read_yaml(path)) for path in values.get("catalog", ())]
    merged: dict[str, Any] = {}
    for _, content in layers:
        _overlay(merged, content)
    _overlay(merged, values)
    layers += [(str(path), read_yaml(path)) for path in files]
    layers.append((_COMMAND_LINE, values))
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        problems = [_explain(detail, merged) for detail in error.errors()]
        raise _refusal(problems, layers) from None
    problems = list(check_references(config))
    if problems:
        raise _refusal(problems, layers)
    return config


def load_config_files(*files: str | Path) -> Config:
    """Load a configuration outside Snakemake: ``files`` overlay each other from first to last."""
    merged: dict[str, Any] = {}
    for path in files:
        _overlay(merged, read_yaml(path))
    return load_config(merged, files)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: the file is absent, no YAML, no mapping, or names a key twice.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file; check `catalog:` and --configfile.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping of sections, is a {type(content).__name__}.")
    return content


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML loader that refuses a key written twice, where PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"key {', '.join(twice)} is written twice in the mapping at{node.start_mark}")
        return super().construct_mapping(node, deep)


def _overlay(target: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Merge ``layer`` into ``target``: mappings merge, everything else replaces."""
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _overlay(target[key], value)
        else:
            target[key] = _copied(value)


def _copied(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: _copied(item) for key, item in value.items()}


def _refusal(problems: Sequence[Problem], layers: Sequence[Layer]) -> ConfigError:
    lines = [f"{_origin(path, layers)}: {'.'.join(map(str, path))}: {message}" for path, message in problems]
    return ConfigError("\n".join(["The configuration is refused:", *(f"  {line}" for line in lines)]))


def _origin(path: Sequence[Any], layers: Sequence[Layer]) -> str:
    """The last layer that holds the longest beginning of ``path``."""
    depths = [_depth(content, path) for _, content in layers]
    deepest = max(depths)
    # The command line repeats what the files hold, so it is named only when no file reaches as deep.
    candidates = [name for (name, _), depth in zip(layers, depths, strict=True) if depth == deepest]
    return next((name for name in reversed(candidates) if name != _COMMAND_LINE), _COMMAND_LINE)


def _depth(content: Any, path: Sequence[Any]) -> int:
    for depth, key in enumerate(path):
        present = key in content if isinstance(content, Mapping) else _is_index(content, key)
        if not present:
            return depth
        content = content[key]
    return len(path)


def _is_index(content: Any, key: Any) -> bool:
    return isinstance(content, list | tuple) and isinstance(key, int) and key < len(content)


def _explain(detail: Mapping[str, Any], merged: Mapping[str, Any]) -> Problem:
    """A pydantic error as (path, message); the tags pydantic puts into the path of a union are dropped."""
    path = _real_path(detail["loc"], merged)
    if detail["type"] == "extra_forbidden":
        allowed = _allowed_keys(detail["loc"][:-1])
        close = difflib.get_close_matches(str(path[-1]), allowed, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return path, f"unknown key{hint}; allowed here: {', '.join(allowed)}"
    if detail["type"] == "missing":
        return path, "this key is required"
    if detail["type"] == "union_tag_not_found":
        return path, f"key {detail['ctx']['discriminator']} is required: it says what kind of block this is"
    if detail["type"] == "union_tag_invalid":
        context = detail["ctx"]
        return path, f"{context['discriminator']} is {context['tag']!r}, allowed: {context['expected_tags']}"
    return path, f"{detail['msg']}, not {detail['input']!r}" if detail["input"] is not None else detail["msg"]


def _real_path(location: Sequence[Any], merged: Any) -> tuple[Any, ...]:
    path: list[Any] = []
    current = merged
    for position, key in enumerate(location):
        if (isinstance(current, Mapping) and key in current) or _is_index(current, key):
            current = current[key]
        elif position + 1 < len(location) or not isinstance(current, Mapping):
            continue
        path.append(key)
    return tuple(path)


def _allowed_keys(location: Sequence[Any]) -> list[str]:
    """Field names of the model that sits at a pydantic location."""
    candidates: list[Any] = [Config]
    for key in location:
        models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        fields = [m.model_fields[key].annotation for m in models if key in m.model_fields]
        tagged = [m for m in models if any(key in get_args(f.annotation) for f in m.model_fields.values())]
        if fields:
            candidates = [leaf for annotation in fields for leaf in _leaves(annotation)]
        elif tagged:
            candidates = tagged
    return sorted({name for c in candidates if hasattr(c, "model_fields") for name in c.model_fields})


def _leaves(annotation: Any) -> list[Any]:
    """The classes inside Optional, Annotated, tuple, dict and union annotations."""
    arguments = get_args(annotation)
    if not arguments:
        return [annotation]
    return [leaf for argument in arguments for leaf in _leaves(argument)]
