"""The routes of the games that people play against networks: save, list, download."""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from keisei.records import stored
from keisei.server.answers import LINK, Json, address, in_thread, read_page
from keisei.server.documents import EvaluationGamePage, EvaluationGameWithMoves
from keisei.server.games import find_game, record_operations
from keisei.server.models import PageQuery, PlayedGame
from keisei.server.operations import operation
from keisei.server.play import set_up
from keisei.server.problems import Problem
from keisei.server.source import Source
from keisei.shogi import Position
from keisei.shogi.position import Rule
from keisei.store.matches import PLAYED, MatchGame

ONE: dict[str, Any] = {
    "number": "Number of the game.",
    "problems": {404: "There is no such game."},
}
"""Declaration that the operations on one game have in common."""


@operation(
    "POST",
    "/api/play/games",
    body=PlayedGame,
    answer=EvaluationGameWithMoves,
    status=201,
    sends={"Location": "Address of the game."},
    problems={409: "The run is not open."},
)
async def keep(request: Request, wanted: PlayedGame) -> Response:
    """Store a finished game of a person. It is never used for training or ratings."""
    source = _source(request)
    game = await in_thread(request, _finished_game, wanted, source.settings.env.declaration)
    number = await source.keep_game(game, wanted.person)
    kept = await in_thread(request, source.reader.match_game, PLAYED, number)
    return Json(kept, 201, {"Location": address(request, f"/api/play/games/{number}")})


@operation("GET", "/api/play/games", query=PageQuery, answer=EvaluationGamePage, sends=LINK)
async def games(request: Request, query: PageQuery) -> Response:
    """Return a page of the games that people played, newest first, without their moves."""
    read = partial(_source(request).reader.match_games, PLAYED)
    return await read_page(request, query, "games", read)


@operation("GET", "/api/play/games/{number}", answer=EvaluationGameWithMoves, **ONE)
async def game(request: Request) -> Response:
    """Return one game that a person played, with its moves."""
    return Json(await _find(request))


async def _find(request: Request) -> dict[str, Any]:
    number = request.path_params["number"]
    read = partial(_source(request).reader.match_game, PLAYED)
    return await find_game(number, f"game {number!r} that a person played", request, read)


def _finished_game(wanted: PlayedGame, rule: Rule) -> MatchGame:
    """Return the game as it is stored. Raises Problem 422 if the game is not over."""
    position = set_up(wanted)
    end = _outcome(position, wanted, rule)
    start = "startpos" if wanted.sfen == "startpos" else f"sfen {Position(wanted.sfen).sfen()}"
    names = wanted.person, wanted.opponent
    black, white = names if wanted.colour == "black" else names[::-1]
    try:
        return MatchGame(
            number=0,
            pair=0,
            opening=start,
            black=black,
            white=white,
            result=end[1] or "draw",
            reason=end[0],
            plies=len(wanted.moves),
            start=start,
            moves=" ".join(wanted.moves),
            values=tuple(wanted.values),
        )
    except ValueError as error:
        raise Problem(422, f"values: {error}") from None


def _outcome(position: Position, wanted: PlayedGame, rule: Rule) -> tuple[str, Any]:
    """Return the reason for the end and the winner, None for a draw. Raises Problem 422."""
    if found := position.outcome("none"):
        return found.reason, found.winner
    if wanted.end == "resignation":
        return "resignation", "white" if wanted.colour == "black" else "black"
    if wanted.end == "declaration" and (claim := position.declaration(rule)):
        return "declaration", position.side if claim == "win" else None
    if wanted.end == "declaration":
        raise Problem(422, f"end: {position.side} cannot declare here ({position.sfen()})")
    raise Problem(422, "end: the game is not over, and nobody resigned or declared")


def _source(request: Request) -> Source:
    source: Source = request.app.state.source
    return source


OPERATIONS = [
    keep,
    games,
    *record_operations(
        "/api/play/games/{number}", _find, stored.evaluation_name, stored.played_game, ONE
    ),
    game,
]
