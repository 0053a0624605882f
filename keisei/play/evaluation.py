"""Play an evaluation to its end, whatever goes wrong: for a live run and the command line alike."""

from dataclasses import dataclass
from typing import Any, Literal

from anyio import to_thread

from keisei.errors import NotRunning
from keisei.play.tournament import Tournament


@dataclass(frozen=True, slots=True)
class Ending:
    """How an evaluation ended."""

    result: dict[str, Any]
    """Result of the games that were played, for JSON; empty if there were none."""
    message: str = ""
    """Reason why the evaluation ended early; empty if it did not."""
    error: Exception | None = None
    """The exception behind ``message``, where there is one."""

    @property
    def state(self) -> Literal["done", "failed"]:
        """State of the evaluation: ``failed`` if it ended early."""
        return "failed" if self.message else "done"


async def play_to_the_end(tournament: Tournament) -> Ending:
    """Play an evaluation. Its ending says what went wrong.

    Raises NotRunning when the device thread ends: the evaluation can go on later.
    """
    try:
        result = await tournament.run()
    except NotRunning:
        raise
    except Exception as error:  # noqa: BLE001 (it becomes the evaluation's ending)
        return Ending(await to_thread.run_sync(tournament.result), describe(error), error)
    matches = result.get("matches", [result])
    errors = [f"ended early: {match['error']}" for match in matches if match.get("error")]
    return Ending(result, errors[0] if errors else "")


def describe(error: BaseException) -> str:
    """Return type and message of an exception, or of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
