"""Where networks run."""

from __future__ import annotations

import torch

from descbench.config.models import Backend
from descbench.errors import ConfigError


def pick_device(name: str, backend: Backend = "torch") -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device; auto is CUDA when there is one and torch runs the networks.

    Raises:
        ConfigError: CUDA was asked for and is absent, or with a backend for the CPU.
    """
    if backend != "torch":
        if name == "cuda":
            raise ConfigError(f"backend: {backend} runs on the CPU; set `device: cpu`, or `backend: torch` for CUDA.")
        return torch.device("cpu")
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise ConfigError("device: cuda was asked for, but torch sees no CUDA device; set `device: auto` or `cpu`.")
    return torch.device("cuda" if name != "cpu" and present else "cpu")


def device_name(device: torch.device) -> str:
    """Name of the device for the record: the GPU's own name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def mixed_precision(device: torch.device, wanted: bool) -> torch.autocast:
    """bfloat16 on a GPU where it is wanted; on the CPU full precision, whatever is wanted."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and device.type == "cuda")
