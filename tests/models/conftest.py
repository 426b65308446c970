"""Shared by the models' tests: one thread, and weights that are the same each time."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Set torch to one thread and a seed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
