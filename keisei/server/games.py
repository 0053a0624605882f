"""The routes of recorded games: self-play games, single evaluation games, game records."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from keisei.records import stored
from keisei.records.write import GameToWrite
from keisei.server.answers import LINK, Json, in_thread, read_page
from keisei.server.documents import EvaluationGameWithMoves, GamePage, SelfPlayGame
from keisei.server.models import MAX_DIGITS, PageQuery
from keisei.server.operations import Operation, operation
from keisei.server.problems import Problem
from keisei.server.source import Source

SELF_PLAY: dict[str, Any] = {
    "id": "Number of the game.",
    "problems": {404: "There is no such game."},
}
"""Declaration that the operations on one self-play game have in common."""
EVALUATION: dict[str, Any] = {
    "id": "Id of the evaluation.",
    "number": "Number of the game within the evaluation.",
    "problems": {404: "There is no such game."},
}
"""Declaration that the operations on one evaluation game have in common."""
RECORDS: tuple[stored.FormatName, ...] = ("kif", "csa", "usi")
"""Formats of the downloads. The operation whose path has no ending returns JSON."""
FILE = {"Content-Disposition": "Name of the file."}


@operation("GET", "/api/games", query=PageQuery, answer=GamePage, sends=LINK)
async def games(request: Request, query: PageQuery) -> Response:
    """Return at most ``limit=`` recorded games, newest first; ``after=`` selects the next page."""
    return await read_page(request, query, "games", _source(request).reader.games)


@operation("GET", "/api/games/{id}", answer=SelfPlayGame, **SELF_PLAY)
async def self_play_game(request: Request) -> Response:
    """Return one recorded game."""
    return Json(await _self_play(request))


@operation("GET", "/api/eval/{id}/games/{number}", answer=EvaluationGameWithMoves, **EVALUATION)
async def evaluation_game(request: Request) -> Response:
    """Return one finished game of an evaluation, with its moves."""
    return Json(await _evaluation(request))


async def _self_play(request: Request) -> dict[str, Any]:
    id: str = request.path_params["id"]
    return await find_game(id, f"recorded game {id!r}", request, _source(request).reader.game)


async def _evaluation(request: Request) -> dict[str, Any]:
    id, number = request.path_params["id"], request.path_params["number"]

    def read(number: int) -> dict[str, Any] | None:
        return _source(request).reader.match_game(id, number)

    return await find_game(
        number, f"finished game {number!r} of an evaluation {id!r}", request, read
    )


async def find_game(
    number: str,
    name: str,
    request: Request,
    read: Callable[[int], dict[str, Any] | None],
) -> dict[str, Any]:
    """Return the game that ``read`` finds for a number in a path. Raises Problem 404."""
    found = None
    if number.isdecimal() and len(number) <= MAX_DIGITS:
        found = await in_thread(request, read, int(number))
    if found is None:
        raise Problem(404, f"There is no {name}.")
    return found


def record_operations(
    path: str,
    find: Callable[[Request], Awaitable[dict[str, Any]]],
    name: Callable[[dict[str, Any]], str],
    convert: Callable[[dict[str, Any]], GameToWrite],
    contract: dict[str, Any],
) -> Iterator[Operation]:
    """For each format, yield an operation that returns the game as a file.

    Args:
        path: path of the operation that returns the game as JSON.
        find: function that reads the game, or raises Problem 404.
        name: function that returns the name of the file without the ending.
        convert: function that converts the game to a ``GameToWrite``.
        contract: more fields of ``Operation``.
    """
    for form_name in RECORDS:
        form = stored.FORMATS[form_name]

        async def download(request: Request, form: stored.Format = form) -> Response:
            game = await find(request)
            text = await in_thread(request, lambda: form.write(convert(game)))
            headers = {
                "Content-Disposition": f'attachment; filename="{name(game)}{form.ending}"',
                "Cache-Control": "no-store",
            }
            return Response(text, headers=headers, media_type=f"{form.media}; charset=utf-8")

        download.__doc__ = f"Return the game as a file in the format {form_name.upper()}."
        yield Operation(
            "GET", f"{path}.{form_name}", download, media=form.media, sends=FILE, **contract
        )


def _source(request: Request) -> Source:
    source: Source = request.app.state.source
    return source


OPERATIONS = [
    games,
    # These operations come first, because the paths without an ending would match their paths too.
    *record_operations(
        "/api/games/{id}", _self_play, stored.self_play_name, stored.self_play_game, SELF_PLAY
    ),
    *record_operations(
        "/api/eval/{id}/games/{number}",
        _evaluation,
        stored.evaluation_name,
        stored.evaluation_game,
        EVALUATION,
    ),
    self_play_game,
    evaluation_game,
]
