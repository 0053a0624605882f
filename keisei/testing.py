"""A run that only pretends, for tests of what is built on Keisei: no torch, no training, no files.

``FakeRun`` has all that the server asks of a run, so ``create_app(FakeRun())`` is the real service
with made-up numbers. ``python -m keisei.testing`` serves it, to work on the page.
"""

import argparse
import asyncio
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import numpy as np
from anyio.abc import TaskGroup
from rsshogi.core import Board as RulesBoard

from keisei.config import Settings
from keisei.errors import NotRunning
from keisei.evaluation import score_interval
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Alert, Board, Event, Failed, Iteration, State, Status, Topic
from keisei.feed.hub import Hub
from keisei.runtime.book import EvaluationBook, EvaluationHandle, EvaluationRecord
from keisei.runtime.plan import StartPoint
from keisei.runtime.status import RunState, StatusReport
from keisei.server import create_app
from keisei.server.serve import address_of, bind, end_streams_from_hub, run_server

RUN = "20240229-120000-fake"
STEPS = 4096
"""Steps of an iteration."""

OPENING = (
    "7g7f 8c8d 6g6f 3c3d 2h6h 7a6b 5i4h 5a4b 4h3h 4b3b 3h2h 6a5b 3i3h 5c5d 7i7h 8d8e 8h7g 7c7d"
)
"""Fourth-file rook against static rook, up to the castles."""


