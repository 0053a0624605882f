"""Plays matches with USI engines. Several games are played at the same time."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
import numpy as np

from keisei.env.observe import Observed
from keisei.evaluation import PlayedGame
from keisei.evaluation.engine_match import EngineMatch, GameInPlay
from keisei.evaluation.local import LOCAL_PLAYERS, Kind, local_move
from keisei.play.match_trees import GameTree
from keisei.usi import Engine, EngineError, EngineGone, EngineSpec, EngineTimeout, Info, Timeouts

RESTARTS = 3
"""Maximum number of restarts in one match. A crash or a timeout restarts the game's engines."""

Choose = Callable[[Observed, float, GameTree | None], Awaitable[tuple[int, float]]]
"""Function that asks a network for a move.

The function takes a position, a random number in [0, 1), and the tree to search, if any. It returns
an action and a value.
"""


@dataclass(frozen=True, slots=True)
class Seat:
    """One of the two players of a match."""

    kind: Kind
    seed: int = 0
    """Seed of the random numbers with which a network or a local player chooses moves."""
    engine: EngineSpec | None = None
    choose: Choose | None = None
    """Function that asks the network for a move; None if the player is not a network."""


async def play_match(
    match: EngineMatch,
    agent: Seat,
    opponent: Seat,
    on_games: Callable[[list[PlayedGame]], None],
    *,
    concurrency: int = 2,
    timeouts: Timeouts | None = None,
    report: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Play a match between any two players.

    An engine that makes an illegal move loses the game. After a crash or a timeout, the fault is
    counted, the game's engines are restarted and the game is replayed. The match ends early if
    there are more than ``RESTARTS`` faults, or if an engine cannot be restarted. Then ``error`` in
    the result gives the reason, and the games that have ended stay valid.

    Args:
        match: the match to play.
        agent, opponent: the players.
        on_games: called whenever a game ends, with a list that contains only this game.
        concurrency: number of games at the same time; these games share no engine process.
        timeouts: maximum waiting times for the engines' answers.
        report: a dict into which the result is also written, even if the match is cancelled.

    Returns:
        A dict with the keys ``engines`` (names that the engines report), ``faults``,
        ``engine_cpu_seconds`` and ``error``.

    Raises:
        EngineStartError: an engine can't be used, and no game had ended.
        EngineError: there were more than ``RESTARTS`` faults before any game had ended.
    """
    await anyio.to_thread.run_sync(_load_rules, match, (agent.kind, opponent.kind))
    play = _Play(match, (agent, opponent), timeouts or Timeouts(), on_games)
    report, error = {} if report is None else report, None
    try:
        async with anyio.create_task_group() as group:
            for _ in range(concurrency):
                group.start_soon(play.serve)
    except BaseExceptionGroup as failed:
        cause = _cause(failed)
        if not (isinstance(cause, EngineError) and match.played):
            raise cause from failed
        error = str(cause)
    finally:
        report |= {
            "engines": sorted(play.names),
            "faults": dict(match.faults),
            "engine_cpu_seconds": round(play.cpu_seconds, 3),
            "error": error,
        }
    return report


def _load_rules(match: EngineMatch, kinds: tuple[Kind, Kind]) -> None:
    """Compile or load the rules' code before the match.

    Otherwise, the first use of the rules would block the event loop for seconds.
    """
    game = GameInPlay(match.spec, 0)
    _, mask = game.observe()
    for kind in {*kinds} & {*LOCAL_PLAYERS}:
        local_move(kind, game.state(), mask, np.ones(1, np.uint64))
    game.play_mate()


@dataclass(slots=True)
class _Play:
    """A match in progress."""

    match: EngineMatch
    seats: tuple[Seat, Seat]
    timeouts: Timeouts
    on_games: Callable[[list[PlayedGame]], None]
    names: set[str] = field(default_factory=set)
    restarts: int = 0
    cpu_seconds: float = 0.0

    async def serve(self) -> None:
        """Play games one after another until all games of the match have begun."""
        while (game := self.match.begin()) is not None:
            try:
                await self._engines_play(game)
            except (EngineTimeout, EngineGone):
                self.restarts += 1
                if self.restarts > RESTARTS:
                    raise

    async def _engines_play(self, first: GameInPlay) -> None:
        async with self._engines() as engines:
            game: GameInPlay | None = first
            while game is not None:
                try:
                    await self._game(engines, game)
                except EngineTimeout:
                    self.match.fault(game, "timeout")
                    raise
                except EngineGone:
                    self.match.fault(game, "crash")
                    raise
                self.match.finish(game)
                self.on_games(self.match.played[-1:])
                game = self.match.begin()

    @asynccontextmanager
    async def _engines(self) -> AsyncIterator[tuple[Engine | None, Engine | None]]:
        async with AsyncExitStack() as stack:
            engines: list[Engine | None] = []
            for seat in self.seats:
                engine = None
                if seat.engine is not None:
                    engine = await stack.enter_async_context(Engine(seat.engine, self.timeouts))
                    self.names.add(engine.name)
                engines.append(engine)
            try:
                yield engines[0], engines[1]
            finally:
                with anyio.CancelScope(shield=True):
                    for engine in filter(None, engines):
                        self.cpu_seconds += await anyio.to_thread.run_sync(engine.cpu_seconds)

    async def _game(self, engines: tuple[Engine | None, Engine | None], game: GameInPlay) -> None:
        draws = np.random.default_rng([self.seats[0].seed, game.number // 2])
        rng = draws.integers(2**64, size=1, dtype=np.uint64)
        trees = [GameTree.of(self.match.spec, side) for side in (0, 1)]
        for engine in engines:
            if engine is not None:
                await engine.new_game()
        while not game.over:
            side = 0 if game.agent_to_move else 1
            seat, engine = self.seats[side], engines[side]
            if engine is not None:
                answer = await engine.go(game.moves)
                game.answer(answer.move, expected(engine.info))
            elif seat.choose is not None:
                if not game.play_mate():
                    draw, tree = draws.random(dtype=np.float32), trees[side]
                    if tree is not None:
                        tree.plant(game.position)
                    game.play(*await seat.choose(game.observe(), draw, tree))
            else:
                _, mask = game.observe()
                game.play(local_move(seat.kind, game.state(), mask, rng))
        for side, engine in enumerate(engines):
            if engine is not None:
                engine.game_over(game.result_for(agent=side == 0))


def _cause(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the group's first error; prefer an error that is not an EngineError."""
    cause: BaseException = failed.split(EngineError)[1] or failed
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause


def expected(info: Info | None) -> float:
    """Convert an engine's score to a value in [-1, 1]. Return NaN if there is no score.

    A ``score`` in hundredths of a pawn means a win probability of 1 / (1 + exp(-score / 600)).
    This is the usual formula of shogi engines (Ponanza's constant).
    """
    if info is not None and info.mate is not None:
        return math.copysign(1, info.mate)
    return math.tanh(info.cp / 1200) if info is not None and info.cp is not None else math.nan
