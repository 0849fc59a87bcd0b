"""Fixtures of unit tests."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """The order of additions, and so the last bit, depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
