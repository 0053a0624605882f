"""A slow mate solver on another library's board, and positions that are near the ends of games."""

from collections import deque
from typing import Any

import numpy as np
from rsshogi.core import Board

import keisei
from keisei.env import Reason, VectorEnv, material_actions, random_actions
from keisei.shogi.sfen import write_sfen


class SlowSolver:
    """Makes every check and every reply, one length after another. It knows no proof numbers.

    The rules are those of rsshogi.
    """

    def __init__(self, sfen: str, moves: int) -> None:
        """``moves`` is the number of moves that the solver may make."""
        self._board = Board(sfen)
        self._rest = moves
        self._known: dict[tuple[int, str], bool] = {}

    def shortest(self, most: int) -> int | None:
        """Return the length of the shortest mate of at most ``most`` plies, or 0 without a mate.

        Return None if the solver may make no more moves.
        """
        try:
            for plies in range(1, most + 1, 2):
                if self._mates(plies):
                    return plies
        except TimeoutError:
            return None
        return 0

    def _mates(self, plies: int) -> bool:
        key = plies, self._board.to_sfen().rpartition(" ")[0]
        if key not in self._known:
            self._known[key] = any(self._forces(move, plies) for move in self._board.legal_moves())
        return self._known[key]

    def _forces(self, move: Any, plies: int) -> bool:
        """Return whether a move is a check after which every reply loses in time."""
        self._make(move)
        board = self._board
        forced = board.is_in_check() and (
            not (replies := board.legal_moves())
            or (plies > 1 and all(self._loses(reply, plies) for reply in replies))
        )
        board.pop()
        return forced

    def _loses(self, reply: Any, plies: int) -> bool:
        self._make(reply)
        lost = self._mates(plies - 2)
        self._board.pop()
        return lost

    def _make(self, move: Any) -> None:
        self._rest -= 1
        if self._rest < 0:
            raise TimeoutError
        self._board.push_move(move)


def near_ends(player: str, number: int, *, plies: int = 16, seed: int = 7) -> list[str]:
    """Return positions, as SFENs, that were reached at most ``plies`` plies before a checkmate.

    ``player`` makes the moves: random, material (with some random moves) or shipped. All positions
    of a game are returned, so the sides take turns as the attacker.
    """
    games = 256
    env = VectorEnv(games, max_ply=400, reset_pool=0, seed=seed)
    env.stagger()
    rng, chance = np.array([seed], np.uint64), np.random.default_rng(seed)
    agent = keisei.load("shipped", "cpu").agent if player == "shipped" else None
    past, found = deque[Any](maxlen=plies), list[str]()
    while len(found) < number:
        past.append(env.games.copy())
        actions = random_actions(env.mask, rng)
        if player == "material":
            rows = chance.random(games) < 0.9
            actions[rows] = material_actions(env.games, rng)[rows]
        elif agent is not None:
            actions, _ = agent.choose(env.observation, env.mask)
        ended = env.step(actions)
        for g in np.flatnonzero(ended.reason == Reason.CHECKMATE):
            for games_then in past:
                game = games_then[g]
                if 0 < ended.plies[g] - game["ply"] <= plies:
                    found.append(write_sfen(game, int(game["ply"]) + 1))
    return found[:number]
