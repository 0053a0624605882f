"""Plays an evaluation of a run or of the command line, and reports how the evaluation ended."""

from dataclasses import dataclass
from typing import Any, Literal

from anyio import to_thread

from keisei.errors import NotRunning
from keisei.play.tournament import Tournament


@dataclass(frozen=True, slots=True)
class Ending:
    """How an evaluation ended."""

    result: dict[str, Any]
    """Result of the games that have ended, ready for JSON; empty before the first game ends."""
    message: str = ""
    """Error that ended the evaluation or one of its matches early; empty if there was no error."""
    error: Exception | None = None
    """Exception that ended the evaluation; None if there was no exception."""

    @property
    def state(self) -> Literal["done", "failed"]:
        """State of the evaluation: ``failed`` if ``message`` gives an error, else ``done``."""
        return "failed" if self.message else "done"


async def play_to_the_end(tournament: Tournament) -> Ending:
    """Play an evaluation. If an exception ends the evaluation, ``Ending.error`` contains it.

    Raises NotRunning instead if the device thread has ended. A run can continue its evaluation
    later.
    """
    try:
        result = await tournament.run()
    except NotRunning:
        raise
    except Exception as error:  # noqa: BLE001 (the error becomes part of the ending)
        return Ending(await to_thread.run_sync(tournament.result), describe(error), error)
    matches = result.get("matches", [result])
    errors = [f"ended early: {match['error']}" for match in matches if match.get("error")]
    return Ending(result, errors[0] if errors else "")


def describe(error: BaseException) -> str:
    """Return an exception's type and message; for a group, use the group's first exception."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
