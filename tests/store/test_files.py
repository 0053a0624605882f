"""Files are read without waiting, and replaced whole."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keisei.store.files import json_object, read_file, replace_synced, replace_unsynced


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_only_regular_files_are_read_and_pipes_are_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "file")
    with pytest.raises(OSError, match="not a regular file"):
        read_file(tmp_path / "file")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1001))
    with pytest.raises(OSError, match="larger than 1,000 bytes"):
        read_file(tmp_path / "file", largest=1000)
    assert len(read_file(tmp_path / "file", largest=1001)) == 1001


@pytest.mark.parametrize("text", ["[]", "7", "{", "", "[" * 100_000])
def test_json_other_than_an_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        json_object(text)
    assert json_object(b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("replace", [replace_synced, replace_unsynced])
def test_a_replaced_file_leaves_no_other_file(
    tmp_path: Path, replace: Callable[[Path, bytes], None]
) -> None:
    for data in (b"old", b"new"):
        replace(tmp_path / "file", data)
        assert read_file(tmp_path / "file") == data
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_synced(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.write(-1, b""))
    with pytest.raises(OSError):
        replace_synced(tmp_path / "file", b"new")
    assert read_file(tmp_path / "file") == b"old"
