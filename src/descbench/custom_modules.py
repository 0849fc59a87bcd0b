"""Modules of the user's own, named in the configuration as ``module:callable``, looked for from the present folder."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from descbench.errors import ConfigError
from descbench.io.digests import sha256_file

_LONGEST = 300  # characters of the user's own message
# Digests of the files of modules, as they were imported.
_imported: WeakKeyDictionary[ModuleType, str] = WeakKeyDictionary()


def import_callable(name: str) -> Callable[..., Any]:
    """What ``module:callable`` names.

    Raises:
        ConfigError: there is no such module, it raises an exception, has nothing of that name to be called, or its file
            changed since this process imported it.
    """
    module, _, attribute = name.partition(":")
    place = find_module(name)
    with user_code(name, "cannot be imported"):
        imported = importlib.import_module(module)
        found = getattr(imported, attribute)
    _refuse_changed(imported, place, name)
    if not callable(found):
        raise ConfigError(f"{name}: is a {type(found).__name__}, which cannot be called.")
    return found


def _refuse_changed(module: ModuleType, place: Path, name: str) -> None:
    """Python keeps a module as it was: what it gives would be kept as if the file of today had given it."""
    try:
        digest = sha256_file(place)
    except OSError:  # a module of C that is part of Python, or one that is gone
        return
    if _imported.setdefault(module, digest) != digest:
        raise ConfigError(f"{name}: {place} changed since it was imported; start Python (the notebook's kernel) again.")


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
    except Exception as error:
        place, text = _place(error), " ".join(str(error).split())[:_LONGEST]
        raise ConfigError(f"{name}: {what}{place} ({type(error).__name__}: {text}).") from error


def _place(error: Exception) -> str:
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
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        found = None
    if found is None or found.origin is None:
        raise ConfigError(f"{name}: there is no module {module!r}; it is looked for in {here} and where Python looks.")
    return Path(found.origin)
