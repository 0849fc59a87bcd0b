"""Modules of the user's own, named in the configuration as ``module:callable``, looked for from the present folder."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import signal
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from descbench.errors import ConfigError
from descbench.io.digests import sha256_file

# Exit codes of a process that a signal stops (descbench.signals).
_SIGNALLED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
_LONGEST = 300  # characters of the user's own message
# Digests of the files of modules, and of those that they import, as they were imported.
_imported: WeakKeyDictionary[ModuleType, dict[Path, str]] = WeakKeyDictionary()


def import_callable(name: str) -> Callable[..., Any]:
    """What ``module:callable`` names.

    Raises:
        ConfigError: there is no such module, it raises an exception, has nothing of that name to be called, or its file
            changed since this process imported it.
    """
    module, _, attribute = name.partition(":")
    find_module(name)
    with user_code(name, "cannot be imported"):
        imported = importlib.import_module(module)
        found = getattr(imported, attribute)
    _refuse_changed(imported, module_files(name), name)
    if not callable(found):
        raise ConfigError(f"{name}: is a {type(found).__name__}, which cannot be called.")
    return found


def _refuse_changed(module: ModuleType, files: Sequence[Path], name: str) -> None:
    """Python keeps modules as they were: what they give would be kept as if the files of today had given it."""
    digests = {}
    for place in files:
        with suppress(OSError):  # a module of C that is part of Python, or one that is gone
            digests[place] = sha256_file(place)
    known = _imported.setdefault(module, digests)
    for place, digest in digests.items():
        if known.setdefault(place, digest) != digest:
            raise ConfigError(
                f"{name}: {place} changed since it was imported; start Python (the notebook's kernel) again."
            )


def check_arguments(function: Callable[..., Any], arguments: Mapping[str, Any], what: str) -> None:
    """Refuse arguments that a function does not take.

    Raises:
        ConfigError: begins with ``what``, and says what the function takes.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions of C do not say; calling them will
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{what} takes {signature}, which these arguments do not fit ({error}).") from None


@contextmanager
def user_code(name: str, what: str = "failed") -> Iterator[None]:
    """Run code of the user's: an exception in it becomes one sentence that names the file and the line.

    Raises:
        ConfigError: in place of any exception.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # scripts that parse their own arguments end the process
        if isinstance(error, SystemExit) and error.code in _SIGNALLED:
            raise
        place, text = _place(error), " ".join(str(error).split())[:_LONGEST]
        raise ConfigError(f"{name}: {what}{place} ({type(error).__name__}: {text}).") from error


def _place(error: BaseException) -> str:
    """Where the user's own code stood: the last line outside installed packages, Python and this one."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {error.filename}, line {error.lineno}"
    others = (str(Path(__file__).parent), *(path for path in sysconfig.get_paths().values()))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((*others, "<"))]
    return f" at {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""


def find_module(name: str) -> Path:
    """File of the module of ``module:callable``, without importing it.

    Raises:
        ConfigError: there is no such module.
    """
    module, here = name.partition(":")[0], str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    for dotted, place in _places(Path(here), module):
        if dotted == module:
            return place
    try:
        with user_code(name, "cannot be imported"):  # Python imports the packages that a module lies in
            found = importlib.util.find_spec(module)
    except ConfigError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        found = None
    if found is None or found.origin is None:
        raise ConfigError(f"{name}: there is no module {module!r}; it is looked for in {here} and where Python looks.")
    return Path(found.origin)


def module_files(name: str) -> tuple[Path, ...]:
    """Files of the module of ``module:callable``, first, and of the modules that it imports, without importing any.

    These are looked for below the folder that the module's package lies in, as their ``import`` statements say; of
    an installed package there is the file of the module alone.

    Raises:
        ConfigError: there is no such module.
    """
    first, module = find_module(name), name.partition(":")[0]
    depth = module.count(".") + (first.name == "__init__.py")
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    installed = any(first.is_relative_to(sysconfig.get_path(kind)) for kind in kinds)
    if first.suffix != ".py" or installed or len(first.parents) <= depth:
        return (first,)
    root = first.parents[depth]
    found: dict[Path, None] = {}
    waiting = [(module, first)]
    while waiting:
        dotted, path = waiting.pop()
        if path not in found:
            found[path] = None
            waiting += [place for wanted in _imports(path, dotted) for place in _places(root, wanted)]
    return (first, *sorted(found.keys() - {first}))


def _imports(path: Path, dotted: str) -> Iterator[str]:
    """Names of the modules, and of what may be modules, that a file imports; none of one that cannot be parsed."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):  # whoever imports it is told
        return
    package = dotted.split(".") if path.name == "__init__.py" else dotted.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _places(root: Path, dotted: str) -> Iterator[tuple[str, Path]]:
    """Files below a folder that are run when a module is imported: its own, and those of the packages it lies in."""
    parts = dotted.split(".")
    for count in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:count])
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                yield ".".join(parts[:count]), path
                break
