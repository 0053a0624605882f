"""Matches with engines: good ones, and ones that cheat, crash, hang or cannot be used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from engine_tools import debian, fake, nothing_left, random_openings

from keisei.env import random_actions
from keisei.evaluation import MatchResult, MatchSpec
from keisei.evaluation.engine_match import EngineMatch
from keisei.evaluation.game import Opening
from keisei.play.engines import Seat, play_match
from keisei.shogi import IllegalMoveError, Position
from keisei.usi import EngineGone, EngineSpec, EngineStartError, EngineTimeout, Timeouts

pytestmark = pytest.mark.anyio
SPEC = MatchSpec("engine", games=6, openings=random_openings(3), max_ply=30)


def random_agent(seed: int = 1) -> Seat:
    rng = np.array([seed], np.uint64)

    async def choose(observed: Any, draw: float, tree: object) -> tuple[int, float]:
        assert tree is None
        observation, mask = observed
        assert observation.shape == (1, 131)
        assert 0 <= draw < 1
        await anyio.lowlevel.checkpoint()
        return int(random_actions(mask, rng)[0]), 0.25

    return Seat("network", choose=choose)


async def play(
    spec: MatchSpec,
    engine: EngineSpec,
    agent: Seat | None = None,
    on_games: Callable[[Any], None] = lambda games: None,
    **more: Any,
) -> tuple[MatchResult, dict[str, Any]]:
    match = EngineMatch(spec)
    seat = Seat("engine", engine=engine)
    found = await play_match(match, agent or random_agent(), seat, on_games, **more)
    return match.result(), found


async def test_a_network_plays_a_mate_in_one_against_an_engine_without_being_asked(
    tmp_path: Path,
) -> None:
    async def never(observed: Any, draw: float) -> tuple[int, float]:
        raise AssertionError("asked")

    mate_in_one = Opening.read("sfen 4k4/9/4P4/9/9/9/9/4R4/4K4 b RG 1")
    spec = MatchSpec("engine", games=2, openings=(mate_in_one,), max_ply=1)
    result, _ = await play(spec, fake("plain", tmp_path), Seat("network", choose=never))
    mate, other = sorted(result.played, key=lambda game: game.number)
    assert (mate.reason, mate.values.tolist()) == ("checkmate", [1])
    assert other.plies == 1, "the engine moves, and then the game is capped"


async def test_a_match_with_an_engine_has_results_moves_values_and_a_report(tmp_path: Path) -> None:
    reported: list[Any] = []
    async with nothing_left():
        result, found = await play(SPEC, fake("plain", tmp_path), on_games=reported.append)
    assert result.games == result.wins + result.draws + result.losses + result.capped == 6
    assert [game.agent for game in result.played] == ["black", "white"] * 3
    assert found["faults"] == {"timeout": 0, "crash": 0}
    assert (found["engines"], found["error"]) == (["Fake engine 1.0"], None)
    assert found["engine_cpu_seconds"] > 0
    assert [len(games) for games in reported] == [1] * 6
    for game in result.played:
        position = Position()
        for ply, usi in enumerate(game.moves()):
            value = 0.25 if position.side == game.agent else np.tanh(-31 / 1200)  # its "cp -31"
            assert game.values[ply] == pytest.approx(value if ply >= 4 else np.nan, nan_ok=True)
            position.push(usi)
        assert position.ply == game.plies


@pytest.mark.parametrize("kind", ["random", "material"])
async def test_games_of_a_local_player_against_an_engine_are_decided_by_the_seed(
    kind: Any, tmp_path: Path
) -> None:
    async with nothing_left():
        result, _ = await play(SPEC, fake("plain", tmp_path), Seat(kind, seed=3), concurrency=1)
        again, _ = await play(SPEC, fake("plain", tmp_path), Seat(kind, seed=3), concurrency=1)
    assert result.games == 6
    assert [g.record() for g in result.played] == [g.record() for g in again.played]


async def test_two_engines_play_a_match(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    one, other = fake("plain", tmp_path), fake("resign", tmp_path / "b")
    async with nothing_left():
        result, found = await play(SPEC, other, Seat("engine", engine=one))
    assert result.wins == 6
    assert result.by_reason["wins"] == {"resignation": 6}
    assert found["faults"] == {"timeout": 0, "crash": 0}


@pytest.mark.parametrize("answer", ["illegal", "empty", "win", "nonsense"])
async def test_an_illegal_move_loses_the_game_and_is_no_fault(answer: str, tmp_path: Path) -> None:
    result, found = await play(SPEC, fake(answer, tmp_path))
    assert result.by_reason["wins"] == {"illegal_move": 6}
    assert found["faults"] == {"timeout": 0, "crash": 0}


@pytest.mark.parametrize(("how", "fault"), [("crash-once", "crash"), ("hang-once", "timeout")])
async def test_after_a_fault_the_engine_restarts_and_the_game_is_replayed(
    how: str, fault: str, tmp_path: Path
) -> None:
    async with nothing_left():
        result, found = await play(SPEC, fake(how, tmp_path), timeouts=Timeouts(move=2.0))
    assert result.games == 6
    assert found["faults"] == {"timeout": 0, "crash": 0} | {fault: 1}
    assert found["error"] is None
    assert not {"timeout", "crash"} & {game.reason for game in result.played}


async def test_a_match_fails_after_three_restarts_of_its_engine(tmp_path: Path) -> None:
    async with nothing_left():
        with pytest.raises(EngineGone, match="exited with code 3; on stderr: out of patience"):
            await play(SPEC, fake("exit", tmp_path), concurrency=1)
        heard = (tmp_path / "heard").read_text().splitlines()
        assert heard.count("usi") == 4
        short = Timeouts(move=0.1)
        with pytest.raises(EngineTimeout):
            await play(SPEC, fake("hang", tmp_path), timeouts=short)


async def test_games_that_ended_before_an_engine_failed_are_the_result(tmp_path: Path) -> None:
    """The engine resigns its games as black and exits as white: one game a start ends."""
    spec = fake("plain", tmp_path, script=RESIGNS_AS_BLACK)
    match = MatchSpec("engine", games=20, openings=(Opening.read("startpos moves 7g7f"), Opening()))
    async with nothing_left():
        result, found = await play(match, spec, concurrency=1)
    assert found["error"] == "picky exited with code 9"
    assert found["faults"] == {"timeout": 0, "crash": 4}
    assert result.games == result.wins == result.by_reason["wins"]["resignation"]
    assert 0 < result.games < 20


RESIGNS_AS_BLACK = """#!/bin/sh
while read line; do
    case "$line" in
        usi) echo "id name picky"; echo usiok;;
        isready) echo readyok;;
        position*) set -- $line; plies=$#;;
        go*) [ $((plies % 2)) = 0 ] && echo "bestmove resign" || exit 9;;
        quit) exit 0;;
    esac
