"""Logging, for the program that owns the process. Libraries and embedded runs set up nothing.

Log events, not sentences: ``log.info("iteration", step=..., kl=...)``.
"""

import errno
import logging
import queue
import sys
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
WAITING = 10_000
"""Log records that may wait for the disk; more are dropped and counted."""

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
    configuration and the capture of warnings, and takes its handlers away when left. Files are
    written by a thread: a slow disk must not hold up the loop.
    """

    def __init__(
        self, level: str = "info", on_console: Callable[[logging.LogRecord], bool] | None = None
    ) -> None:
        """``level``: debug, info, warning or error. ``on_console``: what goes to stderr too."""
        self._level = level.upper()
        self._on_console = on_console
        self._listener: QueueListener | None = None
        self._waiting: _Bounded | None = None
        self._file: RotatingFileHandler | None = None
        self._handlers: list[logging.Handler] = []

    def __enter__(self) -> Self:
        structlog.configure(
            processors=[
                *_SHARED,
                structlog.stdlib.PositionalArgumentsFormatter(),
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
            cache_logger_on_first_use=False,
        )
        console = logging.StreamHandler(sys.stderr)
        colors = sys.stderr.isatty()
        console.setFormatter(
            _formatter(structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0))
        )
        if self._on_console:
            console.addFilter(self._on_console)
        logging.captureWarnings(capture=True)
        logging.getLogger().setLevel(self._level)
        self._add(console)
        return self

    def add_file(self, path: Path) -> None:
        """Also write JSON lines to ``path``, 10 files of 10 MB at most. Raises OSError."""
        if path.exists() and not path.is_file():  # opening a pipe would wait for its reader
            raise OSError(errno.EINVAL, "not a regular file; remove it", str(path))
        self._file = RotatingFileHandler(
            path, maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8"
        )
        renderer = structlog.processors.JSONRenderer(default=str)
        self._file.setFormatter(_formatter(structlog.processors.format_exc_info, renderer))
        self._waiting = _Bounded()
        self._listener = QueueListener(self._waiting.queue, self._file)
        self._listener.start()
        self._add(self._waiting)

    def forward(self, tell: Tell) -> None:
        """Also hand warnings and errors to ``tell(name, level, message)``, from any thread.

        For ``Keisei.log``, which shows them to who watches the run. The run's own lines are left
        out: they came from its events.
        """
        self._add(_Forward(tell))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
        self._handlers.clear()
        if self._listener and self._waiting and self._file:
            self._listener.stop()
            if self._waiting.dropped:
                self._file.handle(self._waiting.account())
            self._file.close()
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()

    def _add(self, handler: logging.Handler) -> None:
        logging.getLogger().addHandler(handler)
        self._handlers.append(handler)


class _Bounded(QueueHandler):
    """A queue handler that drops what does not fit, and hands records over as they are."""

    queue: "queue.SimpleQueue[logging.LogRecord]"

    def __init__(self) -> None:
        # A finaliser may log while its thread is inside `put`: a Queue's lock would never open.
        super().__init__(queue.SimpleQueue())
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leave it to the listener's formatter: the stock version flattens the event dict."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never wait."""
        if self.queue.qsize() < WAITING:
            self.queue.put(record)
        else:
            self.dropped += 1

    def account(self) -> logging.LogRecord:
        """A record of what was dropped."""
        text = "%d log lines dropped: the disk was too slow"
        return logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, text, (self.dropped,), None
        )


class _Forward(logging.Handler):
    """Hands records to a function."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held; ``tell`` must not log."""
        if record.name == RUN_LOGGER:
            return
        # structlog's records carry their event as a dict up to the formatter.
        message = record.msg["event"] if isinstance(record.msg, dict) else record.getMessage()
        self._tell(
            record.name, "error" if record.levelno >= logging.ERROR else "warning", str(message)
        )


def _formatter(*renderers: Any) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
