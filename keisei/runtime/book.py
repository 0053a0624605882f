"""The loop's record of the evaluations of a run."""

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from keisei.errors import InboxFull, KeyReused
from keisei.events import EVALUATION_ENDED, EVALUATION_OVER, Evaluation, Event, Failed

if TYPE_CHECKING:
    from keisei.evaluation.spec import EvaluationSpec

KEPT = 1000
INTERRUPTED = "the run ended before this did; keisei serve --resume goes on with it"
UNDONE = 32


class Record:
    """One evaluation."""

    def __init__(
        self, fields: dict[str, Any], spec: "EvaluationSpec | None" = None, key: str | None = None
    ) -> None:
        """``fields``: what is known of it, which is shown beside the defaults."""
        self.spec = spec
        self.key = key
        self.done = anyio.Event()
        self._changed = anyio.Event()
        now = time.time()
        blank = Evaluation(run="", step=0, time=now, id=secrets.token_hex(4)).to_dict()
        self.fields = {**blank, "created": now, "finished": None}
        for name in ("event", "run", "step", "time"):  # of an event, not of what it tells of
            del self.fields[name]
        self.fields |= {key: fields[key] for key in self.fields.keys() & fields.keys()}
        self.id: str = self.fields["id"]
        if self.fields["state"] in EVALUATION_OVER:
            self.done.set()
        else:
            self.fields["finished"] = None

    def note(self, fields: dict[str, Any]) -> None:
        """Take over what is new, but not who plays: events tell of that later than ``fields`` know."""
        keys = self.fields.keys() & fields.keys() - {"measured", "players"}
        self.fields |= {key: fields[key] for key in keys}
        self._changed.set()
        self._changed = anyio.Event()
        if self.fields["state"] in EVALUATION_ENDED and not self.done.is_set():
            self.fields["finished"] = time.time()
            self.done.set()

    async def follow(self) -> AsyncGenerator[dict[str, Any], None]:
        """How it stands now and after each change, to its end; a slow reader misses some between."""
        while True:
            changed, over = self._changed, self.done.is_set()
            yield dict(self.fields)
            if over:
                return
            await changed.wait()


class EvaluationHandle:
    """An evaluation that was started. ``async for`` tells how it stands, to its end."""

    def __init__(self, record: Record, cancel: Callable[[str], None]) -> None:
        self.id = record.id
        self._record = record
        self._cancel = cancel

    def __aiter__(self) -> AsyncGenerator[dict[str, Any], None]:
        return self._record.follow()

    def cancel(self) -> None:
        """End it early; nothing happens if it has ended."""
        self._cancel(self.id)

    async def result(self) -> dict[str, Any]:
        """Wait for the end; state, score, interval, counts and ends by reason."""
        await self._record.done.wait()
        return dict(self._record.fields)


class Book:
    """All evaluations of a run, up to the newest ``KEPT``."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def add(self, spec: "EvaluationSpec", key: str | None) -> tuple[Record, bool]:
        """A record for ``spec``, and whether it is new: the same key gives the same record.

        Raises KeyReused, InboxFull.
        """
        if key is not None:
            for known in self._records.values():
                if known.key == key:
                    if known.spec != spec:
                        raise KeyReused(f"idempotency key {key!r} was used for another request")
                    return known, False
        if sum(not record.done.is_set() for record in self._records.values()) >= UNDONE:
            raise InboxFull(f"{UNDONE} evaluations already wait")
        fields = {
            "strategy": spec.strategy,
            "opponent": ", ".join(spec.opponents) or spec.strategy,
            "games": spec.games,
            "spec": spec.to_dict(),
        }
        record = Record(fields, spec, key)
        self._records[record.id] = record
        ended = [old.id for old in self._records.values() if old.done.is_set()]
        for id in ended[: max(0, len(self._records) - KEPT)]:
            del self._records[id]
        return record, True

    def restore(self, rows: Sequence[dict[str, Any]]) -> list[Record]:
        """Show what was kept of the run's earlier processes, newest first. Returns what goes on."""
        for row in reversed(rows[:KEPT]):
            self._records[row["id"]] = Record(row)
        return [record for record in self._records.values() if not record.done.is_set()]

    def drop(self, record: Record) -> None:
        """Forget one that could not be started."""
        del self._records[record.id]

    def note(self, event: Event) -> None:
        """Take over an event of the device thread."""
        if isinstance(event, Failed):  # those that the thread never took would wait for ever
            self.close()
        elif isinstance(event, Evaluation) and event.id in self._records:
            self._records[event.id].note(event.to_dict())

    def get(self, id: str) -> Record | None:
        """One of them."""
        return self._records.get(id)

    def list(self) -> list[dict[str, Any]]:
        """All, newest first."""
        return [dict(record.fields) for record in reversed(self._records.values())]

    def close(self) -> None:
        """The device thread is gone: what has not ended never will."""
        for record in self._records.values():
            if not record.done.is_set():
                record.note({"state": "interrupted", "message": INTERRUPTED})
