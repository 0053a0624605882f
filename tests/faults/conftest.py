"""The server of forked processes, which all tests of faults share."""

from collections.abc import Iterator

import pytest
from forked import ForkServer


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """A server whose forks run ``keisei``."""
    server = ForkServer()
    yield server
    server.close()
