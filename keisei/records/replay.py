"""Turn games into training positions: the observation, the move that was played, and the result."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rsshogi.policy import move_label
from rsshogi.types import Color

from keisei.env import GAME, MASK_WORDS, OBSERVATION_BYTES
from keisei.records.game import GameRecord, RecordError, Winner
from keisei.shogi import kernels
from keisei.shogi.sfen import read_sfen

WIN, DRAW, LOSS, UNKNOWN = 0, 1, 2, -1
_TOGETHER = 256
"""Maximum number of games that are replayed at the same time."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Training positions, as the side to move sees them. M is the number of positions.

    One position takes 414 bytes.
    """

    observation: NDArray[np.uint8]
    """[M, 131] Compact observation."""
    mask: NDArray[np.uint64]
    """[M, 35] Legal actions as packed bits."""
    action: NDArray[np.int16]
    """[M] Action number of the move that was played."""
    outcome: NDArray[np.int8]
    """[M] Result of the game for the side to move: WIN, DRAW, LOSS or UNKNOWN."""

    def __len__(self) -> int:
        return len(self.action)


def replay(
    games: Sequence[GameRecord], *, max_ply: int, limit: int | None = None, seed: int = 0
) -> Positions:
    """Return the positions of ``games`` in which a move was played, ordered by game and ply.

    If a record does not give the result of its game, the result follows from the rules: from a mate
    or a fourfold repetition. If the rules give no result either, the result is UNKNOWN.

    Args:
        games: the games; their moves must be legal.
        max_ply: maximum ply in training; the observation gives the ply as a share of this number.
        limit: largest number of positions to return. If the games have more positions than
            ``limit``, ``limit`` positions are chosen at random from all games.
        seed: seed of the random choice of positions.

    Raises:
        RecordError: a move is not legal; the message names the game and the ply.
    """
    lengths = np.array([len(game.moves) for game in games], np.int64)
    total = int(lengths.sum())
    kept = np.ones(total, np.bool_)
    if limit is not None and limit < total:
        rng = np.random.Generator(np.random.PCG64(seed))
        kept[:] = False
        kept[rng.choice(total, limit, replace=False, shuffle=False)] = True
    count = int(kept.sum())
    positions = Positions(
        np.zeros((count, OBSERVATION_BYTES), np.uint8),
        np.zeros((count, MASK_WORDS), np.uint64),
        np.zeros(count, np.int16),
        np.full(count, UNKNOWN, np.int8),
    )
    # Row of each ply in ``positions``; -1 if the ply is left out.
    rows = np.where(kept, np.cumsum(kept) - 1, -1)
    begins = np.cumsum(lengths) - lengths
    # ``_replay`` needs the longest games first: at each ply, the games that have not ended must
    # precede the games that have ended.
    order = np.argsort(-lengths, kind="stable")
    for begin in range(0, len(games), _TOGETHER):
        part = order[begin : begin + _TOGETHER]
        _replay([games[i] for i in part], begins[part], rows, positions, max_ply)
    return positions


def _replay(
    games: list[GameRecord],
    begins: NDArray[np.int64],
    rows: NDArray[np.int64],
    positions: Positions,
    max_ply: int,
) -> None:
    """Fill the rows of ``positions`` for ``games``, which are sorted from longest to shortest."""
    n, longest = len(games), len(games[0].moves)
    state: NDArray[Any] = np.zeros(n, GAME)
    for i, game in enumerate(games):
        state[i] = read_sfen(game.start)[0][0]
    # The kernel reads the tags of even plies and the tags of odd plies in blocks of 64. If the last
    # block were shorter, the kernel would read memory beyond the end of the array.
    tags = np.zeros((n, 2, -(-(longest // 2 + 1) // 64) * 64), np.uint16)
    keys = np.zeros((n, longest + 1), np.uint64)
    observation = np.zeros((n, OBSERVATION_BYTES), np.uint8)
    mask = np.zeros((n, MASK_WORDS), np.uint64)
    reason, result = np.zeros(n, np.int64), np.zeros(n, np.int64)
    lengths = np.array([len(game.moves) for game in games])
    actions = np.full(n, -1)
    for ply in range(longest + 1):
        reached, going = int((lengths >= ply).sum()), int((lengths > ply).sum())
        kernels.visit_games(
            0, reached, actions, state, tags, keys, observation, mask, reason, result,
            kernels.NO_RULE, max_ply,
        )  # fmt: skip
        for i in range(going):
            actions[i] = _action(games[i].moves[ply], bool(state["side"][i]))
        wrong = kernels.check_actions(mask[:going], actions[:going])
        if wrong >= 0:
            game = games[wrong]
            raise RecordError(f"{game.source}: ply {ply + 1}: {game.moves[ply]} is not legal")
        row = rows[begins[:going] + ply]
        taken, row = np.flatnonzero(row >= 0), row[row >= 0]
        positions.observation[row] = observation[taken]
        positions.mask[row] = mask[taken]
        positions.action[row] = actions[taken]
    for i, game in enumerate(games):
        side = int(state["side"][i])
        winner = game.winner or _by_the_rules(int(reason[i]), int(result[i]), side)
        movers = (side + len(game.moves) + np.arange(len(game.moves))) % 2  # 0 black, 1 white
        row = rows[begins[i] : begins[i] + len(game.moves)]
        positions.outcome[row[row >= 0]] = _outcomes(winner, movers)[row >= 0]


def _by_the_rules(reason: int, result: int, side: int) -> Winner | None:
    """Return the winner by the rules, or None if the game is not over by the rules.

    ``reason`` and ``result`` are the values that ``kernels.visit_games`` gives for the last
    position. ``side`` is the side to move in that position: 0 black, 1 white.
    """
    if not reason:
        return None
    return ("white" if (result > 0) == bool(side) else "black") if result else "draw"


def _outcomes(winner: Winner | None, movers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the game's outcome for the mover of each ply. ``movers``: 0 is black, 1 is white."""
    if winner in {"black", "white"}:
        return np.where(movers == (winner == "white"), WIN, LOSS)
    return np.full(len(movers), DRAW if winner else UNKNOWN)


@cache
def _action(usi: str, white: bool) -> int:
    """Return the action number of a legal move; rsshogi's move label is the same number."""
    return int(move_label(usi, Color.WHITE if white else Color.BLACK))
