"""Starts the process that owns a W&B run, sends requests to that process, and ends it."""

import contextlib
import json
import os
import subprocess
import sys
from typing import Any, Self

import anyio
import anyio.to_thread
import psutil
from anyio.abc import ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

ANSWER_BYTES = 2**20
"""Maximum length of an answer, in bytes."""
_COMMAND = (sys.executable, "-P", "-c", "from keisei.sinks.wandb_process import main; main()")


class WandbError(RuntimeError):
    """W&B could not execute an action. The message gives the reason."""


class WandbClient:
    """A running process that owns a W&B run."""

    def __init__(
        self, process: Process, requests: ByteSendStream, answers: BufferedByteReceiveStream
    ) -> None:
        self._process, self._requests, self._answers = process, requests, answers

    @classmethod
    async def start(cls) -> Self:
        """Start the process. Raises OSError."""
        process = await anyio.open_process(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that Ctrl+C in a terminal does not end the process
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        if process.stdin is None or process.stdout is None:
            raise AssertionError("unreachable: both are pipes")
        return cls(process, process.stdin, BufferedByteReceiveStream(process.stdout))

    async def ask(self, action: str, **values: Any) -> dict[str, Any]:
        """Ask for an action, which is a method of ``keisei.sinks.wandb_process.Owner``.

        Wait for the end of the action and return its result. Raises WandbError.
        """
        try:
            await self._requests.send(json.dumps([action, values]).encode() + b"\n")
            line = await self._answers.receive_until(b"\n", ANSWER_BYTES)
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):
            raise WandbError("the process that talks to W&B has ended") from None
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WandbError(answer["error"])
        return answer

    async def finished(self) -> None:
        """Let the process end, and wait for its end."""
        await self._requests.aclose()
        await self._process.wait()

    async def end(self) -> None:
        """If the process still runs, kill it and its child processes. Release the pipes."""
        with anyio.CancelScope(shield=True):
            if self._process.returncode is None:
                await anyio.to_thread.run_sync(_kill, self._process.pid)
            await self._process.aclose()


def _kill(pid: int) -> None:
    """Kill a process and its child processes, even if they have process groups of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for found in (*process.children(), process):
            found.kill()
