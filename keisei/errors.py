"""Exceptions that several layers share, one for each meaning."""


class NotRunning(RuntimeError):
    """The run's state does not allow this: not started, or ended."""


class InboxFull(RuntimeError):
    """The device thread has not yet taken earlier commands; try again in a moment."""


class OutboxOverflow(RuntimeError):
    """The loop took no events for so long that one which may not be lost found no room."""


class KeyReused(ValueError):
    """An idempotency key came again with another request."""


class TrainingFailed(RuntimeError):
    """The worker raised. The message holds the type and the text; ``details`` the traceback."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def unwrap(error: BaseException) -> BaseException:
    """What a task group wrapped, where that is a single exception: its name tells what happened."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
