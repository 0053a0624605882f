"""Records of all formats, good and bad."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rsshogi.record import Record

from keisei.records import GameRecord, RecordError, read_games, record_files
from keisei.shogi import START_SFEN

KIF = """# ---- written by hand ----
手合割：平手
先手：甲野
後手：乙山
手数----指手---------消費時間--
   1 ７六歩(77)   ( 0:16/00:00:16)
*a comment
   2 ３四歩(33)   ( 0:00/00:00:00)
   3 ２二角成(88) ( 0:00/00:00:00)
   4 同　銀(31)   ( 0:00/00:00:00)
   5 ４五角打     ( 0:00/00:00:00)
   6 投了         ( 0:00/00:00:00)
まで5手で先手の勝ち

変化：5手
   5 ２六歩(27)
"""
KIF_MOVES = ("7g7f", "3c3d", "8h2b+", "3a2b", "B*4e")

CSA = """V2.2
N+A
PI
+
+7776FU
T10
-3334FU,T3
%TORYO
/
V2.2
PI
+
+7776FU
-3434FU
%TORYO
/
'the third
V2.2
PI
+
+2726FU
%SENNICHITE
/
"""


def read(folder: Path, name: str, text: str | bytes) -> list[GameRecord | RecordError]:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_games(file))


def one(folder: Path, name: str, text: str | bytes) -> Any:
    (found,) = read(folder, name, text)
    return found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "shift_jis"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_kif(tmp_path: Path, encoding: str, newline: str) -> None:
    game = one(tmp_path, "a.kif", KIF.replace("\n", newline).encode(encoding))
    assert game == GameRecord(START_SFEN, KIF_MOVES, "black", "resign", f"{tmp_path}/a.kif:1")


@pytest.mark.parametrize(
    ("last", "winner", "reason"),
    [
        ("   6 投了", "black", "resign"),
        ("   6 切れ負け", "black", "timeout"),
        ("   6 反則勝ち", "white", "illegal_move"),
        ("   6 千日手", "draw", "repetition_draw"),
        ("   6 持将棋", "draw", "impasse"),
        ("   6 中断", None, "interrupt"),
        ("", None, "unknown"),
    ],
)
def test_how_a_kif_ends(tmp_path: Path, last: str, winner: str | None, reason: str) -> None:
    text = KIF[: KIF.index("   6 投了")] + last
    game = one(tmp_path, "a.kif", text)
    assert (game.moves, game.winner, game.reason) == (KIF_MOVES, winner, reason)


def test_a_handicap_game_begins_with_white(tmp_path: Path) -> None:
    text = "手合割：角落ち\n手数----指手---------消費時間--\n   1 ３四歩(33)\n   2 投了\n"
    game = one(tmp_path, "a.kif", text)
    assert game.start == "lnsgkgsnl/1r7/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1"
    assert (game.moves, game.winner) == (("3c3d",), "white")


def test_a_broken_game_in_a_csa_file_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    first, broken, third = read(tmp_path, "b.csa", CSA)
    assert isinstance(first, GameRecord)
    assert (first.moves, first.winner, first.reason) == (("7g7f", "3c3d"), "white", "resign")
    assert isinstance(third, GameRecord)
    assert (third.moves, third.winner) == (("2g2f",), "draw")
    assert third.source == f"{tmp_path}/b.csa:17"
    assert isinstance(broken, RecordError)
    assert str(broken).startswith(f"{tmp_path}/b.csa:10: ply 2: -3434FU is not legal: 3d ")


def test_a_game_that_was_cut_is_no_draw(tmp_path: Path) -> None:
    game = one(tmp_path, "a.csa", "PI\n+\n+7776FU\n%MAX_MOVES\n")
    assert (game.winner, game.reason) == (None, "max_moves")


USI = f"""# a comment
startpos moves 7g7f 3c3d resign
position startpos moves 7g7f 3c3d 2g2f

