"""Make the standard streams safe: closed, full, without a reader, or of any encoding."""

import io
import os
import sys
from typing import TextIO

from keisei.cli.errors import EnvironmentProblem


class OutputLost(EnvironmentProblem):
    """Standard output is closed or full. The text is lost; the command's results are kept."""


def set_up() -> None:
    """Make the standard streams safe to use. Call this first in a process.

    - A closed descriptor from 0 to 2 is opened on the null device. Else the next file that is
      opened, such as a database, would get its number and receive what a library prints.
    - Writing to a standard output that is closed or full raises OutputLost. A pipe without a reader
      raises BrokenPipeError, as always.
    - Text for a standard error that cannot be written is dropped: a run goes on without its
      terminal.
    - Characters that the encoding lacks are written as escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Read-only, so that writing to a closed standard output fails.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (stays open)
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr)


def drop_output(stream: TextIO) -> None:
    """Discard everything that is written to a stream from now on, including its buffer."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def announce(text: str) -> None:
    """Print a line on standard output, or on standard error if standard output fails."""
    try:
        print(text, flush=True)
    except (OutputLost, BrokenPipeError) as error:
        drop_output(sys.stdout)
        print(f"keisei: {error}\n{text}", file=sys.stderr)


def _text(raw: io.FileIO, before: TextIO | None) -> TextIO:
    """Return a text stream over ``raw``, with the encoding of ``before`` (None: it was closed)."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=raw.isatty() or isinstance(raw, _Messages),
    )


class _Output(io.FileIO):
    """Standard output. Raises OutputLost for errors other than a broken pipe."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # any buffer
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(f"standard output cannot be written: {error.strerror}") from None


class _Messages(io.FileIO):
    """Standard error. Drops text that cannot be written."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # any buffer
        except OSError:  # disk full or terminal closed: there is nowhere to report it
            return memoryview(data).nbytes  # type: ignore[arg-type]
