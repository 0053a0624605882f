"""Fixtures for all tests."""

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture
def anyio_backend() -> str:
    """Use asyncio, the only backend that Keisei runs on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_blocking(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an async test if our code blocks the event loop by a file, socket, lock or sleep."""
    if "anyio" not in request.keywords:
        yield
        return
    with blockbuster_ctx("keisei"):
        yield
