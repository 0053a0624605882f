"""Exceptions that several layers share, one for each meaning."""


class NotRunning(RuntimeError):
    """The run's state does not allow this: it has not started, or it has ended."""


class InboxFull(RuntimeError):
    """The device thread has not yet taken earlier requests. Try again in a moment."""


class OutboxOverflow(RuntimeError):
    """The event loop has taken no events for so long that one which must be kept finds no room."""


class KeyReused(ValueError):
    """An idempotency key was used again with a different request."""


class TrainingFailed(RuntimeError):
    """The device thread raised. The message holds type and text, ``details`` the traceback."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def unwrap(error: BaseException) -> BaseException:
    """Return the exception inside groups of one, because its name says what happened."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