done
"""


@pytest.mark.parametrize("query", ["nodes=1&Skil=3", "nodes=1&Skill Level=99"])
async def test_an_engine_that_cannot_be_used_is_an_error(query: str, tmp_path: Path) -> None:
    async with nothing_left():
        with pytest.raises(EngineStartError):
            await play(SPEC, fake("plain", tmp_path, query), concurrency=2)
        with pytest.raises(EngineStartError, match="no such engine"):
            await play(SPEC, EngineSpec.parse("usi:/none?nodes=1"))


async def test_an_error_of_the_network_is_raised_as_it_is(tmp_path: Path) -> None:
    async def fails(observed: Any, draw: float, tree: object) -> Any:
        raise MemoryError("no room")

    async def cheats(observed: Any, draw: float, tree: object) -> Any:
        return 0, 0.0

    async with nothing_left():
        with pytest.raises(MemoryError, match="no room"):
            await play(SPEC, fake("plain", tmp_path), Seat("network", choose=fails))
        with pytest.raises(IllegalMoveError):
            await play(SPEC, fake("plain", tmp_path), Seat("network", choose=cheats))


async def test_a_match_cancelled_at_any_time_leaves_no_process(tmp_path: Path) -> None:
    for milliseconds in range(0, 400, 25):
        async with nothing_left():
            with anyio.move_on_after(milliseconds / 1000):
                await play(SPEC, fake("hang-once", tmp_path))


async def test_fairy_stockfish_beats_random_play() -> None:
    path = debian("fairy-stockfish", "fairy-stockfish")
    engine = EngineSpec.parse(f"usi:{path}?nodes=500&Skill Level=0")
    spec = MatchSpec("engine", games=4, openings=random_openings(2))
    async with nothing_left():
        result, found = await play(spec, engine)
    assert result.losses == 4
    assert result.by_reason["losses"] == {"checkmate": 4}
    assert found["faults"] == {"timeout": 0, "crash": 0}
    assert found["engines"][0].startswith("Fairy-Stockfish")


async def test_many_matches_leave_no_process_and_no_descriptor(tmp_path: Path) -> None:
    async with nothing_left():
        for _ in range(3):
            await play(SPEC, fake("resign", tmp_path), concurrency=3)
