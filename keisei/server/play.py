"""The routes of single positions and moves, and for choosing the game on the board."""

from dataclasses import asdict
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response

from keisei.config import Settings
from keisei.server.answers import Json, in_thread
from keisei.server.documents import Accepted, MoveAnswer, PositionAnswer
from keisei.server.models import MoveRequest, PositionRequest, ShowcaseRequest
from keisei.server.named_players import find_network
from keisei.server.operations import operation
from keisei.server.problems import Problem
from keisei.server.source import Source
from keisei.shogi import IllegalMoveError, Position, SfenError
from keisei.shogi.position import Rule
from keisei.store import CheckpointError

WAIT = 30.0
"""Maximum time to wait for the device thread, in seconds."""


@operation("POST", "/api/position", body=PositionRequest, answer=PositionAnswer)
async def position(request: Request, wanted: PositionRequest) -> Response:
    """Return the legal moves of a position, and whether the game is over.

    No network is asked. Without ``sfen``, the game begins at the usual start position.
    """
    source: Source = request.app.state.source
    return Json(await in_thread(request, _describe, wanted, source.settings.env.declaration))


@operation(
    "POST",
    "/api/move",
    body=MoveRequest,
    answer=MoveAnswer,
    problems={
        409: "The run has ended.",
        503: "The run starts or compiles, or too many positions wait for a move.",
        504: f"There was no move within {WAIT:g} seconds.",
    },
)
async def move(request: Request, wanted: MoveRequest) -> Response:
    """Return a network's move in a position; training continues.

    The first move of a network other than ``current`` loads it. Up to four networks stay loaded
    until they have been idle for five minutes; a run's newest checkpoint stays the same until then.
    Without ``sfen``, the game begins at the usual start position.
    """
    source: Source = request.app.state.source
    state = source.status().state
    if state in {"starting", "compiling"}:
        text = f"The run is {state}, and has no network yet. Try again in a moment."
        raise Problem(503, text, headers={"Retry-After": "5"})
    position, model = await in_thread(request, _read, wanted, source.settings)
    try:
        with anyio.fail_after(WAIT):
            chosen = await source.choose_move(
                position,
                model=model,
                greedy=wanted.greedy,
                temperature=wanted.temperature,
                mates=wanted.mates,
                simulations=wanted.simulations,
                seconds=wanted.seconds,
            )
    except TimeoutError:
        phase = source.status().phase
        text = f"There was no move within {WAIT:g} s. The device is in the phase {phase!r}."
        raise Problem(504, text) from None
    except CheckpointError as error:
        raise _wrong("model", error) from None
    except MemoryError as error:
        raise Problem(503, str(error), headers={"Retry-After": "60"}) from None
    top = [{"move": usi, "probability": share} for usi, share in chosen.top_moves]
    visits = [{"move": usi, "visits": number} for usi, number in chosen.visits]
    found = {**asdict(chosen), "top_moves": top, "visits": visits}
    return Json({**found, "sfen": position.sfen(), "step": source.status().step})


@operation(
    "POST",
    "/api/showcase",
    body=ShowcaseRequest,
    answer=Accepted,
    status=202,
    problems={
        404: "No game with this number is in progress.",
        409: "The run has ended.",
        503: "Too many commands wait.",
        504: f"The device did not answer within {WAIT:g} seconds; it will choose the game later.",
    },
)
async def showcase(request: Request, wanted: ShowcaseRequest) -> Response:
    """Choose the self-play game that the ``board`` events show.

    When this game ends, the events show another game. The field ``showcase`` of ``/api/status`` has
    the number of the game that was shown last.
    """
    source: Source = request.app.state.source
    try:
        with anyio.fail_after(WAIT):
            number = await source.show(wanted.game)
    except LookupError as error:
        raise Problem(404, str(error.args[0])) from None
    except TimeoutError:
        raise Problem(504, f"The device did not answer within {WAIT:g} s.") from None
    return Json({"message": f"The board shows game {number}.", "state": source.status().state}, 202)


def _read(wanted: MoveRequest, settings: Settings) -> tuple[Position, str]:
    """Return the position and the network that a request names. Raises Problem 422."""
    try:
        return set_up(wanted), find_network(wanted.model, settings)
    except ValueError as error:
        raise _wrong("model", error) from None


def _describe(wanted: PositionRequest, rule: Rule) -> dict[str, Any]:
    """Return the fields of a ``PositionAnswer``. Raises Problem 422."""
    position = set_up(wanted)
    outcome = position.outcome("none")
    return {
        "sfen": position.sfen(),
        "side": position.side,
        "check": position.in_check,
        "legal_moves": [] if outcome else position.legal_moves(),
        "occurrences": position.occurrences,
        "declaration": None if outcome else position.declaration(rule),
        "outcome": outcome and asdict(outcome),
    }


def set_up(wanted: PositionRequest) -> Position:
    """Return the position that a request describes. Raises Problem 422."""
    field = "sfen"
    try:
        position = Position(wanted.sfen)
        for number, usi in enumerate(wanted.moves):
            field = f"moves.{number}"
            position.push(usi)
    except (SfenError, IllegalMoveError) as error:
        raise _wrong(field, error) from None
    return position


def _wrong(field: str, error: Exception) -> Problem:
    """Return the Problem 422 for a wrong field."""
    return Problem(422, f"{field}: {error}", errors=[{"field": field, "message": str(error)}])


OPERATIONS = [position, move, showcase]
