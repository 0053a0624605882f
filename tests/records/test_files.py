"""Files of records: what is found in folders, and what is read from good and bad files."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rsshogi.record import Record

from keisei.records import GameRecord, RecordError, read_game, read_games, record_files
from keisei.shogi import START_SFEN

EXAMPLES = Path(__file__).parent / "examples"
KIF, CSA, USI = (
    (EXAMPLES / name).read_text(encoding="utf-8") for name in ("game.kif", "games.csa", "games.usi")
)


def read(folder: Path, name: str, text: str | bytes) -> list[GameRecord | RecordError]:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_games(file))


def one(folder: Path, name: str, text: str | bytes) -> Any:
    (found,) = read(folder, name, text)
    return found


@pytest.mark.parametrize("ending", ["kif", "ki2", "csa"])
def test_files_of_another_library_are_read(tmp_path: Path, played: Any, ending: str) -> None:
    """rsshogi writes random games with drops, promotions, refused promotions and checks."""
    for number, game in enumerate(played[:25]):
        winner = "black" if len(game.moves) % 2 else "white"  # the side to move resigns
        record = Record.from_usi_main_line(START_SFEN, game.moves, result=f"{winner.upper()}_WIN")
        text = getattr(record, f"to_{ending}")()
        found = one(tmp_path, f"{number}.{ending}", text)
        assert found.moves == tuple(game.moves)
        assert found.winner == winner


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.kif", b"", "no moves"),
        ("a.csa", b"PI\n+\n", "no moves"),
        ("a.kif", b"\x81 ", "line 1: neither a header line nor a move: "),
        ("a.kif", KIF.replace("(88)", "(99)").encode(), "ply 3: ２二角成(99) is not legal"),
        ("a.kif", KIF.replace("２二角成(88)", "２二鬼成(88)").encode(), "line 9: neither"),
        ("a.csa", b"PI\n+\n+7776FU\n-3334FU\nnonsense\n", "line 5: not a line of CSA: non"),
    ],
)
def test_the_error_of_a_broken_file_names_file_and_line(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    error = one(tmp_path, name, data)
    assert isinstance(error, RecordError)
    assert str(error).startswith(f"{tmp_path}/{name}:")
    assert said in str(error)


def test_a_file_that_cannot_be_read_gives_one_error(tmp_path: Path) -> None:
    (tmp_path / "folder.kif").mkdir()
    (error,) = read_games(tmp_path / "folder.kif")
    assert str(error) == f"{tmp_path}/folder.kif: Is a directory"


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.sampled_from([("a.kif", KIF), ("a.csa", CSA), ("a.usi", USI)]),
    begin=st.integers(0, 400),
    length=st.integers(0, 30),
    put=st.one_of(
        st.text(max_size=8), st.sampled_from(["\n", "0", "9", "00", "同", "P1", "%", "+"])
    ),
)
def test_a_damaged_file_gives_games_or_errors(
    tmp_path: Path, text: tuple[str, str], begin: int, length: int, put: str
) -> None:
    name, good = text
    damaged = good[:begin] + put + good[begin + length :]
    for found in read(tmp_path, name, damaged.encode(errors="surrogatepass")):
        assert isinstance(found, GameRecord | RecordError)


def test_record_files_are_found_in_folders_and_below(tmp_path: Path) -> None:
    (tmp_path / "deep" / "folder.kif").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe.kif")
    for name in ("deep/b.KIF", "deep/d.ki2u", "a.csa", "readme.txt", "c.usi"):
        (tmp_path / name).write_text("")
    names = [file.relative_to(tmp_path).as_posix() for file in record_files([tmp_path])]
    assert names == ["a.csa", "c.usi", "deep/b.KIF", "deep/d.ki2u"]
    assert record_files([tmp_path / "c.usi", tmp_path])[0] == tmp_path / "c.usi"
    assert len(record_files([tmp_path, tmp_path])) == 4


@pytest.mark.parametrize("name", ["nowhere", "readme.txt", "empty"])
def test_a_path_without_records_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "readme.txt").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match=name):
        record_files([tmp_path / name])


def test_one_game_of_a_file_is_chosen_by_its_number() -> None:
    file = EXAMPLES / "games.csa"
    first, broken, third = read_games(file)
    assert (read_game(file), read_game(file, 3)) == (first, third)
    with pytest.raises(RecordError, match="ply 2: -3434FU is not legal"):
        read_game(file, 2)
    assert isinstance(broken, RecordError)
    with pytest.raises(RecordError, match="game 4 was asked for, but the file contains 3"):
        read_game(file, 4)


def test_a_line_is_a_game_and_a_position_is_a_game_without_moves() -> None:
    assert read_game("startpos moves 7g7f 3c3d").moves == ("7g7f", "3c3d")
    assert read_game("startpos").moves == ()
    with pytest.raises(RecordError, match="ply 1: 7g7e is not legal"):
        read_game("7g7e")
    with pytest.raises(RecordError, match="rank 9"):
        read_game("4k4/9/9/9/9/9/9/9/10K b - 1")


def test_a_folder_is_not_a_game() -> None:
    with pytest.raises(RecordError, match="a folder; one record file is needed"):
        read_game(EXAMPLES)
