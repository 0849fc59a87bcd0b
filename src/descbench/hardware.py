"""What a machine is, in words: what times and, by rounding, the last digits of figures depend on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import psutil


def processor_name() -> str:
    """Name of the processor."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory_gb() -> float:
    """Memory of the machine in GiB."""
    return round(psutil.virtual_memory().total / 2**30, 1)


def describe_machine() -> dict[str, Any]:
    """Processor, number of its cores, memory in GiB and operating system."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "memory_gb": memory_gb(),
        "system": platform.platform(),
    }
