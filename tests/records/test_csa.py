"""CSA records as servers and programs write them."""

from pathlib import Path
from typing import Any

import pytest

from keisei.records import GameRecord, RecordError, read_games

CSA = (Path(__file__).parent / "examples" / "games.csa").read_text(encoding="utf-8")


def read(folder: Path, text: str | bytes) -> list[GameRecord | RecordError]:
    file = folder / "a.csa"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_games(file))


def one(folder: Path, text: str | bytes) -> Any:
    (found,) = read(folder, text)
    return found


def test_the_games_around_a_broken_game_are_read(tmp_path: Path) -> None:
    first, broken, third = read(tmp_path, CSA)
    assert isinstance(first, GameRecord)
    assert (first.moves, first.winner, first.reason) == (("7g7f", "3c3d"), "white", "resign")
    assert isinstance(third, GameRecord)
    assert (third.moves, third.winner) == (("2g2f",), "draw")
    assert third.source == f"{tmp_path}/a.csa:17"
    assert isinstance(broken, RecordError)
    assert str(broken).startswith(f"{tmp_path}/a.csa:10: ply 2: -3434FU is not legal: 3d ")


def test_a_game_stopped_at_the_maximum_ply_is_not_a_draw(tmp_path: Path) -> None:
    game = one(tmp_path, "PI\n+\n+7776FU\n%MAX_MOVES\n")
    assert (game.winner, game.reason) == (None, "max_moves")


@pytest.mark.parametrize(
    ("lines", "start"),  # or the error
    [
        ("P-51OU\nP+59OU\nP-00AL\n+\n+5958OU", "4k4/9/9/9/9/9/9/9/4K4 b 2r2b4g4s4n4l18p 1"),
        ("P-51OU\nP+59OU\nP+00AL\n+\n+5958OU", "4k4/9/9/9/9/9/9/9/4K4 b 2R2B4G4S4N4L18P 1"),
        (
            "P-51OU11RY12UM\nP+59OU53TO\nP+00KIKI00KI\nP-00AL\n+\n+5958OU",
            "not a line of CSA: P+00KIKI00KI",
        ),
        (
            "P-51OU11RY12UM\nP+59OU53TO\nP+00KI00KI\nP-00AL\n+\n+5958OU",
            "4k3+r/8+b/4+P4/9/9/9/9/9/4K4 b 2Grb2g4s4n4l17p 1",
        ),
        ("PI82HI22KA\n-\n-5152OU", "lnsgkgsnl/9/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1"),
        ("PI11KY\n-5152OU", "lnsgkgsn1/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1"),
        (
            "PI82HI\nP-00AL\n-\n-5152OU",
            "lnsgkgsnl/7b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w r 1",
        ),
        ("PI81HI\n-\n-5152OU", "line 2: PI81HI: there is no HI on 81"),
        ("P+59OU\nP-59OU\n+\n+5958OU", "line 3: P-59OU: 59OU cannot be placed"),
        ("P+00OU\n+\n+5958OU", "line 2: P+00OU: 00OU cannot be placed"),
        ("P+59XX\n+\n+5958OU", "59XX cannot be placed"),
        ("P1-KY-XX\n+\n+5958OU", "P1: not a piece: -XX"),
        ("P-51OU\nP+59OU00HI00HI00HI\n+\n+5958OU", "3 R on board and in hand"),
    ],
)
def test_p_lines_set_up_the_start_or_are_refused(tmp_path: Path, lines: str, start: str) -> None:
    found = one(tmp_path, f"V2.2\n{lines}\n")
    assert start in (found.start if isinstance(found, GameRecord) else str(found))


def test_a_first_move_that_does_not_fit_names_the_start(tmp_path: Path) -> None:
    error = one(tmp_path, "+\n+5957OU\n")
    assert (
        "the start position is wrong: no P line sets it, so the game began from the usual one"
        in str(error)
    )
    error = one(tmp_path, "PI22KA\n+\n+2277UM\n")
    assert "2b is empty" in str(error)
    assert (
        "if the move is right, the start position is wrong: it was taken from the P lines"
        in str(error)
    )


