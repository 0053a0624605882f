"""A match in which an engine plays: its games are played one by one, as many at once as one likes.

All moves come from outside::

    match = EngineMatch(MatchSpec("engine", games=20))
    while (game := match.begin()) is not None:
        while not game.over:
            if game.agent_to_move:
                game.play(*agent.choose(*game.look()))
            else:
                game.answer(engine.best_move(game.moves))
        match.finish(game)
    print(match.result())
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keisei.env import observe_position
from keisei.evaluation.match import (
    RESIGN_AFTER,
    Colour,
    MatchResult,
    MatchSpec,
    Opening,
    PlayedGame,
    Result,
    tally,
    write_line,
)
from keisei.shogi import IllegalMoveError, Position
from keisei.shogi.sfen import read_sfen

Fault = Literal["timeout", "crash"]
"""What an engine does that says nothing of its strength."""
_OTHER: dict[Colour, Colour] = {"black": "white", "white": "black"}


class GameInPlay:
    """A game between agent and opponent, by the rules of ``keisei.shogi``."""

    def __init__(self, spec: MatchSpec, number: int) -> None:
        self.number = number
        self.agent: Colour = "white" if number % 2 else "black"
        self._spec = spec
        opening = spec.opening(number // 2)
        self._start = opening.start
        self._position = Position(self._start)
        self._moves: list[str] = []
        self._actions: list[int] = []
        self._values: list[float] = []
        self._hopeless: dict[Colour, int] = {"black": 0, "white": 0}
        self._end: tuple[Result, str] | None = None
        for action in opening.actions:
            if not self.over:
                self.play(action)

    @property
    def over(self) -> bool:
        """Whether the game has ended."""
        return self._end is not None

    @property
    def agent_to_move(self) -> bool:
        """Whose move it is, while the game goes on."""
        return self._position.side == self.agent

    @property
    def moves(self) -> str:
        """The game so far, as in USI's ``position``."""
        return write_line(self._start, self._moves)

    def look(self) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """The position as a network to move sees it: uint8[1, 131] and its mask uint64[1, 35]."""
        cap = self._spec.trained_max_ply[not self.agent_to_move]
        return observe_position(self._position, cap or self._spec.max_ply)

    def record(self) -> NDArray[Any]:
        """The position as a local player sees it: GAME[1]."""
        return read_sfen(self._position.sfen())[0]

    def play(self, action: int, value: float = float("nan")) -> None:
        """A move, and what the network that chose it expects. Raises IllegalMoveError.

        Where that has no hope left, it resigns instead.
        """
        side = self._position.side
        low = self._spec.resign < 0 and value <= self._spec.resign
        self._hopeless[side] = self._hopeless[side] + 1 if low else 0
        if self._hopeless[side] >= RESIGN_AFTER:
            self._end = _OTHER[side], "resignation"
        else:
            self._move(action, value)

    def answer(self, text: str, value: float = float("nan")) -> None:
        """An engine's ``bestmove``, whatever it says, and what it expects.

        ``win`` is no move: where the side to move may declare, the game has ended before.
        """
        winner = _OTHER[self._position.side]
        if text == "resign":
            self._end = winner, "resignation"
            return
        try:
            action = self._position.action(text)
        except IllegalMoveError:
            self._end = winner, "illegal_move"
        else:
            self._move(action, value)

    def result_for(self, *, agent: bool) -> Literal["win", "lose", "draw"]:
        """How the game ended, as USI's ``gameover`` says it."""
        points = self.played().points
        return "draw" if points == 0.5 else "win" if (points == 1) == agent else "lose"

    def played(self) -> PlayedGame:
        """The game, ended. Raises RuntimeError if it is not."""
        if self._end is None:
            raise RuntimeError(f"game {self.number} is not over")
        return PlayedGame(
            number=self.number,
            result=self._end[0],
            reason=self._end[1],
            start=self._start,
            actions=np.array(self._actions, np.int16),
            values=np.array(self._values, np.float32),
        )

    def _move(self, action: int, value: float) -> None:
        self._moves.append(self._position.play(action))
        self._actions.append(action)
        self._values.append(value)
        self._settle()

    def _settle(self) -> None:
        outcome = self._position.outcome(self._spec.declaration)
        if outcome is not None:
            self._end = outcome.winner or "draw", outcome.reason
        elif self._position.ply >= self._spec.max_ply:
            self._end = "capped", "max_ply"


@dataclass(slots=True)
class EngineMatch:
    """A match in play: which game is next, and how those that ended did."""

    spec: MatchSpec
    pairs: Sequence[int] | None = None
    """Those still to be played; all if None."""
    faults: dict[Fault, int] = field(default_factory=lambda: {"timeout": 0, "crash": 0})
    played: list[PlayedGame] = field(default_factory=list)
    """The games that ended, in that order."""
    _todo: list[int] = field(init=False)

    def __post_init__(self) -> None:
        pairs = range(self.spec.games // 2) if self.pairs is None else self.pairs
        self._todo = [2 * pair + second for pair in pairs for second in (0, 1)][::-1]

    def begin(self) -> GameInPlay | None:
        """The next game; None if all have begun."""
        return GameInPlay(self.spec, self._todo.pop()) if self._todo else None

    def finish(self, game: GameInPlay) -> None:
        """Take a game that is over. Raises RuntimeError if it is not."""
        self.played.append(game.played())

    def fault(self, game: GameInPlay, fault: Fault) -> None:
        """An engine failed in this game: it counts nothing and will be played again."""
        self.faults[fault] += 1
        self._todo.append(game.number)

    def result(self) -> MatchResult:
        """The result of the games that ended, by number. Raises ValueError before the first."""
        if not self.played:
            raise ValueError("no game has ended")
        return tally(sorted(self.played, key=lambda game: game.number))


def random_openings(number: int, seed: int = 0, plies: int = 4) -> list[Opening]:
    """Openings of ``plies`` random legal moves from the start position."""
    rng = np.random.default_rng(seed)
    openings = []
    for _ in range(number):
        position, moves = Position(), []
        for _ in range(plies):
            moves.append(str(rng.choice(position.legal_moves())))
            position.push(moves[-1])
        openings.append(Opening.read(write_line("startpos", moves)))
    return openings
