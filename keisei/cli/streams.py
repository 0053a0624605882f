"""The standard streams, whatever a shell, a service manager or a closed terminal made of them."""

import io
import os
import sys
from typing import TextIO

from keisei.cli.errors import EnvironmentProblem


class OutputLost(EnvironmentProblem):
    """Standard output is closed or full. What was to be printed is lost, what was done is kept."""


def set_up() -> None:
    """Make the standard streams safe to use. The first thing that a process does.

    - A descriptor from 0 to 2 that is closed is opened on nothing: the next file that is opened, a
      database say, would get its number and with it what a library prints.
    - Standard output that cannot be written raises OutputLost, a pipe that nobody reads
      BrokenPipeError as ever.
    - Standard error that cannot be written loses the text: a run goes on without its terminal.
    - Characters that an encoding lacks are written as escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Read-only: what is written to a closed standard output must not seem to succeed.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (for the process's life)
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr)


def drop_output(stream: TextIO) -> None:
    """Let what is still written to a stream, at exit at the latest, vanish."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def announce(text: str) -> None:
    """Print a line of a run on standard output, or on standard error where that cannot be written."""
    try:
        print(text, flush=True)
    except (OutputLost, BrokenPipeError) as error:
        drop_output(sys.stdout)
        print(f"keisei: {error}\n{text}", file=sys.stderr)


def _text(raw: io.FileIO, before: TextIO | None) -> TextIO:
    """A text stream over ``raw`` with the encoding of the one it replaces; None where it was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=raw.isatty() or isinstance(raw, _Messages),
    )


class _Output(io.FileIO):
    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # whatever the buffer hands over
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(f"standard output cannot be written: {error.strerror}") from None


class _Messages(io.FileIO):
    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # whatever the buffer hands over
        except (
            OSError
        ):  # no space left, or the terminal is gone: there is no better place to say so
            return memoryview(data).nbytes  # type: ignore[arg-type]
