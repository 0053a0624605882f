"""Run directories: how they are made and found, and the settings and links in them."""

import os
from pathlib import Path

import pytest

from keisei.config import Settings
from keisei.store import (
    CheckpointError,
    DamagedRunError,
    RunDirectory,
    RunError,
    RunReader,
    find_checkpoint,
    read_settings,
)
from keisei.store.directory import trained_with


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


def test_runs_that_start_in_the_same_second_get_different_names(tmp_path: Path) -> None:
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


def test_open_and_newest_refuse_folders_that_are_not_runs(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run \(it has no run\.toml\)"):
        RunDirectory.open(tmp_path)
    with pytest.raises(RunError, match="nowhere: no such file or folder"):
        RunDirectory.open(tmp_path / "nowhere")
    with pytest.raises(RunError, match="holds no run"):
        RunDirectory.newest(tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_newest_run_is_the_one_created_last_that_has_a_checkpoint(tmp_path: Path) -> None:
    for age, name in ((3, "z"), (2, "a"), (1, "k")):
        with RunDirectory.create(Settings(), tmp_path / name) as run:
            file = run.path / "run.toml"
        created = file.stat().st_mtime - age
        os.utime(file, (created, created))
    with pytest.raises(RunError, match="holds no run with a checkpoint: start a new run"):
        RunDirectory.newest(tmp_path)
    for name in ("z", "a"):
        (tmp_path / name / "checkpoints" / "000000000100").mkdir()
    assert RunDirectory.newest(tmp_path) == (tmp_path / "a", [tmp_path / "k"])


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
def test_spoilt_settings_are_refused_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(DamagedRunError, match=said):
        RunDirectory.open(tmp_path)
    (tmp_path / "run.toml").write_text("[log]\nlevel = 'info'\n")
    RunDirectory.open(tmp_path).close()  # the failed try kept no lock


KEPT = Settings(run={"seed": 7}, ppo={"gamma": 0.91}, log={"level": "warning"})


def test_settings_that_were_cut_anywhere_are_refused(
    tmp_path: Path,
) -> None:
    RunDirectory.create(KEPT, tmp_path / "run").close()
    file = tmp_path / "run" / "run.toml"
    whole = file.read_bytes()
    checksum = whole.rindex(b"# sha256")
    for end in {*range(0, checksum, 11), *range(checksum - 40, len(whole))}:
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
    for place in {*range(0, len(whole), 9), *range(len(whole) - 80, len(whole))}:
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
    with pytest.raises(DamagedRunError, match="if you edited the file, remove this line"):
        read_settings(file.parent)
    file.write_text("".join(edited.splitlines(keepends=True)[:-1]))
    assert read_settings(file.parent).ppo.gamma == 0.92
    older = [line for line in lines[:-1] if not line.startswith("promotion_games")]
    file.write_text("".join(older))
    assert read_settings(file.parent) == KEPT


def test_the_settings_of_an_earlier_version_are_read_by_their_old_names_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    RunDirectory.create(KEPT, tmp_path / "run").close()
    file = tmp_path / "run" / "run.toml"
    lines = file.read_text().splitlines(keepends=True)[:-1]
    old = "".join(lines).replace("declaration_reward = 0.3", "declaration = 0.4")
    file.write_text(old)
    assert read_settings(file.parent).ppo.declaration_reward == 0.4
    assert RunReader(file.parent).config()["ppo"]["declaration_reward"] == 0.4
    assert not caplog.messages
    with RunDirectory.open(file.parent) as run:
        assert run.settings.ppo.declaration_reward == 0.4
    text = "ppo.declaration is an old name; the new name is ppo.declaration_reward"
    assert caplog.messages == [f"{file}: {text}"]


def test_a_run_of_an_earlier_version_goes_on_without_what_that_version_did_not_do(
    tmp_path: Path,
) -> None:
    """A run without the setting ``env.mates`` was trained without a search for mates."""
    RunDirectory.create(KEPT, tmp_path / "run").close()
    file = tmp_path / "run" / "run.toml"
    assert read_settings(file.parent).env.mates == 1
    lines = file.read_text().splitlines(keepends=True)[:-1]
    file.write_text("".join(line for line in lines if line != "mates = 1\n"))
    with RunDirectory.open(file.parent) as run:
        assert run.settings.env.mates == 0
    assert RunReader(file.parent).config()["env"]["mates"] == 0
    assert trained_with(file.parent / "checkpoints" / "000000000001").env.mates == 0


def test_the_last_key_of_the_settings_stays_the_last() -> None:
    section, keys = list(Settings().model_dump().items())[-1]
    assert (section, list(keys)[-1]) == ("log", "level"), (
        "run.toml of earlier versions ends with it"
    )


@pytest.mark.parametrize("name", ["run\udcff", "\udce9t\udce9", "\udc81\udc9e"])
def test_a_name_that_is_not_utf_8_is_refused_before_anything_is_made(
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


@pytest.mark.parametrize("target", ["best", "nowhere", "checkpoints/000000000007", "/", "lock"])
def test_a_best_link_without_a_checkpoint_is_ignored_and_replaced(
    tmp_path: Path, target: str
) -> None:
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
