"""Lets golden tests import their helpers by name; the settings of torch that a run may ask for."""

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def torch_as_asked():
    """Threads and libraries of torch, from the environment (docs/contributing.md); results hold under all of them.

    ATEN_CPU_CAPABILITY is torch's own, and read before any test. oneDNN has no such variable.
    """
    threads, onednn = os.environ.get("DESCBENCH_TORCH_THREADS"), os.environ.get("DESCBENCH_ONEDNN", "1")
    before = torch.get_num_threads(), torch.backends.mkldnn.enabled
    if threads:
        torch.set_num_threads(int(threads))
    torch.backends.mkldnn.enabled = onednn != "0"
    yield
    torch.set_num_threads(before[0])
    torch.backends.mkldnn.enabled = before[1]
