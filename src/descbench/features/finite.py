"""Whether values are finite, found out fast."""

from __future__ import annotations

import math

import numpy as np

_CHECKED = 1 << 20  # values looked at together


def all_finite(values: np.ndarray) -> bool:
    """Whether no value is NaN or infinite."""
    values = np.ravel(values)  # not copied if in one piece
    # By pieces: released descriptors come as one image of 10 GB.
    return all(_finite(values[i : i + _CHECKED]) for i in range(0, len(values), _CHECKED))


def _finite(values: np.ndarray) -> bool:
    # A sum is the fastest way to look at all, but for float16; finite values that overflow it are looked at again.
    if values.dtype != np.float16:
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(values.sum()):
                return True
    return bool(np.isfinite(values).all())
