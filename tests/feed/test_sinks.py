"""What the sinks do with events."""

from collections.abc import Sequence
from typing import Any

import pytest

from keisei.events import Board, Event, Game, Iteration, Log
from keisei.feed.sinks import DatabaseSink, Feed
from keisei.feed.supervise import Losses

pytestmark = pytest.mark.anyio

BOARD = Board(run="r", step=1, time=1.0, game=1, sfen="", last_move=None, ply=0, value=None)
LOG = Log(run="r", step=1, time=1.0, level="info", name="n", message="m")
GAME = Game(run="r", step=1, time=1.0, id=1, result="draw", reason="repetition", plies=9)
ITERATION = Iteration(run="r", step=1, time=1.0, iteration=1, values={})


class Store:
    """Takes all but iterations without values."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []

    def append(self, events: Sequence[Event]) -> list[str]:
        self.batches.append(list(events))
        return ["metrics: no values" for event in events if event == ITERATION]

    def close(self) -> None:
        pass


async def test_the_databases_thread_is_not_woken_for_what_it_does_not_keep() -> None:
    store = Store()
    sink = DatabaseSink(store, lambda *alert: None)
    await sink.write([BOARD, LOG])
    assert store.batches == []
    await sink.write([BOARD, ITERATION, LOG])
    assert store.batches == [[ITERATION]]


async def test_what_cannot_be_written_is_counted_and_told_once() -> None:
    told: list[Any] = []
    sink = DatabaseSink(Store(), lambda *alert: told.append(alert))
    feed = Feed(sink)
    for _ in range(3):
        feed.put(ITERATION)
        feed.put(GAME)
    feed.close()
    await feed.run(lambda *alert: told.append(alert), Losses())
    assert feed.dropped == 3
    assert told == [("database", "error", "metrics: no values; what can't be written is left out")]
