"""A match in which engines can play; any number of its games can run at the same time.

The caller supplies all moves::

    match = EngineMatch(MatchSpec("engine", games=20))
    while (game := match.begin()) is not None:
        while not game.over:
            if game.agent_to_move:
                game.play_mate() or game.play(*agent.choose(*game.observe()))
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
from keisei.evaluation.game import Colour, PlayedGame, Result, write_line
from keisei.evaluation.match_spec import MatchSpec
from keisei.evaluation.result import MatchResult, tally
from keisei.match_rules import RESIGN_AFTER
from keisei.shogi import IllegalMoveError, Position
from keisei.shogi.proof import shortest_mate
from keisei.shogi.sfen import read_sfen

Fault = Literal["timeout", "crash"]
"""An engine's failure, which says nothing about the engine's strength."""
_OTHER: dict[Colour, Colour] = {"black": "white", "white": "black"}


class GameInPlay:
    """A game in progress. ``keisei.shogi`` applies the rules."""

    def __init__(self, spec: MatchSpec, number: int) -> None:
        """Begin game ``number`` of a match, and play the opening of this game."""
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
        """Whether the agent is to move. After the end of the game, this value has no meaning."""
        return self._position.side == self.agent

    @property
    def moves(self) -> str:
        """All moves so far, as USI's ``position`` command needs them: ``startpos moves ...``."""
        return write_line(self._start, self._moves)

    @property
    def position(self) -> Position:
        """The position. It may only be read."""
        return self._position

    def observe(self) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """Return observation uint8[1, 131] and mask uint64[1, 35] for the next network move."""
        trained = self._spec.trained_max_ply[not self.agent_to_move]
        return observe_position(self._position, trained or self._spec.max_ply)

    def state(self) -> NDArray[Any]:
        """Return the position as an array GAME[1], the form that a local player needs."""
        return read_sfen(self._position.sfen())[0]

    def play(self, action: int, value: float = float("nan")) -> None:
        """Play a move of a network or a local player, or let the player resign.

        If ``MatchSpec.resign`` is below 0, the player resigns as soon as the player's last
        ``RESIGN_AFTER`` values are at or below ``MatchSpec.resign``.

        Args:
            action: a legal action.
            value: P(win) - P(loss) that the network expects; NaN if it is unknown.

        Raises:
            IllegalMoveError: the action is not legal.
        """
        side = self._position.side
        low = self._spec.resign < 0 and value <= self._spec.resign
        self._hopeless[side] = self._hopeless[side] + 1 if low else 0
        if self._hopeless[side] >= RESIGN_AFTER:
            self._end = _OTHER[side], "resignation"
        else:
            self._move(action, value)

    def play_mate(self) -> bool:
        """Play a forced mate that the rules let the player search; return whether there is one.

        Only networks play in this way. A mate that the maximum ply would cut short does not count.
        """
        left = self._spec.max_ply - self._position.ply
        mates = self._spec.options[not self.agent_to_move].mates(self._spec)
        mate = shortest_mate(self._position, min(mates, left))
        if mate is not None:
            self.play(self._position.action(mate.move), 1.0)
        return mate is not None

    def answer(self, text: str, value: float = float("nan")) -> None:
        """Play an engine's ``bestmove``. An illegal move loses the game.

        The text ``win`` (a declaration) counts as an illegal move. A declaration cannot be legal
        here: as soon as the side to move can declare a win, the game is over.

        Args:
            text: a move in USI or ``resign``; any other text counts as an illegal move.
            value: the value that the engine expects, in [-1, 1]; NaN if it is unknown.
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
        """Return one player's result, in the word that follows USI's ``gameover``."""
        points = self.played().points
        return "draw" if points == 0.5 else "win" if (points == 1) == agent else "lose"

    def played(self) -> PlayedGame:
        """Return the ended game. Raises RuntimeError if the game is not over."""
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
        self._check_end()

    def _check_end(self) -> None:
        outcome = self._position.outcome(self._spec.declaration)
        if outcome is not None:
            self._end = outcome.winner or "draw", outcome.reason
        elif self._position.ply >= self._spec.max_ply:
            self._end = "capped", "max_ply"


@dataclass(slots=True)
class EngineMatch:
    """A match that is being played. ``begin`` starts a game; ``finish`` collects an ended game."""

    spec: MatchSpec
    pairs: Sequence[int] | None = None
    """Numbers of the pairs that are still to be played; None means all pairs."""
    faults: dict[Fault, int] = field(default_factory=lambda: {"timeout": 0, "crash": 0})
    played: list[PlayedGame] = field(default_factory=list)
    """Games that have ended, sorted by the time of their end."""
    _todo: list[int] = field(init=False)

    def __post_init__(self) -> None:
        pairs = range(self.spec.games // 2) if self.pairs is None else self.pairs
        self._todo = [2 * pair + second for pair in pairs for second in (0, 1)][::-1]

    def begin(self) -> GameInPlay | None:
        """Begin and return the next game, or return None if all games have begun."""
        return GameInPlay(self.spec, self._todo.pop()) if self._todo else None

    def finish(self, game: GameInPlay) -> None:
        """Add an ended game to ``played``. Raises RuntimeError if the game is not over."""
        self.played.append(game.played())

    def fault(self, game: GameInPlay, fault: Fault) -> None:
        """Count an engine's failure, and drop ``game``.

        The next call of ``begin`` returns a new game with the same number.
        """
        self.faults[fault] += 1
        self._todo.append(game.number)

    def result(self) -> MatchResult:
        """Return the result of the ended games. Raises ValueError if no game has ended."""
        if not self.played:
            raise ValueError("no game has ended")
        return tally(sorted(self.played, key=lambda game: game.number))
