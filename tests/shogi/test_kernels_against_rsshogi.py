"""The rules give the same answers as rsshogi, an independent implementation, in whole games."""

import random
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
import pytest
from rsshogi.core import Board, Color
from rsshogi.policy import move_label
from rsshogi.types import RepetitionState

from keisei.env import MASK_WORDS, Reason, VectorEnv, random_actions
from keisei.shogi import Position

Choose = Callable[[Position, random.Random], str]


def uniform(position: Position, rng: random.Random) -> str:
    return rng.choice(position.legal_moves())


def shuffling(position: Position, rng: random.Random) -> str:
    """Choose from few moves, so that positions repeat."""
    moves = [move for move in position.legal_moves() if move[1] != "*"]
    return rng.choice((moves or position.legal_moves())[:3])


def checking(position: Position, rng: random.Random) -> str:
    """Check if possible: such games are full of evasions and perpetual checks."""
    moves = position.legal_moves()
    rng.shuffle(moves)
    for move in moves:
        after = position.copy()
        after.push(move)
        if after.in_check:
            return move
    return moves[0]


def pestering(position: Position, rng: random.Random) -> str:
    """Check if possible, and repeat positions: such games end by repetition of both kinds."""
    moves = position.legal_moves()
    rng.shuffle(moves)
    quiet = rng.random() < 0.02

    def wish(move: str) -> tuple[bool, int]:
        after = position.copy()
        after.push(move)
        return after.in_check and not quiet, after.occurrences

    return max(moves, key=wish)


def play(choose: Choose, sfen: str, plies: int, rng: random.Random) -> tuple[int, set[str]]:
    """Play one game on both implementations; return the positions compared and the ends."""
    ours, theirs, history = Position(sfen), Board(), History()
    theirs.set_sfen(ours.sfen())
    for ply in range(plies):
        legal = theirs.legal_moves()
        assert ours.legal_moves() == sorted(move.to_usi() for move in legal), ours.sfen()
        assert ours.in_check == theirs.is_in_check(), ours.sfen()
        turn = theirs.turn
        for move in legal:
            assert ours.action(move.to_usi()) == move_label(move, turn), ours.sfen()
        history.add(ours)
        assert ours.occurrences == len(history.times)
        outcome = ours.outcome(declaration="none")
        got = (outcome.reason, outcome.winner) if outcome else None
        if history.within_sight():
            assert got == ending(theirs), (ours.sfen(), sfen, ply)
        if ours.occurrences >= 4:
            assert got == history.verdict(ours), (ours.sfen(), sfen, ply)
        if outcome:
            return ply + 1, {outcome.reason}
        usi = choose(ours, rng)
        ours.push(usi)
        theirs.apply_usi(usi)
    return plies, set()


