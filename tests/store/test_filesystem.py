"""A run's folder on a network file system is refused."""

from pathlib import Path

import pytest

from keisei.config import Settings
from keisei.store import RunDirectory, filesystem
from keisei.store.filesystem import NetworkFileSystemError, check_file_system, file_system


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up list of mounts: a network disk below the test's folder."""
    file = tmp_path / "mounts"
    nas = str(tmp_path / "the nas").replace(" ", "\\040")
    file.write_text(
        f"/dev/vda / ext4 rw 0 0\nserver:/x {nas} nfs4 rw 0 0\ntmpfs {nas}/fast tmpfs rw 0 0\n"
        f"tmpfs {nas}/hidden tmpfs rw 0 0\nserver:/y {nas}/hidden fuse.sshfs rw 0 0\n"
    )
    monkeypatch.setattr(filesystem, "MOUNTS", file)
    return file


def test_the_mount_nearest_to_a_folder_tells_its_file_system(mounts: Path) -> None:
    nas = mounts.parent / "the nas"
    assert file_system(mounts.parent) == "ext4"
    assert file_system(nas / "runs/not yet there") == "nfs4"
    assert file_system(nas / "fast/runs") == "tmpfs"
    assert file_system(nas / "hidden") == "fuse.sshfs"
    assert file_system(mounts.parent / "the nasty") == "ext4"


def test_a_link_to_a_network_disk_is_followed(mounts: Path) -> None:
    (mounts.parent / "runs").symlink_to(mounts.parent / "the nas")
    assert file_system(mounts.parent / "runs/x") == "nfs4"


def test_without_a_list_of_mounts_nothing_is_refused(mounts: Path) -> None:
    mounts.unlink()
    assert check_file_system(mounts.parent / "the nas") == ""


def test_no_run_begins_on_a_network_disk(mounts: Path) -> None:
    run = mounts.parent / "the nas/run"
    with pytest.raises(NetworkFileSystemError, match=r"run: is on a network file system \(nfs4\)"):
        RunDirectory.create(Settings(), run)
    assert not run.exists()
    with pytest.raises(NetworkFileSystemError, match="choose a folder on a local disk"):
        RunDirectory.create(Settings(run={"root": run}))


def test_no_run_is_continued_on_a_network_disk(mounts: Path) -> None:
    local, run = mounts.parent / "local", mounts.parent / "the nas/run"
    RunDirectory.create(Settings(), local).close()
    run.parent.mkdir()
    local.rename(run)
    with pytest.raises(NetworkFileSystemError):
        RunDirectory.open(run)
