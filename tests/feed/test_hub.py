"""Server-sent events: ids, resuming by id, resets, slow clients."""

import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from keisei.events import Alert, Board, Evaluation, Event, Iteration, Status
from keisei.feed.hub import Hub

pytestmark = pytest.mark.anyio


def describe(kind: Any) -> Status:
    return Status(run="r", step=0, time=0.0, kind=kind, state="running")


def metric(step: int) -> Event:
    return Iteration(run="r", step=step, time=0.0, iteration=step, values={"train/kl": 0.1})


def board(step: int) -> Event:
    return Board(
        run="r", step=step, time=0.0, game=1, sfen="s", last_move=None, ply=0, value=float("nan")
    )


def evaluation(id: str, state: Any, progress: float = 0.0) -> Evaluation:
    return Evaluation(
        run="r", step=0, time=0.0, id=id, state=state, opponent="random", games=2, progress=progress
    )


def parse(chunk: bytes) -> list[dict[str, Any]]:
    found = []
    for frame in chunk.decode().split("\r\n\r\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in frame.split("\r\n"))
        found.append(fields | {"data": json.loads(fields["data"])})
    return found


def publish(hub: Hub, *events: Event) -> None:
    for event in events:
        hub.publish(event)
    hub._flush()


async def collect(chunks: AsyncIterator[bytes]) -> list[dict[str, Any]]:
    return [frame for chunk in [chunk async for chunk in chunks] for frame in parse(chunk)]


async def read(hub: Hub, topics: Any = (), after: str | None = None) -> list[dict[str, Any]]:
    """Close the hub; return all that a client gets until its stream ends."""
    with hub.subscribe(topics, after) as chunks:
        hub.close()
        return await collect(chunks)


async def test_a_stream_begins_with_hello_and_ends_with_bye() -> None:
    hub = Hub(describe)
    with hub.subscribe([]) as chunks:
        publish(hub, metric(1))
        hub.close()
        frames = await collect(chunks)
    assert [frame["event"] for frame in frames] == ["hello", "iteration", "bye"]
    assert frames[0]["id"] == f"{hub.boot}-0"
    assert frames[1]["id"] == f"{hub.boot}-1"
    assert "id" not in frames[2], "bye must not move the client's place in the stream"


async def test_streams_that_are_dismissed_end_with_bye_and_the_hub_goes_on() -> None:
    hub = Hub(describe)
    with hub.subscribe([]) as first, hub.subscribe(["alert"]) as second:
        hub.publish(metric(1))
        hub.dismiss()
        hub.dismiss()
        assert [frame["event"] for frame in await collect(first)] == ["hello", "iteration", "bye"]
        assert [frame["event"] for frame in await collect(second)] == ["hello", "bye"]
    with hub.subscribe([]) as later:
        publish(hub, metric(2))
        assert [frame["event"] for frame in parse(await anext(later))] == ["hello"]
        assert [frame["data"]["step"] for frame in parse(await anext(later))] == [2]


async def test_resuming_by_id_gives_every_later_event_once() -> None:
    hub = Hub(describe)
    publish(hub, *(metric(n) for n in range(1, 11)))
    frames = await read(hub, after=f"{hub.boot}-4")
    assert [frame["event"] for frame in frames] == ["hello", *["iteration"] * 6, "bye"]
    assert [frame["data"]["step"] for frame in frames[1:-1]] == [5, 6, 7, 8, 9, 10]


async def test_resuming_after_the_newest_event_loses_nothing() -> None:
    hub = Hub(describe)
    publish(hub, metric(1))
    frames = await read(hub, after=f"{hub.boot}-1")
    assert [frame["event"] for frame in frames] == ["hello", "bye"]


@pytest.mark.parametrize(
    ("last", "events"), [(5, ["hello", "reset"]), (6, ["hello"]), (7, ["hello"])]
)
async def test_a_client_can_resume_at_the_oldest_kept_event_and_no_earlier(
    last: int, events: list[str]
) -> None:
    hub = Hub(describe, ring=4)
    publish(hub, *(metric(n) for n in range(1, 11)))  # 7 to 10 are left
    with hub.subscribe([], f"{hub.boot}-{last}") as chunks:
        assert [frame["event"] for frame in parse(await anext(chunks))] == events


async def test_a_client_is_cut_only_when_the_ring_has_passed_its_place() -> None:
    hub = Hub(describe, ring=4)
    with hub.subscribe([]) as just, hub.subscribe([]) as late:
        for chunks in (just, late):
            assert parse(await anext(chunks))[0]["event"] == "hello"
        publish(hub, *(metric(n) for n in range(1, 5)))
        assert [frame["data"]["step"] for frame in parse(await anext(just))] == [1, 2, 3, 4]
        publish(hub, metric(5))
        assert [frame["event"] for frame in parse(await anext(late))] == ["reset"]


@pytest.mark.parametrize(
    "after",
    ["BOOT-2", "BOOT-" + "9" * 5000, "other-9", "BOOT-99", "BOOT-x", "BOOT-", "", "nonsense"],
)
async def test_a_client_that_cannot_resume_gets_reset_and_goes_on_at_the_newest(after: str) -> None:
    hub = Hub(describe, ring=4)
    publish(hub, *(metric(n) for n in range(1, 11)))  # 7 to 10 are left, and soon 8 to 11
    with hub.subscribe([], after.replace("BOOT", hub.boot)) as chunks:
        publish(hub, metric(11))
        hub.close()
        frames = await collect(chunks)
    assert [frame["event"] for frame in frames] == ["hello", "reset", "iteration", "bye"]
    assert frames[1]["data"]["oldest"] == f"{hub.boot}-8"
    assert frames[2]["data"]["step"] == 11


async def test_a_client_gets_the_events_of_its_topics() -> None:
    hub = Hub(describe)
    with hub.subscribe(["alert"]) as chunks:
        publish(
            hub,
            metric(1),
            Alert(run="r", step=2, time=0.0, name="a", level="info", message=""),
            metric(3),
        )
        hub.close()
        frames = await collect(chunks)
    assert [frame["event"] for frame in frames] == ["hello", "alert", "bye"]
    assert frames[1]["id"] == f"{hub.boot}-2"


async def test_a_slow_client_is_cut_with_reset_while_a_fast_one_gets_all() -> None:
    hub = Hub(describe, ring=50, tick=0.001)
    fast: list[int] = []

    async def follow(chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            fast.extend(f["data"]["step"] for f in parse(chunk) if f["event"] == "iteration")

    with hub.subscribe([]) as quick, hub.subscribe([]) as slow:
        assert parse(await anext(slow))[0]["event"] == "hello"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hub.run)
            tasks.start_soon(follow, quick)
            for number in range(1, 201):
                hub.publish(metric(number))
                while number - len(fast) >= 20:  # so that the fast client keeps up
                    await anyio.lowlevel.checkpoint()
            hub.close()
        left = await collect(slow)
    assert fast == list(range(1, 201))
    assert [frame["event"] for frame in left] == ["reset"]
    assert left[0]["id"] == f"{hub.boot}-200", "it comes back by this id"


async def test_only_the_newest_board_and_progress_of_a_tick_are_sent() -> None:
    hub = Hub(describe)
    with hub.subscribe([]) as chunks:
        publish(
            hub,
            *(board(n) for n in range(5)),
            evaluation("a", "running", 0.1),
            evaluation("b", "running", 0.1),
            evaluation("a", "running", 0.2),
            *(metric(n) for n in range(3)),
            Status(run="r", step=0, time=0.0, kind="checkpoint", state="running"),
            Status(run="r", step=0, time=0.0, kind="paused", state="paused"),
            evaluation("a", "done", 1.0),
        )
        hub.close()
        frames = (await collect(chunks))[1:-1]
    assert [f["event"] for f in frames].count("board") == 1
    assert next(f for f in frames if f["event"] == "board")["data"]["step"] == 4
    progress = [
        (f["data"]["id"], f["data"]["progress"]) for f in frames if f["event"] == "evaluation"
    ]
    assert sorted(progress) == [("a", 0.2), ("a", 1.0), ("b", 0.1)]
    kept = [f["event"] for f in frames if f["event"] in ("iteration", "checkpoint", "paused")]
    assert kept == ["iteration"] * 3 + ["checkpoint", "paused"]


async def test_nan_goes_out_as_null() -> None:
    hub = Hub(describe)
    with hub.subscribe([]) as chunks:
        publish(hub, board(1))
        hub.close()
        frames = await collect(chunks)
    assert frames[1]["data"]["value"] is None


async def test_values_that_json_does_not_know_go_out_as_text() -> None:
    hub = Hub(describe)
    result = {"odd": Path("x"), "nan": (float("nan"),)}
    publish(hub, replace(evaluation("a", "done"), result=result))
    frames = await read(hub, after=f"{hub.boot}-0")
    assert frames[1]["data"]["result"] == {"odd": "x", "nan": [None]}


async def test_many_clients_are_not_served_in_one_turn_of_the_loop() -> None:
    """64 clients at 0.2 ms each would hold the loop for 13 ms, four times a second."""
    hub = Hub(describe, tick=0.05, budget=10_000)
    served = 0
    most = 0

    async def follow() -> None:
        nonlocal served
        with hub.subscribe([]) as chunks:
            async for _ in chunks:
                served += 1

    async def watch() -> None:
        nonlocal most
        while True:
            before = served
            await anyio.lowlevel.checkpoint()
            most = max(most, served - before)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hub.run)
        for _ in range(64):
            tasks.start_soon(follow)
        with anyio.fail_after(5):
            while served < 64:  # hello  # noqa: ASYNC110
                await anyio.sleep(0.01)
            tasks.start_soon(watch)
            hub.publish(metric(1))
            while served < 64 * 2:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert served == 64 * 2  # hello and the event
    assert 0 < most <= 8


async def test_with_many_clients_ticks_are_farther_apart_but_not_for_the_runs_state() -> None:
    hub = Hub(describe, tick=0.02, budget=10)
    async with anyio.create_task_group() as tasks:
        with ExitStack() as clients:
            chunks, *_ = [clients.enter_context(hub.subscribe([])) for _ in range(8)]
            tasks.start_soon(hub.run)

            async def wait(event: Event) -> float:
                hub.publish(event)
                begin = anyio.current_time()
                await anext(chunks)
                return anyio.current_time() - begin

            await anext(chunks)  # hello
            await wait(metric(1))
            assert 0.5 < await wait(metric(2)) < 2  # 8 clients, 10 chunks a second: every 0.8 s
            await anyio.sleep(0.1)
            assert await wait(describe("paused")) < 0.3
        tasks.cancel_scope.cancel()


async def test_clients_are_counted_and_forgotten() -> None:
    hub = Hub(describe)
    with hub.subscribe([]), hub.subscribe([]):
        assert hub.clients == 2
    assert hub.clients == 0
