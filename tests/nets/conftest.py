"""Fixtures for the tests of networks."""

from collections.abc import Iterator

import pytest
import torch

from keisei.nets.planes import PLANES


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Use one torch thread: networks here are tiny, and two threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def planes() -> torch.Tensor:
    """Return random input planes of 16 positions."""
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(16, PLANES, 9, 9, generator=generator) < 0.1).float()
