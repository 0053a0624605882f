"""Exhaustive search of small positions, with which tests compare what a tree search has proven."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keisei.env import legal_lists
from keisei.shogi import Position, SfenError, kernels
from keisei.shogi.position import RULES

END = 1000
"""Score of a won game. A win in n plies has the score END - n, a loss the score n - END."""


@dataclass
class Level:
    """All positions after the same number of moves from the root."""

    games: Any
    tags: NDArray[np.uint16]
    keys: NDArray[np.uint64]
    mask: NDArray[np.uint64]
    reason: NDArray[np.int64]
    result: NDArray[np.int64]
    actions: NDArray[np.int64]
    """The moves that lead here from the level above, sorted by parent and then by action."""
    parents: NDArray[np.int64]
    """The positions of the level above in which these moves are made."""
    scores: NDArray[np.int64]


class Exhaustive:
    """The whole tree of a position, ``depth`` moves deep. At the bottom, a game is a draw."""

    def __init__(self, position: Position, most: int, deepest: int) -> None:
        """Search as deep as ``deepest`` moves and as ``most`` positions in all allow."""
        game, tags, keys, _ = position.record()
        _, mask = np.zeros(0), position_mask(position)
        nothing = np.zeros(1, np.int64)
        root = Level(
            game[None].copy(), tags[None].copy(), keys[None].copy(), mask,
            nothing.copy(), nothing, nothing, nothing, nothing.copy(),
        )  # fmt: skip
        self.levels = [root]
        left = most
        while self.depth < deepest:
            moves, counts = moves_of(self.levels[-1])
            left -= len(moves)
            if left < 0 or not len(moves):
                break
            self.levels.append(below(self.levels[-1], moves, counts))
        self.score()

    @property
    def depth(self) -> int:
        return len(self.levels) - 1

    def score(self) -> None:
        """Compute the score of every position for its side to move."""
        for number, level in reversed([*enumerate(self.levels)]):
            level.scores = level.result * END
            if number == self.depth:
                continue
            child = self.levels[number + 1]
            values = -child.scores + np.sign(child.scores)  # one ply more
            inner, first = np.unique(child.parents, return_index=True)
            if len(inner):
                level.scores[inner] = np.maximum.reduceat(values, first)

    def child(self, number: int, index: int, action: int) -> int:
        """Return the position of level ``number + 1`` to which a move leads."""
        level = self.levels[number + 1]
        lo, hi = np.searchsorted(level.parents, [index, index + 1])
        return int(lo + np.searchsorted(level.actions[lo:hi], action))


def position_mask(position: Position) -> NDArray[np.uint64]:
    bits = np.zeros((1, kernels.MASK_WORDS * 64), np.uint8)
    bits[0, [position.action(move) for move in position.legal_moves()]] = 1
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint64)


def moves_of(level: Level) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all moves of all games that go on, and the number of moves of each game."""
    actions, counts = legal_lists(level.mask)
    counts = np.where(level.reason > 0, 0, counts)
    actions[level.reason > 0] = -1
    return actions[actions >= 0], counts


def below(level: Level, moves: NDArray[np.int64], counts: NDArray[np.int64]) -> Level:
    """Return the level below, with one position for each move."""
    parents = np.repeat(np.arange(len(counts)), counts)
    n = len(moves)
    games, tags, keys = (a[parents].copy() for a in (level.games, level.tags, level.keys))
    mask = np.zeros((n, kernels.MASK_WORDS), np.uint64)
    reason, result = np.zeros(n, np.int64), np.zeros(n, np.int64)
    kernels.visit_games(
        0, n, moves, games, tags, keys, np.zeros((n, kernels.OBSERVATION_BYTES), np.uint8), mask,
        reason, result, RULES["27"], 1,
    )  # fmt: skip
    return Level(games, tags, keys, mask, reason, result, moves, parents, np.zeros(n, np.int64))


LETTERS = "PLNSGBR"


def small_position(random: np.random.Generator) -> Position:
    """Return a position with few pieces, often with a check, and sometimes with a past.

    In the past, both sides have moved a piece there and back, so that repetitions are near.
    """
    in_check = random.random() < 0.6
    while True:
        try:
            position = Position(_small_sfen(random))
        except SfenError:
            continue
        if not position.legal_moves() or (in_check and not position.in_check):
            continue
        if random.random() < 0.3:
            position = with_past(position, random)
        if not position.outcome():
            return position


def _small_sfen(random: np.random.Generator) -> str:
    """Return a position whose white king is at the edge, with pieces near it, most of them black.

    It can be wrong: two kings may touch, or a pawn may have no move.
    """
    king = int(random.integers(9)), int(random.choice([0, 0, 0, 1]))
    board = {king: "k"}
    board.setdefault((int(random.integers(9)), int(random.integers(3, 9))), "K")
    for _ in range(int(random.integers(3, 7))):
        square = king[0] + int(random.integers(-2, 3)), king[1] + int(random.integers(0, 4))
        letter = str(random.choice([*LETTERS]))
        letter = letter if random.random() < 0.7 else letter.lower()
        promoted = "+" if letter not in "Gg" and random.random() < 0.4 else ""
        if 0 <= square[0] < 9:
            board.setdefault(square, promoted + letter)
    ranks = []
    for rank in range(9):
        text, empty = "", 0
        for file in range(9):
            piece = board.get((file, rank))
            text += (str(empty) if piece and empty else "") + (piece or "")
            empty = 0 if piece else empty + 1
        ranks.append(text + (str(empty) if empty else ""))
    hand = str(random.choice([*LETTERS, "-", "-", "-"]))
    return f"{'/'.join(ranks)} {random.choice(['b', 'w'])} {hand} 1"


def with_past(position: Position, random: np.random.Generator) -> Position:
    """Return the position after moves of two pieces there and back, or as it is if that fails."""
    for _ in range(20):
        trial, moves = position.copy(), []
        for ply in range(4):
            legal = trial.legal_moves()
            move = str(random.choice(legal)) if ply < 2 and legal else ""
            if ply >= 2:
                there = moves[ply - 2]
                move = there[2:4] + there[:2]
            if move not in legal or len(move) != 4 or (ply < 2 and trial.outcome()):
                break
            trial.push(move)
            moves.append(move)
        if len(moves) < 4 or trial.occurrences != 2:
            continue
        for move in (moves * 2)[: int(random.integers(0, 8))]:
            trial.push(move)
        return trial
    return position