class FakeReader:
    """What a run directory would hold, in memory."""

    path: Path | None = None

    def __init__(self) -> None:
        self.iterations: list[Iteration] = []
        self.alerts: list[Alert] = []

    def metrics(
        self,
        keys: Sequence[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        max_points: int = 2000,
        after: int | None = None,
    ) -> dict[str, Any]:
        """Metric history; a long one is thinned by taking every n-th iteration."""
        chosen = [
            item
            for item in self.iterations
            if (start is None or item.step >= start)
            and (end is None or item.step <= end)
            and (after is None or item.iteration > after)
        ]
        chosen = chosen[:: max(1, math.ceil(len(chosen) / max_points))]
        recorded = {name: None for item in self.iterations for name in item.values}
        names = list(recorded) if keys is None else keys
        cursor = self.iterations[-1].iteration if self.iterations else 0
        return {
            "series": {name: _column(name, chosen) for name in names},
            "nonfinite": [],
            "cursor": cursor,
        }

    def games(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Recorded games, newest first."""
        games = [self.game(id) for id in range(3, 0, -1) if after is None or id < after]
        return [game for game in games if game][:limit]

    def game(self, id: int) -> dict[str, Any] | None:
        """One recorded game, or None."""
        if id not in {1, 2, 3}:
            return None
        moves = [usi for _, usi in _scripted_game(id)][1:]
        return {
            "id": id,
            "step": id * STEPS,
            "time": 0.0,
            "result": "capped",
            "reason": "max_ply",
            "plies": len(moves),
            "black": "self",
            "white": "self",
            "record": f"startpos moves {' '.join(str(usi) for usi in moves)}",
        }

    def events(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Alerts, newest first."""
        found = [
            {**alert.to_dict(), "id": id, "topic": "alert", "event": "alert"}
            for id, alert in enumerate(self.alerts, 1)
            if after is None or id < after
        ]
        return found[::-1][:limit]

    def checkpoints(self) -> list[dict[str, Any]]:
        """None: nothing is written."""
        return []

    def ratings(self) -> list[dict[str, Any]]:
        """None: nobody really plays."""
        return []

    def match_games(
        self, evaluation: str | None = None, limit: int = 100, after: int | None = None
    ) -> list[dict[str, Any]]:
        """None, too."""
        return []


class FakeRun:
    """A run that emits plausible metrics, boards, alerts and evaluations while it is entered."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        history: int = 0,
        compile_seconds: float = 0.2,
        iteration_seconds: float = 0.5,
        board_seconds: float = 0.25,
        seed: int = 0,
    ) -> None:
        """``history``: iterations that lie in the past already. The rest: how fast it goes."""
        self.settings = settings or Settings()
        self.reader = FakeReader()
        self._state = RunState(RUN, self.settings, StartPoint())
        self.hub = Hub(self._state.status)
        self.checkpoint_age: float | None = None
        self._random = random.Random(seed)
        self._seconds = (compile_seconds, iteration_seconds, board_seconds)
        self._state.started -= history * iteration_seconds
        self._book = EvaluationBook(self._emit)
        self._cancelled: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._tasks: TaskGroup
        self._begun = anyio.Event()
        self._going = anyio.Event()
        self._changed = anyio.Event()
        self.ended = anyio.Event()
        for _ in range(history):
            self._state.update(self._next_iteration())

    async def start(self) -> Self:
        """Begin, as entering the block does; ``aclose`` may be called from another task."""
        self._task = asyncio.create_task(self._live())
        await self._begun.wait()
        return self

    async def aclose(self) -> None:
        """Stop; again if you like."""
        if self._task:
            self.stop()
            self._tasks.cancel_scope.cancel()
            await self._task

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _live(self) -> None:
        async with anyio.create_task_group() as self._tasks:
            for task in (self.hub.run, self._train, self._play):
                self._tasks.start_soon(task)
            self._begun.set()

    # ------------------------------------------------------------ what the server asks

    @property
    def state(self) -> State:
        """The state that it pretends to be in."""
        return self._state.state

    @property
    def step(self) -> int:
        """Plies that it pretends to have trained on."""
        return self._state.step

    def status(self) -> StatusReport:
        """Return what it pretends to do."""
        report = self._state.report(
            stopping=False,
            elapsed=self._state.iteration * self._seconds[1],
            phase="idle" if self.state == "paused" else "iteration",
            beat_age=0.0,
            clients=self.hub.clients,
            dropped=0,
            degraded=(),
        )
        return replace(report, checkpoint_age=self.checkpoint_age)

    def history(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Alerts, newest first."""
        return self.reader.events(limit, after)

    @asynccontextmanager
    async def subscribe(
        self, topics: Collection[Topic], after: str | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Encoded events."""
        with self.hub.subscribe(topics, after) as frames:
            yield frames

    def dismiss(self) -> None:
        """End the streams with ``bye``."""
        self.hub.dismiss()

    def submit(self, kind: Literal["pause", "resume", "checkpoint"]) -> None:
        """Take a command."""
        self._must_be("running", "paused")
        if kind == "checkpoint":
            self._change("checkpoint", self.state)
        elif kind == "pause":
            self._going = anyio.Event()
            self._change("paused", "paused")
        else:
            self._going.set()
            self._change("resumed", "running")

    def stop(self) -> None:
        """End: streams get ``bye``."""
        if not self.ended.is_set():
            self._change("stopped", "failed" if self.state == "failed" else "stopped")
            self._book.close()
            self.hub.close()
            self.ended.set()

    def fail(self, message: str = "made to fail") -> None:
        """Behave as a run whose worker raised."""
        self._going = anyio.Event()  # nothing goes on
        self._emit(Failed, message=message, type="RuntimeError")

    def alert(self, name: str, level: Literal["info", "warning", "error"], message: str) -> None:
        """Tell a person something."""
        alert = Alert(
            run=RUN, step=self.step, time=time.time(), name=name, level=level, message=message
        )
        self.reader.alerts.append(alert)
        self.hub.publish(alert)

    async def evaluate(self, spec: EvaluationSpec, key: str | None = None) -> EvaluationHandle:
        """Pretend to play a match, in a few seconds."""
        self._must_be("running", "paused")
        record, new = self._book.add(spec, key)
        if new:
            self._progress(record, spec, 0, "queued")
            self._tasks.start_soon(self._match, record, spec)
        return EvaluationHandle(record, self.cancel_evaluation)

    def evaluations(self) -> list[dict[str, Any]]:
        """All of them, newest first."""
        return self._book.list()

    def evaluation(self, id: str) -> dict[str, Any] | None:
        """One, or None."""
        record = self._book.get(id)
        return dict(record.fields) if record else None

    def follow_evaluation(self, id: str) -> AsyncGenerator[dict[str, Any], None]:
        """How it stands, again and again, to its end. Raises KeyError."""
        record = self._book.get(id)
        if record is None:
            raise KeyError(id)
        return record.follow()

    def cancel_evaluation(self, id: str) -> None:
        """End it early."""
        self._cancelled.add(id)

    async def until(self, state: State) -> None:
        """Wait for a state."""
        while self.state != state:
            self._changed = anyio.Event()
            await self._changed.wait()

    # ------------------------------------------------------------ what it pretends

    async def _train(self) -> None:
        compile_seconds, iteration_seconds, _ = self._seconds
        self._change("compiling", "compiling", "the first start takes about half a minute")
        await anyio.sleep(compile_seconds)
        self._change("running", "running")
        self._going.set()
        while True:
            await self._going.wait()
            self._publish(self._next_iteration())
            if self._state.iteration % 40 == 8:
                self.alert("first_mover_bias", "warning", "sente scored 0.58 of late")
            await anyio.sleep(iteration_seconds)

    async def _play(self) -> None:
        number = 0
        while True:
            number += 1
            value = 0.0
            for ply, (sfen, last) in enumerate(_scripted_game(number)):
                await self._going.wait()
                value = max(-0.98, min(0.98, value + self._random.gauss(0.004, 0.06)))
                self.hub.publish(self._board(number, ply, sfen, last, value))
                await anyio.sleep(self._seconds[2])

    async def _match(self, record: EvaluationRecord, spec: EvaluationSpec) -> None:
        ended = 0
        while ended < spec.games and record.id not in self._cancelled:
            await anyio.sleep(0.2)
            ended = min(spec.games, ended + max(2, spec.games // 16))
            self._progress(record, spec, ended, "running")
        self._progress(record, spec, ended, "cancelled" if record.id in self._cancelled else "done")

    def _next_iteration(self) -> Iteration:
        number = self._state.iteration + 1
        item = Iteration(
            run=RUN,
            step=number * STEPS,
            time=self._state.started + number * self._seconds[1],
            iteration=number,
            values=_values(number, self._random),
        )
        self.reader.iterations.append(item)
        return item

    def _board(self, game: int, ply: int, sfen: str, last: str | None, value: float) -> Board:
        moves = [move.to_usi() for move in RulesBoard(sfen).legal_moves()]
        chosen = self._random.sample(moves, min(5, len(moves)))
        shares = [0.46, 0.21, 0.11, 0.06, 0.03]
        return Board(
            run=RUN,
            step=self.step,
            time=time.time(),
            game=game,
            sfen=sfen,
            last_move=last,
            ply=ply,
            value=value if " b " in sfen else -value,
            top_moves=tuple(zip(chosen, shares, strict=False)),
        )

    def _progress(
        self,
        record: EvaluationRecord,
        spec: EvaluationSpec,
        ended: int,
        state: Literal["queued", "running", "done", "cancelled"],
    ) -> None:
        wins = round(ended * (0.9 if "random" in spec.opponents else 0.6))
        score = wins / ended if ended else None
        points = (np.arange(ended) < wins).astype(float)
        over = state in {"done", "cancelled"}
        reasons = {"wins": {"checkmate": wins}, "losses": {"checkmate": ended - wins}, "draws": {}}
        counts = {"wins": wins, "losses": ended - wins, "draws": 0, "capped": 0}
        self._book.change(
            record,
            state=state,
            progress=ended / spec.games,
            score=score,
            interval=score_interval(points, np.arange(ended)) if ended else None,
            result={**counts, "games": ended, "by_reason": reasons} if over else None,
        )

    def _must_be(self, *states: State) -> None:
        if self.state not in states:
            raise NotRunning(f"The run is {self.state}.")

    def _change(self, kind: Any, state: State, message: str = "") -> None:
        self._emit(Status, kind=kind, state=state, message=message)

    def _emit(self, kind: type[Event], /, **fields: Any) -> None:
        self._publish(kind(run=RUN, step=self.step, time=time.time(), **fields))

    def _publish(self, event: Event) -> None:
        self._state.update(event)
        self.hub.publish(event)
        self._changed.set()


def _scripted_game(number: int) -> Iterator[tuple[str, str | None]]:
    """(SFEN, move that led there) of each position of a game; always the same for a number."""
    chance = random.Random(number)
    board = RulesBoard()
    opening = OPENING.split()
    yield board.to_sfen(), None
    for ply in range(140):
        moves = board.legal_moves()
        if not moves:
            return
        captures = [move for move in moves if not board.is_square_empty(move.to_sq)]
        wild = chance.choice(captures if captures and chance.random() < 0.5 else moves)
        usi = opening[ply] if ply < len(opening) else wild.to_usi()
        board.apply_usi(usi)
        yield board.to_sfen(), usi


def _values(iteration: int, chance: random.Random) -> dict[str, float]:
    age = 1 - math.exp(-iteration / 220)
    truncated = max(0.0, 0.62 - 0.55 * age + chance.gauss(0, 0.02))
    declaration = max(0.0, 0.02 + 0.1 * age + chance.gauss(0, 0.012))
    repetition = max(0.0, 0.05 - 0.02 * age + chance.gauss(0, 0.008))
    return {
        "train/loss_policy": -0.02 + chance.gauss(0, 0.004),
        "train/loss_value": 1.06 - 0.42 * age + chance.gauss(0, 0.02),
        "train/entropy": 3.9 - 2.1 * age + chance.gauss(0, 0.03),
        "train/kl": abs(chance.gauss(0.012, 0.003)),
        "train/explained_variance": 0.6 * age + chance.gauss(0, 0.03),
        "games/length": 240 - 110 * age + chance.gauss(0, 4),
        "games/decisive": 1 - truncated - repetition,
        "games/checkmate": max(0.0, 1 - truncated - repetition - declaration),
        "games/repetition": repetition,
        "games/declaration": declaration,
        "games/truncated": truncated,
        "games/black_score": 0.52 + chance.gauss(0, 0.01),
        "speed/steps_per_second": 7100 + chance.gauss(0, 160) - 900 * (chance.random() < 0.03),
    }


def _column(name: str, iterations: list[Iteration]) -> dict[str, list[Any]]:
    held = [item for item in iterations if name in item.values]
    return {
        "iteration": [item.iteration for item in held],
        "step": [item.step for item in held],
        "time": [item.time for item in held],
        "value": [item.values[name] for item in held],
    }


async def _serve(port: int, run: FakeRun) -> None:
    end_streams_from_hub()
    sock = bind("127.0.0.1", port)
    with sock:
        print(address_of(sock), flush=True)  # noqa: T201 - the address is what a caller waits for
        async with run, anyio.create_task_group() as tasks:
            tasks.start_soon(run_server, create_app(run), sock, run.ended)
            await run.ended.wait()


def main() -> None:
    """Serve a fake run until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m keisei.testing", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8700, help="0 takes any free one")
    parser.add_argument("--history", type=int, default=0, help="iterations in the past")
    parser.add_argument("--compile", type=float, default=3.0, help="seconds to start")
    args = parser.parse_args()
    anyio.run(_serve, args.port, FakeRun(history=args.history, compile_seconds=args.compile))


if __name__ == "__main__":
    main()
