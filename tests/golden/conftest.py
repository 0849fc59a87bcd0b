"""Lets golden tests import ``goldens`` and ``standin`` by name; their fixtures."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def two_threads():
    """As goldens were made whose last digits hang on the order of sums, and so on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
