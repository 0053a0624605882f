"""KIF and KI2 records as programs and people write them."""

from pathlib import Path
from typing import Any

import pytest
from rsshogi.record import Record

from keisei.records import GameRecord, RecordError, read_games
from keisei.shogi import START_SFEN

EVEN = "手合割：平手\n"
RULE = "手数----指手---------消費時間--\n"
HEADER = EVEN + RULE


def read(folder: Path, text: str | bytes, name: str = "a.kif") -> list[Any]:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_games(file))


def one(folder: Path, text: str | bytes, name: str = "a.kif") -> Any:
    (found,) = read(folder, text, name)
    return found


def main_line(found: Any) -> tuple[str, Any, str]:
    assert isinstance(found, GameRecord), found
    return " ".join(found.moves), found.winner, found.reason


EXAMPLE = Path(__file__).parent / "examples" / "game.kif"
KIF = EXAMPLE.read_text(encoding="utf-8")
KIF_MOVES = ("7g7f", "3c3d", "8h2b+", "3a2b", "B*4e")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "shift_jis"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_kif_file_reads_back_as_it_was_written(
    tmp_path: Path, encoding: str, newline: str
) -> None:
    game = one(tmp_path, KIF.replace("\n", newline).encode(encoding))
    assert game == GameRecord(
        START_SFEN, KIF_MOVES, "black", "resign", f"{tmp_path}/a.kif:1", "甲野", "乙山"
    )


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
def test_the_last_line_names_the_end(
    tmp_path: Path, last: str, winner: str | None, reason: str
) -> None:
    text = KIF[: KIF.index("   6 投了")] + last
    game = one(tmp_path, text)
    assert (game.moves, game.winner, game.reason) == (KIF_MOVES, winner, reason)


def test_a_handicap_game_begins_with_white(tmp_path: Path) -> None:
    text = "手合割：角落ち\n手数----指手---------消費時間--\n   1 ３四歩(33)\n   2 投了\n"
    game = one(tmp_path, text)
    assert game.start == "lnsgkgsnl/1r7/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1"
    assert (game.moves, game.winner) == (("3c3d",), "white")


# --- start positions ------------------------------------------------------------------------------

RANKS = """| ・ ・ ・ ・v玉 ・ ・ ・ ・|一
| ・ ・v龍 ・ ・ ・ ・ ・ ・|二
| ・ ・ ・ ・ 歩 ・ ・ ・ ・|三
| ・ ・ ・ ・ ・ ・ ・v杏 ・|四
| ・ ・ ・ ・ ・ ・ ・ ・ ・|五
| ・ ・ ・ ・ ・ ・ ・ ・ ・|六
| ・ ・ ・ ・ ・ ・ ・ ・ ・|七
| ・ ・ ・ ・ ・ ・ ・ ・ ・|八
| ・ ・ ・ ・ 王 ・ ・ ・ ・|九
"""
BOARD = "4k4/2+r6/4P4/7+l1/9/9/9/9/4K4"
HEAD = "  ９ ８ ７ ６ ５ ４ ３ ２ １\n+---------------------------+\n"


@pytest.mark.parametrize(
    ("header", "start"),
    [
        (RANKS, f"{BOARD} b - 1"),
        (HEAD + RANKS + "+---------------------------+\n", f"{BOARD} b - 1"),
        (RANKS.replace("|", ""), f"{BOARD} b - 1"),
        ("手合割：その他\n先手の持駒：金　歩十二\n" + RANKS, f"{BOARD} b G12P 1"),
        (f"後手の持ち駒：飛 角二\n{RANKS}", f"{BOARD} b r2b 1"),
        (f"上手の持駒：なし\n{RANKS}下手の持駒：銀3\n", f"{BOARD} b 3S 1"),
        ("手合割：平手\n" + RANKS, f"{BOARD} b - 1"),
    ],
)
def test_a_diagram_is_the_start(tmp_path: Path, header: str, start: str) -> None:
    found = one(tmp_path, f"{header}{RULE}   1 ５二歩成(53)\n")
    assert isinstance(found, GameRecord), found
    assert (found.start, found.moves) == (start, ("5c5b+",))


