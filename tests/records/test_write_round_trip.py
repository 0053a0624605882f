"""Random games that we, rsshogi or cshogi write are read back with all that they hold."""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cshogi
import pytest
from cshogi import CSA, KIF
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rsshogi.core import Board
from rsshogi.record import MoveEntry, Record, RecordMetadata, SpecialMoveEntry

from keisei.records import GameRecord, read_games
from keisei.records.start import HANDICAPS
from keisei.records.write import GameToWrite, write_csa, write_kif, write_usi
from keisei.shogi import START_SFEN, Position

EXAMPLES = 200
"""Number of games in each of the ten tests below."""
many = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
STARTS = (
    START_SFEN,
    *HANDICAPS.values(),
    "lnsgkgsnl/1r7/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1",
    "4k4/9/4P4/9/9/9/9/9/4K4 b G2r2b3g4s4n4l17p 1",
    "8k/9/7G1/9/9/9/9/9/9 b 2R2b3g4s4n4l18p 1",
    "sn4p1+B/l1g2p3/p1p2Ps+P1/4p4/PpP1Pk2g/2Sp2P2/L1NG2+nG1/R2P1S2+b/2LK3N+p w RL3p 1",
    "l6nl/5+P1gk/2np1S3/p1p4Pp/3P2Sp1/1PPb2P1P/P5GS1/R8/LN4bKL w RGgsn5p 1",
)


@dataclass(frozen=True)
class Drawn:
    """A random game of legal moves."""

    start: str
    moves: tuple[str, ...]
    white_to_move: bool
    """Whether white is to move at its end."""


@st.composite
def games(draw: st.DrawFn) -> Drawn:
    start = Position(draw(st.sampled_from(STARTS))).sfen()
    wanted, dice = draw(st.integers(1, 60)), random.Random(draw(st.integers(0, 2**32)))
    board, moves = Board(start), []
    for _ in range(wanted):
        legal = board.legal_moves()
        if not legal:
            break
        move = dice.choice(legal)
        moves.append(move.to_usi())
        board.apply_move(move)
    return Drawn(start, tuple(moves), (" w " in start) ^ (len(moves) % 2 == 1))


nasty = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "まで3手で後手の勝ち", "   1 ７六歩(77)", "%TORYO", "+7776FU", "/", "手合割：香落ち",
            "変化：1手", "*", "&", "#", "▲７六歩 △３四歩", "a\u2028%TORYO", "\x0b投了", "P-00AL", "平手：",
        ]
    ),
)  # fmt: skip
"""Names and comments: any letters, and texts that a reader could mistake for moves or ends."""
ENDS = {
    "resignation": ("other", "resign"),
    "checkmate": ("other", "mate"),
    "illegal_move": ("other", "illegal_move"),
    "perpetual_check": ("mover", "illegal_move"),
    "declaration": ("mover", "win_by_declaration"),
    "repetition": ("draw", "repetition_draw"),
    "impasse": ("draw", "impasse"),
    "max_ply": ("capped", "interrupt"),
}
"""Keisei's reasons: who won, and the reason that is read from KIF and CSA."""


def read(name: str, data: str | bytes) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        encoded = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
        file.write_bytes(encoded)
        return list(read_games(file))


def check(name: str, data: str | bytes, game: Drawn, winner: str | None, reason: str) -> None:
    (found,) = read(name, data)
    assert isinstance(found, GameRecord), found
    assert Position(found.start).sfen() == game.start
    assert found.moves == game.moves
    assert (found.winner, found.reason) == (winner, reason)


def winner_of(by: str, game: Drawn) -> str | None:
    sides = ("white", "black") if game.white_to_move else ("black", "white")
    return {"mover": sides[0], "other": sides[1], "draw": "draw"}.get(by)


def to_write(game: Drawn, reason: str, black: str, white: str, event: str) -> GameToWrite:
    by = ENDS[reason][0]
    result: Any = "capped" if by == "capped" else winner_of(by, game)
    start = "startpos" if game.start == START_SFEN else f"sfen {game.start}"
    return GameToWrite(
        black=black, white=white, result=result, reason=reason, start=start, moves=game.moves,
        event=event,
    )  # fmt: skip


@pytest.mark.parametrize("ending", ["kifu", "csa"])
@given(game=games(), reason=st.sampled_from(sorted(ENDS)), texts=st.tuples(nasty, nasty, nasty))
@many
def test_kif_and_csa_that_we_write_are_read_back(
    ending: str, game: Drawn, reason: str, texts: tuple[str, str, str]
) -> None:
    write = {"kifu": write_kif, "csa": write_csa}[ending]
    text = write(to_write(game, reason, *texts))
    by, found_reason = ENDS[reason]
    check(f"a.{ending}", text, game, winner_of(by, game), found_reason)


@given(game=games(), reason=st.sampled_from(sorted(ENDS)))
@many
def test_usi_that_we_write_is_read_back(game: Drawn, reason: str) -> None:
    """USI has fewer words; it has none for ends that follow from the moves."""
    by, found_reason = ENDS[reason]
    found_reason = {"mate": "unknown", "interrupt": "max_moves"}.get(found_reason, found_reason)
    if found_reason == "illegal_move":
        found_reason = "resign" if by == "other" else "unknown"
    winner = None if found_reason == "unknown" else winner_of(by, game)
    check("a.usi", write_usi(to_write(game, reason, "", "", "")), game, winner, found_reason)


