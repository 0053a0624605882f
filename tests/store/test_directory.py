"""Run directories: settings, lock, resume."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keisei.config import Settings
from keisei.store import (
    CheckpointError,
    DamagedRunError,
    RunDirectory,
    RunError,
    RunLockedError,
    find_checkpoint,
    read_settings,
    resumed_settings,
)


def test_create_writes_settings_that_win_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Settings(run={"root": tmp_path, "seed": 7}, compute={"dtype": "bfloat16", "threads": 2})
    with RunDirectory.create(kept) as run:
        assert run.path.parent == tmp_path
        assert run.id == run.path.name
    monkeypatch.setenv("KEISEI_RUN__SEED", "8")
    assert read_settings(run.path) == kept
    with RunDirectory.open(run.path) as again:
        assert again.settings == kept


def test_runs_of_one_second_get_names_of_their_own(tmp_path: Path) -> None:
    kept = Settings(run={"root": tmp_path})
    with RunDirectory.create(kept) as one, RunDirectory.create(kept) as two:
        assert one.id != two.id


def test_create_refuses_a_path_that_holds_a_run(tmp_path: Path) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    with pytest.raises(RunError, match=r"/a already holds a run.*--resume"):
        RunDirectory.create(Settings(), tmp_path / "a")


def test_a_run_made_while_waiting_for_the_lock_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keisei.store.lock import Lock

    def lock(path: Path) -> Lock:
        path.with_name("run.toml").write_text("# of another process")
        return Lock(path)

    monkeypatch.setattr("keisei.store.directory.Lock", lock)
    with pytest.raises(RunError, match="already holds a run"):
        RunDirectory.create(Settings(), tmp_path / "run")
    assert (tmp_path / "run" / "run.toml").read_text() == "# of another process"


def test_open_and_newest_refuse_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run \(it has no run\.toml\)"):
        RunDirectory.open(tmp_path)
    with pytest.raises(RunError, match="nowhere: no such file or folder"):
        RunDirectory.open(tmp_path / "nowhere")
    with pytest.raises(RunError, match="holds no run"):
        RunDirectory.newest(tmp_path)
    assert not any(tmp_path.iterdir())


def test_newest_is_the_one_created_last(tmp_path: Path) -> None:
    for name in ("z", "a"):
        RunDirectory.create(Settings(), tmp_path / name).close()
        time.sleep(0.01)
    assert RunDirectory.newest(tmp_path) == tmp_path / "a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[run]\nsteps = -1\n[log]\nlevel = 'info'\n", r"run\.toml: run\.steps: .*got -1"),
        ("x = [", r"run\.toml: "),
        ("x = " + "[" * 10_000, r"run\.toml: "),
        ("", r"run\.toml: its end is missing: .*restore the file .*--init "),
        ("log = 3\n", "its end is missing"),
        ("[log]\n", "its end is missing"),
    ],
)
def test_spoilt_settings_are_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(DamagedRunError, match=said):
        RunDirectory.open(tmp_path)
    (tmp_path / "run.toml").write_text("[log]\nlevel = 'info'\n")
    RunDirectory.open(tmp_path).close()  # the failed try kept no lock


KEPT = Settings(run={"seed": 7}, ppo={"gamma": 0.91}, log={"level": "warning"})


def test_settings_that_were_cut_anywhere_are_refused_and_never_filled_with_defaults(
    tmp_path: Path,
) -> None:
    RunDirectory.create(KEPT, tmp_path / "run").close()
    file = tmp_path / "run" / "run.toml"
    whole = file.read_bytes()
    checksum = whole.rindex(b"# sha256")
    for end in range(len(whole)):
        file.write_bytes(whole[:end])
        if end > checksum - 2:  # all settings are there
            assert read_settings(file.parent) == KEPT
        else:
            with pytest.raises(DamagedRunError, match=r"run\.toml: "):
                read_settings(file.parent)


def test_a_flipped_bit_in_the_settings_is_refused_wherever_it_is(tmp_path: Path) -> None:
    RunDirectory.create(KEPT, tmp_path / "run").close()
    file = tmp_path / "run" / "run.toml"
    whole = file.read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        file.write_bytes(data)
        try:
            found = read_settings(file.parent)
        except DamagedRunError:
            continue
        assert found == KEPT, "only the word before the checksum may be spoilt"


def test_settings_of_earlier_versions_and_edited_ones_open_without_a_checksum(
    tmp_path: Path,
) -> None:
    RunDirectory.create(KEPT, tmp_path / "run").close()
    file = tmp_path / "run" / "run.toml"
    lines = file.read_text().splitlines(keepends=True)
    edited = "".join(lines).replace("gamma = 0.91", "gamma = 0.92")
    file.write_text(edited)
    with pytest.raises(DamagedRunError, match="if you edited it, remove its last line"):
        read_settings(file.parent)
    file.write_text("".join(edited.splitlines(keepends=True)[:-1]))
    assert read_settings(file.parent).ppo.gamma == 0.92
    older = [line for line in lines[:-1] if not line.startswith("promotion_games")]
    file.write_text("".join(older))
    assert read_settings(file.parent) == KEPT


def test_the_last_key_of_the_settings_stays_the_last() -> None:
    section, keys = list(Settings().model_dump().items())[-1]
    assert (section, list(keys)[-1]) == ("log", "level"), (
        "run.toml of earlier versions ends with it"
    )


@pytest.mark.parametrize("name", ["run\udcff", "\udce9t\udce9", "\udc81\udc9e"])
def test_a_name_that_is_no_text_is_refused_before_anything_is_made(
    tmp_path: Path, name: str
) -> None:
    said = r"not UTF-8"
    for settings, path in (
        (Settings(), tmp_path / name),
        (Settings(), tmp_path / name / "run"),
        (Settings(run={"root": tmp_path / name}), None),
        (Settings(run={"root": tmp_path / name}), tmp_path / "run"),
        (Settings(evaluation={"engines": {"e": f"usi:/{name}"}}), tmp_path / "run"),
    ):
        with pytest.raises(RunError, match=said) as caught:
            RunDirectory.create(settings, path)
        str(caught.value).encode()
    assert list(tmp_path.iterdir()) == []
    RunDirectory.create(Settings(), tmp_path / "run").close()
    (tmp_path / "run").rename(tmp_path / name)
    with pytest.raises(RunError, match=said):
        RunDirectory.open(tmp_path / name)


# ---- the lock

HOLD = """
import sys, pathlib
from keisei.store.lock import Lock
lock = Lock(pathlib.Path(sys.argv[1]) / "lock")
print("held", flush=True)
sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_live_process_keeps_others_out_and_a_dead_one_does_not(tmp_path: Path) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    with hold(tmp_path / "a") as holder:
        with pytest.raises(RunLockedError, match=f"pid {holder.pid} on {socket.gethostname()}"):
            RunDirectory.open(tmp_path / "a")
        holder.kill()
        holder.wait()
    assert json.loads((tmp_path / "a" / "lock").read_text())["pid"] == holder.pid
    with RunDirectory.open(tmp_path / "a"):
        assert json.loads((tmp_path / "a" / "lock").read_text())["pid"] == os.getpid()