@pytest.mark.parametrize("turn", ["後手番\n", "上手番\n", "手番：後手\n"])
@pytest.mark.parametrize("last", ["", "手数＝56  ▲５三歩打  まで\n", "手数=1 △７二龍まで\n"])
def test_a_diagram_names_the_side_to_move(tmp_path: Path, turn: str, last: str) -> None:
    found = one(tmp_path, f"{RANKS}{last}{turn}{RULE}   1 ５二龍(72)\n")
    assert found.start == f"{BOARD} w - 1"
    assert found.moves == ("7b5b",)


def test_the_first_move_may_refer_to_the_last_move_of_the_diagram(tmp_path: Path) -> None:
    last = "手数＝57  ▲５二歩打  まで\n後手番\n"
    ranks = RANKS.replace("龍 ・ ・ ・", "龍 ・ 歩 ・").replace(
        "・ 歩 ・ ・ ・ ・|三", "・ ・ ・ ・ ・ ・|三"
    )
    assert one(tmp_path, f"{ranks}{last}{RULE}   1 同　龍(72)\n").moves == ("7b5b",)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (RANKS.replace("|八\n", "|九\n"), "the diagram's rank 8 is not understood"),
        (RANKS.replace("v杏", "v獅"), "the diagram's rank 4 is not understood"),
        (RANKS.partition("|五")[0] + "|五\n", "the diagram has 5 ranks, not 9"),
        (RANKS + RANKS, "the diagram has 18 ranks, not 9"),
        (f"先手の持駒：猫\n{RANKS}", "a hand of the diagram is not understood: 猫"),
        ("先手の持駒：なし\n後手の持駒：なし\n", "hands of a diagram, but not its nine ranks"),
        (f"{EVEN}先手の持駒：歩\n", "hands of a diagram, but not its nine ranks"),
        (f"{RANKS}先手の持駒：飛三\n", "4 R on board and in hand"),
        ("手合割：七枚落ち\n", "did you mean 左七枚落ち or 右七枚落ち?"),
        ("手合割：六枚落\n", "did you mean 六枚落ち?"),
        ("手合割：その他\n", "手合割：その他: unknown handicap, and the record has no diagram"),
        ("手合割：詰将棋\n", "手合割：詰将棋: unknown handicap, and the record has no diagram"),
        ("手合割：\n", "unknown handicap"),
        ("盤面図\n", "line 1: neither a header line nor a move: 盤面図"),
    ],
)
def test_a_start_that_is_not_understood_is_refused(tmp_path: Path, header: str, said: str) -> None:
    """The two moves are legal from the even start."""
    error = one(tmp_path, f"{header}{RULE}   1 ７六歩(77)\n   2 ３四歩(33)\n")
    assert isinstance(error, RecordError)
    assert said in str(error)


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("香落ち", "lnsgkgsn1/1r5b1"),
        ("右香落ち", "1nsgkgsnl/1r5b1"),
        ("飛車落ち", "lnsgkgsnl/7b1"),
        ("飛香落ち", "lnsgkgsn1/7b1"),
        ("三枚落ち", "lnsgkgsn1/9"),
        ("五枚落ち", "2sgkgsn1/9"),
        ("左五枚落ち", "1nsgkgs2/9"),
        ("左七枚落ち", "2sgkg3/9"),
        ("右七枚落ち　　", "3gkgs2/9"),
        ("十枚落ち", "4k4/9"),
    ],
)
def test_a_handicap_has_its_start_position(tmp_path: Path, name: str, ranks: str) -> None:
    found = one(tmp_path, f"手合割：{name}\n{RULE}   1 ３四歩(33)\n")
    assert isinstance(found, GameRecord), found
    assert found.start == f"{ranks}/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1"


@pytest.mark.parametrize(
    ("header", "move", "cause"),
    [
        ("", "３四歩(33)", "no 手合割 is given"),
        (EVEN, "３四歩(33)", "手合割：平手"),
        ("手合割：二枚落ち\n", "７六歩(77)", "手合割：二枚落ち"),
        (RANKS, "７六歩(77)", "the diagram"),
    ],
)
def test_a_first_move_that_does_not_fit_names_the_start(
    tmp_path: Path, header: str, move: str, cause: str
) -> None:
    error = one(tmp_path, f"{header}{RULE}   1 {move}\n   2 投了\n")
    assert f"ply 1: {move} is not legal" in str(error)
    assert f"; if the move is right, the start position is wrong: {cause}" in str(error)


