"""Crashes beside training are reported and retried; a device thread that hangs is noticed."""

import asyncio
import subprocess
import sys
import time

import anyio
import pytest

from keisei.feed import supervise as module
from keisei.feed.supervise import Heartbeat, Losses, contained, supervise, watch

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 0.0))


async def test_a_crash_is_an_alert_and_leads_to_three_restarts() -> None:
    alerts: list[tuple[str, str, str]] = []
    starts = 0

    async def crash() -> None:
        nonlocal starts
        starts += 1
        raise ValueError(f"number {starts}")

    ended = await supervise("server", crash, lambda *alert: alerts.append(alert))
    assert not ended
    assert starts == 4
    assert [(name, level) for name, level, _ in alerts] == [("server", "error")] * 4
    assert "ValueError: number 1" in alerts[0][2]
    assert "given up" in alerts[3][2]


async def test_a_part_that_recovers_goes_on() -> None:
    starts = 0

    async def shaky() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise OSError("again")

    assert await supervise("sink", shaky, lambda *alert: None)
    assert starts == 3


async def test_only_crashes_without_progress_between_them_count_as_in_a_row() -> None:
    alerts: list[str] = []
    losses = Losses()
    written = 0

    async def crash() -> None:
        nonlocal written
        written += written < 8  # progress before each of the first eight crashes
        raise OSError("full")

    ended = await supervise(
        "sink",
        crash,
        lambda *alert: alerts.append(alert[2]),
        progress=lambda: written,
        losses=losses,
    )
    assert not ended
    assert [alert.split("; ")[1] for alert in alerts] == [
        *["starting again"] * 10,
        "given up after 3 restarts",
    ]
    assert losses.now() == ("sink: OSError: full; given up",)
    written += 1
    assert losses.now() == (), "it writes again"


async def test_a_single_error_in_a_task_group_is_reported_by_its_own_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    alerts: list[str] = []

    async def crash() -> None:
        async with anyio.create_task_group():
            raise ValueError("deep down")

    with caplog.at_level("INFO"):
        await supervise("server", crash, lambda *alert: alerts.append(alert[2]))
    assert alerts[0].startswith("ValueError: deep down")
    assert "in crash" in caplog.text


EMBEDDED = """
import asyncio
from keisei.feed import supervise as module
module.PAUSES = (0, 0, 0)
async def crash():
    raise {error}
asyncio.run(module.supervise("sink mine", crash, lambda *alert: None))
"""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("OSError(28, 'No space left on device', '/x')", "OSError: [Errno 28] No space left on"),
        ("ValueError('no such column')", "ValueError: no such column; "),
        ("ConnectionResetError()", "ConnectionResetError; "),
    ],
)
def test_a_crash_is_on_stderr_if_the_program_has_not_set_up_logging(
    error: str, message: str
) -> None:
    command = [sys.executable, "-c", EMBEDDED.format(error=error)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = ended.stderr.splitlines()
    assert len(lines) == 4, "no traceback"
    assert all(line.startswith(f"sink mine: {message}") for line in lines)
    assert lines[3].endswith("given up after 3 restarts")


async def test_tries_after_the_restarts_are_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    tries = iter(range(9))

    async def again() -> bool:
        return next(tries) < 8

    async def crash() -> None:
        raise OSError("full")

    with caplog.at_level("WARNING"):
        await supervise("sink database", crash, lambda *alert: None, again=again)
    assert len(caplog.messages) == 4


async def test_cancellation_is_no_crash() -> None:
    alerts: list[object] = []

    async def run() -> None:
        await supervise("server", anyio.sleep_forever, lambda *alert: alerts.append(alert))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert not alerts


async def test_the_watchdog_reports_each_standstill_once() -> None:
    beat = ("iteration", time.monotonic() - 100)
    alerts: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await watch(lambda: beat, lambda *alert: alerts.append(alert[2]), every=0.005)

        tasks.start_soon(run)
        await anyio.sleep(0.05)
        assert len(alerts) == 1
        assert "in phase iteration" in alerts[0]
        beat = ("compile", time.monotonic() - 100)  # its allowance is longer
        await anyio.sleep(0.03)
        assert len(alerts) == 1
        tasks.cancel_scope.cancel()


async def test_the_heartbeat_sees_a_blocked_loop() -> None:
    heartbeat = Heartbeat(0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heartbeat.run)
        await anyio.sleep(0.02)
        time.sleep(0.1)  # noqa: ASYNC251 (on purpose)
        await anyio.sleep(0.03)
        tasks.cancel_scope.cancel()
    assert 0.08 < heartbeat.worst_lag() < 1
    assert heartbeat.worst_lag() == 0


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
async def test_other_people_s_code_can_neither_exit_nor_cancel(error: BaseException) -> None:
    with pytest.raises(RuntimeError, match="raised ") as caught, contained():
        raise error
    assert caught.value.__cause__ is error


async def test_the_task_of_other_people_s_code_can_be_cancelled() -> None:
    with anyio.move_on_after(0.01) as scope, contained():
        await anyio.sleep_forever()
    assert scope.cancelled_caught