position sfen {START_SFEN} moves 7g7f resign
sfen 4k4/9/4P4/9/9/9/9/9/4K4 b G 1 moves G*5b
startpos moves 7g7f 3c3d 8h2b+ 2a2b
startpos moves 7g7f win
startpos moves 2h3h 8b7b sennichite
startpos moves 7g7f max_moves
7g7f 3c3d
startpos 7g7f
startpos
sfen 4k4/9/9/9 b - 1 moves 5i5h
"""


def test_usi(tmp_path: Path) -> None:
    found = read(tmp_path, "c.usi", USI)
    games = {int(g.source.split(":")[-1]): g for g in found if isinstance(g, GameRecord)}
    ends = {line: (len(g.moves), g.winner, g.reason) for line, g in games.items()}
    assert ends == {
        2: (2, "white", "resign"),
        3: (3, None, "unknown"),
        5: (1, "black", "resign"),
        6: (1, None, "unknown"),
        8: (1, "white", "win_by_declaration"),
        9: (2, "draw", "repetition_draw"),
        10: (1, None, "max_moves"),
        11: (2, None, "unknown"),
    }
    assert games[6].start == "4k4/9/4P4/9/9/9/9/9/4K4 b G 1"
    problems = [
        str(e).removeprefix(f"{tmp_path}/c.usi:") for e in found if isinstance(e, RecordError)
    ]
    assert [problem.split(": ")[0] for problem in problems] == ["7", "12", "13", "14"]
    assert "ply 4: 2a2b is not legal" in problems[0]
    assert "moves was expected, not 7g7f" in problems[1]
    assert "no moves" in problems[2]
    assert "board has 4 ranks" in problems[3]


BARE = START_SFEN.removesuffix(" 1")


@pytest.mark.parametrize(
    ("line", "moves", "winner", "reason"),
    [
        ("startpos moves 7g7f 3c3d # resign", 2, None, "unknown"),
        ("   startpos moves 7g7f resign#", 1, "black", "resign"),
        (f"sfen {BARE} moves 7g7f time_up", 1, "black", "timeout"),
        (f"position\tsfen\t{BARE}\tmoves\t7g7f", 1, None, "unknown"),
        (f"{BARE} moves 7g7f 3c3d", 2, None, "unknown"),
        ("position\u3000startpos  moves\t7g7f 3c3d Resign", 2, "white", "resign"),
        ("7g7f 3c3d adjourned", 2, None, "unknown"),
        ("startpos moves 7g7f max-moves", 1, None, "max_moves"),
    ],
)
def test_ways_to_write_a_line_of_usi(
    tmp_path: Path, line: str, moves: int, winner: str | None, reason: str
) -> None:
    game = one(tmp_path, "a.usi", f"\ufeff# first\n\n  # second\n\t\n{line}\n")
    assert (len(game.moves), game.winner, game.reason) == (moves, winner, reason)
    assert game.start == START_SFEN
    assert game.source == f"{tmp_path}/a.usi:5"


def test_an_unknown_word_among_the_moves_is_no_end(tmp_path: Path) -> None:
    for line in ("startpos moves 7g7f pass 3c3d", "startpos moves 7g7f 3c3e", "7g7f 3c3d?"):
        assert "ply 2: " in str(one(tmp_path, "a.usi", line))
    error = one(tmp_path, "a.usi", "startpos moves 3c3d")
    assert str(error).endswith("; if the move is right, the start is wrong: taken from the line")


def test_a_game_of_more_plies_than_can_be_counted_is_refused(tmp_path: Path) -> None:
    text = f"startpos moves {'2h3h 8b7b 3h2h 7b8b ' * 17_000}"
    assert "more than 65,534 moves" in str(one(tmp_path, "a.usi", text))


@pytest.mark.parametrize("ending", ["kif", "ki2", "csa"])
def test_what_another_library_writes_is_read(tmp_path: Path, played: Any, ending: str) -> None:
    """Drops, promotions, refused promotions and checks of random games, by rsshogi's writer."""
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
def test_a_broken_file_is_told(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    error = one(tmp_path, name, data)
    assert isinstance(error, RecordError)
    assert str(error).startswith(f"{tmp_path}/{name}:")
    assert said in str(error)


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
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
def test_damage_is_never_a_crash(
    tmp_path: Path, text: tuple[str, str], begin: int, length: int, put: str
) -> None:
    name, good = text
    damaged = good[:begin] + put + good[begin + length :]
    for found in read(tmp_path, name, damaged.encode(errors="surrogatepass")):
        assert isinstance(found, GameRecord | RecordError)


def test_folders_are_searched(tmp_path: Path) -> None:
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
