"""A run with a damaged file resumes from its intact files, or ends with a one-line error."""

import os
import random
import re
import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
import torch
from run_tools import Learners

from keisei.cli.errors import CommandError
from keisei.cli.process import problems
from keisei.config import Settings
from keisei.events import Evaluation, Game, Iteration, Status
from keisei.log import Logging
from keisei.runtime.plan import RunRequest
from keisei.runtime.prepare import open_run
from keisei.store import Database, DatabaseError, RunDirectory, save_checkpoint

KEPT = Settings(device="cpu", run={"seed": 7, "steps": 900}, ppo={"gamma": 0.91})
Damage = Callable[[Path, random.Random], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints, a database with rows in each table, and ``best``."""
    path = tmp_path_factory.mktemp("whole") / "run"
    with RunDirectory.create(KEPT, path) as run, closing(Database(run.database)) as database:
        for step in (100, 200):
            weights = {"weights": {"w": torch.arange(200.0)}, "optimizer": {"m": torch.ones(50)}}
            state = {
                "iteration": step // 100,
                "elapsed_seconds": step / 10,
                "net": KEPT.net.model_dump(),
            }
            save_checkpoint(run, step, weights, state)
        run.promote(100)
        for number in range(1, 40):
            stamp = {"run": "run", "step": 5 * number, "time": 1.0}
            values = {f"name{i}": i / 7 for i in range(20)}
            database.append([
                Iteration(**stamp, iteration=number, values=values),
                Game(**stamp, id=number, result="draw", reason="repetition", plies=3, record="x" * 99),
                Evaluation(**stamp, id=f"e{number}", state="done", measured=number),
                Status(**stamp, kind="running", state="running"),
            ])  # fmt: skip
    return path


def flip(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(chance.randrange(1, 5)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def cut(file: Path, chance: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: chance.randrange(len(data))])


def grow(file: Path, chance: random.Random) -> None:
    file.write_bytes(file.read_bytes() + chance.randbytes(chance.randrange(1, 99)))


def shuffle(file: Path, chance: random.Random) -> None:
    data = list(file.read_bytes())
    chance.shuffle(data)
    file.write_bytes(bytes(data))


def empty(file: Path, chance: random.Random) -> None:
    file.write_bytes(b"")


def noise(file: Path, chance: random.Random) -> None:
    file.write_bytes(chance.randbytes(5000))


def deep(file: Path, chance: random.Random) -> None:
    file.write_text(chance.choice(("[", '{"a":', "x = [", "a.")) * 100_000)


def other_types(file: Path, chance: random.Random) -> None:
    file.write_text(chance.choice(("[]", "7", "null", '"text"', "{}", "9" * 5000, "1e999", "NaN")))


def gone(file: Path, chance: random.Random) -> None:
    file.unlink()


def a_folder(file: Path, chance: random.Random) -> None:
    file.unlink()
    file.mkdir()


def a_pipe(file: Path, chance: random.Random) -> None:
    file.unlink()
    os.mkfifo(file)


def a_loop(file: Path, chance: random.Random) -> None:
    file.unlink()
    file.symlink_to(file.name)


DAMAGES = (
    flip,
    cut,
    grow,
    shuffle,
    empty,
    noise,
    deep,
    other_types,
    gone,
    a_folder,
    a_pipe,
    a_loop,
)
NEWEST, OLDER = "checkpoints/000000000200", "checkpoints/000000000100"
FILES = (
    "run.toml",
    "keisei.db",
    "lock",
    "best",
    *(f"{NEWEST}/{name}" for name in ("manifest.json", "state.json", "weights.safetensors")),
    f"{NEWEST}/optimizer.safetensors",
    f"{OLDER}/manifest.json",
)


def resume(run: Path) -> int | CommandError:
    """Resume a run. Returns the step from which it goes on, or the error of the command line."""
    try:
        with problems():
            # The network of this run is no real one, so a substitute learner would train it.
            prepared = open_run(RunRequest(Settings(), run, resume=True, build=Learners()))
    except CommandError as error:
        return error
    with closing(prepared.database) as database, closing(prepared.run):
        database.append([Iteration(run="r", step=999, time=1.0, iteration=999, values={})])
    assert prepared.settings == KEPT
    assert all(remark.isprintable() for remark in prepared.remarks)
    step = prepared.start.step
    assert step == 200 or any(NEWEST in remark for remark in prepared.remarks)
    return step


def assert_error(found: int | CommandError, exit_code: int, said: str) -> None:
    assert isinstance(found, CommandError)
    assert found.exit_code == exit_code
    assert str(found).isprintable(), "the message is one line"
    assert re.search(said, str(found))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_skipped_or_reported_in_one_line(
    whole: Path, tmp_path: Path, name: str, damage: Damage
) -> None:
    chance = random.Random(f"{name} {damage.__name__}")
    for number in range(6 if damage in {flip, cut, shuffle} else 1):
        run = tmp_path / str(number)
        shutil.copytree(whole, run, symlinks=True)
        if name in {"best", "lock"}:
            (run / name).unlink()
            (run / name).write_text('{"pid": 1, "host": ""}')
        damage(run / name, chance)
        found = resume(run)
        if isinstance(found, CommandError):
            assert name in {"run.toml", "keisei.db", "lock"}
            assert_error(found, 2 if damage is gone else 3, name)
        else:
            assert found == (100 if NEWEST in name else 200)
        shutil.rmtree(run)


@pytest.mark.parametrize("damage", DAMAGES)
def test_if_every_checkpoint_is_damaged_the_error_says_what_to_do(
    whole: Path, tmp_path: Path, damage: Damage
) -> None:
    run, chance = tmp_path / "run", random.Random(damage.__name__)
    shutil.copytree(whole, run, symlinks=True)
    for folder in (NEWEST, OLDER):
        damage(run / folder / "weights.safetensors", chance)
    assert_error(resume(run), 3, "no valid checkpoint .*begin a new run")


def test_a_lost_page_of_the_database_is_reported_at_the_start(whole: Path, tmp_path: Path) -> None:
    data = (whole / "keisei.db").read_bytes()
    hidden = 0
    for begin in range(4096, len(data), 4096):
        run = tmp_path / str(begin)
        shutil.copytree(whole, run, symlinks=True)
        (run / "keisei.db").write_bytes(data[:begin] + bytes(4096) + data[begin + 4096 :])
        shutil.copy(run / "keisei.db", tmp_path / "copy.db")
        with suppress(DatabaseError), closing(Database(tmp_path / "copy.db")) as database:
            database.truncate_after(200)
            hidden += 1
        assert_error(resume(run), 3, "keisei.db: damaged")
    assert hidden > 2


def test_training_resumes_after_the_database_was_moved_away(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run, symlinks=True)
    shuffle(run / "keisei.db", random.Random(0))
    assert_error(resume(run), 3, r"move keisei.db\* away: .*training resumes")
    for file in run.glob("keisei.db*"):
        file.rename(tmp_path / file.name)
    assert resume(run) == 200


@pytest.mark.parametrize("damage", [a_folder, a_pipe])
def test_a_log_that_is_a_folder_or_pipe_is_reported_without_waiting(
    tmp_path: Path, damage: Damage
) -> None:
    (tmp_path / "keisei.log").write_text("")
    damage(tmp_path / "keisei.log", random.Random(0))
    with pytest.raises(OSError, match=r"keisei\.log"), Logging() as logs:
        logs.add_file(tmp_path / "keisei.log")
