"""A program at the other end of three pipes: nothing of it is left behind when it is closed."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Self, cast

import anyio
import anyio.to_thread
import psutil

from keisei.usi.protocol import Lines, printable

NICENESS = 10
"""Engines give way to the training beside them."""
OUTPUT_LIMIT = 16 * 2**20
"""Bytes that it may write between two calls of ``listen``, on its standard error too; then it is
killed."""
TAIL = 2_000
"""Bytes kept of what it wrote last on its standard error."""
_PARTING = 0.3
"""Seconds between the end of the process and that of its output: a forked child may hold it."""
_REAPED = 5.0


class Child(asyncio.SubprocessProtocol):
    """A running program, in a process group of its own.

    Its pipes are callbacks of the loop, not streams with a task each: there is no task that could
    outlive its owner, and ``close`` lets go of a pipe even when a process that left the group still
    holds the other end, for which anyio's and asyncio's ``Process`` have no public way.
    """

    def __init__(self, heard: Callable[[str], None], gone: Callable[[str], None]) -> None:
        self._heard = heard
        self._gone = gone
        self._lines = Lines()
        self._tail = b""
        self._left = OUTPUT_LIMIT
        self._told = False
        self._ends = 0
        self._exited = asyncio.Event()
        self._closed = asyncio.Event()

    @classmethod
    async def start(
        cls, path: Path, heard: Callable[[str], None], gone: Callable[[str], None]
    ) -> Self:
        """Start a program in its own folder. Raises OSError.

        Args:
            path: absolute.
            heard: called with each line of its output, while ``listen`` has been called last.
            gone: called once, with the reason, when nothing more can be heard.
        """
        loop = asyncio.get_running_loop()
        command = await anyio.to_thread.run_sync(_command, path)
        with anyio.CancelScope(shield=True):  # a process half started would have no owner
            _, child = await loop.subprocess_exec(
                lambda: cls(heard, gone), *command, cwd=path.parent, start_new_session=True
            )
        child.pause()
        return child

    def send(self, *lines: str) -> None:
        """Write lines. Never waits; what can't be written any more is lost."""
        pipe = cast("asyncio.WriteTransport | None", self._transport.get_pipe_transport(0))
        if pipe is not None and not pipe.is_closing():
            pipe.write("".join(line + "\n" for line in lines).encode())

    def listen(self) -> None:
        """Take its output, up to ``OUTPUT_LIMIT`` from now."""
        self._left = OUTPUT_LIMIT
        self._output.resume_reading()

    def pause(self) -> None:
        """Leave its output in the pipe: one that floods has to wait there."""
        self._output.pause_reading()

    @property
    def last_words(self) -> str:
        """The last lines of its standard error, as one line for people."""
        text = self._tail.decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return printable(" / ".join(lines[-3:]))

    def cpu_seconds(self) -> float:
        """Processor time of the process and of its children that ended; 0 once it is gone. Blocking."""
        with contextlib.suppress(psutil.Error):
            return float(sum(psutil.Process(self._transport.get_pid()).cpu_times()[:4]))
        return 0.0

    async def close(self, patience: float = 0.0) -> None:
        """Wait ``patience`` seconds for its end, then kill what is left of its process group."""
        with anyio.CancelScope(shield=True):
            try:
                with anyio.move_on_after(patience):
                    await self._exited.wait()
                self._kill()
                with anyio.move_on_after(_REAPED):
                    await self._exited.wait()
            finally:
                self._told = True
                self._kill()
                self._transport.close()
            with anyio.move_on_after(_REAPED):
                await self._closed.wait()

    def _kill(self) -> None:
        # Once it has been reaped its number may become another's.
        if not self._exited.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), signal.SIGKILL)

    @property
    def _output(self) -> asyncio.ReadTransport:
        return cast("asyncio.ReadTransport", self._transport.get_pipe_transport(1))

    def _part(self, reason: str) -> None:
        if not self._told:
            self._told = True
            self._gone(reason)

    # --- called by the loop -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It runs."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It wrote."""
        if fd == 2:
            self._tail = (self._tail + data)[-TAIL:]
        self._left -= len(data)
        if self._left < 0:
            self._kill()
            self._part(f"wrote more than {OUTPUT_LIMIT // 2**20} MiB without an answer")
        elif fd == 1:
            for line in self._lines.feed(data):
                self._heard(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """It closed a pipe, or died."""
        if fd == 1:
            self._end()

    def process_exited(self) -> None:
        """It died; what it forked dies too."""
        self._kill()
        self._exited.set()
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has been reaped and all pipes are closed."""
        self._closed.set()

    def _end(self) -> None:
        """Of exit and end of output, either comes first, and the other perhaps never."""
        self._ends += 1
        if self._ends == 2:
            self._part(self._obituary())
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(_PARTING, lambda: self._part(self._obituary()))

    def _obituary(self) -> str:
        code = self._transport.get_returncode()
        if code is None:
            return "closed its output"
        if code < 0:
            return f"was killed by signal {-code} ({signal.strsignal(-code)})"
        return f"exited with code {code}"


def _command(path: Path) -> list[str]:
    """How to start a program: niced, and to be killed by the system when we are.

    The programs in front replace themselves with the next. Threads keep the niceness that they were
    born with, so that it cannot be set later. Without ``setpriv`` (util-linux), an engine that is
    hung outlives our own death by SIGKILL; others leave when their input ends.
    """
    guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [*guard, "nice", "-n", str(NICENESS), str(path)]
