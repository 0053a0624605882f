"""The evaluations of a run that is training: each a task on the loop, its networks on the device thread."""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from keisei.config import Settings
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Evaluation
from keisei.runtime.arena import DeviceArena
from keisei.runtime.book import Book, Record
from keisei.runtime.errors import InboxFull, NotRunning
from keisei.runtime.queues import Mailbox
from keisei.runtime.ratings import refit
from keisei.runtime.tournament import Progress, Tournament
from keisei.store import DatabaseError
from keisei.store.matches import MatchGame, MatchTable

AT_ONCE = 4
"""Evaluations played side by side; more wait for their turn."""


class Evaluations:
    """Starts, follows and ends the evaluations of a run."""

    def __init__(
        self,
        run: Path,
        settings: Settings,
        step: int,
        mailbox: Mailbox,
        book: Book,
        emit: Callable[..., None],
    ) -> None:
        """``emit(Evaluation, id=..., ...)`` tells everybody; ``step``: where training begins."""
        self.values: dict[str, float] = {}
        """Metrics of the evaluation that ended last."""
        self._run, self._mailbox, self._book, self._emit = run, mailbox, book, emit
        self._settings, self._step, self._due = settings, step, time.monotonic()
        self._regular: Record | None = None
        self._arena = DeviceArena(mailbox)
        self._places = anyio.Semaphore(AT_ONCE)
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._open = anyio.Event()

    async def host(self, until: Callable[[], Any]) -> None:
        """Let evaluations be played until ``until()`` returns; those still in play are cancelled."""
        async with anyio.create_task_group() as self._group:
            self._open.set()
            await until()
            self._group.cancel_scope.cancel()

    async def start(self, spec: EvaluationSpec, key: str | None) -> Record:
        """Begin one; the same key again gives the same. Raises InboxFull, KeyReused, NotRunning."""
        await self._open.wait()
        record, new = self._book.add(spec, key)
        if new:
            if self._mailbox.closed:
                self._book.drop(record)
                raise NotRunning("the run has ended")
            self._scopes[record.id] = anyio.CancelScope()
            self._tell(record, "queued")
            self._group.start_soon(self._evaluate, record, spec)
        return record

    def note(self, step: int) -> None:
        """Training has reached a step: begin the regular evaluation if it is due.

        One that is still played when the next is due takes its place.
        """
        settings, before, self._step = self._settings.evaluation, self._step, step
        due = settings.every_steps and step // settings.every_steps > before // settings.every_steps
        if settings.every_minutes and time.monotonic() - self._due >= 60 * settings.every_minutes:
            self._due, due = time.monotonic(), True
        if due and self._open.is_set() and (self._regular is None or self._regular.done.is_set()):
            self._group.start_soon(self._begin_regular)

    async def _begin_regular(self) -> None:
        with suppress(InboxFull, NotRunning):  # as many as may wait do; the run ends
            self._regular = await self.start(regular_spec(self._settings), None)

    def cancel(self, id: str) -> None:
        """End one early; nothing happens if it has ended. Raises KeyError."""
        record = self._book.get(id)
        if record is None:
            raise KeyError(id)
        if id in self._scopes:
            self._scopes[id].cancel()

    async def _evaluate(self, record: Record, spec: EvaluationSpec) -> None:
        tournament = Tournament(
            spec,
            self._arena,
            show=partial(self._show, record),
            keep=partial(keep_games, self._run, record.id),
        )
        state, more = "cancelled", {"message": "the run ended"}
        try:
            with self._scopes[record.id] as scope:
                async with self._places:
                    result = await tournament.run()
                state, more = "done", await self._rate(result)
            if scope.cancelled_caught:
                more = {}
        except NotRunning:
            pass
        except Exception as error:  # noqa: BLE001 (it becomes the evaluation's result)
            state, more = "failed", {"message": _text(error)}
        finally:
            del self._scopes[record.id]
            self._tell(record, state, **more)

    async def _rate(self, result: dict[str, Any]) -> dict[str, Any]:
        """Rate everybody anew; the result, ready to be told."""
        values = {"eval/score": result.get("score"), "eval/elo": result.get("elo")}
        self.values = {name: value for name, value in values.items() if value is not None}
        try:
            await to_thread.run_sync(refit, self._run)
        except DatabaseError as error:
            return {"result": result, "message": f"the ratings were not kept: {error}"}
        return {"result": result}

    def _show(self, record: Record, progress: Progress) -> None:
        self._tell(
            record,
            "running",
            games=progress.games,
            progress=progress.ended / progress.games,
            score=progress.score,
            interval=progress.interval,
        )

    def _tell(self, record: Record, state: str, **more: Any) -> None:
        names = ("id", "opponent", "strategy", "games", "progress", "score", "interval", "spec")
        known = {name: record.fields[name] for name in names}
        self._emit(Evaluation, **known | {"state": state} | more)


def regular_spec(settings: Settings) -> EvaluationSpec:
    """The evaluation that is due again and again. Raises ValueError naming the setting."""
    wanted = settings.evaluation
    try:
        return EvaluationSpec(
            opponents=tuple(wanted.engines.get(name, name) for name in wanted.opponents),
            strategy=wanted.strategy,
            games=wanted.games,
            max_ply=wanted.max_ply,
            declaration=settings.env.declaration,
            concurrency=wanted.concurrency,
        )
    except ValueError as error:
        raise ValueError(f"evaluation.{error}") from None


def keep_games(run: Path, evaluation: str, games: list[MatchGame]) -> None:
    """Write games to the run's database. Blocking. Raises DatabaseError."""
    with closing(MatchTable(run)) as table:
        table.add(evaluation, games)


def _text(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
