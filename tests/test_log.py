"""Logging, for the program that owns the process."""

import json
import logging
import threading
import warnings
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest
import structlog

from keisei import log as module
from keisei.log import Logging


def test_human_lines_on_stderr_and_json_lines_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keisei.log"
    with Logging("info") as logs:
        logs.add_file(file)
        structlog.get_logger("keisei").info("iteration", step=5, kl=0.25)
        structlog.get_logger("keisei").debug("unseen")
        logging.getLogger("uvicorn.error").warning("%d sockets", 3)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("careful", stacklevel=1)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["event"] for line in lines[:2]] == ["iteration", "3 sockets"]
    assert (lines[0]["step"], lines[0]["kl"], lines[0]["level"]) == (5, 0.25, "info")
    assert lines[1]["logger"] == "uvicorn.error"
    assert "careful" in lines[2]["event"]
    shown = capsys.readouterr().err
    assert "iteration" in shown
    assert "step=5" in shown
    assert "unseen" not in shown


def test_the_file_is_cut_into_ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 2000)
    with Logging("info", on_console=lambda record: False) as logs:
        logs.add_file(tmp_path / "keisei.log")
        for number in range(500):
            structlog.get_logger("keisei").info("iteration", step=number)
    files = list(tmp_path.iterdir())
    assert len(files) == 10
    assert all(file.stat().st_size <= 2000 for file in files)


def test_warnings_are_forwarded_but_the_runs_own_lines_are_not() -> None:
    told: list[tuple[str, str, str]] = []
    with Logging("info", on_console=lambda record: False) as logs:
        logs.forward(lambda *line: told.append(line))
        structlog.get_logger("keisei").error("failed")
        structlog.get_logger("keisei.server").warning("stream_timeout", seconds=15)
        logging.getLogger("asyncio").error("no %s", "exception")
        logging.getLogger("asyncio").info("fine")
    assert told == [
        ("keisei.server", "warning", "stream_timeout"),
        ("asyncio", "error", "no exception"),
    ]


def test_a_slow_disk_makes_nobody_wait_and_what_it_cost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    goes_on = threading.Event()
    write = RotatingFileHandler.handle

    def handle(handler: RotatingFileHandler, record: logging.LogRecord) -> bool:
        goes_on.wait(10)
        return write(handler, record)

    monkeypatch.setattr(RotatingFileHandler, "handle", handle)
    file = tmp_path / "keisei.log"
    with Logging("info", on_console=lambda record: False) as logs:
        logs.add_file(file)
        for number in range(10):
            logging.getLogger("a").info("%d", number)
        goes_on.set()
    lines = [json.loads(line)["event"] for line in file.read_text().splitlines()]
    assert len(lines) <= 4  # one is being written, two wait
    dropped = 10 - (len(lines) - 1)
    assert lines[-1] == f"{dropped} log lines dropped: the disk was too slow"


def test_leaving_takes_everything_away(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), set(threading.enumerate()))
    with Logging("info") as logs:
        logs.add_file(tmp_path / "keisei.log")
    assert (list(root.handlers), set(threading.enumerate())) == before
    assert not structlog.is_configured()
