"""Convert SFENs to game records (dtype ``GAME``) and back. Source: the USI protocol."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.shogi import kernels
from keisei.shogi.errors import SfenError

START_SFEN = "lnsgkgsnl/1r5b1/ppppppppp/9/9/9/PPPPPPPPP/1B5R1/LNSGKGSNL b - 1"

LETTERS = "PLNSBRGK"  # letters of the piece codes 1 to 8
HAND_ORDER = "PLNSGBR"  # letters of the hand slots 0 to 6
_WRITTEN_HANDS = "RBGSNLP"  # usual order of the hand pieces in an SFEN
_SET = {"P": 18, "L": 4, "N": 4, "S": 4, "G": 4, "B": 2, "R": 2, "K": 2}
_HAND = re.compile(r"([1-9][0-9]?)?([PLNSGBRplnsgbr])")

Games = NDArray[Any]
"""Array of game records (dtype ``kernels.GAME``)."""


def turned(board: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a board (uint8[81]) as the other side sees it."""
    back = board[::-1].astype(np.int16)
    return np.where(back == 0, 0, np.where(back <= 14, back + 14, back - 14)).astype(np.uint8)


def name(code: int) -> str:
    """Return the SFEN letters of a piece code, such as ``+p`` for 23.

    Codes 1..14 are black's pieces, 15..28 are white's.
    """
    kind = (code - 1) % 14 + 1
    text = LETTERS[kind - 1] if kind <= 8 else "+" + LETTERS[kind - 9]
    return text if code <= 14 else text.lower()


def read_sfen(text: str) -> tuple[Games, int]:
    """Read an SFEN, or ``startpos``; return ``(GAME[1], move number)``.

    The record contains the board, the hands and the side to move; all other fields are zero. If
    the SFEN has no move number, or the move number 0, the returned move number is 1. This function
    does not know how pieces move, so it cannot detect a check. The caller must refuse a position in
    which the opponent of the side to move is in check.

    Raises:
        SfenError: the text is not a valid SFEN.
    """
    parts = START_SFEN.split() if text.strip() == "startpos" else text.split()
    if parts[:1] == ["sfen"]:
        parts = parts[1:]
    if len(parts) not in (3, 4):
        raise SfenError(
            f"an SFEN has 3 fields (board, side, hands) or 4 (plus move number), not {len(parts)}:"
            f" {text!r}"
        )
    board = _read_board(parts[0])
    if parts[1] not in ("b", "w"):
        raise SfenError(f"side to move is {parts[1]!r}, not 'b' or 'w'")
    hands = _read_hands(parts[2])
    _check_pieces(board, hands)
    number = parts[3] if len(parts) == 4 else "1"
    if not re.fullmatch("[0-9]{1,6}", number):
        raise SfenError(f"move number is {number!r}, not a number of 1 to 6 digits")
    games = np.zeros(1, kernels.GAME)
    white = parts[1] == "w"
    games[0]["side"] = white
    games[0]["board"] = turned(board) if white else board
    games[0]["hands"] = (hands[::-1] if white else hands).ravel()
    return games, max(int(number), 1)


def _read_board(text: str) -> NDArray[np.uint8]:
    """Read the board field of an SFEN; return uint8[81], as black sees the board."""
    rows = text.split("/")
    if len(rows) != 9:
        raise SfenError(f"board has {len(rows)} ranks, not 9: {text!r}")
    board = np.zeros(81, np.uint8)
    for rank, row in enumerate(rows):
        codes: list[int] = []
        pending = False
        for letter in row:
            if letter == "+" and not pending:
                pending = True
                continue
            if letter in "123456789" and not pending:
                codes += [0] * int(letter)
                continue
            kind = LETTERS.find(letter.upper()) + 1 if letter.isascii() else 0
            if not kind or (pending and kind in (7, 8)):
                what = "+" + letter if pending else letter
                raise SfenError(f"rank {rank + 1}: {what!r} is not a piece: {row!r}")
            codes.append(kind + 8 * pending + 14 * letter.islower())
            pending = False
        if pending:
            raise SfenError(f"rank {rank + 1} ends in '+': {row!r}")
        if len(codes) != 9:
            raise SfenError(f"rank {rank + 1} has {len(codes)} squares, not 9: {row!r}")
        board[rank::9] = codes[::-1]  # an SFEN row begins with file 9
    return board


def _read_hands(text: str) -> NDArray[np.uint8]:
    """Read the hands field of an SFEN; return uint8[2, 7]: black's hand, then white's hand."""
    hands = np.zeros((2, 7), np.uint8)
    if text == "-":
        return hands
    end = 0
    while end < len(text):
        match = _HAND.match(text, end)
        if match is None:
            raise SfenError(f"hands: cannot read {text[end:]!r} in {text!r}")
        letter = match[2]
        slot = (int(letter.islower()), HAND_ORDER.index(letter.upper()))
        if hands[slot]:
            raise SfenError(f"hands: {letter!r} occurs twice in {text!r}")
        hands[slot] = int(match[1] or 1)
        end = match.end()
    return hands


def _check_pieces(board: NDArray[np.uint8], hands: NDArray[np.uint8]) -> None:
    """Raise SfenError if there are more pieces of a kind than a shogi set has.

    Also raise SfenError if a side has more than one king, or more than one pawn on a file.
    """
    kinds = (board.astype(int) - 1) % 14 + 1
    for code, letter in enumerate(LETTERS, start=1):
        present = int(np.count_nonzero((board > 0) & ((kinds == code) | (kinds == code + 8))))
        if letter != "K":
            present += int(hands[:, HAND_ORDER.index(letter)].sum())
        if present > _SET[letter]:
            raise SfenError(
                f"{present} {letter} on board and in hand, but a shogi set has {_SET[letter]}"
            )
    for owner, base in (("black", 0), ("white", 14)):
        kings = int(np.count_nonzero(board == base + 8))
        if kings > 1:
            raise SfenError(f"{owner} has {kings} kings")
        view = board if not base else turned(board)
        for file in range(9):
            pawns = int(np.count_nonzero(view[file * 9 : file * 9 + 9] == 1))
            if pawns > 1:
                shown = file + 1 if not base else 9 - file
                raise SfenError(f"{owner} has {pawns} pawns on file {shown}")


def square_name(square: int, white: bool) -> str:
    """Return the USI name, such as ``7g``, of a square (0..80).

    If ``white`` is true, ``square`` is numbered as white sees the board. Otherwise, ``square`` is
    numbered as black sees the board.
    """
    if white:
        square = 80 - square
    return f"{square // 9 + 1}{'abcdefghi'[square % 9]}"


def write_sfen(game: Any, number: int) -> str:
    """Return the SFEN of one game record; ``number`` is the move number to write."""
    side = int(game["side"])
    board = game["board"] if not side else turned(game["board"])
    rows = []
    for rank in range(9):
        row = "".join(name(int(c)) if c else " " for c in board[rank::9][::-1])
        rows.append(re.sub(" +", lambda gap: str(len(gap[0])), row))
    hands = game["hands"].reshape(2, 7)[:: 1 - 2 * side]
    held = ""
    for owner in (0, 1):
        for letter in _WRITTEN_HANDS:
            count = int(hands[owner, HAND_ORDER.index(letter)])
            if count:
                held += (str(count) if count > 1 else "") + (letter.lower() if owner else letter)
    return f"{'/'.join(rows)} {'bw'[side]} {held or '-'} {number}"
