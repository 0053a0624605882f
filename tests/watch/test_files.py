"""Looks at the files of a run."""

from pathlib import Path

import pytest
from watch_tools import Writer, iteration

from keisei.events import Board
from keisei.store.board import write_board
from keisei.store.lock import RunLockedError
from keisei.watch.files import RunFiles

BOARD = Board(run="a", step=1, time=1.0, game=1, sfen="x", last_move=None, ply=0, value=None)


def listing(path: Path) -> dict[str, tuple[int, int]]:
    """Name, time and size of all files."""
    return {
        str(file.relative_to(path)): (file.stat().st_mtime_ns, file.stat().st_size)
        for file in path.rglob("*")
    }


def test_looks_at_a_run_that_has_ended_change_no_file(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a")
    writer.start(1.0)
    writer.close()
    before = listing(tmp_path)
    files = RunFiles(tmp_path / "a")
    assert files.look(0).changes.overview
    assert files.look(0).problem == ""
    assert listing(tmp_path) == before


def test_a_watched_run_can_be_opened_by_its_process_and_stays_locked(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a")
    assert RunFiles(tmp_path / "a").look(0).holder == "running"
    with pytest.raises(RunLockedError):
        writer.directory.open(writer.path)
    writer.close()
    assert RunFiles(tmp_path / "a").look(0).holder == "ended"
    writer.directory.open(writer.path).close()


def test_settings_boards_and_rows_are_returned_once(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a")
    files = RunFiles(tmp_path / "a")
    first = files.look(0)
    assert (first.settings, first.board) == (writer.directory.settings, None)
    write_board(writer.path, BOARD)
    writer.write(iteration(1, 1.0))
    second = files.look(0)
    assert (second.settings, second.board) == (None, BOARD)
    assert second.changes.events == [iteration(1, 1.0)]
    third = files.look(0)
    assert (third.board, third.changes.events, third.changes.overview) == (None, [], None)
    writer.close()


def test_a_run_that_is_made_again_is_read_anew(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "a")
    assert "no such file or folder" in files.look(0).problem
    for _ in range(2):
        writer = Writer(tmp_path / "a")
        writer.start(1.0)
        writer.write(iteration(1, 1.0))
        found = files.look(0)
        assert found.changes.overview
        assert found.changes.overview.iteration == iteration(1, 1.0)
        writer.remove()  # no look sees that the folder is missing


@pytest.mark.parametrize("name", ["keisei.db", "run.toml", "lock"])
def test_a_file_that_cannot_be_read_is_a_problem_until_it_is_repaired(
    tmp_path: Path, name: str
) -> None:
    writer = Writer(tmp_path / "a")
    writer.start(1.0)
    writer.close()
    files = RunFiles(tmp_path / "a")
    files.look(0)
    file = writer.path / name
    sound = file.read_bytes()
    file.unlink()
    if name == "lock":
        file.mkdir()
    else:
        file.write_bytes(b"x" * 5000)
    assert str(file) in files.look(0).problem
    file.rmdir() if name == "lock" else file.unlink()
    file.write_bytes(sound)
    found = files.look(0)
    assert found.problem == ""
    assert found.changes.overview
