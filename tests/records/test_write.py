"""We, rsshogi and cshogi read the games that we write as KIF, CSA and USI."""

import json
import re
from dataclasses import replace
from pathlib import Path
from time import mktime, strptime
from typing import Any

import cshogi
import pytest
from cshogi import KIF
from rsshogi.record import Record

from keisei.records import RecordError, read_games
from keisei.records.write import GameToWrite, write_csa, write_json, write_kif, write_usi
from keisei.shogi import Position

STARTS = {
    "even": ("startpos", "7g7f 3c3d 8h2b+ 3a2b B*4e"),
    "handicap": (
        "sfen lnsgkgsnl/9/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL w - 1",
        "5a5b 7g7f 3c3d 8h3c+ 2a3c",
    ),
    "no_handicap": (  # the board of a handicap, but it is black's move
        "sfen lnsgkgsnl/1r7/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1",
        "7g7f 3c3d 8h3c+ 2a3c 2g2f",
    ),
    "middle": (
        "sfen sn4p1+B/l1g2p3/p1p2Ps+P1/4p4/PpP1Pk2g/2Sp2P2/L1NG2+nG1/R2P1S2+b/2LK3N+p w RL3p 122",
        "6f6g+ R*6f 1e1f L*1d 1i2i",
    ),
}
LOSERS_TURN = ("checkmate", "no_moves", "resignation", "illegal_move", "perpetual_check")
WINNERS_TURN = ("declaration", "perpetual_check")
DRAWS = ("repetition", "declaration")


def games() -> dict[str, GameToWrite]:
    """Return games with every end, from every start, with either side to move."""
    found = {}
    for name, (start, line) in STARTS.items():
        for count in (4, 5):
            moves = line.split()[:count]
            white = (" w " in start) ^ (count % 2 == 1)
            mover, other = ("white", "black") if white else ("black", "white")
            ends = [(other, reason) for reason in LOSERS_TURN]
            ends += [(mover, reason) for reason in WINNERS_TURN]
            ends += [("draw", reason) for reason in DRAWS] + [("capped", "max_ply")]
            for result, reason in ends:
                found[f"{name}-{mover}-{reason}-{result}"] = GameToWrite(
                    black="run@100",
                    white="usi:/usr/games/fairy-stockfish?nodes=500&Skill Level=-4",
                    result=result,  # type: ignore[arg-type]
                    reason=reason,
                    start=start,
                    moves=moves,
                    values=[0.5, None, -0.25, 1.0, 0.0][:count],
                    event="evaluation ab12, game 3",
                    time=mktime(strptime("2026-01-02 03:04:05", "%Y-%m-%d %H:%M:%S")),
                )
    return found


GAMES = games()
every_game = pytest.mark.parametrize("game", GAMES.values(), ids=GAMES.keys())


def start_of(game: GameToWrite) -> str:
    return plain(game.start)


def plain(sfen: str) -> str:
    """Return an SFEN with hands in our order, without the move number that KIF and CSA lack."""
    return Position(sfen).sfen().rpartition(" ")[0]


def comments_of(game: GameToWrite) -> list[str | None]:
    return [None if value is None else f"value {value:+g}" for value in game.values]


def winner_of(game: GameToWrite) -> str | None:
    return None if game.result == "capped" else game.result


def end_of(game: GameToWrite) -> str:
    """Return the key of ``WORDS``.

    An illegal action loses on the loser's own move or on the other side's move.
    """
    if game.result in {"capped", "draw"}:
        return game.result if game.reason != "repetition" else game.reason
    if game.reason == "perpetual_check":
        white = (" w " in game.start) ^ (len(game.moves) % 2 == 1)
        if white == (game.result == "white"):
            return "other_illegal_black" if game.result == "white" else "other_illegal_white"
    return game.reason


WORDS = {
    "checkmate": ("詰み", "%TSUMI"),
    "no_moves": ("投了", "%TORYO"),
    "resignation": ("投了", "%TORYO"),
    "illegal_move": ("反則負け", "%ILLEGAL_MOVE"),
    "perpetual_check": ("反則負け", "%ILLEGAL_MOVE"),
    "other_illegal_black": ("反則勝ち", "%+ILLEGAL_ACTION"),
    "other_illegal_white": ("反則勝ち", "%-ILLEGAL_ACTION"),
    "declaration": ("入玉勝ち", "%KACHI"),
    "repetition": ("千日手", "%SENNICHITE"),
    "draw": ("持将棋", "%JISHOGI"),
    "capped": ("中断", "%CHUDAN"),
}


def check_ours(folder: Path, name: str, text: str, game: GameToWrite) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (found,) = read_games(folder / name)
    assert not isinstance(found, RecordError), found
    assert plain(found.start) == start_of(game)
    assert list(found.moves) == list(game.moves)
    assert found.winner == winner_of(game)


def check_rsshogi(record: Record, game: GameToWrite) -> None:
    assert plain(record.init_position_sfen) == start_of(game)
    assert [entry.move.to_usi() for entry in record.moves] == game.moves
    assert [entry.comment for entry in record.moves] == comments_of(game)
    assert record.initial_comment == f"end: {game.reason}"
    assert record.metadata.black_player == game.black
    assert record.metadata.white_player == game.white
    assert record.metadata.event == game.event
    assert record.metadata.end_date == "2026/01/02 03:04:05"
    won = {"black": record.result.is_black_win(), "white": record.result.is_white_win()}
    assert won == {side: game.result == side for side in won}
    assert record.result.is_draw() == (game.result == "draw")


