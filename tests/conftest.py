"""Fixtures for all tests, and what a test that hangs does."""

import asyncio
import faulthandler
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any, TextIO

import pytest
from blockbuster import blockbuster_ctx

REPEAT_SECONDS = 20
"""Time between two timeouts of a test that goes on after the first."""

C_CODE_SECONDS = 120
"""Time after a timeout for C code to return; then the process ends."""

STDERR = pytest.StashKey[TextIO]()


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


def pytest_configure(config: pytest.Config) -> None:
    """Keep stderr as it is before pytest captures it."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        config.stash[STDERR] = os.fdopen(os.dup(2), "w")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the copy of stderr."""
    config.stash[STDERR].close()


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Iterator[None]:
    """Let a timeout fail its test and no other.

    pytest-timeout raises an exception in the main thread, once. asyncio drops it if a callback runs
    at that moment, so here it repeats. The stacks of the loop's tasks are printed first, because
    the exception often shows only the loop. If C code never returns to Python, all stacks are
    dumped and the process ends.
    """
    result = yield
    if settings.method == "signal":
        fail = signal.getsignal(signal.SIGALRM)

        def on_timeout(number: int, frame: FrameType | None) -> None:
            loop = asyncio._get_running_loop()
            for task in asyncio.all_tasks(loop) if loop else ():
                task.print_stack()
            fail(number, frame)  # type: ignore[operator,misc]

        signal.signal(signal.SIGALRM, on_timeout)
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, REPEAT_SECONDS)
        faulthandler.dump_traceback_later(
            settings.timeout + C_CODE_SECONDS, exit=True, file=item.config.stash[STDERR]
        )
    return result


@pytest.hookimpl(wrapper=True)
def pytest_timeout_cancel_timer() -> Iterator[None]:
    """Cancel the end of the process with the timeout."""
    faulthandler.cancel_dump_traceback_later()
    return (yield)
