"""Helpers for tests of a run: fake learners, small settings, waiting for events."""

import threading
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from functools import partial
from inspect import isawaitable
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from fake_learner import FakeLearner

from keisei import Keisei, Settings
from keisei.config import Run
from keisei.events import Event, Topic
from keisei.store import load_checkpoint


class Learners:
    """Makes fake learners and keeps them in ``made`` for the test."""

    def __init__(self, kind: type[FakeLearner] = FakeLearner, **options: Any) -> None:
        self.kind, self.options = kind, options
        self.made: list[Any] = []

    def __call__(self, settings: Settings) -> Any:
        self.made.append(self.kind(settings, **self.options))
        return self.made[-1]


@asynccontextmanager
async def subscribed(keisei: Keisei, topics: Collection[Topic]) -> AsyncIterator[Any]:
    """Open a stream of encoded events, as a client of the server does."""
    with keisei.hub.subscribe(topics) as chunks:
        async with aclosing(chunks):
            yield chunks


class Sink:
    """Keeps the events that it gets. Its first ``failures`` writes raise; each takes ``delay``."""

    name = "test"

    def __init__(self, failures: int = 0, delay: float = 0.0) -> None:
        self.failures, self.delay = failures, delay
        self.events: list[Event] = []
        self.closed = False

    async def write(self, events: Any) -> None:
        await anyio.sleep(self.delay)
        if self.failures:
            self.failures -= 1
            raise OSError("broken pipe")
        self.events += events

    async def close(self) -> None:
        self.closed = True


class Gate:
    """An ``on_turn`` that waits in one turn of an iteration until the test opens it."""

    def __init__(self, iteration: int = 0, turn: int = 0) -> None:
        self._where = iteration, turn
        self._reached, self._opened = threading.Event(), threading.Event()

    def __call__(self, learner: FakeLearner, turn: int) -> None:
        if (learner.iteration, turn) == self._where:
            self._reached.set()
            self._opened.wait(5)

    async def reached(self) -> None:
        """Wait until the device thread waits here."""
        assert await to_thread.run_sync(self._reached.wait, 5)

    def open(self) -> None:
        self._opened.set()


# ---------------------------------------------------------------------- settings
def settings(path: Path, **run: Any) -> Settings:
    """Return settings for a fake learner, with these settings of ``run``."""
    return Settings(run=Run(root=path, **run))


def detector_settings(path: Path, **detectors: Any) -> Settings:
    """Return settings for eight iterations of a fake learner, each followed by a checkpoint."""
    flags = {f"detectors.{name}": value for name, value in detectors.items()}
    always = {"run.root": path, "run.steps": 800, "run.checkpoint_seconds": 1e-6}
    return Settings.load(None, always | flags)


def tiny(path: Path, **overrides: Any) -> Settings:
    """Return settings for the real learner with a tiny network and 128 steps an iteration."""
    keys = {
        "run.root": path,
        "run.games_recorded": 1,
        "env.games": 8,
        "env.max_ply": 32,
        "env.reset_pool": 16,
        "net.blocks": 1,
        "net.channels": 8,
        "ppo.rollout_plies": 16,
        "opponents.share": 0.0,
        "ppo.minibatch": 64,
        "compute.dtype": "float32",
        "compute.threads": 1,
    }
    return Settings.load(overrides=keys | overrides)


def raising(at: int) -> Callable[[FakeLearner, int], None]:
    """Return an ``on_turn`` that raises in this iteration, counted from 0."""

    def on_turn(learner: FakeLearner, turn: int) -> None:
        if learner.iteration == at:
            raise ArithmeticError("loss is not finite")

    return on_turn


# ---------------------------------------------------------------------- waiting
async def until(keisei: Keisei, wanted: type[Event], /, **fields: Any) -> Any:
    """Wait for the next event of this class whose fields have these values; return it."""
    async for event in keisei.events():
        if isinstance(event, wanted) and all(getattr(event, k) == v for k, v in fields.items()):
            return event
    raise AssertionError(f"the run ended without {wanted.__name__} {fields}")


async def until_step(keisei: Keisei, step: int) -> None:
    """Wait until training has reached ``step``."""
    async for event in keisei.events({"metrics"}):
        if event.step >= step:
            return


async def becomes(condition: Callable[[], Any]) -> None:
    """Wait until a function, which may be async, returns something true. No event announces it."""
    with anyio.fail_after(10):
        while True:
            found = condition()
            if await found if isawaitable(found) else found:
                return
            await anyio.sleep(0.01)


# ---------------------------------------------------------------------- files
async def read_checkpoint(path: Path) -> Any:
    """Return a checkpoint with all its tensors."""
    return await to_thread.run_sync(load_checkpoint, path)


async def saved(keisei: Keisei) -> list[int]:
    """Return the steps of the run's checkpoints, after reading each whole."""
    paths = await to_thread.run_sync(keisei.run.checkpoints)
    return [(await read_checkpoint(path)).step for path in paths]


async def newest(keisei: Keisei) -> Path:
    """Return the folder of the run's newest checkpoint."""
    return (await to_thread.run_sync(keisei.run.checkpoints))[-1]


async def played(keisei: Keisei, evaluation: str) -> dict[int, dict[str, Any]]:
    """Return the games kept of an evaluation, by number."""
    games = partial(keisei.reader.match_games, evaluation, limit=10_000)
    return {game["number"]: game for game in await to_thread.run_sync(games)}
