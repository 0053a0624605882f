"""Set up logging for the whole process: lines on stderr, JSON lines in ``keisei.log``.

Only the program that owns the process sets up logging. A run inside another program does not
change logging.

A log call has a name and values, not a sentence: ``log.info("iteration", step=..., kl=...)``.
"""

import errno
import logging
import queue
import select
import sys
import time
import traceback
from collections.abc import Callable
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import structlog

FILE_BYTES = 10_000_000
FILES = 10
RUN_LOGGER = "keisei"
"""Name of the logger that writes a run's events into the log."""
ALSO_EVENTS = (RUN_LOGGER, "keisei.feed.supervise")
"""Loggers whose warnings are already sent as events. Therefore ``forward`` skips these warnings."""
WAITING = 10_000
"""Largest number of log records in the queue. Further records are dropped and counted."""
BURST, A_SECOND = 100, 10
"""Rate limit for all records except the run's: records in a burst, and records per second."""
FRAMES = 30
"""Largest number of stack frames in a written traceback; the innermost frames are written."""
CONSOLE_SECONDS = 2.0
"""Seconds to wait for a reader of stderr; after this time, lines for stderr are dropped."""
CONSOLE_CHARACTERS = 1000
"""Largest number of characters of a text on stderr, so that a pipe never splits a line.

The log file contains the full text."""

OnWarning = Callable[[str, Literal["warning", "error"], str], None]
"""A function that is called with a logger's name, a level and a message."""

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


class Logging:
    """Writes log lines to stderr and, after ``add_file``, JSON lines to ``keisei.log``.

    The process's entry point uses this context manager around the whole program. At the start it
    sets up the root logger, structlog and the capture of warnings. At the end it undoes this setup.
    Separate threads format and write the lines, so that neither a slow disk nor a long traceback
    delays the event loop. JSON lines contain tracebacks, without the values of variables. Other
    lines contain only the type and the text of an exception.
    """

    def __init__(
        self,
        level: str = "info",
        on_console: Callable[[logging.LogRecord], bool] | None = None,
        *,
        form: Literal["console", "json"] = "console",
    ) -> None:
        """``level``: debug, info, warning or error. ``on_console`` selects records for stderr.

        With ``form="json"``, stderr gets all records, as the same JSON lines as the log file.
        """
        self._json = form == "json"
        self._level = level.upper()
        self._on_console = on_console
        self._handlers: list[logging.Handler] = []

    def __enter__(self) -> Self:
        structlog.configure(
            processors=[
                *_SHARED,
                _attach_exception,
                structlog.stdlib.PositionalArgumentsFormatter(),
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
            cache_logger_on_first_use=False,
        )
        logging.captureWarnings(capture=True)
        logging.getLogger().setLevel(self._level)
        console = _Console(sys.stderr)
        if self._json:
            console.setFormatter(_json_lines())
            self._write(console)
        else:
            renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
            console.setFormatter(_formatter(_one_line, renderer))
            self._write(console, self._on_console)
        return self

    def add_file(self, path: Path) -> None:
        """Also write JSON lines to ``path``. Raises OSError.

        At 10 MB, the file is renamed, and a new file begins. Up to 9 older files are kept.
        """
        # If the path is a named pipe, opening it would wait for a reader.
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "not a regular file; remove it", str(path))
        file = _File(path, maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8")
        file.setFormatter(_json_lines())
        self._write(file)

    def forward(self, on_warning: OnWarning) -> None:
        """Also call ``on_warning(name, level, message)`` for each warning and error.

        The thread that logs makes the call. For example, ``Keisei.log`` sends the messages to the
        people who watch the run. Lines that are also events of the run are skipped.
        """
        self._add(_Forwarder(on_warning))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        # stderr is closed last, because closing the file can cause a warning on stderr.
        for handler in reversed(self._handlers):
            logging.getLogger().removeHandler(handler)
            handler.close()
        self._handlers.clear()
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()

    def _write(
        self, target: logging.Handler, wanted: Callable[[logging.LogRecord], bool] | None = None
    ) -> None:
        """Start a thread that passes log records to ``target``; ``wanted`` selects the records."""
        writer = _Writer(target)
        if wanted:
            writer.addFilter(wanted)
        self._add(writer)

    def _add(self, handler: logging.Handler) -> None:
        logging.getLogger().addHandler(handler)
        self._handlers.append(handler)


class _Writer(QueueHandler):
    """A queue of log records. In another thread, ``target`` formats and writes the records.

    If records come too fast, further records are dropped and counted, because a flood of log lines
    must not slow down training.
    """

    queue: "queue.SimpleQueue[logging.LogRecord]"

    def __init__(self, target: logging.Handler) -> None:
        # A `Queue` could deadlock: a finaliser can log while its own thread is inside `put` and has
        # the queue's lock. `SimpleQueue.put` is reentrant.
        super().__init__(queue.SimpleQueue())
        self._target = target
        self._listener: QueueListener | None = QueueListener(self.queue, target)
        self._listener.start()
        self._dropped = 0
        self._allowed, self._filled = float(BURST), time.monotonic()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record unchanged. The inherited method turns structlog's dict into a text."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue the record, or drop the record and count it. Never waits."""
        if self.queue.qsize() >= WAITING or not self._within_rate(record):
            self._dropped += 1
            return
        if self._dropped:
            self.queue.put(self._count_of_dropped())
        self.queue.put(record)

    def close(self) -> None:
        """Write the queued records, then close the target. A second call does nothing."""
        if self._listener:
            if self._dropped:
                self.queue.put(self._count_of_dropped())
            self._listener.stop()
            self._listener = None
            self._target.close()
        super().close()

    def _within_rate(self, record: logging.LogRecord) -> bool:
        """Whether the rate limit allows this record. The run's own records have no limit."""
        if record.name == RUN_LOGGER:
            return True
        now = time.monotonic()
        self._allowed = min(BURST, self._allowed + (now - self._filled) * A_SECOND)
        self._filled = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _count_of_dropped(self) -> logging.LogRecord:
        """Return a log record with the number of dropped records, and reset this number to 0."""
        count, self._dropped = self._dropped, 0
        text = "%d log lines dropped: more than %d came per second, or the disk was too slow"
        return logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, text, (count, A_SECOND), None
        )


