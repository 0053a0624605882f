"""Fake and real engines for tests, and a check that nothing outlives a block."""

import shlex
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import psutil
import pytest

from keisei.evaluation.game import Opening, write_line
from keisei.shogi import Position
from keisei.usi import EngineSpec

DESCRIPTORS = Path("/proc/self/fd")
FAKE = Path(__file__).parents[1] / "usi" / "fake_engine.py"


def fake(how: str, folder: Path, query: str = "nodes=1", script: str = "") -> EngineSpec:
    """Return an engine that behaves as ``fake_engine.py`` says, or as the shell script ``script``.

    ``fake_engine.py`` writes the lines that it gets to ``folder/heard``.
    """
    path = folder / how
    command = shlex.join([sys.executable, str(FAKE), how, str(folder)])
    path.write_text(script or f"#!/bin/sh\nexec {command}\n")
    path.chmod(0o755)
    return EngineSpec.parse(f"usi:{path}?{query}")


def debian(name: str, package: str) -> Path:
    """Return the path of an installed engine, or skip the test."""
    path = Path("/usr/games") / name
    if not path.exists():
        pytest.skip(f"no {path}: `tools/test --system`, or apt-get install {package}")
    return path


def lives(pid: int) -> bool:
    """Return whether a process still runs. An orphan that was not reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ours() -> tuple[list[int], set[str]]:
    """Return the children, alive or not yet reaped, and the open descriptors."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children], {*map(str, DESCRIPTORS.iterdir())}


def _waiting() -> list[str]:
    """Return the threads in which asyncio waits for a child."""
    return [thread.name for thread in threading.enumerate() if "waitpid" in thread.name]


@asynccontextmanager
async def nothing_left(grace: float = 0.0) -> AsyncIterator[None]:
    """Fail if a process or a descriptor outlives the block by more than ``grace`` seconds.

    A thread that waits for a child may outlive it by a second: it ends just after the child.
    """
    before = _ours()
    yield
    found, end = _ours(), anyio.current_time() + grace
    while found != before and anyio.current_time() < end:
        await anyio.sleep(0.01)
        found = _ours()
    assert found == before
    with anyio.move_on_after(1):
        while _waiting():  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert not _waiting()


class Interrupted:
    """An awaitable that awaits ``work`` and calls ``cancel`` when that waits for the n-th time."""

    def __init__(self, work: Coroutine[Any, Any, None], n: int, cancel: Callable[[], Any]) -> None:
        self.work, self.n, self.cancel = work, n, cancel

    def __await__(self) -> Generator[Any, Any, None]:
        inner = self.work.__await__()
        go: Callable[[Any], Any] = inner.send
        with_: Any = None
        while True:
            try:
                waits_for = go(with_)
            except StopIteration:
                return
            self.n -= 1
            if self.n == 0:
                self.cancel()
            try:
                with_, go = (yield waits_for), inner.send
            except BaseException as error:  # noqa: BLE001 (it is handed on)
                with_, go = error, inner.throw


def random_openings(number: int, seed: int = 0, plies: int = 4) -> list[Opening]:
    """Return openings of ``plies`` random legal moves from the start position."""
    rng = np.random.default_rng(seed)
    openings = []
    for _ in range(number):
        position, moves = Position(), []
        for _ in range(plies):
            moves.append(str(rng.choice(position.legal_moves())))
            position.push(moves[-1])
        openings.append(Opening.read(write_line("startpos", moves)))
    return openings
