"""The record of an evaluation: it changes in one place, is then published, and can be followed."""

from typing import Any

import anyio
import pytest

from keisei.errors import InboxFull, KeyReused
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Evaluation
from keisei.runtime import evaluation_records as module
from keisei.runtime.evaluation_records import (
    EvaluationHandle,
    EvaluationMethods,
    EvaluationRecord,
    EvaluationRecords,
)

pytestmark = pytest.mark.anyio


class Published:
    """Evaluation records, and the events that they published."""

    def __init__(self) -> None:
        self.events: list[Evaluation] = []
        self.records = EvaluationRecords(self.publish)

    def publish(self, kind: Any, **fields: Any) -> None:
        self.events.append(kind(run="run", step=0, time=0.0, **fields))


@pytest.fixture
def published() -> Published:
    return Published()


async def test_a_slow_follower_still_sees_the_end() -> None:
    record = EvaluationRecord({})
    changes = record.follow()
    states = [(await anext(changes))["state"]]
    record.change(state="running")
    record.change(state="done")  # while the reader was busy
    states += [found["state"] async for found in changes]
    assert states == ["queued", "done"]


async def test_a_change_is_in_the_record_before_it_is_published(published: Published) -> None:
    record, _ = published.records.add(EvaluationSpec(games=4), None)
    record.change(measured=512, players={"current": "checkpoints/000000000512"})
    published.records.change(record, state="running", progress=0.5, score=0.75)
    (event,) = published.events
    assert event.measured == 512, "fields that changed before are published too"
    assert event.players == {"current": "checkpoints/000000000512"}
    assert (event.id, event.state, event.progress) == (record.id, "running", 0.5)
    found = event.to_dict()
    assert {name: found[name] for name in found.keys() & record.fields.keys()} == {
        name: record.fields[name] for name in found.keys() & record.fields.keys()
    }


async def test_the_time_of_the_end_is_set_once(published: Published) -> None:
    record, _ = published.records.add(EvaluationSpec(games=4), None)
    assert record.fields["finished"] is None
    published.records.change(record, state="done")
    finished = record.fields["finished"]
    assert finished is not None
    published.records.close()
    assert (record.fields["state"], record.fields["finished"]) == ("done", finished)


async def test_closing_the_book_interrupts_evaluations_that_have_not_ended(
    published: Published,
) -> None:
    record, _ = published.records.add(EvaluationSpec(games=4), None)
    published.records.close()
    assert record.done.is_set()
    assert record.fields["state"] == "interrupted"
    assert "--resume" in record.fields["message"]


async def test_the_same_key_gives_the_same_evaluation(published: Published) -> None:
    record, new = published.records.add(EvaluationSpec(games=4), "key")
    assert new
    assert published.records.add(EvaluationSpec(games=4), "key") == (record, False)
    with pytest.raises(KeyReused, match="'key'"):
        published.records.add(EvaluationSpec(games=6), "key")


async def test_too_many_unfinished_evaluations_are_refused(published: Published) -> None:
    for _ in range(module.MAX_UNFINISHED):
        record, _ = published.records.add(EvaluationSpec(games=4), None)
    with pytest.raises(InboxFull, match="32 evaluations"):
        published.records.add(EvaluationSpec(games=4), None)
    published.records.change(record, state="done")
    published.records.add(EvaluationSpec(games=4), None)


async def test_only_ended_evaluations_make_room(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS", 2)
    first, _ = published.records.add(EvaluationSpec(games=4), None)
    second, _ = published.records.add(EvaluationSpec(games=4), None)
    published.records.change(second, state="done")
    third, _ = published.records.add(EvaluationSpec(games=4), None)
    assert [row["id"] for row in published.records.list()] == [third.id, first.id]


async def test_restored_evaluations_go_on_unless_they_had_ended(published: Published) -> None:
    rows = [{"id": "b", "state": "running", "games": 8}, {"id": "a", "state": "done"}]
    unfinished = published.records.restore(rows)
    assert [record.id for record in unfinished] == ["b"]
    assert [row["id"] for row in published.records.list()] == ["b", "a"]
    assert not unfinished[0].done.is_set()


async def test_rows_of_another_process_are_added_changed_and_published(
    published: Published,
) -> None:
    row = {"id": "a", "state": "running", "created": 1.0, "finished": None, "games": 8}
    published.records.update(row)
    record = published.records.get("a")
    assert record
    published.records.update(row | {"state": "done", "score": 0.5, "finished": 2.0})
    assert record.done.is_set()
    assert (record.fields["score"], record.fields["created"], record.fields["finished"]) == (
        0.5,
        1.0,
        2.0,
    )
    assert [event.state for event in published.events] == ["running", "done"]


async def test_leaving_a_handles_block_cancels_its_evaluation(published: Published) -> None:
    record, _ = published.records.add(EvaluationSpec(games=4), None)

    async def play() -> None:
        with record.scope:
            await anyio.sleep_forever()
        published.records.change(record, state="cancelled")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(play)
        async with EvaluationHandle(record) as handle:
            assert not record.done.is_set()
    assert (await handle.result())["state"] == "cancelled"
    async with handle:  # it has ended, so nothing is cancelled
        pass
    assert [event.state for event in published.events] == ["cancelled"]


class Run(EvaluationMethods):
    """A run that is only its evaluations."""

    def __init__(self, records: EvaluationRecords) -> None:
        self._records = records

    @property
    def evaluation_records(self) -> EvaluationRecords:
        return self._records


async def test_a_run_lists_follows_and_cancels_the_evaluations_of_its_book(
    published: Published,
) -> None:
    run = Run(published.records)
    record, _ = published.records.add(EvaluationSpec(games=4), None)
    other, _ = published.records.add(EvaluationSpec(games=6), None)
    assert [found["id"] for found in run.evaluations()] == [other.id, record.id]
    assert run.evaluation(record.id) == record.fields
    assert await anext(run.follow_evaluation(record.id)) == record.fields
    run.cancel_evaluation(record.id)
    assert record.scope.cancel_called
    assert not other.scope.cancel_called


async def test_an_ended_evaluation_is_not_cancelled(published: Published) -> None:
    record, _ = published.records.add(EvaluationSpec(games=4), None)
    published.records.change(record, state="done")
    Run(published.records).cancel_evaluation(record.id)
    assert not record.scope.cancel_called


async def test_an_unknown_evaluation_is_none_and_cannot_be_followed_or_cancelled(
    published: Published,
) -> None:
    run = Run(published.records)
    assert run.evaluation("nope") is None
    for method in (run.follow_evaluation, run.cancel_evaluation):
        with pytest.raises(KeyError, match="nope"):
            method("nope")
