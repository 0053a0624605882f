"""Run another program, talk to it through pipes, and leave no process or pipe behind."""

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
"""Niceness of engines, which gives training on the same machine priority over engines."""
OUTPUT_LIMIT = 16 * 2**20
"""Largest number of bytes that a program may write between two calls of ``listen``.

The limit includes standard error. A program that writes more bytes is killed."""
TAIL = 2_000
"""Number of bytes that are kept from the end of a program's standard error."""
_OUTPUT_GRACE = 0.3
"""Seconds to wait for the end of output after the exit, or for the exit after the end of output.

Without this limit, the wait could last for ever: a forked child can keep the output open."""
_REAP_SECONDS = 5.0
"""Seconds to wait until the system reports that the process has ended."""


class Child(asyncio.SubprocessProtocol):
    """A running program, in a process group of its own.

    The event loop reports output and exit by callbacks. No task reads the pipes, because such a
    task could outlive the ``Child``. ``close`` closes a pipe even if a process outside the group
    keeps the other end open. The ``Process`` classes of anyio and asyncio have no public
    method that closes such a pipe.
    """

    def __init__(self, on_line: Callable[[str], None], on_gone: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._on_gone = on_gone
        self._lines = Lines()
        self._tail = b""
        self._left = OUTPUT_LIMIT
        self._gone = False
        self._ends = 0
        self._exited = asyncio.Event()
        self._closed = asyncio.Event()

    @classmethod
    async def start(
        cls, path: Path, on_line: Callable[[str], None], on_gone: Callable[[str], None]
    ) -> Self:
        """Start a program; its working directory is the program's folder. Raises OSError.

        Args:
            path: absolute path of the program.
            on_line: function that is called with each line that the program writes to standard
                output. Lines are read only between ``listen`` and ``pause``.
            on_gone: function that is called when the program can send no more output: once, or
                never if ``close`` was called earlier. The function's argument is the reason.
        """
        loop = asyncio.get_running_loop()
        command = await anyio.to_thread.run_sync(_command, path)
        # Without the shield, a cancellation during the start could leave a running process behind.
        with anyio.CancelScope(shield=True):
            _, child = await loop.subprocess_exec(
                lambda: cls(on_line, on_gone), *command, cwd=path.parent, start_new_session=True
            )
        child.pause()
        return child

    def send(self, *lines: str) -> None:
        """Write lines to the program without waiting. Lines for a closed input are dropped."""
        pipe = cast("asyncio.WriteTransport | None", self._transport.get_pipe_transport(0))
        if pipe is not None and not pipe.is_closing():
            pipe.write("".join(line + "\n" for line in lines).encode())

    def listen(self) -> None:
        """Read standard output. Until the next call, ``OUTPUT_LIMIT`` bytes are allowed."""
        self._left = OUTPUT_LIMIT
        self._output.resume_reading()

    def pause(self) -> None:
        """Stop reading standard output. When the pipe is full, the program has to wait."""
        self._output.pause_reading()

    @property
    def last_words(self) -> str:
        """The last three lines of the program's standard error, as one line for messages."""
        text = self._tail.decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return printable(" / ".join(lines[-3:]))

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the process and of its ended children. Blocks.

        The result is 0 after the end of the process.
        """
        with contextlib.suppress(psutil.Error):
            return float(sum(psutil.Process(self._transport.get_pid()).cpu_times()[:4]))
        return 0.0

    async def close(self, patience: float = 0.0) -> None:
        """Wait up to ``patience`` seconds for the program's end, then kill its process group."""
        with anyio.CancelScope(shield=True):
            try:
                with anyio.move_on_after(patience):
                    await self._exited.wait()
                self._kill()
                with anyio.move_on_after(_REAP_SECONDS):
                    await self._exited.wait()
            finally:
                self._gone = True
                self._kill()
                self._transport.close()
            with anyio.move_on_after(_REAP_SECONDS):
                await self._closed.wait()

    def _kill(self) -> None:
        # After the exit, a new process can get the same id. The new process must not be killed.
        if not self._exited.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), signal.SIGKILL)

    @property
    def _output(self) -> asyncio.ReadTransport:
        return cast("asyncio.ReadTransport", self._transport.get_pipe_transport(1))

    def _report_gone(self, reason: str) -> None:
        if not self._gone:
            self._gone = True
            self._on_gone(reason)

    # --- called by the loop -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport of the program, which has just started."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Handle data that the program wrote to standard output or standard error."""
        if fd == 2:
            self._tail = (self._tail + data)[-TAIL:]
        self._left -= len(data)
        if self._left < 0:
            self._kill()
            self._report_gone(f"wrote more than {OUTPUT_LIMIT // 2**20} MiB without an answer")
        elif fd == 1:
            for line in self._lines.feed(data):
                self._on_line(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Handle the end of standard output: the program closed the pipe or ended."""
        if fd == 1:
            self._count_end()

    def process_exited(self) -> None:
        """Handle the program's exit, and kill the child processes that still run."""
        self._kill()
        self._exited.set()
        self._count_end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the process has ended and all pipes are closed."""
        self._closed.set()

    def _count_end(self) -> None:
        """Handle one of two events: the exit or the end of output.

        Either event can come first. After the first event, the second may never come.
        """
        self._ends += 1
        if self._ends == 2:
            self._report_gone(self._describe_end())
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(_OUTPUT_GRACE, lambda: self._report_gone(self._describe_end()))

    def _describe_end(self) -> str:
        code = self._transport.get_returncode()
        if code is None:
            return "closed its output"
        if code < 0:
            return f"was killed by signal {-code} ({signal.strsignal(-code)})"
        return f"exited with code {code}"


def _command(path: Path) -> list[str]:
    """Return a command that runs a program at low priority, and kills the program if Keisei ends.

    ``setpriv`` and ``nice`` add no processes: each replaces itself by the next program of the
    command. The niceness must be set before the program starts, because a later change does not
    affect threads that already run. If ``setpriv`` (util-linux) is missing and SIGKILL ends Keisei,
    a hanging engine continues to run. Other engines quit when their input ends.
    """
    guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [*guard, "nice", "-n", str(NICENESS), str(path)]
