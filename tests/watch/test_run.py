"""A watched run: its state and its events, while other hands write, remove and damage its files."""

import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync as in_thread
from watch_tools import Stream, Writer, followed, iteration, status

from keisei.config import Server
from keisei.errors import NotRunning
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Alert, Board, Evaluation
from keisei.server import create_app
from keisei.shogi import Position
from keisei.store.board import write_board
from keisei.watch.run import WatchedRun

pytestmark = pytest.mark.anyio

NOW = time.time()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    """A run that trains."""
    writer = Writer(tmp_path / "a")
    writer.start(NOW)
    writer.write(iteration(1, NOW))
    yield writer
    writer.close()


@pytest.fixture
async def run(writer: Writer) -> AsyncIterator[WatchedRun]:
    """The watcher of the run."""
    async with WatchedRun(writer.path, Server(), tick=0.02) as run:
        yield run


@pytest.fixture
async def stream(run: WatchedRun) -> AsyncIterator[Stream]:
    """The events of the watcher."""
    async with followed(run) as stream:
        yield stream


@pytest.fixture
async def client(run: WatchedRun) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the watcher's server."""
    transport = httpx.ASGITransport(create_app(run, watched=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_the_status_is_that_of_the_run_and_says_that_it_is_watched(
    run: WatchedRun, writer: Writer
) -> None:
    found = run.status()
    assert (found.run, found.state, found.step, found.iteration) == ("a", "running", 10, 1)
    assert (found.started, found.elapsed, found.watched) == (NOW, 2.0, True)
    assert run.settings.run.root == writer.path.parent


async def test_new_rows_boards_and_log_lines_are_sent(
    run: WatchedRun, writer: Writer, stream: Stream
) -> None:
    assert (await stream.until("hello"))["state"] == "running"
    await in_thread(
        writer.write,
        status("checkpoint", "running", NOW, 10),
        iteration(2, NOW),
        Alert(run="a", step=20, time=NOW, name="kl", level="warning", message="m"),
    )
    assert (await stream.until("iteration"))["values"]["train/kl"] == 0.25
    assert (await stream.until("checkpoint"))["step"] == 10
    assert (await stream.until("alert"))["name"] == "kl"
    assert (run.status().step, run.status().checkpoint, run.status().elapsed) == (20, 10, 4.0)
    board = Board(run="b", step=1, time=NOW, game=9, sfen="x", last_move=None, ply=0, value=None)
    await in_thread(write_board, writer.path, board)
    assert (await stream.until("board", game=9))["run"] == "a"  # a copied run keeps its new name
    line = '{"logger": "x", "level": "error", "event": "m", "timestamp": "2026-01-02T03:04:05Z"}\n'
    (writer.path / "keisei.log").write_text(line)
    assert (await stream.until("log"))["message"] == "m"


async def test_evaluations_are_followed(run: WatchedRun, writer: Writer, stream: Stream) -> None:
    await in_thread(
        writer.write, Evaluation(run="a", step=10, time=NOW, id="e", state="running", games=8)
    )
    await stream.until("evaluation", state="running")
    record = run.evaluation_records.get("e")
    assert record
    done = Evaluation(run="a", step=10, time=NOW + 1, id="e", state="done", games=8, score=0.5)
    await in_thread(writer.write, done)
    await stream.until("evaluation", state="done", score=0.5)
    with anyio.fail_after(1):
        await record.done.wait()
    assert record.fields["finished"] == NOW + 1


async def test_pause_and_end_of_the_run_are_states(
    run: WatchedRun, writer: Writer, stream: Stream
) -> None:
    await in_thread(writer.write, status("paused", "paused", NOW))
    await stream.until("paused")
    await in_thread(writer.write, status("finished", "finished", NOW))
    await in_thread(writer.close)
    await stream.until("finished")
    assert run.status().state == "finished"


async def test_a_killed_run_is_killed_until_it_is_resumed(
    run: WatchedRun, writer: Writer, stream: Stream
) -> None:
    await in_thread(writer.die)
    await stream.until("killed", state="killed")
    assert "--resume" in run.status().message
    resumed = await in_thread(partial(Writer, writer.path, resume=True))
    await in_thread(resumed.database.truncate_after, 0)
    await in_thread(resumed.start, NOW + 1)
    await stream.until("reset", state="running")
    assert (run.status().state, run.status().step) == ("running", 0)
    await in_thread(resumed.write, iteration(1, NOW + 1))
    await stream.until("iteration", step=10)
    await in_thread(resumed.close)


async def test_a_silent_run_is_stale_until_it_writes_again(tmp_path: Path) -> None:
    writer = await in_thread(partial(Writer, tmp_path / "a", locked=NOW - 900))
    await in_thread(writer.start, NOW - 900)
    async with WatchedRun(writer.path, Server(), tick=0.02) as run, followed(run) as stream:
        assert (await stream.until("hello"))["state"] == "stale"
        await in_thread(writer.write, iteration(1, time.time()))
        await stream.until("running", state="running")
    await in_thread(writer.close)


async def test_a_run_may_appear_vanish_and_come_back(tmp_path: Path) -> None:
    async with WatchedRun(tmp_path / "a", Server(), tick=0.02) as run, followed(run) as stream:
        assert (await stream.until("hello"))["state"] == "starting"
        missing = run.status().message
        assert "no such file" in missing
        for number in range(2):
            writer = await in_thread(Writer, tmp_path / "a")
            await in_thread(writer.start, NOW + number)
            await stream.until("reset", state="running")
            assert run.status().started == NOW + number
            await in_thread(writer.remove)
            await stream.until("stale", message=missing)


async def test_a_damaged_database_is_an_alert_and_a_problem_503_until_it_is_repaired(
    run: WatchedRun, writer: Writer, stream: Stream, client: httpx.AsyncClient
) -> None:
    await in_thread(writer.close)
    file = writer.path / "keisei.db"
    sound = file.read_bytes()
    file.write_bytes(b"x" * 5000)
    assert str(file) in (await stream.until("alert"))["message"]
    answer = await client.get("/api/metrics")
    assert answer.status_code == 503
    assert str(file) in answer.json()["detail"]
    assert (await client.get("/readyz")).status_code == 503
    assert str(file) in (await client.get("/api/log")).json()["events"][0]["message"]
    file.write_bytes(sound)
    await stream.until("reset")
    assert (await client.get("/api/metrics")).status_code == 200


async def test_requests_that_would_change_something_are_refused_with_the_reason(
    run: WatchedRun, client: httpx.AsyncClient
) -> None:
    for path in ("control/pause", "control/stop", "eval", "move", "showcase"):
        answer = await client.post(f"/api/{path}", json={})
        assert answer.status_code == 403
        assert "only reads the run's files" in answer.json()["detail"]
    assert (await client.get("/api/session")).json()["read_only"] is True
    with pytest.raises(NotRunning, match="only reads"):
        run.submit("pause")
    for call in (
        run.show(1),
        run.evaluate(EvaluationSpec(opponents=("random",), games=2)),
        run.choose_move(await in_thread(Position)),
    ):
        with pytest.raises(NotRunning, match="only reads"):
            await call


async def test_leaving_the_block_ends_the_streams(writer: Writer) -> None:
    async with WatchedRun(writer.path, Server(), tick=0.02) as run, followed(run) as stream:
        run.close()
        await stream.until("bye")