# --- lines that are not moves ----------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "&しおり",
        "  &しおり",
        "# ---- 棋譜 ----",
        " #x",
        "*３ ３五歩(34)",
        "  **解析 候補1",
        "#まで1手で先手の勝ち",
        "",
        "　",
    ],
)
@pytest.mark.parametrize("name", ["a.kif", "a.ki2"])
def test_comments_and_bookmarks_may_come_anywhere(tmp_path: Path, line: str, name: str) -> None:
    moves = ["▲７六歩", "△３四歩", "まで2手で後手の勝ち"]
    if name == "a.kif":
        moves = ["   1 ７六歩(77)", "   2 ３四歩(33)", "   3 投了"]
    text = "\n".join(f"{line}\n{part}" for part in [EVEN.strip(), *moves, ""])
    assert main_line(one(tmp_path, text, name)) == ("7g7f 3c3d", "white", "resign")


@pytest.mark.parametrize(
    "line",
    [
        "手数：15",
        "手数：３手詰",
        "1回戦：甲対乙",
        "第2局：a 1 ２六歩(27)",
        "2 回戦：甲",
        "同年：1607",
        "▲先手：甲",
        "手数＝0  まで",
        "URL:http://example.org/1",
    ],
)
@pytest.mark.parametrize("name", ["a.kif", "a.ki2"])
def test_a_header_line_that_looks_like_a_move_is_a_header(
    tmp_path: Path, line: str, name: str
) -> None:
    move = "   1 ７六歩(77)" if name == "a.kif" else "▲７六歩"
    assert main_line(one(tmp_path, f"{line}\n{EVEN}{line}\n{move}\n", name))[0] == "7g7f"


@pytest.mark.parametrize("letter", ["\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\x1c", "\x1e"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_only_cr_and_lf_end_a_line(tmp_path: Path, letter: str, newline: str) -> None:
    comment = f"*{letter}まで2手で後手の勝ち{letter}   2 投了{letter}x"
    text = f"{HEADER}   1 ７六歩(77)\n{comment}\n   2 ３四歩(33)\n   3 千日手\n"
    found = one(tmp_path, text.replace("\n", newline))
    assert main_line(found) == ("7g7f 3c3d", "draw", "repetition_draw")


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "winner", "reason"),
    [
        ("封じ手", None, "sealed_move"),
        ("時間切れ", "black", "timeout"),
        ("引き分け", "draw", "draw"),
        ("Time-up", "black", "timeout"),
        ("Resign", "black", "resign"),
        ("詰み", "black", "mate"),
        ("入玉宣言", "white", "win_by_declaration"),
        ("不戦敗 ( 0:00/00:00:00)", "black", "lose_by_default"),
        ("対局者の都合", None, "unknown"),
        ("Adjourned by agreement", None, "unknown"),
        ("パス", None, "unknown"),
        ("投\ufffd", None, "unknown"),
    ],
)
def test_an_end_word_comes_in_place_of_a_move(
    tmp_path: Path, word: str, winner: str | None, reason: str
) -> None:
    assert main_line(one(tmp_path, f"{HEADER}   1 ７六歩(77)\n   2 {word}\n")) == (
        "7g7f",
        winner,
        reason,
    )


@pytest.mark.parametrize(
    "garbage",
    ["３四歩(33x)", "３四歩(33)xyz", "３四鬼(33)", "歩成", "同", "(33)", "3c3d", "△歩", "３四"],
)
def test_garbage_in_place_of_a_move_is_an_error(tmp_path: Path, garbage: str) -> None:
    error = one(tmp_path, f"{HEADER}   1 ７六歩(77)\n   2 {garbage}\n")
    assert isinstance(error, RecordError)
    assert "a.kif:1: line 4: " in str(error)


