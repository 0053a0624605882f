"""A run that a test writes by hand, and what a stream of its watcher shows."""

import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

from keisei.config import Settings
from keisei.events import Event, Iteration, Status
from keisei.store import Database, RunDirectory
from keisei.watch.run import WatchedRun

DEAD = 2**22 + 1
"""A pid above Linux's largest."""


class Writer:
    """The process that trains a run, as far as its files show it."""

    def __init__(self, path: Path, *, resume: bool = False, locked: float | None = None) -> None:
        """``locked``: time at which a process on another host began to write."""
        self.path = path
        make = (
            partial(RunDirectory.open, path)
            if resume
            else partial(RunDirectory.create, Settings(), path)
        )
        self.directory = make()
        self.database = Database(self.directory.database)
        if locked is not None:
            (path / "lock").write_text('{"pid": 1, "host": "another"}')
            os.utime(path / "lock", (locked, locked))

    def write(self, *events: Event) -> None:
        self.database.append(events)

    def start(self, time: float, state: Any = "running") -> None:
        """Report that the run has started and that it trains."""
        self.write(
            *(status(kind, told, time) for kind, told in (("started", "starting"), (state, state)))
        )

    def close(self) -> None:
        """End as an orderly process does."""
        self.database.close()
        self.directory.close()

    def die(self) -> None:
        """Leave the files as a killed process leaves them."""
        self.close()
        lock = {"pid": DEAD, "host": socket.gethostname()}
        (self.path / "lock").write_text(json.dumps(lock))

    def remove(self) -> None:
        """Remove the run, and end."""
        self.close()
        moved = self.path.rename(self.path.with_name("removed"))
        shutil.rmtree(moved)


def status(kind: Any, state: Any, time: float, step: int = 0) -> Status:
    return Status(run="a", step=step, time=time, kind=kind, state=state, message="")


def iteration(number: int, time: float) -> Iteration:
    """An iteration of 10 steps, at 5 steps per second."""
    values = {"speed/steps_per_second": 5.0, "train/kl": number / 8}
    return Iteration(run="a", step=10 * number, time=time, iteration=number, values=values)


class Stream:
    """The events of a watched run's stream."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.arrived = anyio.Event()

    async def read(self, run: WatchedRun, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with run.hub.subscribe(()) as chunks:
            task_status.started()
            async for chunk in chunks:
                for frame in chunk.decode().split("\r\n\r\n")[:-1]:
                    fields = dict(line.split(": ", 1) for line in frame.split("\r\n"))
                    self.events.append((fields["event"], json.loads(fields["data"])))
                self.arrived.set()

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Wait for an event with these fields; forget the events up to it, and return it."""
        with anyio.fail_after(20):
            while True:
                self.arrived = anyio.Event()
                for number, (name, data) in enumerate(self.events):
                    if name == kind and fields.items() <= data.items():
                        del self.events[: number + 1]
                        return data
                await self.arrived.wait()


@asynccontextmanager
async def followed(run: WatchedRun) -> AsyncIterator[Stream]:
    """Read the run's stream during the block."""
    stream = Stream()
    async with anyio.create_task_group() as tasks:
        await tasks.start(stream.read, run)
        yield stream
        tasks.cancel_scope.cancel()
