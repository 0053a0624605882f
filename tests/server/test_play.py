"""Moves of the current network over HTTP."""

from typing import Any

import anyio
import httpx
import pytest

from keisei.errors import InboxFull
from keisei.play.mailbox import ChosenMove
from keisei.server import create_app, play
from keisei.shogi import Position
from keisei.store import CheckpointError
from keisei.testing import FakeRun

pytestmark = pytest.mark.anyio

MATED = "4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1"
ENTERED = "LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1"


async def test_a_move_is_legal_after_the_moves_of_the_request(client: httpx.AsyncClient) -> None:
    moves = ["7g7f", "3c3d", "8h2b+"]
    answer = await client.post("/api/move", json={"moves": moves})
    position = Position()
    for usi in moves:
        position.push(usi)
    found = answer.json()
    assert answer.status_code == 200
    assert found["move"] in position.legal_moves()
    assert found["sfen"] == position.sfen()
    assert -1 <= found["value"] <= 1
    assert found["top_moves"][0]["move"] == found["move"]
    assert found["step"] >= 20 * 4096


async def test_an_empty_body_asks_for_the_first_move_of_a_game(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/move")).json()["move"] in Position().legal_moves()


async def test_after_mate_there_is_no_move_and_an_entered_king_declares(
    client: httpx.AsyncClient,
) -> None:
    mated = (await client.post("/api/move", json={"sfen": MATED})).json()
    assert (mated["move"], mated["declares_win"], mated["value"]) == (None, False, None)
    entered = (await client.post("/api/move", json={"sfen": ENTERED})).json()
    assert (entered["move"], entered["declares_win"]) == (None, True)


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"sfen": "nonsense"}, "sfen", "an SFEN has 3 fields"),
        ({"moves": ["7g7f", "7g7f"]}, "moves.1", "7g is empty"),
        ({"moves": ["8h2b+"]}, "moves.0", "does not reach 2b"),
        ({"moves": ["7g7f"] * 1001}, "moves", "at most 1000 items"),
        ({"sfen": "9/" * 200}, "sfen", "at most 300 characters"),
        ({"greedy": "yes"}, "greedy", "valid boolean"),
        ({"sfne": "startpos"}, "sfne", "did you mean sfen?"),
    ],
)
async def test_a_wrong_position_is_refused_with_the_reason(
    client: httpx.AsyncClient, body: dict[str, Any], field: str, reason: str
) -> None:
    answer = await client.post("/api/move", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert reason in error["message"]


async def test_the_greedy_choice_and_mates_in_one_are_the_default(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def choose(position: Position, **how: Any) -> ChosenMove:
        asked.append(how)
        return ChosenMove("7g7f")

    monkeypatch.setattr(run, "choose_move", choose)
    await client.post("/api/move")
    wanted = {"greedy": False, "mates": 3, "simulations": 64, "seconds": 2.5}
    await client.post("/api/move", json=wanted)
    default = {"greedy": True, "mates": 1, "simulations": 0, "seconds": None}
    blank = {"model": "current", "temperature": 1.0}
    assert asked == [blank | default, blank | wanted]


@pytest.mark.parametrize(
    "wrong", [{"simulations": 10_001}, {"simulations": -1}, {"seconds": 0}, {"seconds": 21}]
)
async def test_the_search_for_a_move_is_limited(
    client: httpx.AsyncClient, wrong: dict[str, Any]
) -> None:
    answer = await client.post("/api/move", json=wrong)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == next(iter(wrong))


async def test_the_answer_says_that_a_move_begins_a_forced_mate(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def choose(position: Position, **how: Any) -> ChosenMove:
        return ChosenMove("7g7f", value=1.0, mate=3)

    assert (await client.post("/api/move")).json()["mate"] is None
    monkeypatch.setattr(run, "choose_move", choose)
    answer = (await client.post("/api/move")).json()
    assert (answer["move"], answer["value"], answer["mate"]) == ("7g7f", 1, 3)


@pytest.mark.parametrize("mates", [2, "1", True, 1.5])
async def test_a_wrong_number_of_moves_to_mate_is_refused(
    client: httpx.AsyncClient, mates: Any
) -> None:
    answer = await client.post("/api/move", json={"mates": mates})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["mates"]


async def test_a_run_that_compiles_asks_to_try_again() -> None:
    async with FakeRun(compile_seconds=60) as run:
        transport = httpx.ASGITransport(create_app(run))
        await run.until("compiling")
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post("/api/move")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "compiling" in answer.json()["detail"]


async def test_a_device_that_gives_no_move_does_not_hold_the_client(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(position: Position, **how: Any) -> ChosenMove:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(run, "choose_move", never)
    monkeypatch.setattr(play, "WAIT", 0.05)
    answer = await client.post("/api/move")
    assert answer.status_code == 504
    assert "iteration" in answer.json()["detail"]


async def test_too_many_waiting_positions_are_answered_503(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(position: Position, **how: Any) -> ChosenMove:
        raise InboxFull("256 requests already wait")

    monkeypatch.setattr(run, "choose_move", full)
    answer = await client.post("/api/move")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_run_that_has_ended_gives_no_move(client: httpx.AsyncClient, run: FakeRun) -> None:
    run.stop()
    assert (await client.post("/api/move")).status_code == 409


async def test_the_game_on_the_board_is_chosen(client: httpx.AsyncClient, run: FakeRun) -> None:
    answer = await client.post("/api/showcase", json={"game": 12})
    assert answer.status_code == 202
    assert answer.json()["message"] == "The board shows game 12."
    with anyio.fail_after(5):
        while (await client.get("/api/status")).json()["showcase"] != 12:  # noqa: ASYNC110
            await anyio.sleep(0.02)
    newest = await client.post("/api/showcase", json={"game": "newest"})
    assert newest.json()["message"] == "The board shows game 13."


@pytest.mark.parametrize("body", [{}, {"game": -1}, {"game": "best"}, {"game": 1.5}])
async def test_a_wrong_choice_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/api/showcase", json=body)).status_code == 422


async def test_a_game_that_has_ended_is_not_found(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def show(game: Any) -> int:
        raise LookupError(f"game {game} is not in progress")

    monkeypatch.setattr(run, "show", show)
    answer = await client.post("/api/showcase", json={"game": 3})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "game 3 is not in progress"


async def test_a_position_tells_the_legal_moves_and_whose_turn_it_is(
    client: httpx.AsyncClient,
) -> None:
    found = (await client.post("/api/position", json={"moves": ["7g7f"]})).json()
    position = Position()
    position.push("7g7f")
    assert found == {
        "sfen": position.sfen(),
        "side": "white",
        "check": False,
        "legal_moves": position.legal_moves(),
        "occurrences": 1,
        "declaration": None,
        "outcome": None,
    }


REPEATED = ["2h3h", "8b7b", "3h2h", "7b8b"] * 3
CHECKED = "4k4/9/9/9/9/9/9/9/R3K4 b - 1"
CHECKS = ["9i9a", *["5a5b", "9a9b", "5b5a", "9b9a"] * 3]


@pytest.mark.parametrize(
    ("asked", "outcome"),
    [
        ({"sfen": MATED}, {"reason": "checkmate", "winner": "black"}),
        ({"moves": REPEATED}, {"reason": "repetition", "winner": None}),
        (
            {"sfen": CHECKED, "moves": CHECKS},
            {"reason": "perpetual_check", "winner": "white"},
        ),
    ],
)
async def test_a_position_tells_how_the_game_has_ended(
    client: httpx.AsyncClient, asked: dict[str, Any], outcome: dict[str, Any]
) -> None:
    found = (await client.post("/api/position", json=asked)).json()
    assert found["outcome"] == outcome
    assert found["legal_moves"] == []


async def test_a_position_tells_a_declaration_that_does_not_end_the_game_yet(
    client: httpx.AsyncClient,
) -> None:
    found = (await client.post("/api/position", json={"sfen": ENTERED})).json()
    assert (found["declaration"], found["outcome"]) == ("win", None)
    assert found["legal_moves"]


async def test_an_illegal_move_in_a_position_is_refused_with_the_reason(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/api/position", json={"moves": ["8h2b+"]})
    assert answer.status_code == 422
    assert "does not reach 2b" in answer.json()["errors"][0]["message"]


async def test_another_network_and_a_temperature_can_be_asked_for(
    client: httpx.AsyncClient,
) -> None:
    asked = {"model": "shipped", "greedy": False, "temperature": 0.5}
    assert (await client.post("/api/move", json=asked)).json()["player"] == "shipped"
    current = (await client.post("/api/move")).json()
    assert current["player"].startswith("20240229-120000-fake@")


@pytest.mark.parametrize("model", ["random", "usi:/bin/sh", "../..", "/tmp", "no-such-run/3", ""])
async def test_what_is_not_a_network_of_the_run_folder_cannot_be_asked(
    client: httpx.AsyncClient, model: str
) -> None:
    answer = await client.post("/api/move", json={"model": model})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "model"


async def test_a_network_that_cannot_be_loaded_is_refused_with_the_reason(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def damaged(position: Position, **how: Any) -> ChosenMove:
        raise CheckpointError("000000000100: weights: SHA-256 differs")

    monkeypatch.setattr(run, "choose_move", damaged)
    answer = await client.post("/api/move", json={"model": "best"})
    assert answer.status_code == 422
    assert "SHA-256 differs" in answer.json()["detail"]


async def test_a_network_without_room_is_refused_for_now(
    client: httpx.AsyncClient, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_room(position: Position, **how: Any) -> ChosenMove:
        raise MemoryError("evaluation.memory_mib: 1")

    monkeypatch.setattr(run, "choose_move", no_room)
    assert (await client.post("/api/move", json={"model": "best"})).status_code == 503
