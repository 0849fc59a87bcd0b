"""Modules of the user's own, named in the configuration as ``module:callable``, looked for from the present folder."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from descbench.errors import ConfigError


def import_callable(name: str) -> Callable[..., Any]:
    """What ``module:callable`` names.

    Raises:
        ConfigError: there is no such module, or nothing of that name in it.
    """
    module, _, attribute = name.partition(":")
    find_module(name)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{name}: cannot be imported ({error}).") from None


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
