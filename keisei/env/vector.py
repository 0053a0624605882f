"""VectorEnv: N games of shogi that take one move each per call."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from keisei.env.choose import random_actions
from keisei.shogi import kernels
from keisei.shogi.kernels import GAME, MASK_WORDS, OBSERVATION_BYTES
from keisei.shogi.position import RULES, Rule
from keisei.shogi.sfen import START_SFEN, read_sfen, write_sfen


class Reason(IntEnum):
    """Why a game ended, as numbered in ``StepResult.reason``."""

    NONE = 0
    CHECKMATE = kernels.CHECKMATE
    NO_MOVES = kernels.NO_MOVES
    REPETITION = kernels.REPETITION
    PERPETUAL_CHECK = kernels.PERPETUAL_CHECK
    DECLARATION = kernels.DECLARATION
    MAX_PLY = kernels.MAX_PLY

    @property
    def label(self) -> str:
        """The name in events and databases, such as ``perpetual_check``."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did in each of N games. The arrays are reused by the next step."""

    reward: NDArray[np.float32]
    """[N] result for the side that just moved: +1 won, -1 lost, 0 otherwise"""
    terminated: NDArray[np.bool_]
    """[N] decided or drawn by the rules"""
    truncated: NDArray[np.bool_]
    """[N] the maximum ply was reached, which is not a draw"""
    reason: NDArray[np.uint8]
    """[N] a ``Reason``"""
    winner: NDArray[np.int8]
    """[N] +1 black (sente), -1 white, 0 neither"""
    plies: NDArray[np.int16]
    """[N] length of the game up to now"""
    final_observation: NDArray[np.uint8]
    """[N, 131] the position after the move, before the reset, if the game ended; else meaningless"""
    number: NDArray[np.int64]
    """[N] number of the game that the move was played in"""


