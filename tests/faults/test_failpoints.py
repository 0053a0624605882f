"""A save that fails, or is killed, at each of its calls that change the disk."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from forked import ForkServer

from keisei.config import Settings
from keisei.store import RunDirectory, find_checkpoint, load_checkpoint, save_checkpoint

SAVE = """
import io, os, signal, sys
from pathlib import Path
import torch
from keisei.store import RunDirectory, save_checkpoint

calls, (fault, number) = [], {chosen!r}

def point(name):
    calls.append(name)
    if len(calls) == number:
        if fault == "kill":
            leave(-9)
        raise OSError(5, "Input/output error")

def leave(code):
    Path({calls!r}).write_text(" ".join(calls))
    os._exit(code) if code >= 0 else os.kill(os.getpid(), signal.SIGKILL)

def wrap(name):
    real = getattr(os, name)
    def call(*arguments, **named):
        point(name)
        return real(*arguments, **named)
    setattr(os, name, call)

class Halves(io.BufferedWriter):
    def write(self, data):
        point("write")
        super().write(data[:len(data) // 2])
        self.flush()
        point("rest")
        return super().write(data[len(data) // 2:])

open_any = Path.open
def open_here(path, mode="r", *more, **named):
    return Halves(io.FileIO(path, "w")) if mode == "wb" else open_any(path, mode, *more, **named)

with RunDirectory.open(Path({run!r})) as run:
    for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "symlink"):
        wrap(name)
    Path.open = open_here
    weight = torch.full((3, 5), 30.0)
    try:
        save_checkpoint(run, 30, {{"weights": {{"w": weight}}, "optimizer": {{"m": weight}}}}, {{}})
        run.promote(30)
    except OSError:
        number = 0
        run.promote(20)
        leave(1)
leave(0)
"""
"""Program that saves step 30 and makes it the best; the call ``number`` on the disk fails."""
WHOLE = 0


def make(path: Path) -> None:
    """Make a run with two checkpoints, as many as it keeps."""
    with RunDirectory.create(Settings(run={"checkpoints_kept": 2}), path) as run:
        for step in (10, 20):
            weight = torch.full((3, 5), float(step))
            save_checkpoint(run, step, {"weights": {"w": weight}, "optimizer": {"m": weight}}, {})
        run.promote(20)


def hidden(run: Path) -> list[Path]:
    """Return the temporary files of a run."""
    return [*run.glob(".*"), *run.glob("checkpoints/.*")]


def check(run: Path) -> int:
    """Restart the run; return the step of its newest checkpoint, which must be whole."""
    RunDirectory.open(run).close()
    assert hidden(run) == []
    path, refused = find_checkpoint(run)
    assert refused == []
    checkpoint = load_checkpoint(path)
    expected = torch.full((3, 5), float(path.name))
    assert torch.equal(checkpoint.tensors["weights"]["w"], expected)
    assert torch.equal(checkpoint.tensors["optimizer"]["m"], expected)
    assert load_checkpoint(find_checkpoint(run / "best")[0]).step in {20, 30}
    return checkpoint.step


def save(server: ForkServer, folder: Path, fault: str, number: int) -> tuple[int, list[str]]:
    """Save in a new process; return its exit code and its calls that change the disk."""
    calls = folder / "calls"
    patch = SAVE.format(chosen=(fault, number), calls=str(calls), run=str(folder / "run"))
    code = server.start(folder, patch=patch).wait()
    return code, calls.read_text().split()


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(("fault", "code"), [("raise", 1), ("kill", -9)])
def test_a_save_that_breaks_off_at_any_call_leaves_the_old_or_the_new_checkpoint(
    fork_server: ForkServer, tmp_path: Path, fault: str, code: int, every: int
) -> None:
    make(tmp_path / "whole/run")
    ended, calls = save(fork_server, tmp_path / "whole", fault, WHOLE)
    assert ended == 0
    counts = Counter(calls)
    assert counts["write"] == counts["rest"] == 4
    assert counts["fsync"] >= 7, "of four files, two folders, and the run's folder"
    assert counts["unlink"] >= 4, "of the checkpoint that is pruned"
    assert {"mkdir", "rename", "rmdir", "symlink", "replace"} <= counts.keys()
    found = []
    # The first call makes a folder that exists, and Python ignores errors of such a call.
    for number in range(2, len(calls) + 1, every):
        folder = tmp_path / str(number)
        make(folder / "run")
        ended, seen = save(fork_server, folder, fault, number)
        assert ended == code
        assert seen[:number] == calls[:number]
        found.append(check(folder / "run"))
    assert found == sorted(found), (
        "after the rename the new checkpoint loads, before it the old one"
    )
    assert set(found) == {20, 30}
