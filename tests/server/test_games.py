"""Recorded games, as JSON and as game records."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from keisei.config import Settings
from keisei.records import GameRecord, read_games
from keisei.store import MatchGame, MatchTable, RunDirectory, RunReader
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio

ALL = [
    ("kif", "application/x-kif", ".kifu"),
    ("csa", "application/x-csa", ".csa"),
    ("usi", "text/plain", ".usi"),
]


@pytest.fixture
def evaluated(run: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the run the files of an evaluation with two games; return its id."""
    with RunDirectory.create(Settings(), tmp_path / "run") as made:
        table = MatchTable(made.path)
        table.begin("5f3a", 100, {})
        table.add("5f3a", [match_game(0), match_game(1)])
        table.close()
        monkeypatch.setattr(run.reader, "match_game", RunReader(made.path).match_game)
        yield "5f3a"


def match_game(number: int) -> MatchGame:
    fields: dict[str, Any] = {"pair": 0, "opening": "startpos", "start": "startpos", "plies": 2}
    fields |= {"black": "run@100", "white": "random", "result": "white", "reason": "resignation"}
    return MatchGame(number=number, moves="7g7f 3c3d", values=(0.5, None), **fields)


async def test_a_self_play_game_is_found_by_its_number(client: httpx.AsyncClient) -> None:
    games = (await client.get("/api/games?limit=2")).json()["games"]
    one = (await client.get(f"/api/games/{games[0]['id']}")).json()
    assert one["record"].startswith("startpos moves 7g7f")
    assert one["id"] == games[0]["id"]


@pytest.mark.parametrize("path", ["/api/games", "/api/eval/5f3a/games"])
@pytest.mark.parametrize("ending", ["", ".kif", ".csa", ".usi"])
@pytest.mark.parametrize("number", ["99", "x", "9" * 6000, "-1", "1.5"])
async def test_a_game_that_does_not_exist_is_not_found(
    client: httpx.AsyncClient, evaluated: str, path: str, ending: str, number: str
) -> None:
    answer = await client.get(f"{path}/{number}{ending}")
    assert answer.status_code == 404
    assert number in answer.json()["detail"]


@pytest.mark.parametrize(("form", "media", "ending"), ALL)
async def test_a_self_play_game_is_downloaded_as_a_record(
    client: httpx.AsyncClient, tmp_path: Path, form: str, media: str, ending: str
) -> None:
    moves = (await client.get("/api/games/2")).json()["record"].split()[2:]
    answer = await client.get(f"/api/games/2.{form}")
    assert answer.headers["content-type"] == f"{media}; charset=utf-8"
    name = f'attachment; filename="self-play-00000002{ending}"'
    assert answer.headers["content-disposition"] == name
    assert (await client.head(f"/api/games/2.{form}")).status_code == 200
    file = tmp_path / f"game{ending}"
    file.write_text(answer.text, "utf-8")
    [game] = await anyio.to_thread.run_sync(lambda: list(read_games(file)))
    assert isinstance(game, GameRecord)
    assert list(game.moves) == moves


async def test_an_evaluation_game_has_its_moves_and_values(
    client: httpx.AsyncClient, evaluated: str
) -> None:
    game = (await client.get(f"/api/eval/{evaluated}/games/1")).json()
    assert (game["number"], game["moves"], game["values"]) == (1, "7g7f 3c3d", [0.5, None])


@pytest.mark.parametrize(("form", "media", "ending"), ALL)
async def test_an_evaluation_game_is_downloaded_as_a_record(
    client: httpx.AsyncClient, evaluated: str, form: str, media: str, ending: str
) -> None:
    answer = await client.get(f"/api/eval/{evaluated}/games/1.{form}")
    assert answer.headers["content-type"].startswith(media)
    assert f'"5f3a-0001{ending}"' in answer.headers["content-disposition"]
    assert ("evaluation 5f3a, game 1" in answer.text) == (form != "usi")
    assert ("value +0.5" in answer.text) == (form != "usi")
