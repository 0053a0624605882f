"""Sinks: what is written, what is counted, and a slow sink that holds up nobody."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio import to_thread

from keisei.events import Board, Event, Game, Iteration, Log
from keisei.feed.outbox import KEPT
from keisei.feed.sinks import BlockingSink, BoardSink, DatabaseSink, Feed, Sink
from keisei.feed.supervise import Losses

pytestmark = pytest.mark.anyio

BOARD = Board(run="r", step=1, time=1.0, game=1, sfen="", last_move=None, ply=0, value=None)
LOG = Log(run="r", step=1, time=1.0, level="info", name="n", message="m")
GAME = Game(run="r", step=1, time=1.0, id=1, result="draw", reason="repetition", plies=9)
ITERATION = Iteration(run="r", step=1, time=1.0, iteration=1, values={})


class Store:
    """A database that writes everything but iterations without values."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []

    def append(self, events: Sequence[Event]) -> list[str]:
        self.batches.append(list(events))
        return ["metrics: no values" for event in events if event == ITERATION]

    def close(self) -> None:
        pass


async def test_boards_and_log_lines_do_not_reach_the_database() -> None:
    store = Store()
    sink = DatabaseSink(store, lambda *alert: None)
    await sink.write([BOARD, LOG])
    assert store.batches == []
    await sink.write([BOARD, ITERATION, LOG])
    assert store.batches == [[ITERATION]]


async def test_events_that_cannot_be_written_are_counted_and_reported_once() -> None:
    told: list[Any] = []
    sink = DatabaseSink(Store(), lambda *alert: told.append(alert))
    feed = Feed(sink)
    for _ in range(3):
        feed.put(ITERATION)
        feed.put(GAME)
    feed.close()
    await feed.run(lambda *alert: told.append(alert), Losses())
    assert feed.dropped == 3
    assert told == [("database", "error", "metrics: no values; such events are not stored")]


async def test_events_without_room_are_counted_and_only_the_first_is_told_to_the_caller() -> None:
    feed = Feed(DatabaseSink(Store(), lambda *alert: None))
    for _ in range(KEPT):
        assert feed.put(GAME)
    assert [feed.put(GAME) for _ in range(3)] == [False, True, True]
    assert feed.dropped == 3


class Threads(BlockingSink):
    """Keeps the events that it gets and the threads in which it was called."""

    name = "threads"

    def __init__(self, gate: threading.Event | None = None) -> None:
        super().__init__()
        self.events: list[Event] = []
        self.threads: list[threading.Thread] = []
        self.gate = gate
        self.entered = threading.Event()

    def write_blocking(self, events: Sequence[Event]) -> None:
        self.events += events
        self.threads.append(threading.current_thread())
        self.entered.set()
        if self.gate:
            self.gate.wait(5)

    def close_blocking(self) -> None:
        self.threads.append(threading.current_thread())


async def test_a_blocking_sink_works_outside_the_event_loop_s_thread() -> None:
    sink = Threads()
    feed = Feed(sink)
    assert isinstance(sink, Sink)
    feed.put(GAME)
    feed.close()
    await feed.run(lambda *alert: None, Losses())
    assert sink.events == [GAME]
    assert len(sink.threads) == 2, "it was not closed"
    assert threading.current_thread() not in sink.threads


async def test_a_blocking_sink_that_hangs_can_be_abandoned() -> None:
    gate = threading.Event()
    sink = Threads(gate)
    with anyio.fail_after(3):
        async with anyio.create_task_group() as group:
            group.start_soon(sink.write, [GAME])
            await to_thread.run_sync(sink.entered.wait, 3)
            group.cancel_scope.cancel()
    gate.set()


async def test_only_the_newest_board_is_written() -> None:
    written: list[Board] = []
    sink = BoardSink(written.append, lambda *alert: None)
    await sink.write([ITERATION, LOG])
    assert written == []
    newest = replace(BOARD, ply=2)
    await sink.write([BOARD, newest, ITERATION])
    assert written == [newest]


async def test_boards_that_cannot_be_written_are_counted_and_reported_once() -> None:
    told: list[Any] = []
    written: list[Board] = []

    def write(board: Board) -> None:
        if board.ply < 2:
            raise OSError("disk full")
        written.append(board)

    feed = Feed(BoardSink(write, lambda *alert: told.append(alert)))
    for ply in range(2):
        await feed.sink.write([replace(BOARD, ply=ply)])
    assert feed.dropped == 2
    assert told == [("board", "warning", "keisei watch shows no new boards: disk full")]
    await feed.sink.write([replace(BOARD, ply=2)])
    assert [board.ply for board in written] == [2]
