"""Engines: good ones, bad ones, and that none of them leaves anything behind."""

import asyncio
from pathlib import Path

import anyio
import pytest
from engine_tools import Interrupted, fake, lives, nothing_left

from keisei.usi import (
    BestMove,
    Engine,
    EngineGone,
    EngineSpec,
    EngineStartError,
    EngineTimeout,
    Info,
    Timeouts,
)

pytestmark = pytest.mark.anyio
START = "startpos"
SHORT = Timeouts(move=0.4, stop=0.4)


def heard(folder: Path) -> list[str]:
    """Return the lines that the fake engine has read."""
    return (folder / "heard").read_text().splitlines()


async def hears(line: str, folder: Path) -> None:
    """Wait until the fake engine has read ``line``."""
    while line not in heard(folder):  # noqa: ASYNC110 (another process writes the file)
        await anyio.sleep(0.01)


async def ends(pid: int) -> None:
    """Wait until a process has ended."""
    with anyio.fail_after(5):
        while lives(pid):  # noqa: ASYNC110 (nobody tells)
            await anyio.sleep(0.01)


async def test_an_engine_gets_its_options_and_plays_a_game(tmp_path: Path) -> None:
    spec = fake("plain", tmp_path, "nodes=5&skill level=-4&Clear Hash&Style=Normal&Eval File=")
    async with nothing_left(), Engine(spec) as engine:
        assert (engine.name, engine.author) == ("Fake engine 1.0", "Nobody, really")
        assert engine.options["skill level"].low == -20
        await engine.new_game()
        answer = await engine.go("startpos moves 7g7f 3c3d")
        assert len(answer.move) >= 4
        assert answer.ponder == "3c3d"
        assert engine.info == Info(depth=3, nodes=12, time=4, cp=-31, pv=("7g7f", "3c3d"))
        engine.game_over("draw")
    assert heard(tmp_path) == [
        "usi",
        "setoption name Skill Level value -4",
        "setoption name Clear Hash",
        "setoption name Style value Normal",
        "setoption name Eval File value <empty>",
        "setoption name USI_Ponder value false",
        "isready",
        "isready",
        "usinewgame",
        "position startpos moves 7g7f 3c3d",
        "go nodes 5",
        "gameover draw",
        "quit",
    ]


@pytest.mark.parametrize("how", ["junk", "drip", "stderr", "megabyte", "fork", "escape"])
async def test_an_engine_that_writes_junk_or_forks_can_still_play(how: str, tmp_path: Path) -> None:
    async with nothing_left():
        async with Engine(fake(how, tmp_path)) as engine:
            assert engine.name == "Fake engine 1.0"
            await engine.new_game()
            for _ in range(3 if how != "escape" else 1):
                assert len((await engine.go(START)).move) >= 4
        if how == "fork":
            await ends(int((tmp_path / "forked").read_text()))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit", "Fake engine 1.0 exited with code 3; on stderr: out of patience / second line"),
        ("abort", "was killed by signal 6 (Aborted); on stderr: terminate called"),
        ("close", "Fake engine 1.0 closed its output"),
        ("fork-exit", "exited with code 4"),
        ("escape-exit", "exited with code 4"),
        ("flood", "wrote more than 16 MiB without an answer"),
        ("stderr-flood", "wrote more than 16 MiB without an answer; on stderr: eee"),
        ("endless-line", "wrote more than 16 MiB without an answer"),
    ],
)  # fmt: skip
async def test_the_error_says_why_an_engine_is_gone(how: str, said: str, tmp_path: Path) -> None:
    async with nothing_left(), Engine(fake(how, tmp_path)) as engine:
        await engine.new_game()
        with pytest.raises(EngineGone) as caught:
            await engine.go(START)
        assert said in str(caught.value)
        with pytest.raises(EngineGone):
            await engine.go(START)


async def test_info_holds_the_best_of_several_lines(tmp_path: Path) -> None:
    async with Engine(fake("multipv", tmp_path)) as engine:
        await engine.new_game()
        await engine.go(START)
        assert engine.info is not None
        assert (engine.info.depth, engine.info.cp, engine.info.mate) == (9, 77, None)


async def test_an_engine_that_hangs_times_out_and_is_killed(tmp_path: Path) -> None:
    async with nothing_left():
        with (
            anyio.fail_after(20),  # the engine sleeps for ten minutes
            pytest.raises(EngineTimeout, match="did not answer 'go nodes 1' within"),
        ):
            await session(fake("hang", tmp_path), SHORT)


async def test_an_engine_that_does_not_quit_is_killed(tmp_path: Path) -> None:
    async with nothing_left():
        with anyio.fail_after(20):  # the engine sleeps for ten minutes
            async with Engine(fake("ignore-quit", tmp_path), Timeouts(quit=0.3)) as engine:
                await engine.new_game()
    assert heard(tmp_path)[-1] == "quit"


