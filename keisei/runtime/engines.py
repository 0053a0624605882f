"""Matches of the network against engines: asynchronous, several games at once."""

import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from keisei.evaluation.engine_match import (
    EngineMatch,
    EngineMatchResult,
    EngineMatchSpec,
    GameInPlay,
)
from keisei.shogi import Position
from keisei.usi import Engine, EngineError, EngineGone, EngineSpec, EngineTimeout, Timeouts

RESTARTS = 3
"""Times that a match starts an engine again which crashed or did not answer."""

Choose = Callable[[NDArray[np.uint8], NDArray[np.uint64]], Awaitable[NDArray[np.integer[Any]]]]
"""Answers positions (uint8[M, 131], masks uint64[M, 35]) with actions, int[M]."""


async def play_match(
    spec: EngineMatchSpec,
    engine: EngineSpec,
    choose: Choose,
    *,
    concurrency: int = 2,
    timeouts: Timeouts | None = None,
    show: Callable[[EngineMatch], None] = lambda match: None,
) -> EngineMatchResult:
    """Play a match between a network and an engine.

    An illegal move loses the engine its game. A crash or a timeout is counted as a fault, the
    engine started again and the game replayed; after ``RESTARTS`` of them the next one ends the
    match: its result holds the ``error`` and the games that ended until then.

    Args:
        spec: what is played.
        engine: against whom.
        choose: the network; asked once at a time, for all games that wait for it.
        concurrency: engine processes, and so games at once.
        timeouts: of the engine.
        show: called after each game.

    Raises:
        EngineStartError: the engine cannot be used.
        EngineError: it failed too often before any game had ended.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency: 1 or more (got {concurrency})")
    # The rules are compiled, or loaded, on their first use: that would stop the loop for seconds.
    await anyio.to_thread.run_sync(lambda: Position().outcome(spec.declaration))
    play = _Play(EngineMatch(spec), engine, _Together(choose), timeouts or Timeouts(), show)
    before, error = _children_seconds(), None
    try:
        async with anyio.create_task_group() as group:
            for _ in range(min(concurrency, spec.games)):
                group.start_soon(play.serve)
    except BaseExceptionGroup as failed:
        cause = _cause(failed)
        if not (isinstance(cause, EngineError) and play.match.progress):
            raise cause from failed
        error = str(cause)
    return EngineMatchResult(
        match=play.match.result(),
        faults=dict(play.match.faults),
        engine=play.name,
        engine_cpu_seconds=_children_seconds() - before,
        error=error,
    )


@dataclass(slots=True)
class _Play:
    """A match on its way."""

    match: EngineMatch
    engine: EngineSpec
    agent: "_Together"
    timeouts: Timeouts
    show: Callable[[EngineMatch], None]
    name: str = ""
    restarts: int = 0

    async def serve(self) -> None:
        """Play games with one engine at a time until all have begun."""
        while (game := self.match.begin()) is not None:
            try:
                await self._engine_plays(game)
            except (EngineTimeout, EngineGone):
                self.restarts += 1
                if self.restarts > RESTARTS:
                    raise

    async def _engine_plays(self, first: GameInPlay) -> None:
        async with Engine(self.engine, self.timeouts) as engine:
            self.name = engine.name
            game: GameInPlay | None = first
            while game is not None:
                try:
                    await self._game(engine, game)
                except EngineTimeout:
                    self.match.fault(game, "timeout")
                    raise
                except EngineGone:
                    self.match.fault(game, "crash")
                    raise
                self.match.finish(game)
                self.show(self.match)
                game = self.match.begin()

    async def _game(self, engine: Engine, game: GameInPlay) -> None:
        await engine.new_game()
        while not game.over:
            if game.agent_to_move:
                game.play(await self.agent.choose(*game.look()))
            else:
                game.answer((await engine.go(game.moves)).move)
        engine.game_over(game.engine_result())


@dataclass(slots=True, eq=False)
class _Wanted:
    observation: NDArray[np.uint8]
    mask: NDArray[np.uint64]
    action: int | None = None


class _Together:
    """Asks the network for all positions that wait, one question at a time."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._asking = anyio.Lock()
        self._waiting: list[_Wanted] = []

    async def choose(self, observation: NDArray[np.uint8], mask: NDArray[np.uint64]) -> int:
        """The move in one position."""
        mine = _Wanted(observation, mask)
        self._waiting.append(mine)
        async with self._asking:  # meanwhile others gather
            if mine.action is None:
                asked, self._waiting = self._waiting, []
                try:
                    actions = await self._choose(
                        np.concatenate([each.observation for each in asked]),
                        np.concatenate([each.mask for each in asked]),
                    )
                except BaseException:  # cancellation among them: the others ask for themselves
                    self._waiting += (each for each in asked if each is not mine)
                    raise
                for each, action in zip(asked, actions.tolist(), strict=True):
                    each.action = action
        assert mine.action is not None  # noqa: S101 (zip is strict)
        return mine.action


def _cause(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error, rather one that is not an engine's: several games may fail at once."""
    cause: BaseException = failed.split(EngineError)[1] or failed
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause


def _children_seconds() -> float:
    """Processor time of all processes that this one started and saw end."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
