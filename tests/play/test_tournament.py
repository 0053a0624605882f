"""Whole evaluations: players, results, kept games, early ends and continued evaluations."""

import time
from collections.abc import Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from engine_tools import Interrupted, fake, nothing_left

from keisei.evaluation.spec import EvaluationSpec
from keisei.nets.policy import Agent
from keisei.nets.registry import build
from keisei.play import tournament as tournament_module
from keisei.play.archive import Archive
from keisei.play.arena import DeviceArena, local_arena
from keisei.play.networks import LoadedNetwork, Networks
from keisei.play.tournament import Progress, Tournament
from keisei.resources import shipped_network
from keisei.store import DatabaseError
from keisei.store.matches import MatchGame, MatchTable
from keisei.usi import EngineStartError

pytestmark = pytest.mark.anyio


class Arena:
    """A local arena that counts its open networks and can be told when a match may end."""

    def __init__(self, inner: DeviceArena) -> None:
        self._inner = inner
        self.open_now = 0
        self.on_play: Callable[[], None] = lambda: None
        self.may_end: Callable[[], bool] = lambda: True

    async def open(self, source: str) -> LoadedNetwork:
        self.open_now += 1
        return await self._inner.open(source)

    async def play(self, *arguments: Any, **more: Any) -> None:
        self.on_play()
        await self._inner.play(*arguments, **more)
        while not self.may_end():  # noqa: ASYNC110
            await anyio.sleep(0.001)

    async def choose(self, *arguments: Any, **more: Any) -> Any:
        return await self._inner.choose(*arguments, **more)

    async def close(self, network: LoadedNetwork) -> None:
        self.open_now -= 1
        await self._inner.close(network)


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make networks instead of loading them: ``net-1`` has seed 1; a path may precede the name."""
    import torch

    def load(self: Networks, path: Path) -> LoadedNetwork:
        home, _, name = str(path).rpartition(":")
        number = int(name.removeprefix("net-"))
        net = build("mlp", blocks=1, channels=16, seed=number).eval()
        id = next(self._ids)
        self._agents[id] = Agent(net, torch.device("cpu"), torch.float32)
        return LoadedNetwork(id, f"run@{number}", number, 256, Path(home))

    monkeypatch.setattr(Networks, "load", load)


@asynccontextmanager
async def arena() -> Any:
    async with local_arena("cpu") as inner:
        yield Arena(inner)


async def play(spec: EvaluationSpec, **more: Any) -> dict[str, Any]:
    async with arena() as place:
        result = await Tournament(spec, place, **more).run()
        assert place.open_now == 0
    return result


def spec(**fields: Any) -> EvaluationSpec:
    return EvaluationSpec(**{"agents": ("material",), "games": 20, "max_ply": 200} | fields)


async def test_the_result_of_one_match_has_counts_score_and_all_games(networks: None) -> None:
    kept: list[MatchGame] = []
    seen: list[Progress] = []
    result = await play(spec(agents=("net-1",)), keep=kept.extend, on_progress=seen.append)
    assert (result["agent"], result["opponent"]) == ("run@1 mates=1", "random")
    assert result["games"] == result["wins"] + result["draws"] + result["losses"] + result["capped"]
    assert sum(result["pentanomial"]) == result["pairs"] == 10
    assert result["interval"][0] <= result["score"] <= result["interval"][1]
    assert sorted(game.number for game in kept) == list(range(20))
    for game in kept:
        assert {game.black, game.white} == {"run@1 mates=1", "random"}
        assert game.moves.startswith(game.opening.removeprefix("startpos moves "))
        known = [value for value in game.values if value == value and value is not None]  # noqa: PLR0124
        assert known
        assert all(abs(value) <= 1 for value in known)
    assert (seen[-1].ended, seen[-1].games, seen[-1].score) == (20, 20, result["score"])


async def test_a_network_against_itself_is_exactly_even(networks: None) -> None:
    result = await play(spec(agents=("net-1",), opponents=("net-1",), games=40))
    assert result["score"] == 0.5
    assert result["pentanomial"] == [0, 0, 20, 0, 0]


async def test_the_network_that_ships_with_keisei_plays_under_the_name_of_its_weights() -> None:
    result = await play(spec(agents=("shipped",), opponents=("random",), games=2))
    shipped = await anyio.to_thread.run_sync(shipped_network)
    assert result["agent"].startswith(f"{shipped.name}@")


async def test_several_matches_are_rated_together(networks: None) -> None:
    result = await play(
        spec(agents=("net-1", "material"), opponents=("random",), strategy="round_robin")
    )
    assert [(m["agent"], m["opponent"]) for m in result["matches"]] == [
        ("run@1 mates=1", "material"), ("run@1 mates=1", "random"), ("material", "random"),
    ]  # fmt: skip
    assert result["games"] == 60
    ratings = {line["player"]: line for line in result["ratings"]["players"]}
    assert ratings["random"]["elo"] == 0
    assert ratings["material"]["elo"] > 200
    assert ratings["material"]["games"] == 40


@pytest.mark.parametrize("agent", ["random", "net-1"])
async def test_an_engine_plays_among_other_players(
    networks: None, tmp_path: Path, agent: str
) -> None:
    engine = f"usi:{fake('plain', tmp_path).path}?nodes=1"
    async with nothing_left():
        result = await play(
            spec(
                agents=(agent,),
                opponents=("material", engine),
                strategy="round_robin",
                games=4,
                max_ply=40,
            )
        )
    assert [match["games"] for match in result["matches"]] == [4, 4, 4]
    assert result["matches"][2]["agent"] == "material"
    assert result["matches"][2]["engines"] == ["Fake engine 1.0"]
    assert (result["games"], result["pairs"]) == (12, 4)
    assert result["score"] == sum(m["score"] for m in result["matches"][:2]) / 2
    assert result["interval"][0] <= result["score"] <= result["interval"][1]
    lines = {line["player"]: line for line in result["ratings"]["players"]}
    assert result["anchor"] == ("random" if agent == "random" else "material")
    assert lines[result["anchor"]]["elo"] == 0
    assert result["elo"] == lines[result["agent"]]["elo"]
    assert (result["elo"] == 0) == (agent == "random")


async def test_a_match_that_a_test_ended_still_reports_its_engine(tmp_path: Path) -> None:
    engine = f"usi:{fake('plain', tmp_path).path}?nodes=1"
    result = await play(
        spec(opponents=(engine,), games=2000, max_ply=30, sprt=(-800, -400), agents=("random",))
    )
    assert result["sprt"]["decision"] == "accept"
    assert result["games"] < 2000
    assert result["engines"] == ["Fake engine 1.0"]
    assert result["engine_cpu_seconds"] > 0
    assert result["faults"] == {"timeout": 0, "crash": 0}


async def test_a_missing_engine_is_an_error_before_the_first_game() -> None:
    kept: list[MatchGame] = []
    missing = spec(opponents=("random", "usi:/no/engine?nodes=1"), strategy="gauntlet")
    with pytest.raises(EngineStartError, match="/no/engine: no such engine"):
        await play(missing, keep=kept.extend)
    assert kept == []


async def test_an_option_that_an_engine_lacks_is_an_error_before_the_first_game(
    tmp_path: Path,
) -> None:
    kept: list[MatchGame] = []
    engine = f"usi:{fake('plain', tmp_path).path}?nodes=1&Skil=3"
    wanted = spec(opponents=("random", engine), strategy="gauntlet", games=2)
    async with nothing_left():
        with pytest.raises(EngineStartError, match="has no option 'Skil'"):
            await play(wanted, keep=kept.extend)
    assert kept == []


async def test_all_networks_are_loaded_before_the_first_game(networks: None) -> None:
    wanted = spec(agents=("net-1",), opponents=("net-2", "net-3"), strategy="gauntlet", games=2)
    there: list[int] = []
    async with arena() as place:
        place.on_play = lambda: there.append(place.open_now)
        await Tournament(replace(wanted, max_ply=30), place).run()
    assert there == [3, 3]


async def test_networks_of_runs_with_the_same_name_get_different_names(networks: None) -> None:
    result = await play(
        spec(
            agents=("/a/run:net-1",),
            opponents=("/a/run:net-1", "/b/run:net-1", "/c/b/run:net-1", "/b/run:net-2"),
            strategy="gauntlet",
            games=2,
            max_ply=30,
        )
    )
    assert result["agent"] == "run@1 mates=1", "as in the run's other evaluations"
    opponents = [match["opponent"] for match in result["matches"]]
    assert opponents == ["run@1 mates=1", "b/run@1 mates=1", "c/b/run@1 mates=1", "run@2 mates=1"]
    assert len(result["ratings"]["players"]) == 4
    assert result["anchor"] == "b/run@1 mates=1"


@pytest.mark.parametrize("whole", [0, 1, 2])
async def test_the_matches_before_one_that_failed_are_the_result(whole: int) -> None:
    wanted = spec(opponents=("random", "material", "random"), strategy="gauntlet", max_ply=30)
    kept: list[MatchGame] = []

    def fail() -> None:
        if len(tournament.matches) > whole:
            raise MemoryError("no room")

    async with nothing_left(), arena() as place:
        place.on_play = fail
        tournament = Tournament(wanted, place, keep=kept.extend)
        with pytest.raises(MemoryError, match="no room"):
            await tournament.run()
    result = tournament.result()
    assert len(kept) == 20 * whole
    if whole == 0:
        assert result == {}
    elif whole == 1:
        assert (result["opponent"], result["games"]) == ("random", 20)
    else:
        assert [match["games"] for match in result["matches"]] == [20, 20]
        assert (result["games"], result["pairs"], result["anchor"]) == (40, 20, "random")
    assert tournament.matches[-1].to_dict()["error"] == "no room"


async def test_a_sequential_test_ends_a_match_and_only_the_pairs_it_saw_count() -> None:
    wanted = spec(sprt=(0, 50), games=2000, seed=3)
    result = await play(wanted)
    test = result["sprt"]
    assert test["decision"] == "accept"
    assert result["pairs"] == test["pairs"] < 300
    again = await play(wanted)
    assert again["sprt"] == test, "pairs count in their order, not as games end"


async def test_the_result_of_an_undecided_sequential_test_has_its_ratio() -> None:
    result = await play(spec(sprt=(0, 1), games=20))
    assert result["sprt"]["decision"] is None
    assert result["sprt"]["pairs"] == result["pairs"] == 10
    assert -2.9 < result["sprt"]["llr"] < 2.9


async def test_progress_never_falls(networks: None) -> None:
    seen: list[Progress] = []
    await play(
        spec(opponents=("random", "material", "net-1"), strategy="ladder"), on_progress=seen.append
    )
    assert {found.games for found in seen} == {60}
    assert [found.ended for found in seen] == sorted(found.ended for found in seen)


async def test_kept_games_are_not_played_again() -> None:
    kept: list[MatchGame] = []
    whole = await play(spec(), keep=kept.extend)
    fresh: list[MatchGame] = []
    half = [game for game in kept if game.number < 7]  # three pairs, and half of a fourth
    result = await play(spec(), keep=fresh.extend, kept=half)
    assert sorted(game.number for game in fresh) == list(range(6, 20))
    assert result == whole
    nothing: list[MatchGame] = []
    assert await play(spec(), keep=nothing.extend, kept=kept) == whole
    assert nothing == []


async def test_kept_games_of_other_players_are_played_again() -> None:
    kept: list[MatchGame] = []
    whole = await play(spec(), keep=kept.extend)
    others = [replace(game, black=game.white, white=game.black) for game in kept]
    fresh: list[MatchGame] = []
    assert await play(spec(), keep=fresh.extend, kept=others) == whole
    assert len(fresh) == 20


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_an_evaluation_cancelled_at_any_await_leaves_nothing_and_keeps_what_ended(
    networks: None, tmp_path: Path
) -> None:
    engine = f"usi:{fake('plain', tmp_path).path}?nodes=1"
    wanted = spec(agents=("net-1",), opponents=(engine,), games=2, max_ply=26, concurrency=1)
    cancelled = 0
    for n in range(1, 150):
        kept: list[MatchGame] = []
        async with nothing_left(), arena() as place:
            tournament = Tournament(wanted, place, keep=kept.extend)
            with anyio.CancelScope() as scope:
                await Interrupted(tournament.run(), n, scope.cancel)
            assert place.open_now == 0
        assert {game.number for game in kept} == played(tournament)
        cancelled += scope.cancelled_caught
        if not scope.cancel_called:
            break
    assert cancelled >= 4
    assert n < 149


@pytest.fixture
def run(recorded_run: Path) -> Path:
    """Return a run in whose database the evaluation ``id`` has begun."""
    with closing(MatchTable(recorded_run)) as table:
        table.begin("id", 0, {})
    return recorded_run


@pytest.mark.parametrize("milliseconds", range(0, 60, 10))
async def test_an_evaluation_cancelled_while_games_are_written_loses_none(
    run: Path, milliseconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is locked for a moment: writing fails once, and then takes long."""
    monkeypatch.setattr(tournament_module, "WRITE_SECONDS", 0.01)
    tries = 0

    def keep(games: list[MatchGame]) -> None:
        nonlocal tries
        tries += 1
        time.sleep(0.02)
        if tries == 1:
            raise DatabaseError("database is locked")
        Archive(run, "id").add(games)

    async with nothing_left(), arena() as place:
        place.may_end = lambda: tries > 0  # else the first try would be the last
        tournament = Tournament(spec(games=200, max_ply=30), place, keep=keep)
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                while not tries:  # noqa: ASYNC110
                    await anyio.sleep(0.001)
                await anyio.sleep(milliseconds / 1000)
                scope.cancel()

            async with anyio.create_task_group() as group:
                group.start_soon(cancel)
                await tournament.run()
                group.cancel_scope.cancel()
    found = await anyio.to_thread.run_sync(Archive(run, "id").games)
    assert {game.number for game in found} == played(tournament) != set()


