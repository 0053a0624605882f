"""Games that people play: saved, listed and downloaded."""

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

BEFORE_MATE = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"
ENTERED = "LNSGKGSNL/1R5B1/PPPPPPPPP/9/9/9/9/9/4k4 b RB 1"
MATE: dict[str, Any] = {
    "sfen": BEFORE_MATE,
    "moves": ["G*5b"],
    "colour": "black",
    "opponent": "run@100",
}


async def test_a_game_is_kept_listed_and_downloaded(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/play/games", json=MATE | {"person": "Anna", "values": [0.5]})
    assert answer.status_code == 201
    assert answer.headers["location"] == "/api/play/games/1"
    kept = (await client.get("/api/play/games/1")).json()
    assert kept == answer.json()
    assert (kept["black"], kept["white"]) == ("Anna", "run@100")
    assert (kept["result"], kept["reason"], kept["plies"]) == ("black", "checkmate", 1)
    await client.post("/api/play/games", json=MATE)
    games = (await client.get("/api/play/games")).json()["games"]
    assert [(game["number"], game["black"]) for game in games] == [(2, "human"), (1, "Anna")]
    kif = (await client.get("/api/play/games/1.kif")).text
    for said in ("Anna", "run@100", "play, game 1", "value +0.5", "詰み"):
        assert said in kif
    assert (await client.get("/api/play/games/1.csa")).text.endswith("%TSUMI\n")
    assert (await client.get("/api/play/games/3")).status_code == 404
    assert (await client.get("/api/games")).json()["games"][0]["black"] == "self"


@pytest.mark.parametrize(
    ("body", "result", "reason"),
    [
        ({"colour": "white", "end": "resignation", "moves": ["7g7f"]}, "black", "resignation"),
        ({"colour": "black", "end": "resignation"}, "white", "resignation"),
        ({"colour": "white", "sfen": ENTERED, "end": "declaration"}, "black", "declaration"),
        ({"colour": "black", "moves": ["2h3h", "8b7b", "3h2h", "7b8b"] * 3}, "draw", "repetition"),
        ({"colour": "black", "end": "resignation", **MATE}, "black", "checkmate"),
    ],
)
async def test_the_server_decides_by_the_rules_how_a_game_ended(
    client: httpx.AsyncClient, body: dict[str, Any], result: str, reason: str
) -> None:
    kept = (await client.post("/api/play/games", json={"opponent": "run@1", **body})).json()
    assert (kept["result"], kept["reason"]) == (result, reason)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "the game is not over"),
        ({"end": "declaration"}, "black cannot declare here"),
        ({"moves": ["7g7f", "7g7f"]}, "7g is empty"),
        ({"end": "resignation", "moves": ["7g7f"], "values": [0.1, 0.2]}, "2 values"),
        ({"end": "lost"}, "resignation"),
        ({"person": ""}, "at least 1 character"),
        ({"colour": "red"}, "black"),
    ],
)
async def test_a_game_that_is_not_over_or_not_legal_is_refused_with_the_reason(
    client: httpx.AsyncClient, body: dict[str, Any], said: str
) -> None:
    answer = await client.post("/api/play/games", json={"colour": "black", "opponent": "x", **body})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert (await client.get("/api/play/games")).json()["games"] == []