class _Console(logging.StreamHandler[Any]):
    """Writes log lines to stderr, but drops them while nobody reads stderr."""

    _patience = CONSOLE_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record to stderr. If the pipe or terminal stays full, drop the record."""
        try:
            room = select.poll()
            room.register(self.stream, select.POLLOUT)
            ready = bool(room.poll(self._patience * 1000))
        except (OSError, ValueError):  # in a notebook, stderr has no descriptor
            ready = True
        self._patience = CONSOLE_SECONDS if ready else 0
        if ready:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Drop the line without a report, because stderr cannot show a report either."""


class _File(RotatingFileHandler):
    """A log file. A warning reports the first failed write; later writes are still tried."""

    _failed = False

    def close(self) -> None:
        """Close the file. If the disk is full, lines that are still in the buffer are lost."""
        try:
            super().close()
        except OSError:
            self.handleError(logging.makeLogRecord({}))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Log a warning at the first call. The caller is in an ``except`` block."""
        if not self._failed:
            self._failed = True
            text = "%s: cannot be written, log lines are lost: %s"
            logging.getLogger(__name__).warning(text, self.baseFilename, sys.exception())


class _Forwarder(logging.Handler):
    """Passes warnings and errors to a function."""

    def __init__(self, on_warning: OnWarning) -> None:
        super().__init__(logging.WARNING)
        self._on_warning = on_warning

    def emit(self, record: logging.LogRecord) -> None:
        """Call the function. The function must not log, because the call locks this handler."""
        if record.name in ALSO_EVENTS:
            return
        # Before a record of structlog is formatted, its message is a dict.
        message = record.msg["event"] if isinstance(record.msg, dict) else record.getMessage()
        self._on_warning(
            record.name, "error" if record.levelno >= logging.ERROR else "warning", str(message)
        )


_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


def escape(text: str) -> str:
    """Replace the control characters in ``text`` with visible escapes.

    Otherwise, text from a client could control the terminal or begin a new line in the log.
    """
    return text.translate(_CONTROLS)


def _attach_exception(logger: Any, method: str, event: Any) -> Any:
    """Replace ``exc_info=True`` with the exception, which is known only in the thread that logs."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exception()
    if isinstance(error, BaseException):
        error = (type(error), error, error.__traceback__)
    return event | {"exc_info": error} if error else event


def _one_line(logger: Any, method: str, event: Any) -> Any:
    """Put each text of a record on one line, cut long texts, and reduce exceptions to a text."""
    error = event.pop("exc_info", None)
    if error:
        error = (
            error[1] if isinstance(error, tuple) else sys.exception() if error is True else error
        )
        event["error"] = "".join(traceback.format_exception_only(error)).strip()
    return {
        key: escape(value.strip())[:CONSOLE_CHARACTERS] if isinstance(value, str) else value
        for key, value in event.items()
    }


def _traceback(exc_info: Any) -> str:
    """Return the innermost frames of a traceback as text, without the values of variables."""
    return "".join(traceback.format_exception(exc_info[1], limit=-FRAMES))


def _formatter(*renderers: Any) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )


def _json_lines() -> logging.Formatter:
    renderer = structlog.processors.JSONRenderer(default=str)
    return _formatter(structlog.processors.ExceptionRenderer(_traceback), renderer)
