"""Fixtures of the whole suite."""

from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx


@pytest.fixture
def anyio_backend() -> str:
    """Keisei runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_blocking(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test on the loop fails if our code blocks it: file, socket, lock or sleep."""
    if "anyio" not in request.keywords:
        yield
        return
    with blockbuster_ctx("keisei"):
        yield
