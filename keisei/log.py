"""Set up logging for the whole process: lines on stderr, JSON lines in ``keisei.log``.

Only the program that owns the process does this; an embedded run sets up nothing.

Log events, not sentences: ``log.info("iteration", step=..., kl=...)``.
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
"""Name of the logger that a run's events are written to."""
ALSO_EVENTS = (RUN_LOGGER, "keisei.feed.supervise")
"""Loggers whose warnings are events of the run too: ``forward`` skips them, to show each once."""
WAITING = 10_000
"""Log records that may wait for the disk. Further records are dropped and counted."""
BURST, A_SECOND = 100, 10
"""Limit for all loggers but the run's: records at once, and records a second after that."""
FRAMES = 30
"""Innermost frames of a traceback that are written."""
CONSOLE_SECONDS = 2.0
"""Seconds to wait for a stderr that nobody reads before lines for it are dropped."""
CONSOLE_CHARACTERS = 1000
"""Longest text on stderr; the file has all of it. A pipe takes such a line whole or not at all."""

OnWarning = Callable[[str, Literal["warning", "error"], str], None]
"""Called with the name, level and message of a log line."""

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


class Logging:
    """Writes lines for people on stderr and, once there is a run, JSON lines in ``keisei.log``.

    An entry point opens it as a context manager for the life of the process. It sets the root
    logger, structlog's configuration and the capture of warnings, and undoes this at the end.
    Separate threads format and write, so that neither a slow disk nor a long traceback delays the
    event loop. A traceback goes to the file alone, without the values of variables; stderr gets
    the exception's type and text.
    """

    def __init__(
        self, level: str = "info", on_console: Callable[[logging.LogRecord], bool] | None = None
    ) -> None:
        """``level``: debug, info, warning or error. ``on_console``: filter for stderr."""
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
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
        console.setFormatter(_formatter(_one_line, renderer))
        self._write(console, self._on_console)
        return self

    def add_file(self, path: Path) -> None:
        """Also write JSON lines to ``path``, 10 files of 10 MB at most. Raises OSError."""
        if path.exists() and not path.is_file():  # opening a pipe would wait for its reader
            raise OSError(errno.EINVAL, "not a regular file; remove it", str(path))
        file = _File(path, maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8")
        renderer = structlog.processors.JSONRenderer(default=str)
        file.setFormatter(_formatter(structlog.processors.ExceptionRenderer(_traceback), renderer))
        self._write(file)

    def forward(self, on_warning: OnWarning) -> None:
        """Also pass warnings and errors to ``on_warning(name, level, message)``, from any thread.

        ``Keisei.log`` takes them, to show them to the people who watch the run. Lines that are
        events of the run too are skipped.
        """
        self._add(_Forwarder(on_warning))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for handler in reversed(self._handlers):  # stderr last: closing the file may log
            logging.getLogger().removeHandler(handler)
            handler.close()
        self._handlers.clear()
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()

    def _write(
        self, target: logging.Handler, wanted: Callable[[logging.LogRecord], bool] | None = None
    ) -> None:
        """Start a thread that passes records to ``target``."""
        writer = _Writer(target)
        if wanted:
            writer.addFilter(wanted)
        self._add(writer)

    def _add(self, handler: logging.Handler) -> None:
        logging.getLogger().addHandler(handler)
        self._handlers.append(handler)


class _Writer(QueueHandler):
    """Queues records for a thread, in which ``target`` formats and writes them.

    It drops and counts records that come too fast: a flood of log lines must not slow training.
    """

    queue: "queue.SimpleQueue[logging.LogRecord]"

    def __init__(self, target: logging.Handler) -> None:
        # A finaliser may log while its thread is inside `put`: the lock of a Queue would deadlock.
        super().__init__(queue.SimpleQueue())
        self._target = target
        self._listener: QueueListener | None = QueueListener(self.queue, target)
        self._listener.start()
        self._dropped = 0
        self._allowed, self._filled = float(BURST), time.monotonic()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record unchanged: the standard version turns structlog's event into text."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue the record, or drop and count it. Never waits."""
        if self.queue.qsize() >= WAITING or not self._within_rate(record):
            self._dropped += 1
            return
        if self._dropped:
            self.queue.put(self._count_of_dropped())
        self.queue.put(record)

    def close(self) -> None:
        """Write the queued records, then close the target. May be called again."""
        if self._listener:
            if self._dropped:
                self.queue.put(self._count_of_dropped())
            self._listener.stop()
            self._listener = None
            self._target.close()
        super().close()

    def _within_rate(self, record: logging.LogRecord) -> bool:
        """Whether the rate limit allows one more record. It does not apply to the run's own."""
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
        """Return a record of how many were dropped, and reset the count."""
        count, self._dropped = self._dropped, 0
        text = "%d log lines dropped: more than %d a second, or more than the disk takes"
        return logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, text, (count, A_SECOND), None
        )


class _Console(logging.StreamHandler[Any]):
    """Writes to stderr, and drops lines while nobody reads it."""

    _patience = CONSOLE_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or drop it if the pipe or terminal stays full; the file has it."""
        try:
            room = select.poll()
            room.register(self.stream, select.POLLOUT)
            ready = bool(room.poll(self._patience * 1000))
        except (OSError, ValueError):  # stderr has no descriptor, as in a notebook
            ready = True
        self._patience = CONSOLE_SECONDS if ready else 0
        if ready:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Drop the line: if stderr is gone, there is nowhere to report it."""


class _File(RotatingFileHandler):
    """A log file that warns once if it cannot be written, and keeps trying."""

    _failed = False

    def close(self) -> None:
        """Close the file. Lines that a full disk does not take are lost."""
        try:
            super().close()
        except OSError:
            self.handleError(logging.makeLogRecord({}))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Warn once. The logging module calls this in its ``except`` block."""
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
        """Pass the record on. This holds the handler's lock, so the function must not log."""
        if record.name in ALSO_EVENTS:
            return
        # The records of structlog hold a dict until they are formatted.
        message = record.msg["event"] if isinstance(record.msg, dict) else record.getMessage()
        self._on_warning(
            record.name, "error" if record.levelno >= logging.ERROR else "warning", str(message)
        )


_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


def escape(text: str) -> str:
    """Replace control characters by visible escapes.

    Text from a client must neither control a terminal nor begin a new line.
    """
    return text.translate(_CONTROLS)


def _attach_exception(logger: Any, method: str, event: Any) -> Any:
    """Replace ``exc_info=True`` by the exception, which the formatting thread could not look up."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exception()
    if isinstance(error, BaseException):
        error = (type(error), error, error.__traceback__)
    return event | {"exc_info": error} if error else event


def _one_line(logger: Any, method: str, event: Any) -> Any:
    """Return the record as one line of bounded length, with an exception's type and text."""
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
    """Format the innermost frames, without the values of variables."""
    return "".join(traceback.format_exception(exc_info[1], limit=-FRAMES))


def _formatter(*renderers: Any) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
