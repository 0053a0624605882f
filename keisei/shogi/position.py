"""The class Position: one game of shogi, played by the same kernels that training uses."""

import re
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from keisei.shogi import kernels
from keisei.shogi.errors import IllegalMoveError, SfenError
from keisei.shogi.kernels import GAME, MASK_WORDS, OBSERVATION_BYTES
from keisei.shogi.sfen import (
    HAND_ORDER,
    LETTERS,
    START_SFEN,
    name,
    read_sfen,
    square_name,
    turned,
    write_sfen,
)

Colour = Literal["black", "white"]
Rule = Literal["27", "24", "none"]
RULES: dict[str, int] = {
    "none": kernels.NO_RULE,
    "27": kernels.RULE_27,
    "24": kernels.RULE_24,
}
EndReason = Literal["checkmate", "no_moves", "repetition", "perpetual_check", "declaration"]

_COLOURS: tuple[Colour, Colour] = ("black", "white")
_REASONS: dict[int, EndReason] = {
    kernels.CHECKMATE: "checkmate",
    kernels.NO_MOVES: "no_moves",
    kernels.REPETITION: "repetition",
    kernels.PERPETUAL_CHECK: "perpetual_check",
}
_MOVE = re.compile(r"([1-9][a-i])([1-9][a-i])(\+?)|([PLNSGBR])\*([1-9][a-i])")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The reason for the end of a game, and the winner."""

    reason: EndReason
    winner: Colour | None
    """Colour of the winner; None if the game is a draw."""


class Position:
    """A position of shogi, and the moves that led to this position.

    >>> position = Position()
    >>> position.push("7g7f")
    >>> position.sfen()
    'lnsgkgsnl/1r5b1/ppppppppp/9/9/2P6/PP1PPPPPP/1B5R1/LNSGKGSNL w - 2'

    Args:
        sfen: an SFEN, with or without a move number, or the word ``startpos``.

    Raises:
        SfenError: ``sfen`` is not a valid SFEN, or the side that is not to move is in check.
    """

    def __init__(self, sfen: str = START_SFEN) -> None:
        self._game, self._number = read_sfen(sfen)
        self._mask = np.zeros((1, MASK_WORDS), np.uint64)
        self._reason, self._result = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self._allocate_history(64)
        self._refuse_capturable_king(sfen)
        self._visit(self._game, -1)

    def _allocate_history(self, plies: int) -> None:
        """Allocate an empty history for ``plies`` plies of each side.

        ``plies`` must be a multiple of 64.
        """
        self._keys = np.zeros((1, 2 * plies), np.uint64)
        self._tags = np.zeros((1, 2, plies), np.uint16)

    def _refuse_capturable_king(self, sfen: str) -> None:
        """Raise SfenError if the side that is not to move is in check."""
        other = self._game.copy()
        other["board"] = turned(other["board"][0])
        other["side"] = 1 - other["side"]
        self._visit(other, -1)
        if other["in_check"][0]:
            waiting = _COLOURS[int(other["side"][0])]
            raise SfenError(
                f"{waiting}'s king is in check but it is not {waiting}'s move: {sfen!r}"
            )

    def _visit(self, game: Any, action: int) -> None:
        """Make the move ``action`` in ``game``; update the mask, the history and the result.

        If ``action`` is -1, no move is made, but the update is the same.
        """
        observation = np.zeros((1, OBSERVATION_BYTES), np.uint8)
        kernels.visit_games(
            0, 1, np.array([action]), game, self._tags, self._keys, observation, self._mask,
            self._reason, self._result, kernels.NO_RULE, 1,
        )  # fmt: skip
        self._moves: dict[str, int] | None = None

    @property
    def side(self) -> Colour:
        """The side to move."""
        return _COLOURS[int(self._game["side"][0])]

    @property
    def ply(self) -> int:
        """Number of moves made in this game, counted from its start position."""
        return int(self._game["ply"][0])

    @property
    def in_check(self) -> bool:
        """Whether the side to move is in check."""
        return bool(self._game["in_check"][0])

    @property
    def occurrences(self) -> int:
        """Number of occurrences of this position in this game, including the current occurrence."""
        return int(self._game["earlier"][0]) + 1

    def sfen(self) -> str:
        """Return the SFEN of the position; the SFEN contains the move number."""
        return write_sfen(self._game[0], self._number + self.ply)

    def legal_moves(self) -> list[str]:
        """Return all legal moves in USI, in alphabetical order.

        This method ignores repetitions and declarations. Even after a fourfold repetition, it
        returns all legal moves, and ``push`` makes any of these moves.
        """
        return sorted(self._legal())

    def _legal(self) -> dict[str, int]:
        """Return the legal moves as a dict that maps each USI move to its action number."""
        if self._moves is None:
            ones = np.unpackbits(self._mask.view(np.uint8), bitorder="little")
            self._moves = {self.usi(int(action)): int(action) for action in np.flatnonzero(ones)}
        return self._moves

    def push(self, usi: str) -> None:
        """Make a move that is given in USI.

        Raises:
            IllegalMoveError: the move is not legal; ``push`` leaves the position unchanged.
        """
        self._make(self.action(usi))

    def play(self, action: int) -> str:
        """Make the move whose action number is ``action``; return the move in USI.

        This method is much faster than ``push``.

        Raises:
            IllegalMoveError: the action is not legal; ``play`` leaves the position unchanged.
        """
        usi = self.usi(action)
        self._make(action)
        return usi

    def _make(self, action: int) -> None:
        """Make a legal move. If the history is full, enlarge the history first."""
        if self.ply + 1 == self._keys.shape[1]:
            keys, tags = self._keys, self._tags
            self._allocate_history(2 * tags.shape[2])
            self._keys[:, : keys.shape[1]] = keys
            self._tags[:, :, : tags.shape[2]] = tags
        self._visit(self._game, action)

    def record(self) -> tuple[Any, NDArray[np.uint16], NDArray[np.uint64], int]:
        """Return what a search needs: the position's record, its history, and its first number.

        The record is a ``keisei.shogi.kernels.GAME``. The history is tags, uint16[2, P], and keys,
        uint64[2P]. The number is the move number of the game's start position. The arrays belong
        to the position: copy them before the next move.
        """
        return self._game[0], self._tags[0], self._keys[0], self._number

    def copy(self) -> Self:
        """Return an independent copy of the position and of its history."""
        twin = object.__new__(type(self))
        twin.__dict__ = {
            k: v.copy() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()
        }
        return twin

    def perft(self, depth: int) -> int:
        """Return the number of sequences of ``depth`` legal moves from this position.

        Repetition does not end a sequence.
        """
        stack, masks = np.zeros(depth + 1, GAME), np.zeros((depth + 1, MASK_WORDS), np.uint64)
        stack[0] = self._game[0]
        return int(kernels.perft(stack, masks, depth))

    def mate(self, moves: int = 1) -> str | None:
        """Return a move that begins a proven mate, in USI, or None if no mate is found.

        A mate in one is found whenever there is one. The search for a mate in three is bounded, so
        it can miss a mate; see ``keisei.shogi.kernels.mate_in_three``. The method ignores
        declarations, and ignores that the game may be over by repetition.

        Args:
            moves: the longest mate that is searched, counted in moves of both sides: 1 or 3.

        Raises:
            ValueError: ``moves`` is not 1 or 3.
        """
        if moves not in (1, 3):
            raise ValueError(f"moves is {moves!r}, not 1 or 3")
        found = np.empty(1, np.int16)
        kernels.find_mates(0, 1, self._game, self._mask, found)
        if moves == 3:
            kernels.find_mates_in_three(
                0, 1, self._game, self._mask, self._tags, self._keys, 2**31 - 1, found
            )
        return None if found[0] < 0 else self.usi(int(found[0]))

    def outcome(self, declaration: Rule = "27") -> Outcome | None:
        """Return the reason and the winner if the game is over by the rules, else None.

        Args:
            declaration: the entering-king rule. If the side to move can win by declaring, that side
                counts as the winner, unless a repetition has ended the game. The rule "none"
                ignores declarations.
        """
        reason, result = int(self._reason[0]), int(self._result[0])
        repeated = reason in (kernels.REPETITION, kernels.PERPETUAL_CHECK)
        if not repeated and self.declaration(declaration) == "win":
            return Outcome("declaration", self.side)
        if not reason:
            return None
        mover = int(self._game["side"][0])
        winner = {1: _COLOURS[mover], -1: _COLOURS[1 - mover]}.get(result)
        return Outcome(_REASONS[reason], winner)

    def declaration(self, rule: Rule = "27") -> Literal["win", "draw"] | None:
        """Return the result that the side to move can claim by declaration, or None.

        The king of the side to move must stand in one of the three ranks farthest from that side.
        This king must not be in check. At least ten other pieces of that side must stand in the
        three ranks. The side's rooks and bishops in the three ranks or in hand count 5 points each.
        All other pieces of the side in these places, except the king, count 1 point each.
        By the 27-point rule, black wins with 28 points or more, and white with 27 points or more.
        By the 24-point rule, either side wins with 31 points or more; 24 to 30 points give a draw.

        Raises:
            ValueError: the rule is unknown.
        """
        if rule not in RULES:
            raise ValueError(f"declaration rule is {rule!r}, not one of {', '.join(RULES)}")
        claim = int(kernels.claim(self._game, 0, RULES[rule]))
        return "win" if claim == 2 else "draw" if claim == 1 else None

    def action(self, usi: str) -> int:
        """Return the action number (0..2186) of a legal move.

        Raises:
            IllegalMoveError: the move is not legal.
        """
        action = self._legal().get(usi)
        if action is None:
            raise IllegalMoveError(f"{usi} is not legal here: {self._why_not(usi)} ({self.sfen()})")
        return action

    def usi(self, action: int) -> str:
        """Return the USI move of a legal action.

        Raises:
            IllegalMoveError: the action is not legal.
        """
        if not (0 <= action < kernels.ACTIONS and self._is_legal(action)):
            raise IllegalMoveError(f"action {action} is not legal here ({self.sfen()})")
        kind, to = divmod(action, 81)
        white = self.side == "white"
        if kind >= 20:
            return f"{LETTERS[int(kernels.DROP_PIECE[kind - 20]) - 1]}*{square_name(to, white)}"
        start = kernels.origin.py_func(self._game["board"][0], kind, to)
        promotion = "+" if kind >= 10 else ""
        return square_name(int(start), white) + square_name(to, white) + promotion

    def _is_legal(self, action: int) -> bool:
        return bool(int(self._mask[0, action // 64]) >> (action % 64) & 1)

    def _board(self) -> Any:
        """Return the board (uint8[81]) as black sees it."""
        board = self._game["board"][0]
        return board if self.side == "black" else turned(board)

    def _why_not(self, usi: str) -> str:
        """Return a text that says why ``usi`` is not a legal move."""
        match = _MOVE.fullmatch(usi)
        if match is None:
            return "a USI move looks like 7g7f, 8h2b+ or P*5e"
        start, to, plus, drop, drop_to = match.groups()
        if drop:
            return self._why_no_drop(drop, drop_to)
        code = int(self._board()[_square(start)])
        if not code:
            return f"{start} is empty"
        if (code <= 14) != (self.side == "black"):
            return f"the piece on {start} is {_COLOURS[code > 14]}'s"
        twin = usi.removesuffix("+") if plus else usi + "+"
        if twin in self._legal():
            return "it cannot promote" if plus else "it must promote"
        if self.in_check:
            return (
                f"{self.side} is in check and this move does not end the check, "
                f"or the piece on {start} does not reach {to}"
            )
        return (
            f"the {name(code)} on {start} does not reach {to}, "
            f"or the move would leave {self.side}'s king in check"
        )

    def _why_no_drop(self, piece: str, to: str) -> str:
        """Return a text that says why a drop is not legal."""
        if not self._game["hands"][0][HAND_ORDER.index(piece)]:
            return f"{self.side} has no {piece} in hand"
        board = self._board()
        if board[_square(to)]:
            return f"{to} is not empty"
        own_pawn = 1 if self.side == "black" else 15
        file = int(to[0]) - 1
        if piece == "P" and own_pawn in board[file * 9 : file * 9 + 9]:
            return f"{self.side} already has a pawn on file {to[0]}"
        far = to[1] if self.side == "black" else "ihgfedcba"["abcdefghi".index(to[1])]
        if (piece in "PLN" and far == "a") or (piece == "N" and far == "b"):
            return f"a {piece} on {to} could never move"
        if self.in_check:
            return f"{self.side} is in check and this move does not end the check"
        return "a pawn drop may not give mate"

    def __str__(self) -> str:
        """Return the board and hands as text.

        Capital letters are black's pieces, and ``+`` marks a promoted piece.
        """
        board = self._board()
        hands = self._game["hands"][0].reshape(2, 7)[:: 1 if self.side == "black" else -1]
        lines = [f"White in hand: {_held(hands[1])}", "  9  8  7  6  5  4  3  2  1"]
        lines.append("+---------------------------+")
        for rank in range(9):
            row = (board[file * 9 + rank] for file in range(8, -1, -1))
            cells = "".join(f"{name(int(c)) if c else '.':>2} " for c in row)
            lines.append(f"|{cells}| {'abcdefghi'[rank]}")
        lines.append("+---------------------------+")
        lines.append(f"Black in hand: {_held(hands[0])}")
        check = ", in check" if self.in_check else ""
        lines.append(f"Move {self._number + self.ply}, {self.side} to move{check}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Position({self.sfen()!r})"


def _square(text: str) -> int:
    """Return the square (0..80, as black sees the board) of a USI name such as ``7g``."""
    return (int(text[0]) - 1) * 9 + "abcdefghi".index(text[1])


def _held(hand: Any) -> str:
    """Return a hand as text such as ``R B2 P10``; return ``-`` for an empty hand."""
    held = [
        letter + (str(hand[HAND_ORDER.index(letter)]) if hand[HAND_ORDER.index(letter)] > 1 else "")
        for letter in "RBGSNLP"
        if hand[HAND_ORDER.index(letter)]
    ]
    return " ".join(held) or "-"
