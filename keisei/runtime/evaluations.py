"""Plays the evaluations of a run beside its training."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from keisei.errors import NotRunning
from keisei.evaluation.spec import CURRENT, EvaluationSpec
from keisei.play.archive import Archive
from keisei.play.arena import DeviceArena
from keisei.play.evaluation import Ending, describe, play_to_the_end
from keisei.play.mailbox import Mailbox
from keisei.play.networks import LoadedNetwork
from keisei.play.tournament import Progress, Tournament
from keisei.runtime.evaluation_records import INTERRUPTED, EvaluationRecord, EvaluationRecords
from keisei.runtime.named import NamedCheckpoints
from keisei.store import DatabaseError, RunDirectory
from keisei.store.layout import CHECKPOINTS

AT_ONCE = 4
"""Maximum number of evaluations that play at the same time; the others wait in a queue."""


class Evaluations:
    """Starts, plays and ends the evaluations of a run. Event loop only.

    Each evaluation is a task on the event loop; all networks compute on the device thread.
    """

    def __init__(
        self,
        run: RunDirectory,
        mailbox: Mailbox,
        records: EvaluationRecords,
        unfinished: Sequence[EvaluationRecord] = (),
    ) -> None:
        """``unfinished``: evaluations of earlier processes, which ``play`` continues."""
        self.values: dict[str, float] = {}
        """Score and Elo of the last completed evaluation that was not a test for promotion."""
        self._run, self._mailbox, self._records = run, mailbox, records
        self._named = NamedCheckpoints(run)
        self._unfinished = unfinished
        self._places = anyio.Semaphore(AT_ONCE)
        self._open = anyio.Event()
        for record in unfinished:
            self._pin(record)

    @asynccontextmanager
    async def play(self) -> AsyncIterator[None]:
        """Play evaluations until the block ends. Then interrupt the evaluations in progress."""
        async with anyio.create_task_group() as self._group:
            self._open.set()
            for record in self._unfinished:
                self._begin(record)
            try:
                yield
            finally:
                self._group.cancel_scope.cancel()

    async def start(self, spec: EvaluationSpec, key: str | None = None) -> EvaluationRecord:
        """Start an evaluation and return its record.

        If a record with this ``key`` exists, start nothing and return that record.
        Raises InboxFull, KeyReused, NotRunning.
        """
        await self._open.wait()
        record, new = self._records.add(spec, key)
        if new:
            if self._mailbox.closed:
                self._records.drop(record)
                raise NotRunning("the run has ended")
            self._begin(record)
        return record

    def start_soon(self, start: Callable[[], Any]) -> None:
        """Run ``start``, a coroutine function that starts evaluations, in a new task."""
        if self._open.is_set():
            self._group.start_soon(start)

    def _begin(self, record: EvaluationRecord) -> None:
        self._records.change(record, state="queued", message="")
        self._group.start_soon(self._evaluate, record)

    async def _evaluate(self, record: EvaluationRecord) -> None:
        """Play one evaluation. Write the final state into the record, even after an exception."""
        archive = Archive(self._run.path, record.id)
        end: dict[str, Any] = {"state": "interrupted", "message": INTERRUPTED}
        try:
            with record.scope as scope:
                async with self._places:
                    ending = await self._play(record, archive)
                end = await self._settle(record, archive, ending)
            if scope.cancelled_caught:
                # If the run ends during the rating, the state is still "cancelled".
                end = {"state": "cancelled"}
                end["message"] = await _rate(archive)
        except NotRunning:
            if scope.cancel_called:
                end = {"state": "cancelled"}
        except Exception as error:  # noqa: BLE001 (the error becomes the evaluation's result)
            end = {"state": "failed", "message": _join(describe(error), await _rate(archive))}
        finally:
            if end["state"] != "interrupted":
                self._run.pinned.pop(record.id, None)
            self._records.change(record, **end)

    async def _play(self, record: EvaluationRecord, archive: Archive) -> Ending:
        spec = record.spec or EvaluationSpec.from_dict(record.fields["spec"])
        known = record.fields["players"]
        players = known | await to_thread.run_sync(self._named.resolve, spec, known)
        self._know(record, players=players)
        tournament = Tournament(
            spec,
            _Arena(self._mailbox, self._run.path, partial(self._took_weights, record)),
            names={name: self._named.absolute(found) for name, found in players.items()},
            on_progress=partial(self._on_progress, record),
            keep=archive.add,
            kept=await to_thread.run_sync(archive.games),
        )
        return await play_to_the_end(tournament)

    def _took_weights(self, record: EvaluationRecord, step: int) -> None:
        current = self._named.relative(self._run.checkpoint(step))
        players = record.fields["players"] | {CURRENT: current}
        self._know(record, measured=step, players=players)

    def _know(self, record: EvaluationRecord, **known: Any) -> None:
        """Write the players' checkpoints, or other fields, into the record. Pin the checkpoints."""
        record.change(**known)
        self._pin(record)

    def _pin(self, record: EvaluationRecord) -> None:
        """Pin the run's checkpoints that play in this evaluation, so that they are not pruned."""
        own = [path for path in record.fields["players"].values() if path.startswith(CHECKPOINTS)]
        self._run.pinned[record.id] = {int(Path(path).name) for path in own}

    async def _settle(
        self, record: EvaluationRecord, archive: Archive, ending: Ending
    ) -> dict[str, Any]:
        """Rate the players, and promote ``current`` if a test for promotion has accepted it.

        Return the new fields of the record.
        """
        result, message = ending.result, _join(ending.message, await _rate(archive))
        if ending.state == "failed":
            return {"state": "failed", "result": result or None, "message": message}
        if not record.fields["spec"].get("promote"):
            values = {"eval/score": result.get("score"), "eval/elo": result.get("elo")}
            self.values = {name: value for name, value in values.items() if value is not None}
        elif result.get("sprt", {}).get("decision") == "accept":
            done = await to_thread.run_sync(self._named.promote, record.fields["players"])
            message = _join(message, f"{result['agent']} {done}")
        return {"state": "done", "result": result, "message": message, "progress": 1.0}

    def _on_progress(self, record: EvaluationRecord, progress: Progress) -> None:
        self._records.change(record, state="running", **progress.to_fields())


class _Arena(DeviceArena):
    """A ``DeviceArena`` that reports the step of the weights copied for ``current``."""

    def __init__(self, mailbox: Mailbox, run: Path, on_copy: Callable[[int], None]) -> None:
        """``on_copy`` is called with the step of the copied weights."""
        super().__init__(mailbox)
        self._run, self._on_copy = run, on_copy

    async def open(self, source: str) -> LoadedNetwork:
        network = await super().open(source)
        if source == CURRENT:
            self._on_copy(network.step)
            return replace(network, home=self._run)
        return network


async def _rate(archive: Archive) -> str:
    """Rate all players of the run. Return ``""``, or the reason why the ratings were not stored."""
    try:
        await to_thread.run_sync(archive.rate)
    except DatabaseError as error:
        return f"the ratings were not stored: {error}"
    return ""


def _join(*texts: str) -> str:
    return "; ".join(filter(None, texts))
