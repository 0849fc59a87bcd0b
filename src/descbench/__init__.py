"""descbench: the benchmark tables of five papers on image retrieval and local features, rebuilt.

For images of your own, in one call each: :func:`search_images`, :func:`match_pair` and :func:`evaluate_images`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Threads of OpenMP sleep while they wait, and do not spin: with two jobs on the same cores, spinning made small
# trainings five times as slow. Read when torch or a kernel of ours is first loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Imported when they are first used: what plans the workflow, or prints a help text, needs no torch.
_CALLS = ("evaluate_images", "match_pair", "search_images")
__all__ = [*_CALLS]


def __getattr__(name: str) -> Any:
    """A library call by its name."""
    if name not in _CALLS:
        raise AttributeError(f"module 'descbench' has no attribute {name!r}")
    return getattr(import_module(f"descbench.direct.{name}"), name)


def __dir__() -> list[str]:
    """What completion offers."""
    return [*__all__, "__version__"]
