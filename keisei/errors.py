"""Exceptions that several layers of Keisei raise or catch."""


class NotRunning(RuntimeError):
    """The run cannot obey a request, because the run has not started yet or has already ended."""


class InboxFull(RuntimeError):
    """Too many requests are waiting for the device thread. Send the request again in a moment."""


class OutboxOverflow(RuntimeError):
    """The queue to the event loop is full, and the next event must be kept. The loop is too slow."""


class KeyReused(ValueError):
    """An idempotency key came with a request, and it had come before with a different request."""


class TrainingFailed(RuntimeError):
    """The device thread raised an exception. ``details`` is the traceback of that exception."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def unwrap(error: BaseException) -> BaseException:
    """Return the inner exception if ``error`` is a group of one exception; else return ``error``.

    Groups may be nested. Only the inner exception's name says what happened.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