class History:
    """A slow record of repetitions: plies of each position, and whether each was a check."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = {}
        self.checks: list[bool] = []
        self.times: list[int] = []

    def add(self, position: Position) -> None:
        """Add the position reached; ``times`` are then all plies at which it occurred."""
        self.times = self.seen.setdefault(position.sfen().rpartition(" ")[0], [])
        self.times.append(len(self.checks))
        self.checks.append(position.in_check)

    def within_sight(self) -> bool:
        """Whether rsshogi sees the repetition; it does not look back 20 plies."""
        return all(later - earlier <= 16 for earlier, later in pairwise(self.times))

    def verdict(self, position: Position) -> tuple[str, str | None]:
        """Apply the rule: a side that checked with every move since the first occurrence loses."""
        first, last = self.times[0], self.times[-1]
        other = "white" if position.side == "black" else "black"
        if all(self.checks[first + 2 : last + 1 : 2]):
            return "perpetual_check", position.side
        if all(self.checks[first + 1 : last + 1 : 2]):
            return "perpetual_check", other
        return "repetition", None


def ending(board: Board) -> tuple[str, str | None] | None:
    """Return how the game ended by rsshogi, and the winner."""
    mover, other = ("black", "white") if board.turn == Color.BLACK else ("white", "black")
    state = board.repetition_state()
    if state == RepetitionState.DRAW:
        return "repetition", None
    if state == RepetitionState.WIN:
        return "perpetual_check", mover
    if state == RepetitionState.LOSE:
        return "perpetual_check", other
    if not board.legal_moves():
        return "checkmate" if board.is_in_check() else "no_moves", other
    return None


def compare(choose: Choose, starts: list[str], positions: int, seed: int) -> dict[str, int]:
    """Play until that many positions are compared; return the number of ends by reason."""
    rng = random.Random(seed)
    done, ends = 0, dict.fromkeys(("checkmate", "no_moves", "repetition", "perpetual_check"), 0)
    while done < positions:
        compared, reasons = play(choose, rng.choice(starts), 400, rng)
        done += compared
        for reason in reasons:
            ends[reason] += 1
    return ends


ENDGAMES = [  # few pieces and a strong attacker: endless checks
    "9/9/9/9/R8/8k/9/9/4K4 b - 1",
    "4k4/9/9/K8/8r/9/9/9/9 w - 1",
    "4k4/9/4+R4/9/9/9/9/9/4K4 w - 1",
    "8k/9/7+B1/9/9/9/9/9/K8 w - 1",
    "4k4/9/9/9/9/9/4r4/9/K3R4 b - 1",
]


def test_uniform_play_follows_the_same_rules() -> None:
    ends = compare(uniform, ["startpos"], 6_000, seed=1)
    assert ends["checkmate"] > 0


def test_play_full_of_checks_follows_the_same_rules() -> None:
    compare(checking, ["startpos", *ENDGAMES], 2_500, seed=2)


def test_repetition_is_judged_alike() -> None:
    ends = compare(shuffling, ["startpos", *ENDGAMES], 1_500, seed=3)
    assert ends["repetition"] > 5


def test_perpetual_check_is_judged_alike() -> None:
    ends = compare(pestering, ENDGAMES, 2_000, seed=4)
    assert ends["perpetual_check"] > 10
    assert ends["repetition"] > 0


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_thousand_positions_are_judged_alike(seed: int) -> None:
    compare(uniform, ["startpos"], 20_000, seed=100 + seed)
    compare(checking, ["startpos", *ENDGAMES], 3_000, seed=200 + seed)
    compare(pestering, ENDGAMES, 3_000, seed=300 + seed)


def test_the_environment_plays_the_same_game() -> None:
    """VectorEnv has the same masks, repetitions and ends, move by move and through resets."""
    games, steps, max_ply = 16, 150, 120
    boards = [Board() for _ in range(games)]
    env = VectorEnv(games, max_ply=max_ply, declaration="none", reset_pool=0)
    rng = np.array([11], np.uint64)
    lengths = [0] * games
    for board in boards:
        board.reset()
    for _ in range(steps):
        actions = random_actions(env.mask, rng)
        moves = []
        for g, board in enumerate(boards):
            labels = {move_label(move, board.turn): move for move in board.legal_moves()}
            assert env.mask[g].tolist() == packed(labels), env.sfen(g)
            moves.append(labels[int(actions[g])])
        result = env.step(actions)
        for g, (board, move) in enumerate(zip(boards, moves, strict=True)):
            mover = board.turn
            board.apply_usi(move.to_usi())
            lengths[g] += 1
            end = ending(board)
            reason = end[0] if end else "max_ply" if lengths[g] == max_ply else "none"
            assert Reason(result.reason[g]).label == reason
            assert result.terminated[g] == (end is not None)
            assert result.truncated[g] == (reason == "max_ply")
            winner = {"black": 1, "white": -1, None: 0}[end[1] if end else None]
            assert result.winner[g] == winner
            assert result.reward[g] == winner * (1 if mover == Color.BLACK else -1)
            if reason != "none":
                assert result.plies[g] == lengths[g]
                board.reset()
                lengths[g] = 0


def packed(labels: Iterable[int]) -> list[int]:
    words = [0] * MASK_WORDS
    for label in labels:
        words[label // 64] |= 1 << label % 64
    return words