@pytest.mark.parametrize(
    ("end", "winner", "reason"),
    [
        ("%TIME_UP", "white", "timeout"),
        ("%HIKIWAKE", "draw", "draw"),
        ("%KACHI", "black", "win_by_declaration"),
        ("%MATTA", None, "unknown"),
        ("%SOMETHING_NEW", None, "unknown"),
        ("%ERROR", None, "unknown"),
        ("%CHUDAN", None, "interrupt"),
        ("%TORYO,T5", "white", "resign"),
        ("%+ILLEGAL_ACTION", "white", "illegal_move"),
        ("", None, "unknown"),
    ],
)
def test_an_end_word_names_winner_and_reason(
    tmp_path: Path, end: str, winner: str | None, reason: str
) -> None:
    found = one(tmp_path, f"PI\n+\n+7776FU,T1,'*a, b\n-3334FU\nT2\n{end}\n'%TORYO\n")
    assert (found.moves, found.winner, found.reason) == (("7g7f", "3c3d"), winner, reason)


@pytest.mark.parametrize("illegal", ["+2822HI", "+0055FU", "+8877FU", "+5554FU", "+2726TO"])
@pytest.mark.parametrize(
    ("end", "winner"),
    [
        ("%ILLEGAL_MOVE", "white"),
        ("%+ILLEGAL_ACTION", "white"),
        ("%-ILLEGAL_ACTION", "black"),
        ("%TORYO", None),
        ("%TIME_UP", None),
        ("", None),
    ],
)
def test_an_illegal_last_move_is_left_out_if_the_record_ends_by_it(
    tmp_path: Path, illegal: str, end: str, winner: str | None
) -> None:
    """Otherwise the game is refused."""
    found = one(tmp_path, f"PI\n+\n+7776FU\n-3334FU\n{illegal}\n{end}\n")
    if winner:
        assert (found.moves, found.winner) == (("7g7f", "3c3d"), winner)
        assert found.reason == "illegal_move"
    else:
        assert isinstance(found, RecordError)
        assert "ply 3: " in str(found)


@pytest.mark.parametrize(
    ("move", "said"),
    [
        ("+7776FUxyz", "line 3: not a line of CSA: +7776FUxyz"),
        ("+7776FU 1", "line 3: not a line of CSA: +7776FU 1"),
        ("+7776FUT3", "line 3: not a line of CSA: +7776FUT3"),
        ("+7776fu", "line 3: not a line of CSA"),
        ("+７776FU", "line 3: not a line of CSA"),
        ("+7776XX", "line 3: not a move: +7776XX"),
        ("+7700FU", "line 3: not a move: +7700FU"),
        ("-7776FU", "line 3: -7776FU: it is +'s move"),
        ("+7776FU\n%CHUDAN\n-3334FU", "line 5: -3334FU comes after the end of the game"),
    ],
)
def test_a_bad_move_line_is_refused(tmp_path: Path, move: str, said: str) -> None:
    error = one(tmp_path, f"PI\n+\n{move}\n")
    assert isinstance(error, RecordError)
    assert said in str(error)


@pytest.mark.parametrize("letter", ["\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\x1c"])
@pytest.mark.parametrize("line", ["'a{}%TORYO", "N+a{}+7776FU", "$EVENT:a{}/"])
def test_only_cr_and_lf_end_a_line(tmp_path: Path, letter: str, line: str) -> None:
    text = f"PI\n+\n+7776FU\n{line.format(letter)}\n-3334FU\n%SENNICHITE\n"
    for newline in ("\n", "\r\n", "\r"):
        found = one(tmp_path, text.replace("\n", newline))
        assert (found.moves, found.winner) == (("7g7f", "3c3d"), "draw")


@pytest.mark.parametrize(
    "name",
    [
        "山田太郎".encode("euc_jp"),
        "山田太郎".encode("euc_jp")[:-1],
        "東海林".encode("cp932")[:-1],
        "東海林".encode()[:-1],
        bytes(range(128, 256)),
        b"\x00\xff\xfe",
    ],
)
def test_names_and_comments_may_hold_any_bytes(tmp_path: Path, name: bytes) -> None:
    text = b"N+%b\nN-%b\nPI\n+\n+7776FU\n'%b\n%%TORYO\n" % (name, name, name)
    found = one(tmp_path, text)
    assert (found.moves, found.winner) == (("7g7f",), "black")


def test_the_players_names_are_read(tmp_path: Path) -> None:
    game = one(tmp_path, "V2.2\nN+甲野 太郎\nN-乙山\nPI\n+\n+7776FU\n%TORYO\n")
    assert (game.black, game.white) == ("甲野 太郎", "乙山")
