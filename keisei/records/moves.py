"""The moves of one game: each is made on a board as it is read, so that a record is read once."""

from functools import lru_cache

from rsshogi.core import Board, Move

from keisei.records.ends import ILLEGAL_MOVE, End
from keisei.records.game import GameRecord
from keisei.records.start import StartPosition
from keisei.shogi import Position


@lru_cache(256)
def _checked(sfen: str) -> tuple[str, dict[str, str]]:
    """A start as our rules write it, and its board. Raises SfenError if it is no position."""
    start = Position(sfen).sfen()
    return start, StartPosition.read(start).board


class Moves:
    """The start of a game and the legal moves that were read so far.

    A move that is not legal is remembered and not made. No move may follow it, and the game is
    refused at its end, unless the record says that it ended by an illegal move.
    """

    def __init__(self, sfen: str, told: str) -> None:
        """Begin.

        Args:
            sfen: the first position, unchecked.
            told: how the record tells it, for the message where the first move does not fit.

        Raises:
            ValueError: it is not a position.
        """
        self.start, squares = _checked(sfen)
        self.white_to_move = self.start.split()[1] == "w"
        self._board = Board(self.start)
        self._told = told
        self._squares = dict(squares)
        self._moves: list[str] = []
        self._illegal = ""

    def __len__(self) -> int:
        return len(self._moves)

    def piece(self, square: str) -> str:
        """SFEN's letters for what stands on a square; empty if nothing does."""
        return self._squares.get(square, "")

    def own(self, piece: str) -> str:
        """A piece (capitals of SFEN) as one of the side to move."""
        return piece.lower() if self.white_to_move else piece

    def movers(self, piece: str, to: str, promotion: str) -> list[str]:
        """The squares from which such a piece (capitals) of the side to move can go there."""
        mine = self.own(piece)
        return [
            square
            for square, man in self._squares.items()
            if man == mine and self._board.is_legal_move(Move.from_usi(square + to + promotion))
        ]

    def push(self, usi: str) -> None:
        """Make a move. Raises ValueError if one that was not legal came before."""
        self._refuse_more()
        try:
            self._board.apply_usi(usi)
        except ValueError as error:
            if "overflow" in str(error):  # rsshogi counts plies in 16 bits
                raise ValueError(f"more than {len(self._moves):,} moves") from error
            self.refuse(usi, "not legal")
            return
        to, dropped = usi[2:4], usi[1] == "*"
        piece = self.own(usi[0]) if dropped else self._squares.pop(usi[:2])
        self._squares[to] = "+" + piece if usi.endswith("+") else piece
        self.white_to_move = not self.white_to_move
        self._moves.append(usi)

    def refuse(self, move: str, why: str) -> None:
        """Remember that the next move, as the record tells it, is not legal."""
        self._refuse_more()
        start = f"; or the start is another: {self._told}" if not self._moves else ""
        where = self._board.to_sfen()
        self._illegal = f"ply {len(self._moves) + 1}: {move[:60]} is {why} ({where}){start}"

    def _refuse_more(self) -> None:
        if self._illegal:
            raise ValueError(self._illegal)

    def record(self, end: End, source: str) -> GameRecord:
        """The game. Raises ValueError if it has no move, or one that is not legal."""
        if self._illegal and end.reason != ILLEGAL_MOVE:
            raise ValueError(self._illegal)
        if not self._moves:
            raise ValueError(self._illegal or "no moves")
        if self._illegal and end.by in {"mover", "other"}:
            end = End(ILLEGAL_MOVE, "other")  # whoever made the illegal move has lost
        winner = end.winner(white_to_move=self.white_to_move)
        return GameRecord(self.start, tuple(self._moves), winner, end.reason, source)
