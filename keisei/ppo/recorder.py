"""Stores the moves of all games in progress, so that some of the games can be recorded."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keisei.env import Reason, StepResult, VectorEnv
from keisei.shogi import Position

Result = Literal["black", "white", "draw", "capped"]


@dataclass(frozen=True, slots=True)
class FinishedGame:
    """A self-play game that ended and was recorded."""

    number: int
    """Number of the game within the run."""
    result: Result
    reason: str
    plies: int
    record: str
    """The game as ``sfen ... moves ...``, like the arguments of USI's ``position`` command."""


@dataclass(slots=True)
class Showcase:
    """A game in progress, for display. ``position`` is the position that was displayed last."""

    number: int
    position: Position
    plies: int = 0
    """Number of moves from the game's start position to the displayed position."""
    ply: int = 0
    """Ply number in the environment. It is above ``plies`` if the recorder missed some plies."""
    last_move: str | None = None
    """Move that led to ``position``, in USI notation; None in the start position."""


class Recorder:
    """Moves of all games in progress, and start positions of the games that will be recorded.

    For N games, ``moves`` is ``int16[N, max_ply]``, and ``length`` is ``int64[N]``. A slot is the
    row of a game. ``starts`` maps a slot to the SFEN of the game's start position.
    """

    def __init__(self, env: VectorEnv, one_in: int) -> None:
        n = len(env)
        self.moves = np.zeros((n, env.max_ply), np.int16)
        self.length = np.zeros(n, np.int64)
        self.starts: dict[int, str] = {}
        self._one_in = one_in
        self._rows = np.arange(n)
        self._slot = 0
        """Slot of the game that ``showcase`` returns."""
        self._showcase: Showcase | None = None
        for slot in range(n):
            self._begin(env, slot)

    def record_step(
        self, env: VectorEnv, actions: NDArray[Any], step: StepResult
    ) -> list[FinishedGame]:
        """Store the moves of a step. Return the recorded games that ended in the step.

        ``actions`` has one action for each game. Call this right after ``env.step``, because this
        method reads the start positions of new games from ``env``.
        """
        self.moves[self._rows, self.length] = actions
        self.length += 1
        games = []
        for slot in np.flatnonzero(step.terminated | step.truncated).tolist():
            if int(step.number[slot]) % self._one_in == 0:
                games.append(self._finish(step, slot))
            self.length[slot] = 0
            self._begin(env, slot)
        return games

    def show(self, slot: int) -> None:
        """Choose the slot whose games ``showcase`` returns."""
        self._slot, self._showcase = slot, None

    def showcase(self, env: VectorEnv) -> Showcase | None:
        """Return the game in the chosen slot without its newest move; None if it has no move yet.

        For a game whose start position is unknown, the result is None until the next move.
        """
        slot = self._slot
        number, plies = int(env.game_number[slot]), int(self.length[slot]) - 1
        shown = self._showcase
        if shown is None or shown.number != number:
            shown = self._showcase = self._begin_showcase(env, number)
        if plies < shown.plies:
            return None
        for action in self.moves[slot, shown.plies : plies].tolist():
            shown.last_move = shown.position.play(action)
        shown.plies, shown.ply = plies, int(env.games["ply"][slot]) - 1
        return shown

    def _begin_showcase(self, env: VectorEnv, number: int) -> Showcase:
        """Begin at the start of the game, or at the present position if the start is unknown."""
        slot = self._slot
        if slot in self.starts:
            return Showcase(number, Position(self.starts[slot]))
        return Showcase(number, Position(env.sfen(slot)), plies=int(self.length[slot]))

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return copies of the arrays, and the SFENs of start positions by slot."""
        arrays: dict[str, NDArray[Any]]
        arrays = {"moves": self.moves.copy(), "length": self.length.copy()}
        return arrays, {str(slot): sfen for slot, sfen in self.starts.items()}

    def load_state(self, arrays: dict[str, NDArray[Any]], starts: dict[str, str]) -> None:
        """Restore a state that ``state`` returned."""
        self.moves[:] = arrays["moves"]
        self.length[:] = arrays["length"]
        self.starts = {int(slot): sfen for slot, sfen in starts.items()}
        self._showcase = None

    def _begin(self, env: VectorEnv, slot: int) -> None:
        """Begin a game in this slot. The start position of slot 0 is kept for ``showcase``."""
        self.starts.pop(slot, None)
        if slot == 0 or int(env.game_number[slot]) % self._one_in == 0:
            self.starts[slot] = env.sfen(slot)

    def _finish(self, step: StepResult, slot: int) -> FinishedGame:
        position = Position(self.starts[slot])
        played = self.moves[slot, : self.length[slot]].tolist()
        moves = " ".join([position.play(action) for action in played])
        return FinishedGame(
            number=int(step.number[slot]),
            result=_result(step, slot),
            reason=Reason(int(step.reason[slot])).label,
            plies=int(step.plies[slot]),
            record=f"sfen {self.starts[slot]} moves {moves}",
        )


def _result(step: StepResult, slot: int) -> Result:
    if step.truncated[slot]:
        return "capped"
    winner = int(step.winner[slot])
    return "black" if winner > 0 else "white" if winner < 0 else "draw"