CSHOGI = {"black": cshogi.BLACK_WIN, "white": cshogi.WHITE_WIN, "draw": cshogi.DRAW}


@every_game
def test_kif_is_read_by_us_and_rsshogi(tmp_path: Path, game: GameToWrite) -> None:
    text = write_kif(game)
    assert text.startswith("#KIF version=2.0 encoding=UTF-8\n")
    assert text.splitlines()[-2].split()[:2] == [str(len(game.moves) + 1), WORDS[end_of(game)][0]]
    check_ours(tmp_path, "a.kifu", text, game)
    check_rsshogi(Record.from_kif_str(text), game)


def hands_sorted(line: str) -> str:
    title, colon, hand = line.partition("の持駒：")
    return title + colon + " ".join(sorted(hand.split())) if colon else line


@every_game
def test_kif_is_read_by_cshogi(game: GameToWrite) -> None:
    text = write_kif(game)
    found = KIF.Parser.parse_str(text)
    assert found.names == [game.black, game.white]
    assert found.win == CSHOGI.get(game.result)
    assert found.var_info["棋戦"] == game.event
    if game.start != "startpos" and "手合割：二枚落ち" not in text:
        # cshogi cannot read diagrams. It writes them, with hands in another order.
        diagram = KIF.board_to_bod(cshogi.Board(f"{start_of(game)} 1")).splitlines()
        assert {hands_sorted(line) for line in diagram} <= set(map(hands_sorted, text.splitlines()))
        return
    assert plain(found.sfen) == start_of(game)
    assert [cshogi.move_to_usi(move) for move in found.moves] == game.moves


@every_game
def test_csa_is_read_by_us_and_rsshogi(tmp_path: Path, game: GameToWrite) -> None:
    text = write_csa(game)
    assert text.startswith("'CSA encoding=UTF-8\nV3.0\n")
    assert text.splitlines()[-1] == WORDS[end_of(game)][1]
    # Readers rely on exactly three letters a square.
    ranks = [line for line in text.splitlines() if re.match(r"P\d", line)]
    assert len(ranks) in {0, 9}
    assert all(re.fullmatch(r"P\d( \* |[-+][A-Z]{2}){9}", line) for line in ranks)
    check_ours(tmp_path, "a.csa", text, game)
    check_rsshogi(Record.from_csa_str(text), game)


@every_game
def test_csa_is_read_by_cshogi(game: GameToWrite) -> None:
    (found,) = cshogi.Parser.parse_str(write_csa(game))
    assert found.names == [game.black, game.white]
    assert plain(found.sfen) == start_of(game)
    assert [cshogi.move_to_usi(move) for move in found.moves] == game.moves
    assert found.endgame == WORDS[end_of(game)][1]
    if game.reason not in {"checkmate", "max_ply"}:  # cshogi does not know these ends
        assert found.win == CSHOGI[game.result]


@every_game
def test_usi_is_read_by_us(tmp_path: Path, game: GameToWrite) -> None:
    """A line without an end word is not read here: only the rules name its winner."""
    text = write_usi(game)
    assert text.startswith(f"{game.start} moves {game.moves[0]}")
    if game.reason == "checkmate" or end_of(game).startswith("other_illegal"):
        assert text.split()[-len(game.moves) :] == game.moves
    else:
        check_ours(tmp_path, "a.usi", text, game)


def test_random_games_are_read_by_us_and_cshogi(tmp_path: Path, played: Any) -> None:
    """They have drops, promotions, refused promotions and recaptures."""
    for one in played[:25]:
        loser = "white" if len(one.moves) % 2 else "black"
        game = GameToWrite(
            black="a",
            white="b",
            result="black" if loser == "white" else "white",
            reason="resignation",
            start="startpos",
            moves=one.moves,
        )
        for ending, write in (("kifu", write_kif), ("csa", write_csa), ("usi", write_usi)):
            check_ours(tmp_path, f"a.{ending}", write(game), game)
        kif = KIF.Parser.parse_str(write_kif(game))
        (csa,) = cshogi.Parser.parse_str(write_csa(game))
        for found in (kif, csa):
            assert [cshogi.move_to_usi(move) for move in found.moves] == one.moves
            assert found.win == CSHOGI[game.result]


def test_a_name_cannot_break_a_record() -> None:
    game = replace(
        GAMES["even-black-resignation-white"], black="a\n%TORYO\n投了", event="e\r\n+7776FU"
    )
    for record in (Record.from_kif_str(write_kif(game)), Record.from_csa_str(write_csa(game))):
        assert record.metadata.black_player == "a %TORYO 投了"
        assert [entry.move.to_usi() for entry in record.moves] == game.moves


def test_an_illegal_move_is_refused() -> None:
    game = replace(GAMES["even-black-resignation-white"], moves=["7g7f", "7g7f"], values=())
    for write in (write_kif, write_csa):
        with pytest.raises(RecordError, match="evaluation ab12, game 3: "):
            write(game)


def test_json_has_every_field_of_the_game() -> None:
    game = next(iter(games().values()))
    text = write_json(game)
    assert text.count("\n") == 1
    assert GameToWrite(**json.loads(text)) == replace(
        game, moves=[*game.moves], values=[*game.values]
    )


def test_comments_replace_the_values() -> None:
    game = GAMES["even-black-resignation-white"]
    comments = ["start", "one", "two\n#評価値=3", "", "four"]
    record = Record.from_kif_str(write_kif(game, comments))
    assert record.initial_comment == "end: resignation\nstart"
    assert [entry.comment or "" for entry in record.moves] == comments[1:]
