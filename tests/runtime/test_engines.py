"""Whole matches against engines, good ones and bad ones."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from engine_tools import debian, fake, nothing_left

from keisei.env import random_actions
from keisei.evaluation.engine_match import EngineMatch, EngineMatchSpec, random_openings
from keisei.runtime.engines import _Together, play_match
from keisei.shogi import IllegalMoveError, Position
from keisei.usi import EngineGone, EngineSpec, EngineStartError, EngineTimeout, Timeouts

pytestmark = pytest.mark.anyio
SPEC = EngineMatchSpec(games=6, openings=random_openings(3), max_ply=30)


@pytest.fixture(scope="module", autouse=True)
def rules() -> None:
    """The tests' own player, compiled before they look for what blocks the loop."""
    random_actions(np.ones((1, 35), np.uint64), np.array([1], np.uint64))


def random_agent(seed: int = 1, sizes: list[int] | None = None) -> Callable[..., Awaitable[Any]]:
    rng = np.array([seed], np.uint64)

    async def choose(observation: Any, mask: Any) -> Any:
        assert observation.shape == (len(mask), 131)
        await anyio.sleep(0.001)
        if sizes is not None:
            sizes.append(len(mask))
        return random_actions(mask, rng)

    return choose


async def test_a_match(tmp_path: Path) -> None:
    told: list[float] = []

    def show(match: EngineMatch) -> None:
        told.append(match.progress)

    async with nothing_left():
        found = await play_match(SPEC, fake("plain", tmp_path), random_agent(), show=show)
    result = found.match
    assert result.games == result.wins + result.draws + result.losses + result.capped == 6
    assert [game.agent for game in result.played] == ["black", "white"] * 3
    assert found.faults == {"timeout": 0, "crash": 0}
    assert (found.engine, found.error) == ("Fake engine 1.0", None)
    assert found.engine_cpu_seconds > 0
    assert told == [pytest.approx(k / 6) for k in range(1, 7)]
    for game in result.played:
        position = Position()
        for usi in game.record().removeprefix("startpos moves ").split():
            position.push(usi)
        assert position.ply == game.plies
    assert found.to_dict()["engine"] == "Fake engine 1.0"


async def test_games_that_wait_share_a_batch(tmp_path: Path) -> None:
    sizes: list[int] = []
    spec = EngineMatchSpec(games=6, openings=random_openings(3), max_ply=30)
    agent = random_agent(sizes=sizes)

    async def slow(observation: Any, mask: Any) -> Any:
        await anyio.sleep(0.02)
        return await agent(observation, mask)

    await play_match(spec, fake("plain", tmp_path), slow, concurrency=3)
    assert max(sizes) > 1


@pytest.mark.parametrize("answer", ["illegal", "empty", "win", "nonsense"])
async def test_illegal_moves_lose_and_are_no_faults(answer: str, tmp_path: Path) -> None:
    found = await play_match(SPEC, fake(answer, tmp_path), random_agent())
    assert found.match.by_reason["wins"] == {"illegal_move": 6}
    assert found.faults == {"timeout": 0, "crash": 0}


@pytest.mark.parametrize(("how", "fault"), [("crash-once", "crash"), ("hang-once", "timeout")])
async def test_a_fault_is_no_result(how: str, fault: str, tmp_path: Path) -> None:
    async with nothing_left():
        found = await play_match(
            SPEC, fake(how, tmp_path), random_agent(), timeouts=Timeouts(move=2.0)
        )
    assert found.match.games == 6
    assert found.faults == {"timeout": 0, "crash": 0} | {fault: 1}
    assert found.error is None
    assert not {"timeout", "crash"} & {game.reason for game in found.match.played}


