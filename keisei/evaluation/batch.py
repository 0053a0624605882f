"""Games of a match that are played side by side: each step plays one ply in every open game."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.env import Reason, VectorEnv
from keisei.env.observe import PLY_COLUMN, ply_byte
from keisei.evaluation.game import Colour, Opening, PlayedGame, Result
from keisei.evaluation.local import local_move
from keisei.evaluation.match_spec import MatchSpec
from keisei.match_rules import RESIGN_AFTER


@dataclass(frozen=True, slots=True)
class Wanted:
    """M positions in which a network is to move."""

    observation: NDArray[np.uint8]
    """[M, 131] Compact observations of the M positions."""
    mask: NDArray[np.uint64]
    """[M, 35] Legal actions in the M positions, as packed bits."""
    draw: NDArray[np.float32]
    """[M] A random number in [0, 1) for each of the M positions, to sample the move."""
    opponents: NDArray[np.bool_]
    """[M] For each of the M positions: True if the opponent is to move, False if the agent is."""
    rows: NDArray[np.intp]
    """[M] For each of the M positions: the number of its game in ``env``."""
    env: VectorEnv
    """The games. A tree search needs their earlier moves. They may only be read."""


class GameBatch:
    """Games that are played side by side. Call ``request`` and ``answer`` alternately."""

    def __init__(self, spec: MatchSpec, pairs: Sequence[int]) -> None:
        """Begin both games of each pair."""
        self._spec = spec
        self._number = np.repeat(2 * np.array(pairs), 2) + np.tile([0, 1], len(pairs))
        n = len(self._number)
        self._agents_side = self._number % 2  # 0: the agent is black, 1: the agent is white
        self._is_network = np.array([spec.agent == "network", spec.opponent == "network"])
        self._plays_mates = np.array([bool(options.mates(spec)) for options in spec.options])
        seeds = np.random.SeedSequence(spec.seed).generate_state(max(pairs) + 1, np.uint64)
        self._rng = seeds[self._number // 2][:, None]
        self._draw = np.repeat(
            [np.random.default_rng(seeds[k]).random(spec.max_ply, np.float32) for k in pairs], 2, 0
        )
        self._open = np.ones(n, np.bool_)
        self._hopeless = np.zeros((n, 2), np.int64)  # consecutive hopeless moves of agent, opponent
        self._just_ended: list[PlayedGame] = []
        self._actions = np.zeros((n, spec.max_ply), np.int16)
        self._values = np.full((n, spec.max_ply), np.nan, np.float32)
        self._env = VectorEnv(
            n,
            max_ply=spec.max_ply,
            declaration=spec.declaration,
            mates=spec.mates if self._is_network.any() else 0,
            seed=spec.seed,
            reset_pool=0,
        )
        self._begin([spec.opening(k) for k in pairs for _ in (0, 1)])

    def _begin(self, openings: Sequence[Opening]) -> None:
        """Set up the games and play the moves of their openings."""
        self._start = [opening.start for opening in openings]
        self._env.start_from([start.removeprefix("sfen ") for start in self._start])
        lines = [opening.actions for opening in openings]
        for ply in range(max(map(len, lines))):
            moves = np.array([line[ply] if ply < len(line) else -1 for line in lines])
            self._step(np.where(self._open, moves, -1))

    @property
    def over(self) -> bool:
        """Whether all games have ended."""
        return not self._open.any()

    def request(self, most: int) -> Wanted | None:
        """Return the positions in which networks are to move, or None when all games are over.

        A network that has a forced mate is not asked. As long as no network is asked, this method
        plays the forced mates and the local players' moves, but at most ``most`` plies (a negative
        number means no limit). If no network is asked after these plies, the method returns 0
        positions.
        """
        while self._open.any():
            rows, opponents = self._rows_to_move()
            if len(rows) or most == 0:
                mask, ply = self._env.mask[rows], self._env.games["ply"][rows]
                observation = self._observe(rows, opponents, ply)
                draw = self._draw[rows, ply]
                return Wanted(observation, mask, draw, opponents, rows, self._env)
            self._move(rows, np.empty(0, np.int16))
            most -= 1
        return None

    def answer(
        self, actions: NDArray[np.integer[Any]], values: NDArray[np.floating[Any]] | None
    ) -> None:
        """Play the networks' moves in the M positions that ``request`` returned.

        ``Match.answer`` describes the arguments and errors.
        """
        rows, opponents = self._rows_to_move()
        if np.shape(actions) != rows.shape:
            raise ValueError(f"actions have shape {np.shape(actions)}, not ({len(rows)},)")
        if values is not None:
            self._values[rows, self._env.games["ply"][rows]] = values
            if self._spec.resign:
                self._resign(rows, opponents.astype(np.intp), values)
        still_open = self._open[rows]
        self._move(rows[still_open], np.asarray(actions)[still_open])

    def take_ended(self) -> list[PlayedGame]:
        """Return the games that have ended since the previous call of ``take_ended``."""
        found, self._just_ended = self._just_ended, []
        return found

    def _resign(
        self,
        rows: NDArray[np.intp],
        opponents: NDArray[np.intp],
        values: NDArray[np.floating[Any]],
    ) -> None:
        """End games in which the last ``RESIGN_AFTER`` values of the side to move were hopeless."""
        count = (self._hopeless[rows, opponents] + 1) * (values <= self._spec.resign)
        self._hopeless[rows, opponents] = count
        for row in rows[count >= RESIGN_AFTER].tolist():
            self._open[row] = False
            winner: Colour = "black" if self._env.games["side"][row] else "white"
            plies = int(self._env.games["ply"][row])
            self._just_ended.append(self._game(row, winner, "resignation", plies))

    def _rows_to_move(self) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the rows in which a network is to move and has no forced mate.

        Also return, for each of these rows, whether the opponent's network is to move.
        """
        opponents = self._env.games["side"] != self._agents_side
        side = opponents.astype(np.intp)
        mates = self._plays_mates[side] & (self._env.mate >= 0)
        rows = np.flatnonzero(self._open & self._is_network[side] & ~mates)
        return rows, opponents[rows]

    def _observe(
        self, rows: NDArray[np.intp], opponents: NDArray[np.bool_], ply: NDArray[np.integer[Any]]
    ) -> NDArray[np.uint8]:
        """Return the rows' observations.

        A network sees the ply as a share of the maximum ply in its own training games. If the
        spec does not contain this maximum, the maximum ply of the match is used instead.
        """
        observation = self._env.observation[rows]
        for side, max_ply in enumerate(self._spec.trained_max_ply):
            if max_ply is not None:
                theirs = opponents == side
                observation[theirs, PLY_COLUMN] = ply_byte(ply[theirs], max_ply)
        return observation

    def _move(self, rows: NDArray[np.intp], actions: NDArray[np.integer[Any]]) -> None:
        """Play the networks' moves in ``rows``.

        In all other open games, play a network's forced mate or a local player's move.
        """
        env = self._env
        moves = np.full(len(env), -1)
        moves[rows] = actions
        local = self._open.copy()
        local[rows] = False
        for row in np.flatnonzero(local).tolist():
            moves[row] = self._unasked_move(row)
        self._step(moves)

    def _unasked_move(self, row: int) -> int:
        """Return the move of a player that is not asked: of a local player, or a forced mate."""
        env, spec = self._env, self._spec
        agents = env.games["side"][row] == self._agents_side[row]
        kind = spec.agent if agents else spec.opponent
        if kind == "network":
            self._values[row, env.games["ply"][row]] = 1
            return int(env.mate[row])
        single = slice(row, row + 1)
        return local_move(kind, env.games[single], env.mask[single], self._rng[row])

    def _step(self, moves: NDArray[np.int64]) -> None:
        """Play a move in each game (-1 means no move), and collect the games that end."""
        ply = self._env.games["ply"].copy()
        step = self._env.step_some(moves)
        moved = moves >= 0
        self._actions[moved, ply[moved]] = moves[moved]
        for row in np.flatnonzero(moved & (step.terminated | step.truncated)).tolist():
            self._open[row] = False
            reason, winner = Reason(int(step.reason[row])), step.winner[row]
            undecided: Result = "capped" if reason == Reason.MAX_PLY else "draw"
            result: Result = "black" if winner > 0 else "white" if winner < 0 else undecided
            self._just_ended.append(self._game(row, result, reason.label, int(step.plies[row])))

    def _game(self, row: int, result: Result, reason: str, plies: int) -> PlayedGame:
        return PlayedGame(
            number=int(self._number[row]),
            result=result,
            reason=reason,
            start=self._start[row],
            actions=self._actions[row, :plies].copy(),
            values=self._values[row, :plies].copy(),
        )
