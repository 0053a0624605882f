"""The survey of a collection: every file, every game, every problem."""

from pathlib import Path

import pytest

from keisei.records import RecordError
from keisei.records.survey import Surveyed, survey

EXAMPLES = Path(__file__).parent / "examples"


def test_a_file_is_listed_with_its_games_and_errors() -> None:
    (found,) = survey([EXAMPLES / "games.csa"])
    assert (found.file, found.format, found.encoding) == (EXAMPLES / "games.csa", "CSA", "UTF-8")
    assert [type(game).__name__ for game in found.games] == [
        "GameRecord", "RecordError", "GameRecord",
    ]  # fmt: skip
    assert [game.moves for game in found.read] == [("7g7f", "3c3d"), ("2g2f",)]
    assert ["is not legal" in str(error) for error in found.refused] == [True]
    assert found.problem == ""


def test_the_encoding_of_each_file_is_named(tmp_path: Path) -> None:
    text = (EXAMPLES / "game.kif").read_text(encoding="utf-8")
    (tmp_path / "a.kif").write_bytes(text.encode("cp932"))
    (tmp_path / "b.kifu").write_bytes(text.encode("utf-8"))
    assert [(found.encoding, found.format, len(found.read)) for found in survey([tmp_path])] == [
        ("Shift_JIS", "KIF", 1),
        ("UTF-8", "KIF", 1),
    ]


def test_files_of_another_kind_are_listed_but_not_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.usi", "a.txt", "deep/c.csa"):
        (tmp_path / name).write_text("7g7f\n")
    found = list(survey([tmp_path]))
    assert [one.file.relative_to(tmp_path).as_posix() for one in found] == [
        "a.txt", "b.usi", "deep/c.csa",
    ]  # fmt: skip
    assert found[0] == Surveyed(tmp_path / "a.txt", problem=found[0].problem)
    assert "not a file of game records" in found[0].problem
    assert len(found[1].read) == 1


def test_a_file_that_cannot_be_read_has_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    for name in ("a.usi", "b.usi"):
        (tmp_path / name).write_text("7g7f\n")
    files = survey([tmp_path])
    (tmp_path / "a.usi").unlink()  # after the folder was listed
    gone, good = files
    assert gone.problem == "No such file or directory"
    assert (gone.format, gone.games) == ("", ())
    assert len(good.read) == 1


def test_a_file_given_twice_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "a.usi").write_text("7g7f\n")
    assert len(list(survey([tmp_path / "a.usi", tmp_path, tmp_path]))) == 1


@pytest.mark.parametrize("name", ["nowhere", "readme.txt"])
def test_a_named_path_without_records_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(RecordError, match=name):
        survey([tmp_path / name])
