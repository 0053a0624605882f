"""The state of a watched run, from its newest status, its lock and the age of its files."""

import time
from typing import Any

import pytest

from keisei.events import Status
from keisei.watch.files import Look
from keisei.watch.state import watched_state

NOW = 1e9


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still."""
    monkeypatch.setattr(time, "time", lambda: NOW)


def status(state: Any, age: float = 0) -> Status:
    return Status(run="r", step=0, time=NOW - age, kind="running", state=state, message="m")


@pytest.mark.parametrize(
    ("state", "holder", "silent", "expected"),
    [
        ("running", "running", 59, "running"),
        ("running", "running", 61, "stale"),
        ("running", "unknown", 61, "stale"),  # the process is on another machine
        ("running", "interrupted", 0, "killed"),
        ("running", "ended", 0, "stopped"),
        ("compiling", "running", 899, "compiling"),
        ("compiling", "running", 901, "stale"),
        ("paused", "running", 1e6, "paused"),
        ("paused", "interrupted", 0, "killed"),
        ("finished", "ended", 1e6, "finished"),
        ("finished", "running", 1e6, "finished"),  # keisei serve shows the finished run
        ("failed", "ended", 1e6, "failed"),
        ("stopped", "ended", 1e6, "stopped"),
    ],
)
def test_the_state_follows_from_status_lock_and_age(
    state: Any, holder: Any, silent: float, expected: str
) -> None:
    look = Look(holder=holder, locked=NOW - 2e6)
    assert watched_state(look, status(state, silent), NOW - silent)[0] == expected


def test_a_status_keeps_its_message() -> None:
    assert watched_state(Look(holder="running"), status("paused"), NOW) == ("paused", "m")
    assert watched_state(Look(holder="ended"), status("failed"), NOW) == ("failed", "m")


def test_the_time_of_a_released_lock_does_not_hide_how_the_run_ended() -> None:
    look = Look(holder="ended", locked=NOW)
    assert watched_state(look, status("failed", 1), NOW - 1) == ("failed", "m")


def test_a_run_that_is_being_resumed_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Look(holder="running", locked=NOW - 5)
    assert watched_state(look, status("stopped", 1000), NOW - 1000) == ("starting", "")
    monkeypatch.setattr(time, "time", lambda: NOW + 200)
    assert watched_state(look, status("stopped", 1000), NOW - 1000)[0] == "stale"
    dead = Look(holder="interrupted", locked=NOW - 5)
    assert watched_state(dead, status("stopped", 1000), NOW - 1000)[0] == "killed"


def test_files_that_cannot_be_read_are_the_message() -> None:
    look = Look(problem="keisei.db: damaged")
    assert watched_state(look, None, 0) == ("starting", "keisei.db: damaged")
    assert watched_state(look, status("running"), NOW) == ("stale", "keisei.db: damaged")
