"""Two runs in a host program that serves them with its own uvicorn, and in a notebook."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from keisei.store import find_checkpoint

HOST = Path(__file__).with_name("embed_host.py")
ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs/guide/embedding.md").read_text()
TINY = {
    "KEISEI_ENV__GAMES": "8",
    "KEISEI_ENV__RESET_POOL": "16",
    "KEISEI_NET__BLOCKS": "1",
    "KEISEI_NET__CHANNELS": "8",
    "KEISEI_PPO__ROLLOUT_PLIES": "8",
    "KEISEI_PPO__MINIBATCH": "64",
    "KEISEI_COMPUTE__THREADS": "1",
}
NOTEBOOK = """
import asyncio, sys
from IPython.core.interactiveshell import InteractiveShell

async def notebook(cells):
    shell = InteractiveShell.instance()
    for cell in cells:  # a kernel runs each cell as a task on one loop
        text = shell.transform_cell(cell)
        ran = await asyncio.create_task(shell.run_cell_async(cell, transformed_cell=text))
        ran.raise_error()

asyncio.run(notebook(sys.argv[1:]))
"""


@pytest.fixture
def port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def host(port: int, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HOST), str(port), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def wait_until_served(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_two_runs_in_a_host_end_with_it_and_leave_no_trace(
    host: subprocess.Popen[str], port: int, tmp_path: Path
) -> None:
    wait_until_served(port)
    got: list[list[bytes]] = [[] for _ in range(5)]
    with ExitStack() as streams:
        readers = []
        for number, lines in enumerate(got):
            name = ("one", "two")[number % 2]
            url = f"http://127.0.0.1:{port}/{name}/api/events"
            stream = streams.enter_context(urllib.request.urlopen(url, timeout=100))

            def read(stream: Iterator[bytes] = stream, lines: list[bytes] = lines) -> None:
                lines.extend(stream)

            readers.append(threading.Thread(target=read))
            readers[-1].start()
        deadline = time.monotonic() + 100
        while not all(any(b"event: iteration" in line for line in lines) for lines in got):
            assert time.monotonic() < deadline, got
            time.sleep(0.05)
        begin = time.monotonic()
        host.send_signal(signal.SIGTERM)
        out, _ = host.communicate(timeout=20)
        took = time.monotonic() - begin
        for reader in readers:
            reader.join(5)
    assert host.returncode == 0
    for lines in got:
        assert [line for line in lines if line.startswith(b"event: ")][-1] == b"event: bye\r\n"
    assert took <= 3, f"{took:.1f} s"
    report = json.loads(out)
    assert report["inside"], "entering or leaving a run changed something of the process"
    assert report["after"]
    assert len(report["tasks"]) >= 4
    assert [name for name in report["tasks"] if not name.startswith("keisei")] == []
    opened, left = report["files"]
    assert left == opened
    assert report["threads"] == ["MainThread"]
    runs = list(tmp_path.glob("*/run.toml"))
    assert len(runs) == 2
    for run in runs:
        path, refused = find_checkpoint(run.parent)
        assert int(path.name) > 0
        assert refused == []


def blocks(begin: str) -> list[str]:
    """Return the guide's Python blocks after the text ``begin``."""
    return re.findall(r"```python\n(.*?)```", GUIDE[GUIDE.index(begin) :], re.DOTALL)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_cells_of_the_guides_notebook_open_watch_and_close_a_run(tmp_path: Path) -> None:
    opened, looked, closed = blocks("In a notebook")[:3]
    wait = "async for event in keisei.events({'metrics'}):\n    break"
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, opened, wait, looked, closed, "keisei.status().state"],
        check=False,
        cwd=ROOT,
        env={**os.environ, **TINY, "KEISEI_RUN__ROOT": str(tmp_path), "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    step, state = re.findall(r"Out\[.*?\]: (.*)", done.stdout)
    assert int(step) > 0
    assert state == "'stopped'"
    (run,) = (path for path in tmp_path.iterdir() if (path / "run.toml").exists())
    assert find_checkpoint(run)[0].name.lstrip("0")


APPLICATION = """
import asyncio, json, sys, threading
import httpx

names = {"__name__": "host"}
for block in json.load(sys.stdin):
    exec(block, names)
app = names["app"]

async def ask():
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers = [(await client.get(path)).text for path in sys.argv[1:]]
    left = asyncio.all_tasks() - {asyncio.current_task()}
    return answers, names["keisei"].status().state, len(left)

found = asyncio.run(ask())
for thread in threading.enumerate():
    if thread.name == "AnyIO worker thread":
        thread.join(5)
print(json.dumps([*found, [t.name for t in threading.enumerate() if not t.daemon]]))
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("count", "paths"), [(1, []), (2, ["/step"])], ids=["Starlette", "FastAPI"]
)
def test_the_guides_applications_serve_a_run_and_leave_nothing(
    count: int, paths: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", APPLICATION, "/shogi/healthz", "/shogi/api/status", *paths],
        input=json.dumps(blocks("## In a web application")[:count]),
        check=False,
        cwd=ROOT,
        env={**os.environ, **TINY, "KEISEI_RUN__ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    answers, state, tasks, threads = json.loads(done.stdout)
    assert json.loads(answers[0]) == {"status": "ok"}
    assert json.loads(answers[1])["run"] in {path.name for path in tmp_path.iterdir()}
    assert answers[2:] == ["0"][: len(paths)]
    assert (state, tasks, threads) == ("stopped", 0, ["MainThread"])


def test_the_guides_fixture_works_under_pytest_asyncio(tmp_path: Path) -> None:
    fixture, test = blocks("## A fake run for tests")[:2]
    (tmp_path / "test_mine.py").write_text(fixture + test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", tmp_path, tmp_path],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
