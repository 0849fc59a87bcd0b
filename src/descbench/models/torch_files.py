"""Files of torch.save that others wrote, read without running anything in them."""

from __future__ import annotations

import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from descbench.errors import DataError

_PATH_MODULES = ("pathlib", "pathlib._local")
_PATH_CLASSES = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")


def load_torch_file(path: Path) -> dict[str, Any]:
    """Read a file of torch.save without running anything it holds; numpy arrays and paths are admitted.

    Checkpoints of FIRe's own training hold the path of their start weights (fire.md section 3.5).

    Raises:
        DataError: no such file, not readable so, or no dict.
    """
    numpy_pickles = [
        np._core.multiarray._reconstruct,
        np._core.multiarray.scalar,
        np.ndarray,
        np.dtype,
        *{type(np.dtype(code)) for code in "?bhilqBHILQefd"},
    ]
    aliases = [(np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct")]
    aliases.append((np._core.multiarray.scalar, "numpy.core.multiarray.scalar"))
    # Whatever the system it was written on, a path is read as text of this class.
    aliases += [(PurePosixPath, f"{module}.{name}") for module in _PATH_MODULES for name in _PATH_CLASSES]
    try:
        with torch.serialization.safe_globals([*numpy_pickles, *aliases]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such checkpoint.") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read as a checkpoint ({reason}); fetch it again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, not a checkpoint.")
    return content
