"""Files of openings are read, or refused with file and line; the shipped book is checked."""

from pathlib import Path

import cshogi
import pytest
from rsshogi.core import Board

from keisei.evaluation.game import Opening
from keisei.evaluation.openings import OpeningsError, choose_openings, load_openings
from keisei.shogi import Position

SFEN = "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"


@pytest.fixture(scope="module")
def book() -> tuple[str, ...]:
    return load_openings()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.usi"


def moves_of(opening: str) -> list[str]:
    start, moves = opening.split(" moves ")
    assert start == "startpos"
    return moves.split()


def reached(opening: str) -> Position:
    position = Position()
    for usi in moves_of(opening):
        position.push(usi)
    return position


def test_the_shipped_book_has_many_short_lines_to_quiet_positions(book: tuple[str, ...]) -> None:
    assert len(book) >= 512
    assert {len(moves_of(line)) for line in book} == set(range(8, 25))
    ends = [reached(line) for line in book]
    assert not [end for end in ends if end.in_check or len(end.legal_moves()) < 30]
    assert len({end.sfen().rpartition(" ")[0] for end in ends}) == len(book)
    assert 0.4 < sum(end.side == "black" for end in ends) / len(book) < 0.6


def test_the_shipped_book_is_diverse(book: tuple[str, ...]) -> None:
    firsts = [moves_of(line)[0] for line in book]
    assert max(map(firsts.count, set(firsts))) < len(book) / 4
    assert len({tuple(moves_of(line)[:8]) for line in book}) > 0.95 * len(book)


def test_rsshogi_and_cshogi_agree_on_every_line_of_the_book(book: tuple[str, ...]) -> None:
    for line in book:
        ours, rust, cpp = Position(), Board(), cshogi.Board()
        for usi in moves_of(line):
            assert usi in {cshogi.move_to_usi(move) for move in cpp.legal_moves}
            ours.push(usi)
            rust.apply_usi(usi)
            cpp.push_usi(usi)
        assert ours.sfen() == rust.to_sfen() == cpp.sfen()


@pytest.mark.parametrize(
    ("line", "opening"),
    [
        ("startpos", "startpos"),
        ("startpos moves", "startpos"),
        ("startpos moves 7g7f 3c3d", "startpos moves 7g7f 3c3d"),
        ("position startpos moves 7g7f", "startpos moves 7g7f"),
        ("7g7f  3c3d 8h2b+", "startpos moves 7g7f 3c3d 8h2b+"),
        (f"sfen {SFEN}", f"sfen {SFEN}"),
        (f"position sfen {SFEN} moves 5i5h 5a4a", f"sfen {SFEN} moves 5i5h 5a4a"),
        (SFEN.removesuffix(" 1"), f"sfen {SFEN}"),
        (f"{SFEN} moves 5i5h", f"sfen {SFEN} moves 5i5h"),
        (Position().sfen(), "startpos"),
        ("2g2f # static rook", "startpos moves 2g2f"),
        ("position\tstartpos\tmoves\t7g7f", "startpos moves 7g7f"),
        (f"sfen {SFEN.removesuffix(' 1')} moves 5i5h", f"sfen {SFEN} moves 5i5h"),
    ],
)
def test_a_line_may_be_written_in_several_ways(file: Path, line: str, opening: str) -> None:
    file.write_text(f"\ufeff# mine\r\n\r\n  {line}  \r\nstartpos moves 1g1f\r\n", "utf-8")
    assert load_openings(file) == (opening, "startpos moves 1g1f")
    assert Opening.read(opening).start == opening.partition(" moves ")[0]  # as a match reads it


MATED = "4k4/4G4/4P4/9/9/9/9/9/4K4 w - 1"
REPEATED = "2h3h 8b7b 3h2h 7b8b " * 3
DECLARABLE = "1K7/+R+R+BGGGGSS/S+P+P6/9/9/9/9/9/4k4 b BSNL 1"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("startpos moves 7g7f 7g7f", "ply 2: 7g7f is not legal here: 7g is empty"),
        ("7g7f hello", "ply 2: hello is not legal here: a USI move looks like"),
        ("hello", "ply 1: hello is not legal"),
        ("position", "the line has neither a position nor a move"),
        ("startpos 7g7f", "expected the word moves after startpos, not 7g7f"),
        ("sfen", "an SFEN has 3 fields"),
        ("9/9 b - 1", "board has 2 ranks"),
        (f"sfen {MATED}", "the game is over after 0 plies: checkmate"),
        (f"{SFEN} moves G*5b", "the game is over after 1 plies: checkmate"),
        (REPEATED, "the game is over after 12 plies: repetition"),
        (f"{REPEATED} 7g7f", "the game is over after 12 plies: repetition"),
        (DECLARABLE, "the game is over after 0 plies: declaration"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(file: Path, line: str, complaint: str) -> None:
    file.write_text(f"# mine\n7g7f\n{line}\n", "utf-8")
    with pytest.raises(OpeningsError) as error:
        load_openings(file)
    assert str(error.value).startswith(f"{file}:3: {complaint}")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no openings: write each"),
        (b"# nothing\n\n", "no openings: write"),
        ("# 将棋\n7g7f\n".encode("cp932"), "not UTF-8 text"),
        (None, "No such file"),
    ],
)
def test_a_file_without_openings_is_refused(
    file: Path, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OpeningsError, match=complaint) as error:
        load_openings(file)
    assert str(file) in str(error.value)


def test_no_opening_comes_again_before_all_have_come() -> None:
    openings = [f"startpos moves {usi}" for usi in Position().legal_moves()]
    drawn = choose_openings(openings, 75, seed=1)
    assert sorted(drawn[:30]) == sorted(drawn[30:60]) == openings
    assert drawn[60:] == drawn[:15]
    assert list(drawn[:30]) != openings


def test_the_order_of_openings_depends_on_the_seed_alone() -> None:
    openings = [f"startpos moves {usi}" for usi in Position().legal_moves()]
    assert choose_openings(openings, 40, seed=7)[:12] == choose_openings(openings, 12, seed=7)
    assert choose_openings(openings, 30, seed=7) != choose_openings(openings, 30, seed=8)