async def test_after_three_restarts_the_match_fails(tmp_path: Path) -> None:
    async with nothing_left():
        with pytest.raises(EngineGone, match="exited with code 3; its last words: out of patience"):
            await play_match(SPEC, fake("exit", tmp_path), random_agent(), concurrency=1)
        heard = (tmp_path / "heard").read_text().splitlines()
        assert heard.count("usi") == 4
        short = Timeouts(move=0.1)
        with pytest.raises(EngineTimeout):
            await play_match(SPEC, fake("hang", tmp_path), random_agent(), timeouts=short)


async def test_finished_games_outlive_the_engine(tmp_path: Path) -> None:
    """The engine resigns its games as black and exits as white: one game a start ends."""
    spec = fake("plain", tmp_path, script=RESIGNS_AS_BLACK)
    match = EngineMatchSpec(games=20, openings=("startpos moves 7g7f", "startpos"))
    async with nothing_left():
        found = await play_match(match, spec, random_agent(), concurrency=1)
    assert found.error == "picky exited with code 9"
    assert found.faults == {"timeout": 0, "crash": 4}
    assert found.match.games == found.match.wins == found.match.by_reason["wins"]["resignation"]
    assert 0 < found.match.games < 20


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
async def test_an_engine_that_cannot_be_used_is_told_once(query: str, tmp_path: Path) -> None:
    async with nothing_left():
        with pytest.raises(EngineStartError):
            await play_match(SPEC, fake("plain", tmp_path, query), random_agent(), concurrency=2)
        with pytest.raises(EngineStartError, match="no such engine"):
            await play_match(SPEC, EngineSpec.parse("usi:/none?nodes=1"), random_agent())


async def test_errors_of_the_network_are_its_own(tmp_path: Path) -> None:
    async def fails(observation: Any, mask: Any) -> Any:
        raise MemoryError("no room")

    async def cheats(observation: Any, mask: Any) -> Any:
        return np.zeros(len(mask), np.int16)

    async with nothing_left():
        with pytest.raises(MemoryError, match="no room"):
            await play_match(SPEC, fake("plain", tmp_path), fails)
        with pytest.raises(IllegalMoveError):
            await play_match(SPEC, fake("plain", tmp_path), cheats)


async def test_a_failed_question_leaves_the_others_to_ask_again() -> None:
    asked: list[int] = []

    async def fails_first(observation: Any, mask: Any) -> Any:
        asked.append(len(mask))
        await anyio.sleep(0.01)
        if len(asked) == 1:
            raise MemoryError("no room")
        return np.arange(len(mask), dtype=np.int16)

    together = _Together(fails_first)
    answers: list[int | str] = []

    async def one() -> None:
        try:
            answers.append(
                await together.choose(np.zeros((1, 2), np.uint8), np.zeros((1, 2), np.uint64))
            )
        except MemoryError as error:
            answers.append(str(error))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(one)
    assert asked == [4, 3]
    assert answers == ["no room", 0, 1, 2]


async def test_cancelled_at_any_time(tmp_path: Path) -> None:
    for milliseconds in range(0, 400, 25):
        async with nothing_left():
            with anyio.move_on_after(milliseconds / 1000):
                await play_match(SPEC, fake("hang-once", tmp_path), random_agent())


async def test_fairy_stockfish_beats_random_play() -> None:
    path = debian("fairy-stockfish", "fairy-stockfish")
    engine = EngineSpec.parse(f"usi:{path}?nodes=500&Skill Level=0")
    spec = EngineMatchSpec(games=4, openings=random_openings(2))
    async with nothing_left():
        found = await play_match(spec, engine, random_agent())
    assert found.match.losses == 4
    assert found.match.by_reason["losses"] == {"checkmate": 4}
    assert found.faults == {"timeout": 0, "crash": 0}
    assert found.engine.startswith("Fairy-Stockfish")


async def test_many_matches_leave_nothing(tmp_path: Path) -> None:
    async with nothing_left():
        for _ in range(3):
            await play_match(SPEC, fake("resign", tmp_path), random_agent(), concurrency=3)
