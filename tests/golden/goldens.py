"""Where golden tests find what the originals gave."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "data"


def golden_files(system: str, pattern: str) -> list[Path]:
    """Files of ``system`` matching ``pattern``, from DESCBENCH_GOLDEN_DIR or from beside the tests.

    Where there is none, one that is not there: a golden test that tests nothing fails, the others of its module run.
    """
    folder = Path(os.environ.get("DESCBENCH_GOLDEN_DIR", HERE)) / system
    return sorted(folder.glob(pattern)) or [folder / pattern]


def golden_cases(system: str, pattern: str, listed: Callable[[Path], Iterable[Any]]) -> list[tuple[Path, Any]]:
    """The cases that each file holds, with the file; of a file that is not there None, at which its tests fail."""
    return [
        (path, case) for path in golden_files(system, pattern) for case in (listed(path) if path.is_file() else [None])
    ]


def namesake(path: Path, base: str, pattern: str) -> Path:
    """The file of another pattern that belongs to a file: ``state_dict_2.json`` of ``net_2.npz``, or the first one.

    Args:
        path: the file.
        base: what its own names begin with, such as ``net``.
        pattern: of the other file, beside it, such as ``state_dict*.json``.
    """
    named = path.with_name(pattern.replace("*", path.stem.removeprefix(base)))
    return named if named.is_file() else (sorted(path.parent.glob(pattern)) or [named])[0]


def arrays_like(names: Iterable[str], pattern: str) -> list[str]:
    """Names of a file that match a regular expression as a whole, at least one."""
    found = [name for name in names if re.fullmatch(pattern, name)]
    assert found, f"nothing like {pattern} in the file"
    return found