class VectorEnv:
    """N games of shogi side by side; finished ones start anew at once.

    A game ends by the rules of shogi, with declaration for the side to move as soon as it can win
    by it (under the 24-point rule a declaration that only draws is not made), or is cut at
    ``max_ply``. Results depend on ``seed`` and the actions alone, not on ``threads``.

    Args:
        games: N.
        max_ply: plies after which a game is truncated, 1..32767.
        declaration: the entering-king rule.
        seed: of the resets and of ``stagger``.
        threads: kernels run on this many threads; 1 = in the caller's.
        reset_share: probability that a new game starts from the reset pool; may be set while
        running. reset_depth: pool positions come from uniformly random play of 0..reset_depth
        plies. reset_pool: positions in the pool.
    """

    games: NDArray[Any]
    """GAME[N]; ``keisei.shogi.kernels.GAME`` says what is in one."""
    observation: NDArray[np.uint8]
    """[N, 131] compact observation of the position to move in, overwritten by each step."""
    mask: NDArray[np.uint64]
    """[N, 35] its legal actions: a is legal iff ``mask[a // 64] >> (a % 64) & 1``."""
    game_number: NDArray[np.int64]
    """[N] number of the game within the run, from 0, unique."""

    def __init__(
        self,
        games: int,
        *,
        max_ply: int = 256,
        declaration: Rule = "27",
        seed: int = 0,
        threads: int = 1,
        reset_share: float = 0.0,
        reset_depth: int = 180,
        reset_pool: int = 2048,
    ) -> None:
        if games < 1 or not 1 <= max_ply <= 32767 or threads < 1:
            raise ValueError(f"games={games}, max_ply={max_ply}, threads={threads}: out of range")
        if declaration not in RULES:
            raise ValueError(f"declaration is {declaration!r}, not one of {', '.join(RULES)}")
        self.max_ply = max_ply
        self.declaration = declaration
        self._share = np.array([reset_share])
        self.reset_depth = reset_depth
        self._rule = RULES[declaration]
        self._opening = read_sfen(START_SFEN)[0]
        self._pool = np.zeros(reset_pool, GAME)
        seeds = np.random.SeedSequence(seed).generate_state(games + 2, np.uint64)
        self._rng, self._pool_rng = seeds[:1].copy(), seeds[1:2].copy()
        self._allocate(games)
        self.games[:] = self._opening
        self.games["rng"] = seeds[2:]
        self._starts[:] = self.games
        size = -(-games // threads)
        self._spans = [(lo, min(lo + size, games)) for lo in range(0, games, size)]
        self._threads = ThreadPoolExecutor(threads, "env") if threads > 1 else None
        self._look()
        if reset_pool:
            self.refill_reset_pool()

    def _allocate(self, n: int) -> None:
        self.games = np.zeros(n, GAME)
        self._starts = np.zeros(n, GAME)
        # The kernel reads tags of one parity in blocks of 64.
        blocks = -(-(self.max_ply // 2 + 1) // 64)
        self._tags = np.zeros((n, 2, blocks * 64), np.uint16)
        self._keys = np.zeros((n, self.max_ply + 1), np.uint64)
        self.observation = np.zeros((n, OBSERVATION_BYTES), np.uint8)
        self.mask = np.zeros((n, MASK_WORDS), np.uint64)
        self.game_number = np.arange(n, dtype=np.int64)
        self._result = StepResult(
            reward=np.zeros(n, np.float32),
            terminated=np.zeros(n, np.bool_),
            truncated=np.zeros(n, np.bool_),
            reason=np.zeros(n, np.uint8),
            winner=np.zeros(n, np.int8),
            plies=np.zeros(n, np.int16),
            final_observation=np.zeros((n, OBSERVATION_BYTES), np.uint8),
            number=np.zeros(n, np.int64),
        )

    @property
    def reset_share(self) -> float:
        """Probability that a new game starts from the reset pool; may be set while running."""
        return float(self._share[0])

    @reset_share.setter
    def reset_share(self, share: float) -> None:
        self._share[0] = share

    def __len__(self) -> int:
        return len(self.games)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def step(self, actions: NDArray[np.integer[Any]]) -> StepResult:
        """Make one move in every game.

        Args:
            actions: integers [N], each legal in its game.

        Raises:
            ValueError: an action that is not legal, naming game and action; nothing has changed.
        """
        if np.shape(actions) != (len(self),):
            raise ValueError(f"actions have shape {np.shape(actions)}, not ({len(self)},)")
        moves = np.ascontiguousarray(actions, np.int64)
        bad = kernels.check_actions(self.mask, moves)
        if bad >= 0:
            raise ValueError(f"action {moves[bad]} is not legal in game {bad}: {self.sfen(bad)}")
        return self._step(moves)

    def step_some(self, actions: NDArray[np.integer[Any]]) -> StepResult:
        """As ``step``, but -1 leaves its game as it is; what the result says of that means nothing."""
        moves = np.ascontiguousarray(actions, np.int64)
        rows = np.flatnonzero(moves != -1)
        bad = kernels.check_actions(self.mask[rows], moves[rows])
        if bad >= 0:
            row = int(rows[bad])
            raise ValueError(f"action {moves[row]} is not legal in game {row}: {self.sfen(row)}")
        return self._step(moves)

    def start_from(self, sfens: Sequence[str]) -> None:
        """Begin every game anew, game i at ``sfens[i]``, where it is not over. Raises SfenError."""
        for i, sfen in enumerate(sfens):
            start = read_sfen(START_SFEN if sfen == "startpos" else sfen)[0][0]
            start["rng"] = self.games["rng"][i]
            self.games[i] = start
        self._starts[:] = self.games
        self._look()

    def seat(self, i: int, opponent: int) -> None:
        """Game ``i`` has just begun: a frozen opponent k > 0 plays white, -k black.

        The next game of this row is the same one with the seats changed.
        """
        self.games[i]["opponent"] = self._starts[i]["opponent"] = opponent
        self._starts[i]["again"] = 1

    def _step(self, moves: NDArray[np.int64]) -> StepResult:
        """``step`` without the check; a negative action leaves its game alone."""
        r = self._result

        def work(lo: int, hi: int) -> None:
            kernels.step_games(
                lo, hi, moves, self.games, self._starts, self._opening, self._pool,
                self._tags, self._keys, self.observation, self.mask, self.game_number,
                r.reward, r.terminated, r.truncated, r.reason, r.winner, r.plies,
                r.final_observation, r.number, self._rule, self.max_ply, self.reset_share,
            )  # fmt: skip

        self._run(work)
        return r

    def _run(self, work: Callable[[int, int], None]) -> None:
        if self._threads is None:
            work(0, len(self))
        else:
            list(self._threads.map(lambda span: work(*span), self._spans))

    def _look(self) -> None:
        """Take the start positions in ``games`` into use: key, history, mask, observation."""
        n = len(self)
        none, over, result = np.full(n, -1), np.zeros(n, np.int64), np.zeros(n, np.int64)
        kernels.visit_games(
            0, n, none, self.games, self._tags, self._keys, self.observation, self.mask, over,
            result, self._rule, self.max_ply,
        )  # fmt: skip

    def refill_reset_pool(self) -> None:
        """Draw the pool of start positions anew by uniformly random play from the start position.

        Their ply counters and histories are cleared, and in none of them is the game over.
        """
        size, depth = len(self._pool), self.reset_depth
        self._pool_rng[0] += np.uint64(1)
        rng = np.random.Generator(np.random.PCG64(int(self._pool_rng[0])))
        plies = rng.integers(0, depth, size, endpoint=True)
        with VectorEnv(size, max_ply=depth + 1, declaration=self.declaration, reset_pool=0) as play:
            play._play_random(plies, rng.integers(0, 2**63, 1).astype(np.uint64))
            self._pool[:] = play.games
        for field in ("rng", "ply", "checks", "opponent", "earlier", "again"):
            self._pool[field] = 0

    def stagger(self) -> None:
        """Advance each game by random plies, so that the first games end out of phase.

        The numbers are uniform in 0..max_ply // 2; a game that ends on the way starts anew and is
        played on to its number.
        """
        rng = np.random.Generator(np.random.PCG64(int(self._rng[0])))
        self._rng[0] += np.uint64(1)
        plies = rng.integers(0, self.max_ply // 2, len(self), endpoint=True)
        self._play_random(plies, rng.integers(0, 2**63, 1).astype(np.uint64))

    def _play_random(self, plies: NDArray[np.int64], rng: NDArray[np.uint64]) -> None:
        """Play at random until each game is that many plies long; one that ends begins again."""
        while (waiting := self.games["ply"] < plies).any():
            moves = random_actions(self.mask, rng).astype(np.int64)
            moves[~waiting] = -1
            self._step(moves)

    def sfen(self, i: int) -> str:
        """The position of game ``i``; the move number counts from the game's start."""
        return write_sfen(self.games[i], int(self.games[i]["ply"]) + 1)

    def start_sfen(self, i: int) -> str:
        """Where game ``i`` started."""
        return write_sfen(self._starts[i], 1)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything a bit-identical continuation needs, as copies in plain contiguous arrays."""
        return {name: _plain(array).copy() for name, array in self._state().items()}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Continue from what ``state`` returned in an environment of the same sizes.

        Raises:
            ValueError: an array is missing, unknown, or of another shape or dtype; nothing has
            changed.
        """
        own = {name: _plain(array) for name, array in self._state().items()}
        if own.keys() != state.keys():
            raise ValueError(f"state holds {sorted(state)}, not {sorted(own)}")
        for name, array in own.items():
            given = state[name]
            if given.shape != array.shape or given.dtype != array.dtype:
                raise ValueError(
                    f"state[{name!r}] is {given.dtype}{list(given.shape)}, "
                    f"not {array.dtype}{list(array.shape)}"
                )
        for name, array in own.items():
            array[...] = state[name]

    def _state(self) -> dict[str, NDArray[Any]]:
        return {
            "games": self.games,
            "starts": self._starts,
            "pool": self._pool,
            "tags": self._tags,
            "keys": self._keys,
            "numbers": self.game_number,
            "mask": self.mask,
            "observation": self.observation,
            "rng": self._rng,
            "pool_rng": self._pool_rng,
            "reset_share": self._share,
        }

    def close(self) -> None:
        """Stop the threads. The arrays stay readable."""
        if self._threads is not None:
            self._threads.shutdown()


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """A view of records as bytes [N, itemsize]; other arrays as they are."""
    if array.dtype.names is None:
        return array
    return array.view(np.uint8).reshape(len(array), array.itemsize)