async def test_games_are_kept_after_a_first_try_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tournament_module, "WRITE_SECONDS", 0.01)
    kept: list[MatchGame] = []
    failed: list[MatchGame] = []

    def keep(games: list[MatchGame]) -> None:
        if not failed:
            failed.extend(games)
            raise DatabaseError("database is locked")
        kept.extend(games)

    async with nothing_left(), arena() as place:
        place.may_end = lambda: bool(failed)  # else the first try would be the last
        await Tournament(spec(games=200, max_ply=60), place, keep=keep).run()
    assert sorted(game.number for game in kept) == list(range(200))


async def test_an_evaluation_cancelled_at_any_time_leaves_nothing_and_keeps_no_game_twice(
    networks: None,
) -> None:
    ended = 0
    for milliseconds in range(0, 400, 20):
        kept: list[MatchGame] = []
        async with nothing_left(), arena() as place:
            with anyio.move_on_after(milliseconds / 1000):
                await Tournament(
                    spec(agents=("net-1",), opponents=("net-2",), games=200, max_ply=24), place,
                    keep=kept.extend,
                ).run()  # fmt: skip
            assert place.open_now == 0
        assert len({game.number for game in kept}) == len(kept)
        ended += len(kept)
    assert ended > 0


async def test_an_error_is_raised_without_a_group_and_leaves_nothing(networks: None) -> None:
    async with nothing_left(), arena() as place:
        with pytest.raises(ValueError, match="invalid literal"):
            await Tournament(spec(agents=("net-x",)), place).run()
    async with nothing_left(), arena() as place:
        place.on_play = _out_of_room
        with pytest.raises(MemoryError):
            await Tournament(spec(agents=("net-1",)), place).run()
        assert place.open_now == 0


async def test_games_that_cannot_be_kept_are_an_error() -> None:
    def full(games: list[MatchGame]) -> None:
        raise OSError("no space left on device")

    async with nothing_left(), arena() as place:
        with pytest.raises(OSError, match="no space left"):
            await Tournament(spec(), place, keep=full).run()


def played(tournament: Tournament) -> set[int]:
    """Return the numbers of the games that ended."""
    return {match.first + number for match in tournament.matches for number in match.games}


def _out_of_room() -> None:
    raise MemoryError("no room")
