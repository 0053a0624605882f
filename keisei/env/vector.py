"""VectorEnv: N games of shogi side by side; each step makes one move in every game."""

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
    """Reason why a game ended. ``StepResult.reason`` contains the numbers of these reasons."""

    NONE = 0
    CHECKMATE = kernels.CHECKMATE
    NO_MOVES = kernels.NO_MOVES
    REPETITION = kernels.REPETITION
    PERPETUAL_CHECK = kernels.PERPETUAL_CHECK
    DECLARATION = kernels.DECLARATION
    MAX_PLY = kernels.MAX_PLY

    @property
    def label(self) -> str:
        """Name of the reason in events and databases, such as ``perpetual_check``."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of one step in each of N games. The next step overwrites the arrays."""

    reward: NDArray[np.float32]
    """[N] Reward of the side that has just moved: +1 for a win, -1 for a loss, else 0."""
    terminated: NDArray[np.bool_]
    """[N] Whether this step ended the game by the rules, with a winner or as a draw."""
    truncated: NDArray[np.bool_]
    """[N] Whether this step stopped the game at the maximum ply; such a game is not a draw."""
    reason: NDArray[np.uint8]
    """[N] Number of the ``Reason`` why the game ended; 0 if the game goes on."""
    winner: NDArray[np.int8]
    """[N] Winner: +1 is black (sente), -1 is white, 0 means no winner."""
    plies: NDArray[np.int16]
    """[N] Number of moves made in the game, including the move of this step."""
    final_observation: NDArray[np.uint8]
    """[N, 131] Observation after the last move if the game ended; otherwise undefined."""
    number: NDArray[np.int64]
    """[N] ``VectorEnv.game_number`` of the game in which this step made a move."""


