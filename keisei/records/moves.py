"""The moves of one game; a board checks each move while the record is read."""

from functools import lru_cache

from rsshogi.core import Board, Move

from keisei.records.ends import ILLEGAL_MOVE, End
from keisei.records.game import GameRecord
from keisei.records.start import StartPosition
from keisei.shogi import Position


@lru_cache(256)
def _checked(sfen: str) -> tuple[str, dict[str, str]]:
    """Return the normalized SFEN of a start position, and the position's pieces by square.

    Raises SfenError if ``sfen`` is not a position.
    """
    start = Position(sfen).sfen()
    return start, StartPosition.read(start).board


class Moves:
    """The start position of a game, and the legal moves read so far.

    An illegal move is remembered but not made. A further move then raises an error. ``record``
    raises an error too, unless its argument ``end`` says that an illegal move ended the game.
    """

    def __init__(self, sfen: str, origin: str) -> None:
        """Set up the start position.

        Args:
            sfen: the start position; this method checks it.
            origin: the part of the record from which ``sfen`` comes, as text. The message about an
                illegal first move contains this text.

        Raises:
            ValueError: ``sfen`` is not a position.
        """
        self.start, squares = _checked(sfen)
        self.white_to_move = self.start.split()[1] == "w"
        self._board = Board(self.start)
        self._origin = origin
        self._squares = dict(squares)
        self._moves: list[str] = []
        self._illegal = ""

    def __len__(self) -> int:
        return len(self._moves)

    def piece(self, square: str) -> str:
        """Return the SFEN letters of the piece on a square, or an empty string."""
        return self._squares.get(square, "")

    def own(self, piece: str) -> str:
        """Return the SFEN letters of a piece of the side to move. ``piece`` is in capitals."""
        return piece.lower() if self.white_to_move else piece

    def movers(self, piece: str, to: str, promotion: str) -> list[str]:
        """Return the squares from which the side to move can legally move ``piece`` to ``to``.

        ``piece`` is in capitals; ``promotion`` is ``+`` or empty.
        """
        mine = self.own(piece)
        return [
            square
            for square, man in self._squares.items()
            if man == mine and self._board.is_legal_move(Move.from_usi(square + to + promotion))
        ]

    def push(self, usi: str) -> None:
        """Make a move; if the move is not legal, only remember the move.

        Raises ValueError if an earlier move was illegal, or if the game has too many moves.
        """
        self._raise_if_illegal()
        try:
            self._board.apply_usi(usi)
        except ValueError as error:
            if "overflow" in str(error):  # rsshogi counts plies in 16 bits
                raise ValueError(f"the game has more than {len(self._moves):,} moves") from error
            self.refuse(usi, "not legal")
            return
        to, dropped = usi[2:4], usi[1] == "*"
        piece = self.own(usi[0]) if dropped else self._squares.pop(usi[:2])
        self._squares[to] = "+" + piece if usi.endswith("+") else piece
        self.white_to_move = not self.white_to_move
        self._moves.append(usi)

    def refuse(self, move: str, why: str) -> None:
        """Remember that the next move of the record is not legal.

        Raises ValueError if an earlier move was illegal.
        """
        self._raise_if_illegal()
        start = (
            ""
            if self._moves
            else f"; if the move is right, the start position is wrong: {self._origin}"
        )
        where = self._board.to_sfen()
        self._illegal = f"ply {len(self._moves) + 1}: {move[:60]} is {why} ({where}){start}"

    def _raise_if_illegal(self) -> None:
        if self._illegal:
            raise ValueError(self._illegal)

    def record(self, end: End, source: str) -> GameRecord:
        """Return the game.

        Raises ValueError if no legal move was made. Also raises ValueError if the record has an
        illegal move, but ``end`` does not say that an illegal move ended the game.
        """
        if self._illegal and end.reason != ILLEGAL_MOVE:
            raise ValueError(self._illegal)
        if not self._moves:
            raise ValueError(self._illegal or "no moves")
        if self._illegal and end.by in {"mover", "other"}:
            end = End(ILLEGAL_MOVE, "other")  # the side that made the illegal move has lost
        winner = end.winner(white_to_move=self.white_to_move)
        return GameRecord(self.start, tuple(self._moves), winner, end.reason, source)
