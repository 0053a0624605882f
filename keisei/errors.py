"""Exceptions that several layers of Keisei raise or catch."""


class NotRunning(RuntimeError):
    """The run cannot obey a request, because the run has not started yet or has already ended."""


class InboxFull(RuntimeError):
    """Too many requests are waiting for the device thread. Send the request again in a moment."""


class OutboxOverflow(RuntimeError):
    """The event loop is too slow: its queue has no room for an event that must be kept."""


class KeyReused(ValueError):
    """A request has the idempotency key of an earlier, different request."""


class TrainingFailed(RuntimeError):
    """The device thread raised an exception. ``details`` is the traceback of that exception."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def unwrap(error: BaseException) -> BaseException:
    """Return the inner exception if ``error`` is a group of one exception; else return ``error``.

    Groups can be nested. The inner exception's name says what happened; a group's name does not.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
