"""Make the standard streams safe to use even if they are closed, full or without a reader."""

import io
import os
import sys
from typing import TextIO

from keisei.cli.errors import EnvironmentProblem

PLAIN_SECONDS = 10
"""Smallest number of seconds between two text lines of metrics. More lines would flood stderr."""


class OutputLost(EnvironmentProblem):
    """Standard output is closed or full. Text is lost, but the command's files are complete."""


def set_up() -> None:
    """Make the standard streams safe to use. Call this first in a process.

    - If a descriptor from 0 to 2 is closed, it is opened on the null device. Otherwise the next
      opened file, such as a database, would get this descriptor, and a library could print into the
      file.
    - If standard output is closed or full, writing to standard output raises OutputLost. If
      standard output is a pipe without a reader, writing raises BrokenPipeError, as usual.
    - If standard error cannot be written, text for it is dropped, so that a run goes on after its
      terminal is closed.
    - Characters that the encoding of a stream lacks are written as escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Standard output is opened for reading only, so that writing to it raises an error.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (stays open)
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr)


def drop_output(stream: TextIO) -> None:
    """Discard the text in the stream's buffer and all text that is written to the stream later."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def announce(text: str) -> None:
    """Print the text on standard output, or on standard error if standard output fails."""
    try:
        print(text, flush=True)
    except (OutputLost, BrokenPipeError) as error:
        drop_output(sys.stdout)
        print(f"keisei: {error}\n{text}", file=sys.stderr)


def _text(raw: io.FileIO, before: TextIO | None) -> TextIO:
    """Return a text stream over ``raw`` in the encoding of ``before`` (UTF-8 for None)."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=raw.isatty() or isinstance(raw, _Messages),
    )


class _Output(io.FileIO):
    """Standard output. Raises OutputLost for every error except a broken pipe."""

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
        except OSError:  # for example a full disk; there is no place to report the error
            return memoryview(data).nbytes  # type: ignore[arg-type]
