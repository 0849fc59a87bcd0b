"""The state of every random generator that training may draw from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and Python, as the originals do at the start of an epoch."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for libraries that still draw from numpy's global state
    random.seed(seed)


def random_state() -> dict[str, Any]:
    """States of torch, its GPUs, numpy and Python, as tensors and plain values."""
    name, keys, *numbers = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *numbers],
        "python": random.getstate(),
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what :func:`random_state` gave; GPUs only where there are as many as then."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *numbers = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *numbers))  # noqa: NPY002
    random.setstate(state["python"])
