"""A fake run, its application, and a client."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from contract import check_response
from starlette.applications import Starlette

from keisei.server import create_app
from keisei.server.token import open_token
from keisei.testing import FakeRun

HOST = "http://localhost:8700"


@pytest.fixture
async def run() -> AsyncIterator[FakeRun]:
    """A fake run whose training has begun."""
    async with FakeRun(
        history=20, compile_seconds=0, iteration_seconds=0.05, board_seconds=0.05
    ) as run:
        await run.until("running")
        yield run


@pytest.fixture
def app(run: FakeRun) -> Starlette:
    """The application of the fake run."""
    return create_app(run)


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A client that calls the application without a network, and checks every answer."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    hooks = {"response": [check_response]}
    async with httpx.AsyncClient(transport=transport, base_url=HOST, event_hooks=hooks) as client:
        yield client


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    """The name of a file with a token."""
    file = str(tmp_path / "token")
    open_token(file)
    return file


@pytest.fixture
def token(token_file: str) -> str:
    """The token in the file."""
    return open_token(token_file).token.get_secret_value()