def test_no_move_follows_an_end(tmp_path: Path) -> None:
    error = one(tmp_path, f"{HEADER}   1 ７六歩(77)\n   2 封じ手\n   3 ２六歩(27)\n")
    assert "line 5: 3 ２六歩(27) comes after the end of the game" in str(error)


@pytest.mark.parametrize(
    ("summary", "winner", "reason"),
    [
        ("まで2手で後手の勝ち", "white", "resign"),
        ("まで、2手で下手の勝ち", "black", "resign"),
        ("まで2手で時間切れにより先手の勝ち", "black", "timeout"),
        ("まで2手で後手の反則負け", "black", "illegal_move"),
        ("まで2手で上手の入玉勝ち", "white", "win_by_declaration"),
        ("まで2手で千日手", "draw", "repetition_draw"),
        ("まで2手で引き分け", "draw", "draw"),
        ("まで2手で中断", None, "interrupt"),
        ("まで2手で封じ手", None, "sealed_move"),
        ("まで2手詰", "white", "mate"),
        ("まで2手にて打ち掛け", None, "unknown"),
        ("", None, "unknown"),
    ],
)
@pytest.mark.parametrize("kif", [True, False])
def test_the_line_below_the_moves_names_the_end(
    tmp_path: Path, summary: str, winner: str | None, reason: str, kif: bool
) -> None:
    moves = "   1 ７六歩(77)\n   2 ３四歩(33)\n" if kif else "▲７六歩 △３四歩\n"
    found = one(tmp_path, f"{EVEN}{moves}{summary}\n", "a.kif" if kif else "a.ki2")
    assert main_line(found) == ("7g7f 3c3d", winner, reason)


@pytest.mark.parametrize(
    "illegal",
    ["２二飛(28)", "７五歩打", "５五銀(57)", "２二と(23)", "３四歩(33)"],
)
@pytest.mark.parametrize(
    "end", ["   4 反則勝ち", "   4 反則負け", "まで3手で先手の反則負け", "まで3手で後手の反則勝ち"]
)
def test_a_game_that_ends_by_an_illegal_move_keeps_the_others(
    tmp_path: Path, illegal: str, end: str
) -> None:
    text = f"{HEADER}   1 ７六歩(77)\n   2 ３四歩(33)\n   3 {illegal}\n"
    expected = ("7g7f 3c3d", "white", "illegal_move")
    assert main_line(one(tmp_path, f"{text}{end}\n")) == expected
    for other in ("   4 投了", "   4 ８四歩(83)\n   5 反則勝ち", ""):
        assert "ply 3: " in str(one(tmp_path, f"{text}{other}\n"))


# --- variations, several games --------------------------------------------------------------------


@pytest.mark.parametrize(
    "variation",
    [
        "変化：9手\n   9 ６六歩(67)\n",
        "変化：2手\n   2 ２六鬼(27)\nまで2手で先手の勝ち\n   1 ２六歩(27)\n",
        "変化：\n nonsense 変化\n変化：1手\n   1 投了\n   2 投了\n",
        "変化：1手\n*先手：甲\n|broken\n",
    ],
)
@pytest.mark.parametrize("end", ["   3 投了\n", "まで2手で後手の勝ち\n"])
def test_a_fault_in_a_variation_does_no_harm(tmp_path: Path, variation: str, end: str) -> None:
    text = f"{HEADER}   1 ７六歩(77)\n   2 ３四歩(33)\n{end}\n{variation}"
    first, *_ = read(tmp_path, text)
    assert main_line(first) == ("7g7f 3c3d", "white", "resign")


KIF_GAMES = [
    f"{HEADER}   1 ７六歩(77)\n   2 投了\n",
    f"開始日時：2001/01/01\n{RULE}   1 ２六歩(27)\n   2 中断\nまで1手で中断\n",
    f"手合割：角落ち\n{RULE}   1 ３四歩(33)\n変化：1手\n   1 ８四歩(83)\n",
    "   1 ５六歩(57)\n",
]
KI2_GAMES = [
    f"{EVEN}▲７六歩\nまで1手で先手の勝ち\n",
    "▲２六歩\nまで1手で中断\n",
    "棋戦：名人戦\n手合割：角落ち\n△３四歩\n変化：1手\n△鬼\n",
    f"{EVEN}▲５六歩\n",
]


