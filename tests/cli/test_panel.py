"""The live panel of ``train`` and ``serve`` on a terminal."""

import re
import time

import anyio
import pytest
from command_process import terminal_as_stderr

from keisei.cli.panel import Panel
from keisei.config import Settings
from keisei.events import Alert, Evaluation, Event, Failed, Iteration, Status

pytestmark = pytest.mark.anyio

VALUES = {
    "train/loss_policy": -0.1224, "train/loss_value": 1.0321, "train/entropy": 3.664,
    "train/kl": 0.01234, "speed/steps_per_second": 1904.0, "speed/limit_ratio": 0.83,
    "games/length": 512.0, "games/decisive": 1.0,
}  # fmt: skip
PARTS = [
    "12,345,678 steps", "1,904 steps/s", "83% of the limit", "loss policy -0.122", "value 1.032",
    "entropy 3.66", "kl 0.0123", "length 512", "decisive 100%",
]  # fmt: skip


def iteration(step: int = 12_345_678, at: float = 0.0) -> Iteration:
    return Iteration(run="r", step=step, time=at, iteration=1, values=VALUES)


def alert(message: str) -> Alert:
    return Alert(run="r", step=1, time=time.time(), name="draws", level="warning", message=message)


def running() -> Status:
    return Status(run="r", step=1, time=0.0, kind="running", state="running")


async def drawn(
    monkeypatch: pytest.MonkeyPatch, *events: Event, columns: int = 80, raw: bool = False,
    address: str = "", settings: Settings | None = None,
) -> str:  # fmt: skip
    """The terminal's text after the events."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    with terminal_as_stderr(monkeypatch) as chunks:
        panel = await anyio.to_thread.run_sync(Panel, lambda: settings or Settings(), address)
        for event in events:
            panel.show(event)
        await anyio.to_thread.run_sync(panel.close)
    shown = "".join(chunks)
    return shown if raw else re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "")


@pytest.mark.parametrize("columns", [120, 80, 60, 40, 20])
async def test_no_number_breaks_over_two_lines_and_no_line_is_wider_than_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = await drawn(monkeypatch, running(), iteration(), columns=columns)
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= columns
    words = [part for line in lines for part in re.split(r" {2,}", line)]
    assert words[-len(PARTS) :] == PARTS


async def test_the_panel_begins_with_the_address_and_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = await drawn(monkeypatch, running(), iteration(), address="http://127.0.0.1:8700")
    panel = [line for line in shown.splitlines() if line.strip()][-5:]
    assert panel[0] == "Keisei is at http://127.0.0.1:8700"
    assert panel[1].startswith("running  0:00")


async def test_a_run_with_a_limit_shows_share_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [running(), iteration(100, at=60.0), iteration(200, at=120.0)]
    settings = Settings.load(None, {"run.steps": 400})
    shown = await drawn(monkeypatch, *events, settings=settings)
    assert re.search(r"running  50%  0:0\d  2:00 left", shown)


async def test_the_last_evaluation_stays_with_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Evaluation(
        run="r", step=1, time=0.0, id="1", state="done", opponent="random", progress=1.0,
        score=0.812, interval=(0.765, 0.85),
    )  # fmt: skip
    shown = await drawn(monkeypatch, done, iteration())
    assert shown.splitlines()[-1] == "evaluation against random: score 0.812 (0.765 to 0.850)"


async def test_the_three_newest_alerts_and_a_failure_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = [alert(f"message {number}") for number in range(4)]
    events += [Failed(run="r", step=1, time=time.time(), type="OSError", message="disk")]
    lines = (await drawn(monkeypatch, *events)).splitlines()[-3:]
    assert [line[9:] for line in lines] == [
        "warning: draws: message 2",
        "warning: draws: message 3",
        "failed: OSError: disk",
    ]


async def test_an_alert_cannot_move_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = await drawn(monkeypatch, alert("a\x1b[2Jb"), raw=True)
    assert "\x1b[2J" not in shown


async def test_no_color_removes_all_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    def colours(text: str) -> list[str]:
        return re.findall(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d)(?:;\d+)*m", text)

    assert colours(await drawn(monkeypatch, iteration(), alert("x"), raw=True))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours(await drawn(monkeypatch, iteration(), alert("x"), raw=True))
