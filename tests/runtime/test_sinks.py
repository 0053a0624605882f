"""What the sinks do with events."""

from collections.abc import Sequence

import pytest

from keisei.events import Board, Event, Iteration, Log
from keisei.runtime.sinks import DatabaseSink

pytestmark = pytest.mark.anyio

BOARD = Board(run="r", step=1, time=1.0, game=1, sfen="", last_move=None, ply=0, value=None)
LOG = Log(run="r", step=1, time=1.0, level="info", name="n", message="m")
ITERATION = Iteration(run="r", step=1, time=1.0, iteration=1, values={})


class Store:
    def __init__(self) -> None:
        self.batches: list[list[Event]] = []

    def append(self, events: Sequence[Event]) -> None:
        self.batches.append(list(events))

    def close(self) -> None:
        pass


async def test_the_databases_thread_is_not_woken_for_what_it_does_not_keep() -> None:
    store = Store()
    sink = DatabaseSink(store)
    await sink.write([BOARD, LOG])
    assert store.batches == []
    await sink.write([BOARD, ITERATION, LOG])
    assert store.batches == [[ITERATION]]