class VectorEnv:
    """N games of shogi, played side by side. A new game replaces a finished game at once.

    A game ends by the rules of shogi, or is truncated at ``max_ply``. As soon as the side to move
    can win by declaration, the game ends with this win. A declaration that would only give a draw
    (24-point rule) is never made. The number of threads does not change the results: equal seeds
    and actions give equal results.

    Args:
        games: the number of games, N.
        max_ply: number of plies after which a game is truncated, 1..32767.
        declaration: the entering-king rule.
        seed: seed of all random choices that resets and ``stagger`` make.
        mates: longest mate that is searched in every position, counted in moves of both sides: 0
            (no search), 1 or 3.
        threads: number of threads that run the kernels. If ``threads`` is 1, the caller's thread
            runs the kernels.
        reset_share: probability that a new game starts from the reset pool. The attribute
            ``reset_share`` can be set at any time.
        reset_depth: largest number of random plies that are made to reach a position of the pool.
        reset_pool: number of positions in the reset pool.
    """

    games: NDArray[Any]
    """[N] Records of the games; ``keisei.shogi.kernels.GAME`` lists the fields of a record."""
    observation: NDArray[np.uint8]
    """[N, 131] Compact observation of the current position; each step overwrites the array."""
    mask: NDArray[np.uint64]
    """[N, 35] Legal actions of the current position as packed bits.

    In each row, action ``a`` is legal if and only if bit ``a % 64`` of word ``a // 64`` is 1.
    """
    mate: NDArray[np.int16]
    """[N] A legal action that begins a proven mate of at most ``mates`` moves, or -1.

    If there is a mate in one, this is the lowest action that mates at once. A mate in three can be
    missed, because the search for it is bounded. Each step overwrites the array.
    """
    game_number: NDArray[np.int64]
    """[N] Number that identifies the current game. Numbers begin at 0 and are unique in the run."""

    def __init__(
        self,
        games: int,
        *,
        max_ply: int = 256,
        declaration: Rule = "27",
        mates: int = 0,
        seed: int = 0,
        threads: int = 1,
        reset_share: float = 0.0,
        reset_depth: int = 180,
        reset_pool: int = 2048,
    ) -> None:
        if games < 1 or not 1 <= max_ply <= 32767 or threads < 1:
            raise ValueError(
                f"games={games}, max_ply={max_ply}, threads={threads}: out of range "
                "(max_ply: 1 to 32767, the others: 1 or more)"
            )
        if declaration not in RULES:
            raise ValueError(f"declaration is {declaration!r}, not one of {', '.join(RULES)}")
        if mates not in (0, 1, 3):
            raise ValueError(f"mates is {mates}, not 0, 1 or 3")
        self.max_ply = max_ply
        self.declaration = declaration
        self.mates = mates
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
        self._recompute_views()
        if reset_pool:
            self.refill_reset_pool()

    def _allocate(self, n: int) -> None:
        self.games = np.zeros(n, GAME)
        self._starts = np.zeros(n, GAME)
        # A tag is the lowest 16 bits of a key. The kernel reads the tags of even plies and the tags
        # of odd plies in blocks of 64. If the last block were shorter, the kernel would read beyond
        # the end of the array.
        blocks = -(-(self.max_ply // 2 + 1) // 64)
        self._tags = np.zeros((n, 2, blocks * 64), np.uint16)
        self._keys = np.zeros((n, self.max_ply + 1), np.uint64)
        self.observation = np.zeros((n, OBSERVATION_BYTES), np.uint8)
        self.mask = np.zeros((n, MASK_WORDS), np.uint64)
        self.mate = np.full(n, -1, np.int16)
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
        """Probability that a new game starts from the reset pool; can be set at any time."""
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
            actions: integers [N]; action i must be legal in game i.

        Raises:
            ValueError: an action is not legal. The message names the action and the game. No game
                changes.
        """
        if np.shape(actions) != (len(self),):
            raise ValueError(f"actions have shape {np.shape(actions)}, not ({len(self)},)")
        moves = np.ascontiguousarray(actions, np.int64)
        bad = kernels.check_actions(self.mask, moves)
        if bad >= 0:
            raise ValueError(f"action {moves[bad]} is not legal in game {bad}: {self.sfen(bad)}")
        return self._step(moves)

    def step_some(self, actions: NDArray[np.integer[Any]]) -> StepResult:
        """Make one move in each game whose action is not -1.

        Games with the action -1 stay as they are, and their rows in the result are undefined. For
        the other games, this method does the same as ``step``.
        """
        moves = np.ascontiguousarray(actions, np.int64)
        rows = np.flatnonzero(moves != -1)
        bad = kernels.check_actions(self.mask[rows], moves[rows])
        if bad >= 0:
            row = int(rows[bad])
            raise ValueError(f"action {moves[row]} is not legal in game {row}: {self.sfen(row)}")
        return self._step(moves)

    def start_from(self, sfens: Sequence[str]) -> None:
        """Start a new game in each row: game i starts at ``sfens[i]``, an SFEN or ``startpos``.

        The game must not be over in any of these positions. Raises SfenError for a bad SFEN.
        """
        for i, sfen in enumerate(sfens):
            start = read_sfen(START_SFEN if sfen == "startpos" else sfen)[0][0]
            start["rng"] = self.games["rng"][i]
            self.games[i] = start
        self._starts[:] = self.games
        self._recompute_views()

    def history(self, i: int) -> tuple[NDArray[np.uint16], NDArray[np.uint64]]:
        """Return tags and keys of game ``i``, with which the rules find repetitions."""
        return self._tags[i], self._keys[i]

    def seat(self, i: int, opponent: int) -> None:
        """Let a frozen opponent play one side of game ``i``, which has just begun.

        ``opponent`` is the opponent's number (1 or more) if the opponent plays white, and minus
        this number if the opponent plays black. The next game in row ``i`` has the same start
        position, and the opponent plays the other side.
        """
        self.games[i]["opponent"] = self._starts[i]["opponent"] = opponent
        self._starts[i]["again"] = 1

    def _step(self, moves: NDArray[np.int64], search: bool = True) -> StepResult:
        """Make the moves, but do not check that they are legal. A negative action makes no move.

        If ``search`` is false, ``mate`` is not updated.
        """
        r = self._result

        def work(lo: int, hi: int) -> None:
            kernels.step_games(
                lo, hi, moves, self.games, self._starts, self._opening, self._pool,
                self._tags, self._keys, self.observation, self.mask, self.game_number,
                r.reward, r.terminated, r.truncated, r.reason, r.winner, r.plies,
                r.final_observation, r.number, self._rule, self.max_ply, self.reset_share,
            )  # fmt: skip
            if search:
                self._find_mates(lo, hi)

        self._run(work)
        return r

    def update_mates(self) -> None:
        """Search every game again for a mate of at most ``mates`` moves, and update ``mate``.

        ``step`` does this too. Call this method after a change of the attribute ``mates``.
        """
        self._run(self._find_mates)

    def _find_mates(self, lo: int, hi: int) -> None:
        """Update ``mate`` of the games ``lo`` to ``hi - 1``."""
        if self.mates == 0:
            self.mate[lo:hi] = -1
        else:
            kernels.find_mates(lo, hi, self.games, self.mask, self.mate)
        if self.mates == 3:
            kernels.find_mates_in_three(
                lo, hi, self.games, self.mask, self._tags, self._keys, self.max_ply, self.mate
            )

    def _run(self, work: Callable[[int, int], None]) -> None:
        """Call ``work(lo, hi)`` for all games, split over the threads, and wait for all calls."""
        if self._threads is None:
            work(0, len(self))
        else:
            list(self._threads.map(lambda span: work(*span), self._spans))

    def _recompute_views(self) -> None:
        """Recompute keys, history, masks and observations from the start positions in ``games``."""
        n = len(self)
        none, over, result = np.full(n, -1), np.zeros(n, np.int64), np.zeros(n, np.int64)
        kernels.visit_games(
            0, n, none, self.games, self._tags, self._keys, self.observation, self.mask, over,
            result, self._rule, self.max_ply,
        )  # fmt: skip
        self.update_mates()

    def refill_reset_pool(self) -> None:
        """Fill the reset pool with new positions from uniformly random play.

        The random play begins at the usual start position. The positions in the pool have no
        history, their ply is 0, and the game is not over in any of them.
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
        """Advance each game to a random ply by random moves, so that not all games end at once.

        The random ply is uniform in 0..max_ply // 2. If a game ends before its random ply, a new
        game replaces the ended game and advances to the same ply.
        """
        rng = np.random.Generator(np.random.PCG64(int(self._rng[0])))
        self._rng[0] += np.uint64(1)
        plies = rng.integers(0, self.max_ply // 2, len(self), endpoint=True)
        self._play_random(plies, rng.integers(0, 2**63, 1).astype(np.uint64))

    def _play_random(self, plies: NDArray[np.int64], rng: NDArray[np.uint64]) -> None:
        """Make random moves until each game i is at ply ``plies[i]``; replace finished games."""
        while (waiting := self.games["ply"] < plies).any():
            moves = random_actions(self.mask, rng).astype(np.int64)
            moves[~waiting] = -1
            self._step(moves, search=False)
        self.update_mates()

    def sfen(self, i: int) -> str:
        """Return game ``i``'s position as an SFEN. The move number is 1 at the game's start."""
        return write_sfen(self.games[i], int(self.games[i]["ply"]) + 1)

    def start_sfen(self, i: int) -> str:
        """Return the start position of game ``i`` as an SFEN."""
        return write_sfen(self._starts[i], 1)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of all arrays that ``load_state`` needs to restore the environment exactly.

        The copies are contiguous. The copy of an array of records is an array of bytes: one row of
        ``itemsize`` bytes for each record.
        """
        return {name: _plain(array).copy() for name, array in self._state().items()}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Restore a state that ``state`` returned. Both environments must have the same sizes.

        Raises:
            ValueError: an array is missing or unknown, or it has a wrong shape or dtype. Nothing
                changes.
        """
        own = {name: _plain(array) for name, array in self._state().items()}
        if own.keys() != state.keys():
            raise ValueError(f"state has the arrays {sorted(state)}, not {sorted(own)}")
        for name, array in own.items():
            given = state[name]
            if given.shape != array.shape or given.dtype != array.dtype:
                raise ValueError(
                    f"state[{name!r}] is {given.dtype}{list(given.shape)}, "
                    f"not {array.dtype}{list(array.shape)}"
                )
        for name, array in own.items():
            array[...] = state[name]
        self.update_mates()

    def _state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that ``state`` copies, as a dict by name."""
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
        """Stop the threads. The arrays of the environment can still be read after this call."""
        if self._threads is not None:
            self._threads.shutdown()


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of an array of records as bytes: one row of bytes for each record.

    Any other array is returned unchanged.
    """
    if array.dtype.names is None:
        return array
    return array.view(np.uint8).reshape(len(array), array.itemsize)
