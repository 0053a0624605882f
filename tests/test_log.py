"""Logging: what reaches stderr, the file and the run's events."""

import json
import logging
import os
import select
import sys
import threading
import warnings
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

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


def test_with_json_stderr_gets_the_lines_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keisei.log"
    with Logging("info", on_console=lambda record: False, form="json") as logs:
        logs.add_file(file)
        structlog.get_logger("keisei").info("iteration", step=5, kl=0.25)
        logging.getLogger("uvicorn.error").warning("%d sockets\n", 3)
        try:
            raise ValueError("why")  # noqa: TRY301
        except ValueError:
            logging.getLogger("asyncio").exception("no reason")
    lines, kept = (
        [json.loads(line) for line in text.splitlines()]
        for text in (capsys.readouterr().err, file.read_text())
    )
    assert [line | {"timestamp": 0} for line in lines] == [line | {"timestamp": 0} for line in kept]
    assert (lines[0]["event"], lines[0]["step"], lines[0]["level"]) == ("iteration", 5, "info")
    assert "ValueError: why" in lines[2]["exception"]


def test_the_log_is_kept_in_at_most_ten_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 2000)
    with Logging("info", on_console=lambda record: False) as logs:
        logs.add_file(tmp_path / "keisei.log")
        for number in range(500):
            structlog.get_logger("keisei").info("iteration", step=number)
    files = list(tmp_path.iterdir())
    assert len(files) == 10
    assert all(file.stat().st_size <= 2000 for file in files)


def test_warnings_are_forwarded_but_the_runs_own_lines_are_not() -> None:
    forwarded: list[tuple[str, str, str]] = []
    with Logging("info", on_console=lambda record: False) as logs:
        logs.forward(lambda *line: forwarded.append(line))
        structlog.get_logger("keisei").error("failed")
        structlog.get_logger("keisei.server").warning("stream_timeout", seconds=15)
        logging.getLogger("asyncio").error("no %s", "exception")
        logging.getLogger("asyncio").info("fine")
        logging.getLogger("keisei.feed.supervise").warning("sink x: an alert tells it")
    assert forwarded == [
        ("keisei.server", "warning", "stream_timeout"),
        ("asyncio", "error", "no exception"),
    ]


def test_a_slow_disk_delays_nobody_and_dropped_lines_are_counted(
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
    assert lines[-1].startswith(f"{dropped} log lines dropped: ")


def log_failure(secret: str, error: Exception, logger: Any) -> None:
    """Log an exception whose frame has a variable that belongs in no log."""
    try:
        raise error
    except type(error):
        logger.exception("Exception in ASGI application\n")


def test_an_exception_is_one_line_on_stderr_and_a_traceback_without_locals_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Logging("info") as logs:
        logs.add_file(tmp_path / "keisei.log")
        log_failure("hunter2", KeyError("id"), logging.getLogger("uvicorn.error"))
        log_failure("hunter2", ValueError("by structlog"), structlog.get_logger("keisei.server"))
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2
    assert "error=\"KeyError: 'id'\"" in shown[0]
    assert "error='ValueError: by structlog'" in shown[1]
    text = (tmp_path / "keisei.log").read_text()
    first, second = (json.loads(line)["exception"] for line in text.splitlines())
    assert "log_failure" in first
    assert "ValueError: by structlog" in second
    assert "hunter2" not in text


def test_the_traceback_of_a_deep_recursion_is_short(tmp_path: Path) -> None:
    def dive(depth: int, again: Callable[..., None]) -> None:
        if not depth:
            raise ValueError("at the bottom")
        again(depth - 1, dive)

    def also(depth: int, again: Callable[..., None]) -> None:
        again(depth, also)

    with Logging("info", on_console=lambda record: False) as logs:
        logs.add_file(tmp_path / "keisei.log")
        try:
            dive(200, also)
        except ValueError:
            logging.getLogger("a").exception("deep")
    line = (tmp_path / "keisei.log").read_text()
    assert "at the bottom" in line
    assert len(line) < 8000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("two\nlines\rand\tmore", "two\\nlines\\rand\\tmore"),
        ("\x9b31m \x7f\u2028x", "\\x9b31m \\x7f\\u2028x"),
    ],
)
def test_a_clients_text_cannot_steer_the_terminal(
    text: str, shown: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with Logging("info") as logs:
        logs.add_file(tmp_path / "keisei.log")
        logging.getLogger("a").warning("it said %s", text)
        structlog.get_logger("b").warning("said", what=text)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert shown in lines[0]
    assert not set(text) & set(lines[1]) - set(map(chr, range(32, 127)))
    assert json.loads((tmp_path / "keisei.log").read_text().splitlines()[0])["event"] == (
        f"it said {text}"
    )


def test_a_flood_is_dropped_and_counted_but_the_runs_own_lines_are_kept(tmp_path: Path) -> None:
    with Logging("info", on_console=lambda record: False) as logs:
        logs.add_file(tmp_path / "keisei.log")
        for number in range(5000):
            logging.getLogger("asyncio").error("socket.accept() out of system resource")
            if number % 10 == 0:
                structlog.get_logger("keisei").info("iteration", step=number)
    lines = [json.loads(line) for line in (tmp_path / "keisei.log").read_text().splitlines()]
    flood = [line for line in lines if line["logger"] == "asyncio"]
    dropped = [int(line["event"].split()[0]) for line in lines if "dropped" in line["event"]]
    assert len([line for line in lines if line["event"] == "iteration"]) == 500
    assert len(flood) < 200
    assert len(flood) + sum(dropped) == 5000


def test_a_stderr_that_nobody_reads_delays_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONSOLE_SECONDS", 0.1)
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with Logging("info") as logs:
            logs.add_file(tmp_path / "keisei.log")
            for number in range(2000):
                structlog.get_logger("keisei").info("iteration", text="x" * 500, step=number)
        os.set_blocking(read, False)
        while os.read(read, 1 << 16):
            if not select.select([read], [], [], 0)[0]:
                break
    os.close(read)
    assert len((tmp_path / "keisei.log").read_text().splitlines()) == 2000


def test_a_log_file_that_cannot_be_written_is_reported_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 (the handler closes it)
    monkeypatch.setattr(RotatingFileHandler, "_open", lambda _: full)
    with Logging("info") as logs:
        logs.add_file(tmp_path / "keisei.log")
        for _ in range(20):
            logging.getLogger("a").info("line")
    shown = capsys.readouterr().err.splitlines()
    (warning,) = [line for line in shown if "[info" not in line]
    assert "keisei.log: cannot be written, log lines are lost: [Errno 28] No space left" in warning


def test_closing_removes_all_handlers_and_threads(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), set(threading.enumerate()))
    with Logging("info") as logs:
        logs.add_file(tmp_path / "keisei.log")
    assert (list(root.handlers), set(threading.enumerate())) == before
    assert not structlog.is_configured()