def test_one_process_may_not_open_a_run_twice(tmp_path: Path) -> None:
    with RunDirectory.create(Settings(), tmp_path / "a") as run, pytest.raises(RunLockedError):
        RunDirectory.open(tmp_path / "a")
    run.close()  # again
    RunDirectory.open(tmp_path / "a").close()


def test_what_another_host_left_needs_a_person(tmp_path: Path) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    (tmp_path / "a" / "lock").write_text('{"pid": 12, "host": "elsewhere"}')
    with pytest.raises(RunLockedError, match=r"pid 12 on elsewhere.*remove .*/a/lock"):
        RunDirectory.open(tmp_path / "a")


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\udcff", "7", '{"host": 3', "\0" * 99])
def test_a_lock_file_that_is_damaged_locks_nobody_out(tmp_path: Path, text: str) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    (tmp_path / "a" / "lock").write_bytes(os.fsencode(text))
    with RunDirectory.open(tmp_path / "a"):
        assert json.loads((tmp_path / "a" / "lock").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
def test_a_lock_that_is_no_file_is_told_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    (tmp_path / "a" / "lock").unlink()
    make(tmp_path / "a" / "lock")
    with pytest.raises(OSError, match="lock"):
        RunDirectory.open(tmp_path / "a")


# ---- best


@pytest.mark.parametrize("target", ["best", "nowhere", "checkpoints/000000000007", "/", "lock"])
def test_a_best_that_names_no_checkpoint_is_nothing_to_a_run(tmp_path: Path, target: str) -> None:
    RunDirectory.create(Settings(), tmp_path / "a").close()
    (tmp_path / "a" / "best").symlink_to(target)
    with RunDirectory.open(tmp_path / "a") as run:
        assert run.needed == set()
        with pytest.raises(
            CheckpointError, match=r"no such file|neither a run|not a complete|Not a directory"
        ):
            find_checkpoint(run.best)
        run.checkpoint(7).mkdir()
        run.promote(7)
        assert run.best_checkpoint == run.checkpoint(7)


# ---- what may change on resume


def test_resume_takes_what_may_change_and_names_what_it_ignored() -> None:
    kept = Settings(
        device="cpu",
        run={"steps": 100, "seed": 3},
        ppo={"gamma": 0.9},
        compute={"dtype": "float32", "threads": 2},
    )
    given = Settings(
        device="auto",
        run={"steps": 200, "seed": 4, "checkpoints_kept": 9},
        ppo={"gamma": 0.95, "clip": 0.2},
        compute={"dtype": "auto", "threads": 1},
        server={"port": 9000},
        log={"level": "debug"},
        evaluation={"games": 10},
    )
    settings, ignored = resumed_settings(kept, given)
    assert ignored == ["compute.threads", "ppo.gamma", "run.seed"]
    assert settings.run.steps == 200
    assert settings.run.checkpoints_kept == 9
    assert (settings.server.port, settings.log.level, settings.evaluation.games) == (
        9000,
        "debug",
        10,
    )
    unchanged = {"run": {"steps", "checkpoints_kept"}, "server": True, "log": True}
    for tree in (settings, kept):
        assert tree.device == "cpu"
    assert settings.model_dump(exclude={**unchanged, "evaluation": True}) == kept.model_dump(
        exclude={**unchanged, "evaluation": True}
    )


def test_resume_without_explicit_settings_changes_nothing() -> None:
    kept = Settings(run={"steps": 100}, server={"port": 1}, ppo={"gamma": 0.9})
    assert resumed_settings(kept, Settings()) == (kept, [])
