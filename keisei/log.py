"""Logging, for the program that owns the process. Libraries and embedded runs set up nothing.

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
"""Loggers whose warnings are also events of the run: where these are shown, they would be twice."""
WAITING = 10_000
"""Log records that may wait for the disk; more are dropped and counted."""
BURST, A_SECOND = 100, 10
"""Records of other loggers than the run's: so many at once, then so many a second."""
FRAMES = 30
"""Frames of a traceback that are kept, the innermost ones."""
CONSOLE_SECONDS = 2.0
"""How long a stderr that nobody reads may hold up the lines for it."""
CONSOLE_CHARACTERS = 1000
"""Longest text on stderr; the file has it whole. A pipe takes a line of this length or none of it."""

Tell = Callable[[str, Literal["warning", "error"], str], None]
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
    """Human lines on stderr and, once there is a run, JSON lines in its ``keisei.log``.

    An entry point opens one for the life of the process: it sets the root logger, structlog's
    configuration and the capture of warnings, and takes its handlers away when left. Threads
    format and write: neither a slow disk nor a long traceback may hold up the loop. A traceback
    is written to the file alone, without the values of variables; stderr gets its last line.
    """

    def __init__(
        self, level: str = "info", on_console: Callable[[logging.LogRecord], bool] | None = None
    ) -> None:
        """``level``: debug, info, warning or error. ``on_console``: what goes to stderr too."""
        self._level = level.upper()
        self._on_console = on_console
        self._handlers: list[logging.Handler] = []

    def __enter__(self) -> Self:
        structlog.configure(
            processors=[
                *_SHARED,
                _hold_exception,
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

    def forward(self, tell: Tell) -> None:
        """Also hand warnings and errors to ``tell(name, level, message)``, from any thread.

        For ``Keisei.log``, which shows them to who watches the run. Lines that are also events of
        the run are left out.
        """
        self._add(_Forward(tell))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for handler in reversed(self._handlers):  # stderr last: the file may have something to say
            logging.getLogger().removeHandler(handler)
            handler.close()
        self._handlers.clear()
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()

    def _write(
        self, target: logging.Handler, wanted: Callable[[logging.LogRecord], bool] | None = None
    ) -> None:
        """Have a thread of its own hand records to ``target``."""
        writer = _Writer(target)
        if wanted:
            writer.addFilter(wanted)
        self._add(writer)

    def _add(self, handler: logging.Handler) -> None:
        logging.getLogger().addHandler(handler)
        self._handlers.append(handler)


class _Writer(QueueHandler):
    """Hands records as they are to a thread, which formats and writes them by ``target``.

    It drops and counts what comes too fast: a flood of log lines must not cost training anything.
    """

    queue: "queue.SimpleQueue[logging.LogRecord]"

    def __init__(self, target: logging.Handler) -> None:
        # A finaliser may log while its thread is inside `put`: a Queue's lock would never open.
        super().__init__(queue.SimpleQueue())
        self._target = target
        self._listener: QueueListener | None = QueueListener(self.queue, target)
        self._listener.start()
        self._dropped = 0
        self._allowed, self._filled = float(BURST), time.monotonic()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leave it to the target's formatter: the stock version flattens the event dict."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never wait."""
        if self.queue.qsize() >= WAITING or not self._in_time(record):
            self._dropped += 1
            return
        if self._dropped:
            self.queue.put(self._account())
        self.queue.put(record)

    def close(self) -> None:
        """Write what waits, then close the target. May be called again."""
        if self._listener:
            if self._dropped:
                self.queue.put(self._account())
            self._listener.stop()
            self._listener = None
            self._target.close()
        super().close()

    def _in_time(self, record: logging.LogRecord) -> bool:
        """Whether the rate allows one more; the run's own lines come as slowly as its events."""
        if record.name == RUN_LOGGER:
            return True
        now = time.monotonic()
        self._allowed = min(BURST, self._allowed + (now - self._filled) * A_SECOND)
        self._filled = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _account(self) -> logging.LogRecord:
        """A record of what was dropped since the last one."""
        count, self._dropped = self._dropped, 0
        text = "%d log lines dropped: more than %d a second, or more than the disk takes"
        return logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, text, (count, A_SECOND), None
        )


class _Console(logging.StreamHandler[Any]):
    """Writes to stderr, unless nobody reads it."""

    _patience = CONSOLE_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        """Drop the record if a pipe or terminal stays full: the file has the line."""
        try:
            room = select.poll()
            room.register(self.stream, select.POLLOUT)
            ready = bool(room.poll(self._patience * 1000))
        except (OSError, ValueError):  # no descriptor behind it, as in a notebook
            ready = True
        self._patience = CONSOLE_SECONDS if ready else 0
        if ready:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Let the line go: a terminal that is gone has no better place to say so."""


class _File(RotatingFileHandler):
    """A log file that says once if it cannot be written, and goes on trying."""

    _failed = False

    def close(self) -> None:
        """Close the file; what a full disk keeps it from writing is lost."""
        try:
            super().close()
        except OSError:
            self.handleError(logging.makeLogRecord({}))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Called in an ``except`` block, with what went wrong."""
        if not self._failed:
            self._failed = True
            text = "%s: cannot be written, log lines are lost: %s"
            logging.getLogger(__name__).warning(text, self.baseFilename, sys.exception())


class _Forward(logging.Handler):
    """Hands records to a function."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held; ``tell`` must not log."""
        if record.name in ALSO_EVENTS:
            return
        # structlog's records carry their event as a dict up to the formatter.
        message = record.msg["event"] if isinstance(record.msg, dict) else record.getMessage()
        self._tell(
            record.name, "error" if record.levelno >= logging.ERROR else "warning", str(message)
        )


_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


def escape(text: str) -> str:
    """Make control characters visible: a client's text must not steer a terminal or start a line."""
    return text.translate(_CONTROLS)


def _hold_exception(logger: Any, method: str, event: Any) -> Any:
    """Look up the exception that ``exc_info`` means: the thread that formats it has none."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exception()
    if isinstance(error, BaseException):
        error = (type(error), error, error.__traceback__)
    return event | {"exc_info": error} if error else event


def _one_line(logger: Any, method: str, event: Any) -> Any:
    """A record as one line of bounded length: of an exception its type and text."""
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
    """The innermost frames, without the values of variables."""
    return "".join(traceback.format_exception(exc_info[1], limit=-FRAMES))


def _formatter(*renderers: Any) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
