"""The games that a fake run shows: a real opening, then random moves."""

import random
from collections.abc import Iterator
from typing import Any

from rsshogi.core import Board as RulesBoard

from keisei.play.mailbox import ChosenMove
from keisei.shogi import Position

OPENING = (
    "7g7f 8c8d 6g6f 3c3d 2h6h 7a6b 5i4h 5a4b 4h3h 4b3b 3h2h 6a5b 3i3h 5c5d 7i7h 8d8e 8h7g 7c7d"
)
"""Moves of an opening (fourth-file rook against static rook), until both castles are complete."""
PLIES = 140
"""Largest number of plies in a game."""
SHARES = (0.46, 0.21, 0.11, 0.06, 0.03)
"""Made-up probabilities of the moves that are shown for each position."""


def scripted_game(number: int) -> Iterator[tuple[str, str | None]]:
    """Yield each position (SFEN) with the move (USI) that led there; at the start, with None.

    The same ``number`` always gives the same game.
    """
    chance = random.Random(number)
    board = RulesBoard()
    opening = OPENING.split()
    yield board.to_sfen(), None
    for ply in range(PLIES):
        moves = board.legal_moves()
        if not moves:
            return
        captures = [move for move in moves if not board.is_square_empty(move.to_sq)]
        wild = chance.choice(captures if captures and chance.random() < 0.5 else moves)
        usi = opening[ply] if ply < len(opening) else wild.to_usi()
        board.apply_usi(usi)
        yield board.to_sfen(), usi


def made_up_boards(number: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yield the fields of a ``Board`` event for each position of game ``number``."""
    value = 0.0  # from the point of view of sente
    for ply, (sfen, last) in enumerate(scripted_game(number)):
        value = max(-0.98, min(0.98, value + chance.gauss(0.004, 0.06)))
        yield {
            "game": number,
            "sfen": sfen,
            "last_move": last,
            "ply": ply,
            "value": value if " b " in sfen else -value,
            "top_moves": _top_moves(sfen, chance),
        }


def made_up_move(position: Position, chance: random.Random) -> ChosenMove:
    """Return a random legal move, with a made-up value and made-up probabilities.

    As in a real run, there is no move after mate, and a win is declared as soon as possible.
    """
    if position.declaration() == "win":
        return ChosenMove(declares_win=True)
    top = _top_moves(position.sfen(), chance)
    if not top:
        return ChosenMove()
    return ChosenMove(top[0][0], value=round(chance.uniform(-0.5, 0.5), 3), top_moves=top)


def _top_moves(sfen: str, chance: random.Random) -> tuple[tuple[str, float], ...]:
    """Return up to five random legal moves (USI) of a position, with made-up probabilities."""
    moves = [move.to_usi() for move in RulesBoard(sfen).legal_moves()]
    chosen = chance.sample(moves, min(len(SHARES), len(moves)))
    return tuple(zip(chosen, SHARES, strict=False))
