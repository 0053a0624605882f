"""The progress that a run prints while it trains."""

import contextlib
import json
import os
from dataclasses import replace

import anyio
import pytest
from command_process import terminal_as_stderr

from keisei.cli.progress import ProgressTable
from keisei.config import Settings
from keisei.events import Alert, Iteration, Log, Status

pytestmark = pytest.mark.anyio

STATUS = Status(run="r", step=1, time=0.0, kind="running", state="running")


async def test_a_full_pipe_delays_neither_a_cancelled_write_nor_a_run_that_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    with os.fdopen(read, "rb") as pipe, os.fdopen(write, "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        progress = ProgressTable(Settings, as_json=True)
        with anyio.move_on_after(0.3) as waited:
            await progress.write([STATUS])
        assert waited.cancelled_caught
        progress.hurry()
        with anyio.fail_after(5):
            await progress.write([STATUS] * 100)
        os.read(pipe.fileno(), 1 << 20)
        await progress.write([STATUS])
        assert json.loads(os.read(pipe.fileno(), 1 << 20))["event"] == "running"


async def test_a_broken_pipe_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as broken:
        monkeypatch.setattr("sys.stdout", broken)
        progress = ProgressTable(Settings, as_json=True, on_broken_pipe=lambda: calls.append(1))
        await progress.write([STATUS])
        await progress.write([STATUS])
        await progress.close()
    assert calls == [1]


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "two\nlines", "bell\x07 and \x9bm"])
async def test_control_characters_of_an_alert_are_escaped(
    text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    alert = Alert(run="r", step=1, time=0.0, name="sink x", level="error", message=text)
    await ProgressTable(Settings).write([alert])
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(f"error: sink x: {repr(text)[1:-1]}")


async def test_the_start_names_the_run(capfd: pytest.CaptureFixture[str]) -> None:
    await ProgressTable(Settings).write([replace(STATUS, kind="started", state="starting")])
    assert "started: run r\n" in capfd.readouterr().err


async def test_log_lines_are_not_printed_again(capfd: pytest.CaptureFixture[str]) -> None:
    line = Log(run="r", step=1, time=0.0, name="asyncio", level="warning", message="slow")
    await ProgressTable(Settings).write([line, STATUS])
    shown = capfd.readouterr().err
    assert "running" in shown
    assert "slow" not in shown


@pytest.mark.parametrize(("term", "panel"), [("xterm", True), ("dumb", False), (None, False)])
async def test_only_a_terminal_that_can_move_the_cursor_gets_the_panel(
    term: str | None, panel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    with terminal_as_stderr(monkeypatch) as chunks:
        progress = await anyio.to_thread.run_sync(ProgressTable, Settings)
        await progress.write([STATUS])
        await progress.close()
    shown = "".join(chunks)
    assert ("\x1b[" in shown) == panel
    assert "running" in shown


async def test_text_lines_tell_the_share_and_the_time_left(
    capfd: pytest.CaptureFixture[str],
) -> None:
    settings = Settings.load(None, {"run.steps": 400})
    progress = ProgressTable(lambda: settings)
    values = {"speed/steps_per_second": 10.0, "speed/limit_ratio": 0.83}
    await progress.write(
        [
            Iteration(run="r", step=i * 100, time=i * 60.0, iteration=i, values=values)
            for i in (1, 2)
        ]
    )
    line = capfd.readouterr().err.splitlines()[-1]
    assert " 50%  2:00 left  iteration 2  10 steps/s  83% of the limit" in line
