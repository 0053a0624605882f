"""Exceptions that several layers share, one for each meaning."""


class NotRunning(RuntimeError):
    """The run cannot do this now, because it has not started yet or has already ended."""


class InboxFull(RuntimeError):
    """Too many requests are waiting for the device thread. Try again in a moment."""


class OutboxOverflow(RuntimeError):
    """The queue to the event loop has no room for an event that must be kept: the loop is slow."""


class KeyReused(ValueError):
    """An idempotency key was used again with a different request."""


class TrainingFailed(RuntimeError):
    """The device thread raised an exception. ``details`` is the traceback of that exception."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def unwrap(error: BaseException) -> BaseException:
    """Return the inner exception if an exception group has only one; else return ``error``.

    Groups may be nested. The inner exception's name says what happened, the group's does not.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