async def test_stop_makes_the_engine_move(tmp_path: Path) -> None:
    async with Engine(fake("until-stop", tmp_path)) as engine:

        async def stop() -> None:
            await hears("go nodes 1", tmp_path)
            engine.stop()

        async with anyio.create_task_group() as group:
            group.start_soon(stop)
            assert len((await engine.go(START)).move) >= 4


async def test_the_late_answer_to_an_abandoned_search_is_dropped(tmp_path: Path) -> None:
    async with Engine(fake("until-stop", tmp_path), SHORT) as engine:
        with pytest.raises(EngineTimeout):
            await engine.go(START)  # a search for black, whose answer comes late
        with anyio.move_on_after(0.1):
            await engine.go(START)
        engine._timeouts = Timeouts()
        found: list[BestMove] = []

        async def white() -> None:
            found.append(await engine.go("startpos moves 7g7f"))

        async with anyio.create_task_group() as group:
            group.start_soon(white)
            await hears("position startpos moves 7g7f", tmp_path)
            engine.stop()
    lines = heard(tmp_path)
    assert lines.count("stop") == 3
    assert found[0].move[1] in "abc" or "*" in found[0].move


@pytest.mark.parametrize(
    ("answer", "move"),
    [("illegal", "1a1b"), ("nonsense", "\x1b[31mhello"), ("empty", ""), ("resign", "resign")],
)
async def test_a_move_is_returned_as_the_engine_wrote_it(
    answer: str, move: str, tmp_path: Path
) -> None:
    async with Engine(fake(answer, tmp_path)) as engine:
        assert (await engine.go(START)).move == move


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("Skil Level=3", "has no option 'Skil Level'; similar options: Skill Level"),
        ("Skill Level=21", "option Skill Level: must be a whole number from -20 to 20 (got '21')"),
        ("Style=Wild", "option Style: must be one of Very Solid, Normal (got 'Wild')"),
        ("Clear Hash=1", "option Clear Hash: takes no value"),
        ("Zzyzx=1", "no option 'Zzyzx'; it has: Clear Hash, Eval File, nodes, Skill Level, Style, USI_P"),
    ],
)  # fmt: skip
async def test_an_unknown_option_or_a_bad_value_is_refused(
    query: str, said: str, tmp_path: Path
) -> None:
    async with nothing_left():
        with pytest.raises(EngineStartError) as caught:
            await Engine(fake("plain", tmp_path, f"nodes=1&{query}")).__aenter__()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("silent", "silent did not answer 'usi' within 0.4 s (is it a USI engine?)"),
        ("deaf", "deaf did not answer 'usi'"),
        ("never-ready", "Fake engine 1.0 did not answer 'isready' within 0.3 s"),
    ],
)
async def test_an_engine_that_does_not_answer_at_the_start_is_refused(
    how: str, said: str, tmp_path: Path
) -> None:
    usi = 5.0 if how == "never-ready" else 0.4
    async with nothing_left():
        with pytest.raises(EngineStartError) as caught:
            await Engine(fake(how, tmp_path), Timeouts(usi=usi, ready=0.3)).__aenter__()
    assert said in str(caught.value)


async def test_a_file_that_is_no_engine_is_refused(tmp_path: Path) -> None:
    broken, plain = tmp_path / "broken", tmp_path / "plain"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    plain.write_text("no program")
    for path, said in (
        (tmp_path / "nothing", "no such engine"),
        (Path("no-such-engine"), "no-such-engine: no such program in PATH"),
        (plain, "not an executable file"),
        (tmp_path, "not an executable file"),
        (broken, "exited with code 12"),
        (Path("true"), "true exited with code 0"),
    ):
        async with nothing_left():
            with pytest.raises(EngineStartError) as caught:
                await Engine(EngineSpec.parse(f"usi:{path}?nodes=1")).__aenter__()
        assert said in str(caught.value)


async def session(spec: EngineSpec, timeouts: Timeouts | None = None) -> None:
    async with Engine(spec, timeouts) as engine:
        await engine.new_game()
        await engine.go(START)
        engine.game_over("win")


async def test_a_cancellation_at_any_await_leaves_nothing_behind(tmp_path: Path) -> None:
    spec, cancelled = fake("plain", tmp_path), 0
    for n in range(1, 100):
        async with nothing_left():
            with anyio.CancelScope() as scope:
                await Interrupted(session(spec), n, scope.cancel)
        cancelled += scope.cancelled_caught
        if not scope.cancel_called:
            break
    assert cancelled >= 6
    assert n < 99


async def test_a_cancelled_task_leaves_nothing_behind(tmp_path: Path) -> None:
    """Use asyncio's own cancellation, which an anyio scope does not shield from."""
    spec, cancelled = fake("plain", tmp_path), 0

    async def host(n: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        await Interrupted(session(spec), n, task.cancel)

    for n in range(1, 100):
        async with nothing_left(grace=1):
            task = asyncio.create_task(host(n))
            await asyncio.wait([task])
        cancelled += task.cancelled()
        if not task.cancelling():
            break
    assert cancelled >= 6
    assert n < 99