@pytest.mark.parametrize(("name", "games"), [("a.kif", KIF_GAMES), ("a.ki2", KI2_GAMES)])
def test_a_file_may_hold_several_games(tmp_path: Path, name: str, games: list[str]) -> None:
    games = [games[0], games[1], *reversed(games[2:])] if name == "a.kif" else games
    found = read(tmp_path, "\n".join(games), name)
    assert [game.moves[0] for game in found] == (
        ["7g7f", "2g2f", "5g5f", "3c3d"] if name == "a.kif" else ["7g7f", "2g2f", "3c3d", "5g5f"]
    )
    lines = "\n".join(games).split("\n")
    firsts = [int(game.source.rpartition(":")[2]) for game in found]
    assert [lines[first - 1] for first in firsts] == [game.split("\n")[0] for game in games]


def test_the_games_around_a_broken_game_are_read(tmp_path: Path) -> None:
    games = [KI2_GAMES[0], f"{EVEN}▲７六鬼\n", KI2_GAMES[3]]
    first, broken, last = read(tmp_path, "".join(games), "a.ki2")
    assert (first.moves, last.moves) == (("7g7f",), ("5g5f",))
    assert "a.ki2:4: line 5: not a move: ▲７六鬼" in str(broken)


# --- KI2 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moves", "said"),
    [
        ("▲７六歩 ▲３四歩", "line 2: ▲３四歩: ▲ marks black's move, but white is to move"),
        ("△７六歩", "line 2: △７六歩: △ marks white's move, but black is to move"),
        ("☗７六歩 ☖３四歩 ☖２六歩", "line 2: ☖２六歩: ☖ marks white's move"),
        ("▲５八金", "line 2: ▲５八金: the piece can come from 4i or 6i"),
        ("▲同歩", "line 2: ▲同歩: no move comes before this move"),
        ("▲７六歩xyz", "line 2: not a move: xyz"),
        ("▲５八銀引", "ply 1: ▲５八銀引 is not legal"),
        ("▲５五銀", "ply 1: S*5e is not legal"),
    ],
)
def test_a_mark_or_move_that_does_not_fit_is_refused(tmp_path: Path, moves: str, said: str) -> None:
    assert said in str(one(tmp_path, f"{EVEN}{moves}\n", "a.ki2"))


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.ki2", "☗７六歩☖３四歩\n☗２二角成　☖同　銀\n"), ("a.ki2u", "７六歩 ３四歩 ２２角成 同銀")],
)
def test_several_moves_of_ki2_may_share_a_line(tmp_path: Path, name: str, text: str) -> None:
    assert main_line(one(tmp_path, EVEN + text, name))[0] == "7g7f 3c3d 8h2b+ 3a2b"


SIDEWAYS = ["9", "5G3", "3GGG3"]
"""Ranks d, e and f: golds beside, behind, and behind to the right and left of 5e."""
ROUND = ["4G4", "9", "3G1G3"]


@pytest.mark.parametrize(
    ("ranks", "move", "usi"),
    [
        (SIDEWAYS, "５五金右上", "4f5e"),
        (SIDEWAYS, "５五金寄", "4e5e"),
        (SIDEWAYS, "５五金直", "5f5e"),
        (SIDEWAYS, "５五金左", "6f5e"),
        (ROUND, "５五金右", "4f5e"),
        (ROUND, "５五金引", "5d5e"),
        (ROUND, "５五金打", "G*5e"),
        (ROUND, "１五金", "G*1e"),
        (ROUND, "２三龍右", "1c2c"),
        (ROUND, "２三竜左", "2g2c"),
    ],
)
def test_hints_say_which_of_several_pieces_moves(
    tmp_path: Path, ranks: list[str], move: str, usi: str
) -> None:
    board = "/".join(["k8", "9", "8+R", *ranks, "7+R1", "9", "K8"])
    start = Record(f"{board} b {'-' if ranks is SIDEWAYS else 'G'} 1")
    diagram = start.to_ki2().partition("まで")[0]
    assert main_line(one(tmp_path, f"{diagram}\n▲{move}\n", "a.ki2"))[0] == usi
