"""Events as objects, for readers inside the program."""

from typing import Any

import anyio
import pytest

from keisei.events import Event, Failed, Iteration, Log, Reset
from keisei.feed.readers import Readers

pytestmark = pytest.mark.anyio


def reset() -> Reset:
    return Reset(run="r", step=0, time=0.0, state="running")


def metric(step: int) -> Event:
    return Iteration(run="r", step=step, time=0.0, iteration=step, values={})


def failed() -> Event:
    return Failed(run="r", step=9, time=0.0, type="ValueError", message="no")


async def rest(events: Any) -> list[Event]:
    with anyio.fail_after(2):
        return [event async for event in events]


async def test_a_reader_gets_the_events_of_its_topics_from_its_call_to_the_end_of_the_run() -> None:
    readers = Readers(reset)
    events = readers.read({"metrics"})
    readers.publish(metric(1))
    readers.publish(Log(run="r", step=2, time=0.0, name="", level="info", message=""))
    readers.close()
    assert [event.step for event in await rest(events)] == [1]
    assert await rest(readers.read({"metrics"})) == []


async def test_a_reader_that_falls_behind_gets_reset_and_goes_on_with_the_newest() -> None:
    readers = Readers(reset, buffer=10)
    slow = readers.read({"metrics"})
    for step in range(25):
        readers.publish(metric(step))
    readers.close()
    got = await rest(slow)
    assert isinstance(got[0], Reset)
    assert got[-1].step == 24
    assert len(got) <= 11
    assert sum(isinstance(event, Reset) for event in got) == 1


async def test_failed_reaches_readers_of_all_topics_as_the_last_event() -> None:
    readers = Readers(reset)
    before = readers.read({"board"})
    readers.publish(failed())
    after = readers.read({"board"})
    for events in (before, after):
        (only,) = await rest(events)
        assert isinstance(only, Failed)


async def test_a_dropped_iterator_leaves_nothing_behind() -> None:
    readers = Readers(reset)
    for _ in range(10):
        readers.read({"metrics"})
    assert len(readers._readers) == 0