RSSHOGI_ENDS = {
    ("RESIGN", "other"): "resign",
    ("TIMEOUT", "other"): "timeout",
    ("WIN_BY_DECLARATION", "mover"): "win_by_declaration",
    ("REPETITION_DRAW", "draw"): "repetition_draw",
    ("IMPASSE", "draw"): "impasse",
    ("INTERRUPT", "none"): "interrupt",
}
RESULTS = {"draw": "DRAW_BY_IMPASSE", "none": "PAUSED"}


@pytest.mark.parametrize("ending", ["kif", "ki2", "csa"])
@given(
    game=games(),
    end=st.sampled_from(sorted(RSSHOGI_ENDS)),
    texts=st.tuples(nasty, nasty, nasty | st.sampled_from(["a\n:", "\n\nb", "c\r:", ":\r\n1 x"])),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp932", "euc_jp"]),
    variations=st.lists(st.integers(1, 99), max_size=3),
)
@many
def test_records_of_rsshogi_are_read_back(
    ending: str,
    game: Drawn,
    end: tuple[str, str],
    texts: tuple[str, str, str],
    encoding: str,
    variations: list[int],
) -> None:
    kind, by = end
    winner = winner_of(by, game)
    result = {"black": "BLACK_WIN", "white": "WHITE_WIN"}.get(winner or "", "")
    if kind in {"TIMEOUT", "WIN_BY_DECLARATION"}:
        result += {"TIMEOUT": "_BY_TIMEOUT"}.get(kind, "_BY_DECLARATION")
    if kind == "REPETITION_DRAW":
        result = "DRAW_BY_REPETITION"
    one_line = [" ".join(text.split()) for text in texts]
    # rsshogi puts a mark before each line of a comment, but splits lines at LF only.
    comment = texts[2].replace("\r", "\n") if ending == "kif" else None
    record = Record.from_main_line(
        game.start,
        [MoveEntry(move, comment=comment) for move in game.moves],
        SpecialMoveEntry(kind, result or RESULTS[by]),
        RecordMetadata(black_player=one_line[0], white_player=one_line[1]),
    )
    text = getattr(record, f"to_{ending}")()
    if ending != "csa":  # CSA has no variations
        text += "".join(f"\n変化：{ply}手\n{ply:4} ３三角成(88)\n△歩\n" for ply in variations)
    data = text.encode("utf-8-sig" if encoding == "utf-8-sig" else encoding, "replace")
    check(f"a.{ending}", data, game, winner, RSSHOGI_ENDS[end])


CSHOGI_KIF = {
    "resign": ("other", "resign"),
    "win": ("mover", "win_by_declaration"),
    "draw": ("draw", "impasse"),
    "sennichite": ("draw", "repetition_draw"),
}
CSHOGI_CSA = {
    "%TORYO": ("other", "resign"),
    "%KACHI": ("mover", "win_by_declaration"),
    "%SENNICHITE": ("draw", "repetition_draw"),
    "%TIME_UP": ("other", "timeout"),
    "%CHUDAN": ("none", "interrupt"),
}


@pytest.mark.parametrize("ending", ["kif", "kifu"])
@given(game=games(), end=st.sampled_from(sorted(CSHOGI_KIF)))
@many
def test_kif_of_cshogi_is_read_back(ending: str, game: Drawn, end: str) -> None:
    names = {sfen: name for name, sfen in HANDICAPS.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a.{ending}")
        exporter = KIF.Exporter(str(path))
        exporter.header(["甲", "乙"], handicap=names.get(game.start, f"sfen {game.start}"))
        board = cshogi.Board(game.start)
        for usi in game.moves:
            exporter.move(board.move_from_usi(usi))
            board.push_usi(usi)
        exporter.end(end)
        exporter.close()
        data = path.read_bytes()
    by, reason = CSHOGI_KIF[end]
    check(f"a.{ending}", data, game, winner_of(by, game), reason)


@pytest.mark.parametrize("sep", ["\n", ","])
@given(game=games(), end=st.sampled_from(sorted(CSHOGI_CSA)), comment=nasty)
@many
def test_csa_of_cshogi_is_read_back(sep: str, game: Drawn, end: str, comment: str) -> None:
    one_line = " ".join(comment.split("\n")).replace("\r", " ").encode("utf-8", "replace").decode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csa")
        exporter = CSA.Exporter(str(path), encoding="utf-8")
        board = cshogi.Board(game.start)
        exporter.info(init_board=board, names=["a", "b"], version="V2.2")
        for usi in game.moves:
            exporter.move(board.move_from_usi(usi), time=3, comment=one_line or None, sep=sep)
            board.push_usi(usi)
        exporter.endgame(end, time=1)
        exporter.close()
        data = path.read_bytes()
    by, reason = CSHOGI_CSA[end]
    check("a.csa", data, game, winner_of(by, game), reason)
