"""Independent random generators, one for each thing that is drawn."""

from __future__ import annotations

import hashlib

import numpy as np


def rng_for(*keys: int | str) -> np.random.Generator:
    """A generator that depends on ``keys`` only, so drawing order and process count do not matter."""
    digest = hashlib.sha256(repr(keys).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
