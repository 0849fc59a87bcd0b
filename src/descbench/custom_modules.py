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
from typing import Any

from descbench.errors import ConfigError

_LONGEST = 300  # characters of the user's own message


def import_callable(name: str) -> Callable[..., Any]:
    """What ``module:callable`` names.

    Raises:
        ConfigError: there is no such module, it raises an exception, or has nothing of that name to be called.
    """
    module, _, attribute = name.partition(":")
    find_module(name)
    with user_code(name, "cannot be imported"):
        found = getattr(importlib.import_module(module), attribute)
    if not callable(found):
        raise ConfigError(f"{name}: is a {type(found).__name__}, which cannot be called.")
    return found


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
