"""Checkpoints of a real run with damaged, swapped or malicious files are refused."""

import hashlib
import json
import os
import pickle
import random
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from forged import forge
from forked import TINY, ForkServer
from safetensors.torch import load_file, save_file

from keisei.runtime.learners import check_fits
from keisei.store import CheckpointError, find_checkpoint, read_settings
from keisei.store.layout import checkpoint_folders

FILES = (
    "manifest.json", "state.json", "weights.safetensors", "optimizer.safetensors",
    "env.safetensors", "pool.safetensors",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with some checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(TINY.format(steps=300))
    words = ("train", "--config", folder / "tiny.toml", "--run", folder / "run")
    assert fork_server.start(folder, *words).wait() == 0
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, which a test may damage."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def newest_two(run: Path) -> tuple[Path, Path]:
    *_, old, new = checkpoint_folders(run / "checkpoints")
    return old, new


def assert_refused(run: Path, name: str) -> str:
    """The newest checkpoint is refused because of the file ``name``, and the one before is used."""
    old, new = newest_two(run)
    found, refused = find_checkpoint(run)
    assert found == old
    (error,) = refused
    assert str(error).startswith(str(new / name))
    assert str(error).isprintable()
    return str(error)


def flipped(data: bytes, chance: random.Random) -> bytes:
    bad = bytearray(data)
    bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
    return bytes(bad)


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


@pytest.mark.parametrize(
    ("damage", "times"),
    [
        (flipped, 60),
        (cut, 30),
        pytest.param(flipped, 500, marks=pytest.mark.nightly),
        pytest.param(cut, 200, marks=pytest.mark.nightly),
    ],
)
def test_every_flipped_bit_and_every_cut_is_refused(
    run: Path, damage: Callable[[bytes, random.Random], bytes], times: int
) -> None:
    chance = random.Random(0)
    _, new = newest_two(run)
    for _ in range(times):
        file = new / chance.choice(FILES)
        good = file.read_bytes()
        file.write_bytes(damage(good, chance))
        assert_refused(run, file.name)
        file.write_bytes(good)
    assert find_checkpoint(run) == (new, [])


def test_files_and_folders_in_the_place_of_others_are_refused(run: Path) -> None:
    old, new = newest_two(run)
    names = [name for name in FILES if (old / name).read_bytes() != (new / name).read_bytes()]
    assert {"weights.safetensors", "optimizer.safetensors", "env.safetensors"} < set(names)
    for name in names[1:]:  # the same file of another checkpoint
        good = (new / name).read_bytes()
        shutil.copy(old / name, new / name)
        assert_refused(run, name)
        (new / name).write_bytes(good)
    for name, other in pairwise(FILES):  # another file of the same checkpoint
        good = (new / name).read_bytes()
        shutil.copy(new / other, new / name)
        assert_refused(run, name)
        (new / name).write_bytes(good)
    aside = run / "aside"
    old.rename(aside), new.rename(old), aside.rename(new)
    message = assert_swapped(run)
    assert "contains the checkpoint of step" in message


def assert_swapped(run: Path) -> str:
    """Both swapped folders are refused, and the one before them is used."""
    found, refused = find_checkpoint(run)
    assert len(refused) == 2
    assert found == checkpoint_folders(run / "checkpoints")[-3]
    return str(refused[0])


def test_empty_files_and_newer_formats_are_refused(run: Path) -> None:
    _, new = newest_two(run)
    for name in FILES:
        good = (new / name).read_bytes()
        (new / name).write_bytes(b"")
        assert_refused(run, name)
        (new / name).write_bytes(good)
    forge(new, format=99)
    assert "made by a newer Keisei: format 99; this one reads up to format" in assert_refused(
        run, "manifest.json"
    )


# ---------------------------------------------------------------------- malicious
def fit_manifest(folder: Path) -> None:
    """Write a manifest that fits the files in the folder."""
    files = {}
    for name in json.loads((folder / "manifest.json").read_text())["files"]:
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[name] = {"size": (folder / name).stat().st_size, "sha256": digest}
    forge(folder, files=files)


def with_entry(folder: Path, name: str, size: int) -> None:
    """Write a manifest with an entry whose checksum is wrong."""
    files = json.loads((folder / "manifest.json").read_text())["files"]
    forge(folder, files=files | {name: {"size": size, "sha256": "0" * 64}})


class Attack:
    """Runs a program when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._proof),)


def a_pickle(name: str) -> Callable[[Path], None]:
    def attack(folder: Path) -> None:
        (folder / name).write_bytes(pickle.dumps(Attack(folder.parent / "proof")))
        if name != "manifest.json":
            fit_manifest(folder)

    return attack


def a_torch_file(folder: Path) -> None:
    torch.save({"w": Attack(folder.parent / "proof")}, folder / "weights.safetensors")
    fit_manifest(folder)


def a_name(name: str) -> Callable[[Path], None]:
    return lambda folder: with_entry(folder, name, 1)


def a_header(header: dict[str, Any], length: int | None = None) -> Callable[[Path], None]:
    """Weights with a header that lies."""

    def attack(folder: Path) -> None:
        text = json.dumps(header).encode()
        data = struct.pack("<Q", length or len(text)) + text + bytes(64)
        (folder / "weights.safetensors").write_bytes(data)
        fit_manifest(folder)

    return attack


def tensor(shape: list[int], end: int) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}


def sparse(name: str, size: int) -> Callable[[Path], None]:
    """A file of zeros that takes no room on the disk."""

    def attack(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(size)
        if name == "manifest.json":
            return
        if size < 2**31:
            fit_manifest(folder)
        else:  # nobody can compute its checksum in time
            with_entry(folder, name, size)

    return attack


def other_shapes(name: str) -> Callable[[Path], None]:
    """Tensors of another network."""

    def attack(folder: Path) -> None:
        tensors = {key: value[..., None] for key, value in load_file(folder / name).items()}
        save_file(tensors, folder / name)
        fit_manifest(folder)

    return attack


def a_device(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    (folder / "weights.safetensors").symlink_to("/dev/zero")


def deep_json(folder: Path) -> None:
    (folder / "state.json").write_text('{"a":' * 100_000)
    fit_manifest(folder)


ATTACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickled weights": (a_pickle("weights.safetensors"), "weights.safetensors: .*header"),
    "torch.save": (a_torch_file, "weights.safetensors: .*header"),
    "pickled state": (a_pickle("state.json"), "state.json: damaged"),
    "pickled manifest": (a_pickle("manifest.json"), r"manifest.json: damaged \(not a manifest\)"),
    "name in the parent folder": (a_name("../../run.toml"), "not a manifest of format"),
    "absolute name": (a_name("/etc/passwd"), "not a manifest of format"),
    "device": (a_device, "not a regular file"),
    "huge header": (a_header({}, 2**62), "header"),
    "huge tensor": (a_header(tensor([2**38], 2**40), None), "header|[Oo]ffset"),
    "shape that overflows": (a_header(tensor([2**33, 2**33], 64)), "header|[Oo]verflow"),
    "shape that lies": (a_header(tensor([5], 64)), "header|[Ss]hape"),
    "huge manifest": (sparse("manifest.json", 2**33), "larger than 33,554,432 bytes"),
    "huge state": (sparse("state.json", 2**30), "larger than 33,554,432 bytes"),
    "huge weights": (sparse("weights.safetensors", 2**30), "weights.safetensors: .*header"),
    "weights larger than the memory": (sparse("weights.safetensors", 2**43), "GiB of memory"),
    "weights of another shape": (other_shapes("weights.safetensors"), "weights do not fit"),
    "moments of another shape": (other_shapes("optimizer.safetensors"), "does not fit the run"),
    "deep state": (deep_json, "nested too deeply"),
}


SLOW = {"huge state", "huge weights"}
"""Attacks that make Keisei compute the SHA-256 of a gigabyte."""


@pytest.fixture
def resume(fork_server: ForkServer, tmp_path: Path) -> Iterator[Callable[[Path], Any]]:
    started = []

    def start(run: Path, *more: str) -> Any:
        words = ("train", "--run", run, "--resume", "--json", *more)
        started.append(fork_server.start(tmp_path, *words))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def peak(process: Any) -> float:
    """Return the largest resident memory of a process that has ended, in MiB."""
    process.wait()
    return process.peak_mib  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in SLOW])
def test_a_malicious_checkpoint_is_refused(run: Path, name: str) -> None:
    old, new = newest_two(run)
    attack, reason = ATTACKS[name]
    attack(new)
    fits = partial(check_fits, read_settings(run))
    found, (error,) = find_checkpoint(run, check=fits)
    assert found == old
    assert re.search(reason, str(error))
    assert not (run / "checkpoints/proof").exists(), "it ran code"


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_a_run_with_a_malicious_checkpoint_resumes_from_the_one_before_in_normal_memory(
    run: Path, resume: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    largest = 0.0
    longer = resume(run, "--run.steps=400")
    assert longer.wait() == 0
    normal = peak(longer)
    shutil.copytree(run, whole := run.with_name("whole"))
    for name, (attack, reason) in ATTACKS.items():
        old, new = newest_two(run)
        attack(new)
        process = resume(run, "--run.steps=1")  # it has these steps already, so it ends at once
        assert process.wait() == 0, (name, process.errors)
        alert = process.event("alert", name="start", message=f"refused: {new}")
        assert re.search(reason, alert["message"]), (name, alert["message"])
        assert process.event("finished")["step"] == int(old.name), name
        largest = max(largest, process.peak_mib)
        assert not (run / "checkpoints/proof").exists(), f"{name}: it ran code"
        shutil.rmtree(run)
        shutil.copytree(whole, run)
    with capsys.disabled():
        print(
            f"\n{len(ATTACKS)} attacks: {largest:.0f} MiB at most, {normal:.0f} MiB without", end=""
        )
    assert largest < 2 * normal


def test_if_no_valid_checkpoint_is_left_the_exit_code_is_3(
    run: Path, resume: Callable[..., Any]
) -> None:
    for folder, (attack, _) in zip(
        checkpoint_folders(run / "checkpoints"), ATTACKS.values(), strict=False
    ):
        attack(folder)
    with pytest.raises(CheckpointError):
        find_checkpoint(run)
    process = resume(run)
    assert process.wait() == 3
    assert "no valid checkpoint" in process.errors
    assert len(process.errors.splitlines()) == 1
