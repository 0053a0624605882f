"""The routes for a move of the current network, and for choosing the game on the board."""

from dataclasses import asdict

import anyio
from starlette.requests import Request
from starlette.responses import Response

from keisei.server.answers import Json, in_thread
from keisei.server.documents import Accepted, MoveAnswer
from keisei.server.models import MoveRequest, ShowcaseRequest
from keisei.server.operations import operation
from keisei.server.problems import Problem
from keisei.server.source import Source
from keisei.shogi import IllegalMoveError, Position, SfenError

WAIT = 30.0
"""Maximum time to wait for the device thread, in seconds."""


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
    """Return the current network's move in a position; training continues.

    Without ``sfen``, the game begins at the usual start position.
    """
    source: Source = request.app.state.source
    state = source.status().state
    if state in {"starting", "compiling"}:
        text = f"The run is {state}, and has no network yet. Try again in a moment."
        raise Problem(503, text, headers={"Retry-After": "5"})
    position = await in_thread(request, _set_up, wanted)
    try:
        with anyio.fail_after(WAIT):
            chosen = await source.choose_move(
                position,
                greedy=wanted.greedy,
                mates=wanted.mates,
                simulations=wanted.simulations,
                seconds=wanted.seconds,
            )
    except TimeoutError:
        phase = source.status().phase
        text = f"There was no move within {WAIT:g} s. The device is in the phase {phase!r}."
        raise Problem(504, text) from None
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


def _set_up(wanted: MoveRequest) -> Position:
    """Return the position that a request describes. Raises Problem 422."""
    field = "sfen"
    try:
        position = Position(wanted.sfen)
        for number, usi in enumerate(wanted.moves):
            field = f"moves.{number}"
            position.push(usi)
    except (SfenError, IllegalMoveError) as error:
        errors = [{"field": field, "message": str(error)}]
        raise Problem(422, f"{field}: {error}", errors=errors) from None
    return position


OPERATIONS = [move, showcase]
