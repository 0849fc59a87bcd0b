"""Read a YAML file of the configuration: strictly, in bounded time, and with the line of what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import yaml

from descbench.errors import ConfigError

# libyaml's parser is ten times as fast; wheels of PyYAML have it, distributions may not.
_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LARGEST_FILE = 4_000_000
_DEEPEST = 50
# Values once all aliases are written out; the catalogue has a few thousand.
_MOST_VALUES = 200_000
_LONGEST_NUMBER = 40
_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_WHY = {
    "tag:yaml.org,2002:bool": "YAML reads yes, no, on, off, true and false as true or false",
    "tag:yaml.org,2002:timestamp": "YAML reads it as a date",
    "tag:yaml.org,2002:int": "YAML reads it as a number",
    "tag:yaml.org,2002:float": "YAML reads it as a number",
    "tag:yaml.org,2002:null": "YAML reads it as null",
}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping. Anchors, aliases and merge keys (``<<``) are understood; keys are text.

    Raises:
        ConfigError: the file is absent, unreadable, no YAML, no mapping, holds values that are too many, too deep
            or tagged, or names a key twice; with the line.
    """
    path = Path(path)
    text = read_text(path)
    try:
        _check_depth(text, path)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return {}
            _Check(path).count(node)
            content = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark, context = error.problem_mark or error.context_mark, error.context or ""
        _refuse(path, mark, f"not valid YAML: {context} {error.problem or ''}".replace("  ", " ").strip())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping of sections (`key: value`), is a {type(content).__name__}.")
    return content


def at_home(path: Path, home: Path) -> Path:
    """A file of the catalogue: in the working directory or, where it is not, in a folder that may have it."""
    return home / path if not path.exists() and (home / path).exists() else path


def read_text(path: Path) -> str:
    """The text of a configuration file, of bounded size.

    Raises:
        ConfigError: the file is absent, unreadable, too large, or no UTF-8; with the line.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; name a configuration file in it.")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: is a named pipe, a socket or a device; name a configuration file.")
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file; check `catalog:` and --configfile.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{str(path)!r}: this configuration file cannot be read ({reason}).") from None
    if len(content) > _LARGEST_FILE:
        raise ConfigError(f"{path}: more than {_LARGEST_FILE} bytes; this is not a configuration file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8."
        ) from None


def _check_depth(text: str, path: Path) -> None:
    """Refuse deep nesting before anything recurses into it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                _refuse(path, event.start_mark, f"nested more than {_DEEPEST} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Check:
    """What is refused in a document that parses: its size with all aliases written out, keys, and numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: dict[int, int | None] = {}

    def count(self, node: yaml.Node) -> int:
        """Values in a node, those behind aliases at each place."""
        known = self.counts.get(id(node), 0)
        if known is None:
            _refuse(self.path, node.start_mark, "an alias stands inside what it names")
        if known:
            return known
        self.counts[id(node)] = None
        if isinstance(node, yaml.ScalarNode):
            self._number(node)
            total = 1
        else:
            children = node.value if isinstance(node, yaml.SequenceNode) else self._entries(node)
            total = 1 + sum(map(self.count, children))
        if total > _MOST_VALUES:
            _refuse(self.path, node.start_mark, f"more than {_MOST_VALUES} values, aliases written out")
        self.counts[id(node)] = total
        return total

    def _entries(self, node: yaml.MappingNode) -> list[yaml.Node]:
        """The values of a mapping, its keys checked."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if not isinstance(key, yaml.ScalarNode):
                _refuse(self.path, key.start_mark, "a key must be text, not a list or a mapping")
            if key.tag != _TEXT:
                why, shown = _WHY.get(key.tag, f"it is tagged {key.tag}"), key.value[:100]
                _refuse(self.path, key.start_mark, f"key {shown} is not text ({why}); put it in quotes: '{shown}'")
            if key.value in seen:
                _refuse(self.path, key.start_mark, f"key {key.value[:100]} is written twice in the same mapping")
            seen.add(key.value)
        return [value for _, value in node.value]

    def _number(self, node: yaml.ScalarNode) -> None:
        """Whole numbers of thousands of digits take long to read and to print."""
        if node.tag in _WHY and len(node.value) > _LONGEST_NUMBER:
            _refuse(self.path, node.start_mark, f"a number of {len(node.value)} characters")


def _refuse(path: Path, mark: yaml.Mark | None, message: str) -> NoReturn:
    line = f", line {mark.line + 1}" if mark is not None else ""
    raise ConfigError(f"{path}{line}: {message}.")
