"""Checkpoints are whole or refused, at whatever moment a save breaks off."""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from forged import forge
from torch import Tensor

from keisei.config import Settings
from keisei.store import (
    CheckpointError,
    DamagedCheckpointError,
    NotFiniteError,
    RunDirectory,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from keisei.store.checkpoints import write_part
from keisei.store.manifest import Files

FILES = (
    "weights.safetensors",
    "optimizer.safetensors",
    "env.safetensors",
    "pool.safetensors",
    "state.json",
    "manifest.json",
)


def tensors(fill: int) -> dict[str, dict[str, Tensor]]:
    weight = torch.full((3, 4, 2, 2), float(fill)).to(memory_format=torch.channels_last)
    return {
        "weights": {"stem.weight": weight, "half": torch.full((3,), fill, dtype=torch.bfloat16)},
        "optimizer": {"step": torch.tensor(float(fill))},
        "env": {
            "rng": torch.tensor([fill], dtype=torch.uint64),
            "games": torch.full((5, 7), fill, dtype=torch.uint8),
            "plies": torch.full((5,), fill, dtype=torch.int16),
        },
        "pool": {},
    }


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    settings = Settings(run={"checkpoints_kept": 2})
    with RunDirectory.create(settings, tmp_path / "run") as run:
        yield run


def save(run: RunDirectory, step: int) -> Path:
    return save_checkpoint(run, step, tensors(step), {"step": step, "rng": "00ff"})


def assert_is(path: Path, step: int) -> None:
    checkpoint = load_checkpoint(path)
    assert checkpoint.step == step
    assert checkpoint.state == {"step": step, "rng": "00ff"}
    expected = tensors(step)
    assert checkpoint.tensors.keys() == expected.keys()
    for group, named in expected.items():
        assert checkpoint.tensors[group].keys() == named.keys()
        for name, tensor in named.items():
            found = checkpoint.tensors[group][name]
            assert found.dtype == tensor.dtype
            assert torch.equal(found, tensor)


def test_a_saved_checkpoint_reads_back_as_it_was(run: RunDirectory) -> None:
    path = save(run, 60)
    assert sorted(file.name for file in path.iterdir()) == sorted(FILES)
    assert_is(path, 60)
    assert find_checkpoint(path) == (path, [])
    assert find_checkpoint(run.path) == (path, [])


def test_a_save_removes_the_oldest_checkpoints(run: RunDirectory) -> None:
    paths = [save(run, step) for step in (9, 10, 100)]  # by number, not by name
    assert run.checkpoints() == paths[1:]
    assert find_checkpoint(run.path)[0] == paths[2]


def test_a_valid_checkpoint_of_the_same_step_stays(run: RunDirectory) -> None:
    path = save(run, 5)
    before = (path / "manifest.json").read_bytes()
    assert save(run, 5) == path
    assert (path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_refused(run: RunDirectory, name: str) -> None:
    file = save(run, 1) / name
    good = file.read_bytes()
    places = range(len(good)) if name.endswith(".json") else range(0, len(good), 7)
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << (place % 8)
        file.write_bytes(bad)
        with pytest.raises(CheckpointError, match=name):
            load_checkpoint(file.parent)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncate", "grow", "empty", "remove", "reverse"])
def test_cut_grown_lost_or_reversed_files_are_refused(
    run: RunDirectory, name: str, damage: str
) -> None:
    file = save(run, 1) / name
    data = file.read_bytes()
    match damage:
        case "truncate":
            file.write_bytes(data[:-1])
        case "grow":
            file.write_bytes(data + b"x")
        case "empty":
            file.write_bytes(b"")
        case "remove":
            file.unlink()
        case "reverse":
            file.write_bytes(data[::-1])
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(file.parent)


def test_a_damaged_checkpoint_is_named_and_the_older_one_used(run: RunDirectory) -> None:
    old, new = save(run, 1), save(run, 2)
    (new / "env.safetensors").write_bytes(b"x")
    path, refused = find_checkpoint(run.path)
    assert path == old
    assert [str(error) for error in refused] == [
        f"{new}/env.safetensors: damaged (1 bytes, not {(old / 'env.safetensors').stat().st_size})"
    ]


def test_groups_that_are_not_asked_for_are_not_read(run: RunDirectory) -> None:
    old, new = save(run, 1), save(run, 2)
    for name in FILES:
        if name.endswith(".safetensors") and not name.startswith("weights"):
            (new / name).unlink()
    for path in (run.path, new):
        assert find_checkpoint(path, only="weights") == (new, [])
    found = load_checkpoint(new, only="weights")
    assert found.state == {"step": 2, "rng": "00ff"}
    assert found.tensors.keys() == {"weights"}
    for name in ("state.json", "weights.safetensors"):  # the manifest lists weights first
        (new / name).write_bytes(b"x")
        assert find_checkpoint(run.path, only="weights")[0] == old
        with pytest.raises(CheckpointError, match=name):
            load_checkpoint(new, only="weights")


def test_damaged_newer_checkpoints_never_push_out_a_good_one(run: RunDirectory) -> None:
    for step in (20, 30):
        (save(run, step) / "state.json").write_bytes(b"x")
    good = save(run, 10)
    assert find_checkpoint(run.path)[0] == good
    save(run, 20)  # the run reaches this step again, and replaces the damaged one
    assert_is(find_checkpoint(run.path)[0], 20)


# ---- numbers that are not finite

BAD = [
    ("weights", "stem.weight", math.nan),
    ("weights", "half", math.inf),
    ("optimizer", "step", -math.inf),
    ("pool", "3.stem.weight", math.nan),
]


def spoilt(step: int, group: str, name: str, number: float) -> dict[str, dict[str, Tensor]]:
    made = tensors(step)
    made["pool"]["3.stem.weight"] = torch.zeros(5)
    made["pool"]["none"] = torch.zeros(0)
    made[group][name][-1 if made[group][name].dim() else ...] = number
    return made


def save_as_earlier_versions_did(run: RunDirectory, step: int, *bad: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keisei.store.checkpoints.first_not_finite", lambda tensors: None)
        return save_checkpoint(run, step, spoilt(step, *bad), {"step": step, "rng": "00ff"})


@pytest.mark.parametrize("bad", BAD)
def test_a_number_that_is_not_finite_is_never_saved(run: RunDirectory, bad: Any) -> None:
    old = save(run, 1)
    with pytest.raises(NotFiniteError, match=f"^{bad[0]}/{bad[1]} is not finite$"):
        save_checkpoint(run, 2, spoilt(2, *bad), {})
    assert list(old.parent.iterdir()) == [old]
    with pytest.raises(NotFiniteError):
        save_checkpoint(
            run, 3, tensors(3), {}, lambda folder: write_part(folder, 1, spoilt(3, *bad), {})
        )
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("bad", BAD)
def test_a_checkpoint_that_is_not_finite_is_named_and_the_older_one_used(
    run: RunDirectory, bad: Any
) -> None:
    old, new = save(run, 1), save_as_earlier_versions_did(run, 2, *bad)
    said = f"{new}/{bad[0]}.safetensors: {bad[0]}/{bad[1]} is not finite"
    path, refused = find_checkpoint(run.path)
    assert (path, [str(error) for error in refused]) == (old, [said])
    for use in (find_checkpoint, load_checkpoint):
        with pytest.raises(DamagedCheckpointError, match=re.escape(said)):
            use(new)
    assert save(run, 2) == new, "the run comes to this step again"
    assert_is(find_checkpoint(run.path)[0], 2)


def test_the_message_says_what_to_do_if_no_checkpoint_is_finite(run: RunDirectory) -> None:
    for step in (1, 2):
        save_as_earlier_versions_did(run, step, *BAD[0])
    with pytest.raises(
        DamagedCheckpointError, match=r"not finite; .*not finite\): restore one from"
    ):
        find_checkpoint(run.path)


def test_a_player_needs_only_the_weights_to_be_finite(run: RunDirectory) -> None:
    new = save_as_earlier_versions_did(run, 2, "optimizer", "step", math.nan)
    assert find_checkpoint(run.path, only="weights") == (new, [])
    assert load_checkpoint(new, only="weights").step == 2


def test_the_largest_numbers_are_finite(run: RunDirectory) -> None:
    largest = torch.full((4, 4), torch.finfo(torch.float32).max)
    path = save_checkpoint(run, 1, {"weights": {"w": torch.stack((largest, -largest))}}, {})
    assert load_checkpoint(path).step == 1


# ---- damage: other things in the place of files, wrong contents


def deep(file: Path) -> None:
    file.write_text("[" * 100_000)


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def a_list(file: Path) -> None:
    file.write_text("[1, 2]")


def a_huge_number(file: Path) -> None:
    file.write_text('{"sha256": ' + "9" * 5000 + "}")


@pytest.mark.parametrize("damage", [deep, a_pipe, a_folder, a_loop, a_list, a_huge_number])
@pytest.mark.parametrize("name", FILES)
def test_pipes_folders_and_nonsense_are_refused_without_waiting(
    run: RunDirectory, name: str, damage: Callable[[Path], None]
) -> None:
    old, new = save(run, 1), save(run, 2)
    damage(new / name)
    path, (error,) = find_checkpoint(run.path)
    assert path == old
    assert name in str(error)
    assert "\n" not in str(error)
    assert_is(save(run, 3), 3)
    save(run, 4)  # removes the damaged one as the oldest


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "7", "{", '{"a": ' + "9" * 5000 + "}", ""])
def test_a_state_that_is_not_a_json_object_is_refused_despite_its_checksum(
    run: RunDirectory, text: str
) -> None:
    old, new = save(run, 1), save(run, 2)
    data = text.encode()
    (new / "state.json").write_bytes(data)
    entry = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    files = json.loads((new / "manifest.json").read_text())["files"]
    forge(new, files=files | {"state.json": entry})
    path, (error,) = find_checkpoint(run.path)
    assert path == old
    assert "state.json: damaged" in str(error)
    with pytest.raises(DamagedCheckpointError, match=r"state\.json: damaged"):
        load_checkpoint(new)


def test_the_message_says_why_there_is_no_checkpoint(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="run: no checkpoint yet"):
        find_checkpoint(run.path)
    with pytest.raises(CheckpointError, match="nowhere: no such file or folder"):
        find_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"is neither a run .* nor a checkpoint"):
        find_checkpoint(tmp_path)
    (save(run, 1) / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no valid checkpoint \(.*manifest.json: damaged"):
        find_checkpoint(run.path)


def test_a_checkpoint_in_the_folder_of_another_step_is_refused(run: RunDirectory) -> None:
    old, new = save(run, 1), save(run, 2)
    shutil.rmtree(new)
    shutil.copytree(old, new)
    path, (error,) = find_checkpoint(run.path)
    assert path == old
    assert str(error) == f"{new}: contains the checkpoint of step 1"


def test_a_removed_folder_of_checkpoints_is_made_again(run: RunDirectory) -> None:
    save(run, 1)
    shutil.rmtree(run.path / "checkpoints")
    assert_is(save(run, 2), 2)


# ---- several processes


def part(folder: Path) -> Files:
    """Write the files of rank 1."""
    return write_part(folder, 1, {"env": {"rng": torch.tensor([9])}}, {"rng": "11"})


def test_each_rank_reads_its_own_files_and_the_rest_from_rank_0(run: RunDirectory) -> None:
    path = save_checkpoint(run, 60, tensors(60), {"step": 60, "rng": "00ff"}, part)
    assert_is(path, 60)
    other = load_checkpoint(path, 1)
    assert other.state == {"rng": "11"}
    assert other.tensors["env"] == {"rng": torch.tensor([9])}
    assert torch.equal(other.tensors["optimizer"]["step"], torch.tensor(60.0))


def test_damage_in_the_files_of_another_rank_is_refused(run: RunDirectory) -> None:
    path = save_checkpoint(run, 1, tensors(1), {}, part)
    for name in ("env.1.safetensors", "state.1.json"):
        data = (path / name).read_bytes()
        (path / name).write_bytes(data[:-1])
        with pytest.raises(CheckpointError, match=name):
            load_checkpoint(path)
        (path / name).write_bytes(data)


def test_a_save_that_fails_on_another_rank_leaves_nothing(run: RunDirectory) -> None:
    def full(folder: Path) -> Files:
        raise OSError("rank 1: no space")

    path = save(run, 1)
    with pytest.raises(OSError, match="rank 1: no space"):
        save_checkpoint(run, 2, tensors(2), {}, full)
    assert list(path.parent.iterdir()) == [path]


# ---- a crash at each step of a save


class Crash(BaseException):
    """A power cut."""


STEPS = {
    os: ("fsync", "open"),
    Path: ("mkdir", "rename", "replace", "open"),
    shutil: ("rmtree",),
}


def crash_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> list[str]:
    """Let the ``number``-th call that touches the disk, and all after it, raise."""
    seen: list[str] = []

    def wrap(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            seen.append(name)
            if len(seen) >= number:
                if name == "rmtree" and len(seen) == number:  # half of the folder is removed
                    next(file for file in args[0].iterdir() if file.is_file()).unlink()
                raise error
            return real(*args, **options)

        monkeypatch.setattr(owner, name, call)

    for owner, names in STEPS.items():
        for name in names:
            wrap(owner, name)
    return seen


def sweep(
    run: RunDirectory,
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[int, ...],
    error: BaseException,
) -> int:
    """Save step 30 after ``before``, failing at each disk call in turn; return their number."""
    number = 0
    while True:
        number += 1
        for path in run.checkpoints():
            shutil.rmtree(path)
        for step in before:
            save(run, step)
        with monkeypatch.context() as patch:
            seen = crash_at(patch, number, error)
            with suppress(type(error)):
                save(run, 30)
        if len(seen) < number:
            assert_is(find_checkpoint(run.path)[0], 30)
            return number - 1
        found, refused = find_checkpoint(run.path)
        assert_is(found, int(found.name))
        assert int(found.name) in (before[-1], 30)
        assert not refused
        for path in run.checkpoints():  # a save that failed leaves no damaged checkpoint
            assert_is(path, int(path.name))
        save(run, 40)  # the run goes on
        assert_is(find_checkpoint(run.path)[0], 40)
        left = {path.name for path in (run.path / "checkpoints").iterdir()}
        assert all(name.isdecimal() for name in left), left
        assert len(left) == 2


def test_a_crash_at_any_step_leaves_the_old_or_the_new_checkpoint(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sweep(run, monkeypatch, (10, 20), Crash()) >= 20


def test_a_full_disk_at_any_step_leaves_the_old_or_the_new_checkpoint(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(run, monkeypatch, (20,), OSError(28, "No space left on device"))


@pytest.mark.parametrize("part", ["manifest", "state"])
def test_a_checkpoint_of_a_newer_version_is_refused_and_the_one_before_is_used(
    run: RunDirectory, part: str
) -> None:
    old = save(run, 1)
    new = save_checkpoint(run, 2, {"weights": {"w": torch.ones(2)}}, {"format": 7})
    if part == "manifest":
        forge(new, format=7)
    found, refused = find_checkpoint(run.path)
    assert found == old
    assert [str(error).partition(": ")[2] for error in refused] == [
        f"made by a newer Keisei: format 7; this one reads up to format {1 + (part == 'state')}"
    ]
