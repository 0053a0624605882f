"""New lines of a log that another process writes and renames."""

import json
from pathlib import Path
from typing import Any

import pytest

from keisei.watch.log_tail import LogTail


def line(event: str, **more: Any) -> str:
    """A line of keisei.log."""
    blank = {"logger": "keisei.feed", "level": "warning", "timestamp": "2026-01-02T03:04:05Z"}
    return json.dumps({"event": event, **blank, **more}) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with one line."""
    file = tmp_path / "keisei.log"
    file.write_text(line("old"))
    return file


def messages(tail: LogTail) -> list[str]:
    return [found.message for found in tail.read("run", 1)]


def add(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_only_new_complete_warnings_and_errors_are_read(log: Path) -> None:
    tail = LogTail(log)
    assert messages(tail) == []
    add(log, line("a") + line("info", level="info") + "no json\n" + line("b")[:20])
    (found,) = tail.read("run", 7)
    assert (found.run, found.step, found.name, found.level) == ("run", 7, "keisei.feed", "warning")
    assert found.time == 1767323045.0
    add(log, line("b")[20:] + line("c", level="error"))
    assert messages(tail) == ["b", "c"]
    assert messages(tail) == []


def test_events_of_the_run_are_left_out_because_the_database_has_them(log: Path) -> None:
    tail = LogTail(log)
    tail.read("run", 1)
    add(log, line("alert", logger="keisei"))
    assert messages(tail) == []


def test_a_new_file_of_the_same_name_is_read_from_its_start(log: Path) -> None:
    tail = LogTail(log)
    tail.read("run", 1)
    log.rename(log.with_suffix(".log.1"))
    assert messages(tail) == []
    log.write_text(line("new"))
    assert messages(tail) == ["new"]


def test_a_log_that_appears_later_is_read_from_its_start(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "keisei.log")
    assert messages(tail) == []
    (tmp_path / "keisei.log").write_text(line("first"))
    assert messages(tail) == ["first"]
