"""Programs with pipes: how they start, what they write, and that none survives."""

import os
import shutil
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
import pytest
from engine_tools import fake, lives, nothing_left

from keisei.usi.child import Child

pytestmark = pytest.mark.anyio


def heard(folder: Path) -> list[str]:
    """Return the lines that the fake engine has read."""
    return (folder / "heard").read_text().splitlines()


async def test_a_program_runs_niced_in_its_own_group_and_folder(tmp_path: Path) -> None:
    child = await Child.start(Path(fake("plain", tmp_path).path), print, print)
    try:
        pid = child._transport.get_pid()
        assert os.getpgid(pid) == pid
        process = psutil.Process(pid)
        with anyio.fail_after(10):
            while process.nice() != min(19, psutil.Process().nice() + 10):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert process.cwd() == str(tmp_path)
    finally:
        await child.close()


async def test_lines_arrive_and_the_end_is_reported_once(tmp_path: Path) -> None:
    lines: list[str] = []
    reasons: list[str] = []
    gone = anyio.Event()

    def on_gone(reason: str) -> None:
        reasons.append(reason)
        gone.set()

    async with nothing_left():
        child = await Child.start(Path(fake("exit", tmp_path).path), lines.append, on_gone)
        child.listen()
        child.send("usi", "isready", "go")
        with anyio.fail_after(10):
            await gone.wait()
        await child.close()
        await child.close()  # again does nothing
    assert lines[0] == "id name Fake engine 1.0"
    assert lines[-2:] == ["usiok", "readyok"]
    assert reasons == ["exited with code 3"]
    assert child.last_words == "out of patience / second line"
    assert await anyio.to_thread.run_sync(child.cpu_seconds) == 0


PARENT = """
import sys, anyio
from keisei.usi import Engine, EngineSpec

async def main():
    async with Engine(EngineSpec.parse(sys.argv[1])) as engine:
        print(engine._child._transport.get_pid(), flush=True)
        await engine.go("startpos")

anyio.run(main)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv (util-linux)")
async def test_a_program_that_hangs_does_not_outlive_our_process(tmp_path: Path) -> None:
    spec = fake("hang", tmp_path)
    command = [sys.executable, "-c", PARENT, f"usi:{spec.path}?nodes=1"]
    async with await anyio.open_process(command, stderr=None) as parent:
        assert parent.stdout is not None
        pid = int(await parent.stdout.receive())
        while "go nodes 1" not in heard(tmp_path):  # noqa: ASYNC110 (another process writes it)
            await anyio.sleep(0.05)
        parent.kill()
        await parent.wait()
    for _ in range(100):
        if lives(pid):
            await anyio.sleep(0.05)
    assert not lives(pid)
