"""The evaluations of a run: a record of each evaluation, and an event for each change."""

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import fields
from functools import cached_property
from itertools import dropwhile, islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from keisei.errors import InboxFull, KeyReused
from keisei.events import EVALUATION_ENDED, EVALUATION_OVER, Evaluation, tuples_as_lists

if TYPE_CHECKING:
    from keisei.evaluation.spec import EvaluationSpec

MAX_RECORDS = 1000
"""Maximum number of records. An old record is removed only if its evaluation has ended."""
MAX_UNFINISHED = 32
"""Maximum number of evaluations that have not ended."""
INTERRUPTED = (
    "the run ended before the end of this evaluation; keisei serve --resume continues both"
)

_EVENT_ONLY = {"event", "run", "step", "time"}
"""Fields of an Evaluation event that are not fields of a record."""


class EvaluationRecord:
    """The state, the players and the result of one evaluation. Event loop only."""

    def __init__(
        self, known: dict[str, Any], spec: "EvaluationSpec | None" = None, key: str | None = None
    ) -> None:
        """``known``: values of ``keisei.events.Evaluation``; missing fields get defaults."""
        self.spec = spec
        self.key = key
        """Idempotency key of the request; None if the request had no key."""
        self.done = anyio.Event()
        """Event that is set when this process has ended or interrupted the evaluation."""
        self._changed = anyio.Event()
        now = time.time()
        blank = Evaluation(run="", step=0, time=now, id=secrets.token_hex(4)).to_dict()
        self.fields = {key: value for key, value in blank.items() if key not in _EVENT_ONLY}
        self.fields |= {"created": now, "finished": None}
        self.fields |= tuples_as_lists(
            {key: known[key] for key in self.fields.keys() & known.keys()}
        )
        self.id: str = self.fields["id"]
        if self.fields["state"] in EVALUATION_OVER:
            self.done.set()
        else:
            self.fields["finished"] = None

    @cached_property
    def scope(self) -> anyio.CancelScope:
        """Cancel scope in which the evaluation plays."""
        return anyio.CancelScope()

    def cancel(self) -> None:
        """End the evaluation early. Does nothing if the evaluation has already ended."""
        if not self.done.is_set():
            self.scope.cancel()

    def change(self, **changed: Any) -> None:
        """Change fields; wake callers of ``follow``. ``EvaluationRecords.change`` also sends
        events."""
        self.fields |= tuples_as_lists(changed)
        if self.fields["state"] in EVALUATION_ENDED and not self.done.is_set():
            self.fields["finished"] = time.time()
            self.done.set()
        self._changed.set()
        self._changed = anyio.Event()

    async def follow(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the fields now and after changes, until the evaluation ends.

        If several changes happen before the reader asks again, the reader gets only the newest
        fields.
        """
        while True:
            changed, over = self._changed, self.done.is_set()
            yield dict(self.fields)
            if over:
                return
            await changed.wait()


class EvaluationHandle:
    """A started evaluation. Iterate over the handle to follow the evaluation's changes.

    ``await handle.result()`` waits for the end. Leaving the handle's ``async with`` block cancels
    the evaluation, unless the evaluation has ended.
    """

    def __init__(self, record: EvaluationRecord) -> None:
        self.id = record.id
        self._record = record

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.cancel()
        with anyio.CancelScope(shield=True):
            await self._record.done.wait()

    def __aiter__(self) -> AsyncGenerator[dict[str, Any], None]:
        return self._record.follow()

    def cancel(self) -> None:
        """End the evaluation early. Does nothing if the evaluation has already ended."""
        self._record.cancel()

    async def result(self) -> dict[str, Any]:
        """Wait for the end of the evaluation; return all fields of its record."""
        await self._record.done.wait()
        return dict(self._record.fields)


class EvaluationRecords:
    """The newest ``MAX_RECORDS`` evaluations of a run. Event loop only."""

    def __init__(self, publish: Callable[..., None]) -> None:
        """``publish(Evaluation, id=..., ...)`` sends an event."""
        self._publish = publish
        self._records: dict[str, EvaluationRecord] = {}

    def add(self, spec: "EvaluationSpec", key: str | None) -> tuple[EvaluationRecord, bool]:
        """Return a record, and whether the record is new.

        If a record with this ``key`` exists, that record is returned. Raises KeyReused if its spec
        differs from ``spec``. Raises InboxFull if ``MAX_UNFINISHED`` evaluations have not ended.
        """
        if key is not None:
            for known in self._records.values():
                if known.key == key:
                    if known.spec != spec:
                        raise KeyReused(f"idempotency key {key!r} was used for another request")
                    return known, False
        if sum(not record.done.is_set() for record in self._records.values()) >= MAX_UNFINISHED:
            raise InboxFull(
                f"{MAX_UNFINISHED} evaluations already wait or play: try again when one has ended"
            )
        fields = {
            "strategy": spec.strategy,
            "opponent": ", ".join(spec.opponents) or spec.strategy,
            "games": spec.games,
            "spec": spec.to_dict(),
        }
        record = EvaluationRecord(fields, spec, key)
        self._records[record.id] = record
        ended = [old.id for old in self._records.values() if old.done.is_set()]
        for id in ended[: max(0, len(self._records) - MAX_RECORDS)]:
            del self._records[id]
        return record, True

    def change(self, record: EvaluationRecord, **changed: Any) -> None:
        """Change a record, then send the record's fields as an event."""
        record.change(**changed)
        names = {field.name for field in fields(Evaluation)}
        self._publish(Evaluation, **{name: record.fields[name] for name in names - _EVENT_ONLY})

    def restore(self, rows: Sequence[dict[str, Any]]) -> list[EvaluationRecord]:
        """Add a record for each of the newest ``MAX_RECORDS`` database rows.

        ``rows``: newest first.
        Return the records of evaluations that have not ended.
        """
        for row in reversed(rows[:MAX_RECORDS]):
            self._records[row["id"]] = EvaluationRecord(row)
        return [record for record in self._records.values() if not record.done.is_set()]

    def update(self, row: dict[str, Any]) -> None:
        """Add or change the record of a database row that another process wrote; send an event."""
        record = self._records.setdefault(row["id"], EvaluationRecord(row))
        self.change(record, **{key: row[key] for key in record.fields.keys() & row.keys()})
        record.fields["finished"] = row["finished"]

    def drop(self, record: EvaluationRecord) -> None:
        """Remove the record of an evaluation that could not be started."""
        del self._records[record.id]

    def get(self, id: str) -> EvaluationRecord | None:
        """Return the record with this id, or None."""
        return self._records.get(id)

    def list(self, limit: int = MAX_RECORDS, after: str | None = None) -> list[dict[str, Any]]:
        """Return the fields of at most ``limit`` records, newest first.

        ``after``: return only records that are older than the record with this id. The list is
        empty if there is no such record.
        """
        newest_first = iter(reversed(self._records.values()))
        if after is not None:
            newest_first = dropwhile(lambda record: record.id != after, newest_first)
            next(newest_first, None)
        return [dict(record.fields) for record in islice(newest_first, limit)]

    def close(self) -> None:
        """Set unfinished evaluations to ``interrupted``, because the run has ended."""
        for record in self._records.values():
            if not record.done.is_set():
                record.change(state="interrupted", message=INTERRUPTED)


class EvaluationMethods(ABC):
    """Methods by which the users of a run read, follow and cancel the run's evaluations."""

    @property
    @abstractmethod
    def evaluation_records(self) -> EvaluationRecords:
        """Records of the run's evaluations. Raises NotRunning if the run has not been opened."""

    def evaluations(self) -> list[dict[str, Any]]:
        """Return the fields of the run's evaluations, newest first."""
        return self.evaluation_records.list()

    def evaluation(self, id: str) -> dict[str, Any] | None:
        """Return the fields of one evaluation, or None if no evaluation has this id."""
        record = self.evaluation_records.get(id)
        return dict(record.fields) if record else None

    def follow_evaluation(self, id: str) -> AsyncGenerator[dict[str, Any], None]:
        """Yield an evaluation's fields, now and after changes; see ``EvaluationRecord.follow``.

        Raises KeyError.
        """
        return self._record(id).follow()

    def cancel_evaluation(self, id: str) -> None:
        """End an evaluation early, unless the evaluation has ended. Raises KeyError."""
        self._record(id).cancel()

    def _record(self, id: str) -> EvaluationRecord:
        record = self.evaluation_records.get(id)
        if record is None:
            raise KeyError(id)
        return record
