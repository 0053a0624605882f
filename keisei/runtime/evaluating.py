"""The evaluations of a run that is training: each a task on the loop, its networks on the device thread."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Evaluation
from keisei.runtime.arena import DeviceArena
from keisei.runtime.book import Book, Record
from keisei.runtime.errors import NotRunning
from keisei.runtime.queues import Mailbox
from keisei.runtime.tournament import Progress, Tournament
from keisei.store.matches import MatchGame, MatchTable

AT_ONCE = 4
"""Evaluations played side by side; more wait for their turn."""


class Evaluations:
    """Starts, follows and ends the evaluations of a run."""

    def __init__(self, run: Path, mailbox: Mailbox, book: Book, emit: Callable[..., None]) -> None:
        """``emit(Evaluation, id=..., ...)`` tells everybody."""
        self.values: dict[str, float] = {}
        """Metrics of the evaluation that ended last."""
        self._run, self._mailbox, self._book, self._emit = run, mailbox, book, emit
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
            self._tell(record, "queued")
            self._group.start_soon(self._evaluate, record, spec)
        return record

    def cancel(self, id: str) -> None:
        """End one early; nothing happens if it has ended. Raises KeyError."""
        record = self._book.get(id)
        if record is None:
            raise KeyError(id)
        if not record.done.is_set() and id in self._scopes:
            self._scopes[id].cancel()

    async def _evaluate(self, record: Record, spec: EvaluationSpec) -> None:
        tournament = Tournament(
            spec,
            self._arena,
            show=partial(self._show, record),
            keep=partial(keep_games, self._run, record.id),
        )
        state = "cancelled"
        more: dict[str, Any] = {}
        with anyio.CancelScope() as self._scopes[record.id]:
            try:
                async with self._places:
                    result = await tournament.run()
                state, more = "done", {"result": result}
            except NotRunning:
                more = {"message": "the run ended"}
            except Exception as error:  # noqa: BLE001 (it becomes the evaluation's result)
                state, more = "failed", {"message": _text(error)}
        del self._scopes[record.id]
        if state == "done":
            self.values = {"eval/score": record.fields["score"]}
        self._tell(record, state, **more)

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


def keep_games(run: Path, evaluation: str, games: list[MatchGame]) -> None:
    """Write games to the run's database. Blocking. Raises DatabaseError."""
    with closing(MatchTable(run)) as table:
        table.add(evaluation, games)


def _text(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
