"""The mate solver: searches a position for a mate of any length by checks alone."""

import threading
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from keisei.shogi import kernels
from keisei.shogi.position import Position

DEEPEST = 2048
"""Plies in the longest line that is searched."""
_MOVES = 1 << 16
"""Moves of all positions of one line together."""
_SLICE = 1000
"""Positions that are visited between two looks at the clock and at ``stop``: some milliseconds."""
_REPAIRS = 1000
"""Searches for parts of a mate or of a disproof that the memory has lost, at most."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer of the mate solver."""

    verdict: Literal["mate", "none", "unknown"]
    """``none``: the side to move cannot mate by checks alone. ``unknown``: a limit was reached."""
    moves: tuple[str, ...]
    """A line that mates, in USI: the shortest known mate against the longest defence, or empty."""
    length: int
    """Plies in which the mate succeeds, whatever the defender does; 0 without a mate."""
    shortest: bool
    """Whether it is proven that no shorter mate exists; False without a mate."""
    nodes: int
    """Number of positions visited."""
    seconds: float
    """Time of the search."""


class MateSearch:
    """A search for a mate, which another thread can stop.

    The attacker is the side to move. He only gives checks, and the defender makes every legal
    reply. A position that occurs twice in a line is no mate there, because perpetual check loses.
    A position that occurs for the fourth time in the game is no mate either. Declarations are
    ignored. The search is df-pn; ``keisei.shogi.kernels`` names its sources.

    A mate is never false: after the search, the rules verify every reply. A wrong ``none`` is
    possible only if the 64-bit keys of two positions are equal.

    >>> search = MateSearch(Position("4k4/9/4P4/9/9/9/9/9/4K4 b 2G 1"))
    >>> search.run().moves
    ('G*5b',)

    Args:
        position: the position, with the moves that led to it. The search copies it.
        nodes: most positions to visit.
        seconds: most seconds to search. None: no limit.
        memory_mib: memory for what is known of positions, in MiB, at least 1.
        most: length of the longest mate to search, in plies. None: any length. A game that ends at
            a maximum ply has room for a mate of this ply minus ``position.ply``.
        shorten: whether to look for shorter mates too, until none is left or a limit is reached.

    Raises:
        ValueError: a limit is less than 1, or ``seconds`` is negative.
    """

    def __init__(
        self,
        position: Position,
        *,
        nodes: int = 1_000_000,
        seconds: float | None = None,
        memory_mib: int = 64,
        most: int | None = None,
        shorten: bool = True,
    ) -> None:
        for name, value in (("nodes", nodes), ("memory_mib", memory_mib), ("most", most)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, not 1 or more")
        if seconds is not None and seconds < 0:
            raise ValueError(f"seconds is {seconds}, not 0 or more")
        self._position = position.copy()
        self._nodes, self._seconds, self._shorten = nodes, seconds, shorten
        odd = kernels.ANY if most is None else (most - 1) // 2 * 2 + 1
        self._most = min(odd, kernels.ANY)
        self._entries = 1 << ((memory_mib << 20) // _BYTES).bit_length() - 1
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Make ``run`` return within some milliseconds. A stopped search cannot go on."""
        self._stopped.set()

    def run(self) -> Solution:
        """Search until the position is solved, or a limit is reached, or ``stop`` is called.

        The search holds no lock of the interpreter, so it can run on a thread beside other work.
        """
        begun = time.monotonic()
        self._deadline = None if self._seconds is None else begun + self._seconds
        self._visited = 0
        self._hunt = _allocate(self._position, self._entries)
        self._verified = np.zeros(self._entries, kernels.VERIFIED)
        verdict, length, shortest = self._solve(self._position.record()[0])
        moves = self._line(length) if verdict == "mate" else ()
        if verdict == "mate" and not moves:
            verdict, length, shortest = "unknown", 0, False
        del self._hunt, self._verified
        return Solution(verdict, moves, length, shortest, self._visited, time.monotonic() - begun)

    def _solve(self, game: Any) -> tuple[Literal["mate", "none", "unknown"], int, bool]:
        """Return the verdict, the length of the mate, and whether it is the shortest."""
        state, found = self._search_surely(game)
        if state == kernels.FAILS:
            return "none", 0, False
        length = self._verify(game, found)[0] if state == kernels.MATES else 0
        if not length:
            return "unknown", 0, False
        while self._shorten and length > 1:
            state, found, leans = self._search(game, length - 2)
            if state != kernels.MATES:
                return "mate", length, state == kernels.FAILS and leans != kernels.GUESS
            length = self._verify(game, found)[0] or length
        return "mate", length, length == 1

    def _search_surely(self, game: Any) -> tuple[int, int]:
        """Return whether the attacker mates, and the length of the mate; confirm all guesses."""
        state, length, leans = self._search(game, self._most)
        for _ in range(_REPAIRS):
            if state != kernels.FAILS or leans != kernels.GUESS:
                return state, length
            sure = self._certify(game)
            if sure or self._most != kernels.ANY:
                break
            again = self._hunt.games[0].copy()
            if self._search(again, kernels.ANY)[0] == kernels.MATES:
                self._hunt.table["guessed"] = 0  # some guesses leaned on the opposite
                state, length, leans = self._search(game, kernels.ANY)
        return (kernels.FAILS if sure > 0 else kernels.UNSOLVED), 0

    def _certify(self, game: Any) -> int:
        """Return 1 if the guesses are true, 0 if one must be searched again, -1 if none can be."""
        visited = int(self._hunt.cursor[1])
        self._hunt.games[0] = game
        sure = kernels.certify_none(
            self._hunt,
            np.zeros(self._entries, kernels.VERIFIED),
            np.empty(max(self._entries // 16, 1), kernels.GAME),
        )
        self._hunt.cursor[1] = visited
        return int(sure)

    def _search(self, game: Any, limit: int) -> tuple[int, int, int]:
        """Return whether the attacker mates within ``limit`` plies, the length, and ``leans``."""
        self._hunt.games[0] = game
        before = self._visited - int(self._hunt.cursor[1])
        kernels.begin_hunt(self._hunt, limit)
        while True:
            self._visited = before + int(self._hunt.cursor[1])
            rest = max(self._nodes - self._visited, 0)
            state, length, leans = kernels.hunt_mate(self._hunt, min(_SLICE, rest))
            self._visited = before + int(self._hunt.cursor[1])
            if state or self._is_over():
                return state, length, leans

    def _is_over(self) -> bool:
        """Return whether a limit is reached, or ``stop`` was called."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return late or self._stopped.is_set() or self._visited >= self._nodes

    def _verify(self, game: Any, limit: int) -> tuple[int, int]:
        """Verify a mate within ``limit`` plies; return its length, or 0, and its first move."""
        cursor = self._hunt.cursor
        for _ in range(_REPAIRS):
            visited = int(cursor[1])
            self._hunt.games[0] = game
            length, action = kernels.verify_mate(self._hunt, self._verified, limit)
            cursor[1] = visited
            if length > 0:
                return length, action
            lost = int(cursor[0])
            again = self._hunt.games[lost].copy()
            if self._search(again, int(self._hunt.frames[lost]["limit"]))[0] != kernels.MATES:
                break
        return 0, -1

    def _line(self, length: int) -> tuple[str, ...]:
        """Return the moves of a verified mate against the longest defence, or nothing."""
        position, moves, limit = self._position.copy(), list[str](), length
        while True:
            limit, action = self._verify(position.record()[0], limit)
            if not limit:
                return ()
            moves.append(position.play(action))
            if limit == 1:
                return tuple(moves)
            limit, reply = self._longest_reply(position, limit - 2)
            if not limit:
                return ()
            moves.append(position.play(reply))

    def _longest_reply(self, position: Position, limit: int) -> tuple[int, int]:
        """Return the length of the longest mate after a reply, and the reply; 0 if not all mate."""
        longest, chosen = 0, -1
        for move in position.legal_moves():
            after = position.copy()
            reply = after.action(move)
            after.play(reply)
            length, _ = self._verify(after.record()[0], limit)
            if not length:
                return 0, -1
            if length > longest:
                longest, chosen = length, reply
        return longest, chosen


def solve_mate(
    position: Position,
    *,
    nodes: int = 1_000_000,
    seconds: float | None = None,
    memory_mib: int = 64,
    most: int | None = None,
    shorten: bool = True,
) -> Solution:
    """Search for a mate by the side to move; ``MateSearch`` describes the arguments and the rules.

    >>> solution = solve_mate(Position("4k4/9/4P4/9/9/9/9/9/4K4 b 2G 1"))
    >>> solution.verdict, solution.moves, solution.shortest
    ('mate', ('G*5b',), True)
    """
    return MateSearch(
        position, nodes=nodes, seconds=seconds, memory_mib=memory_mib, most=most, shorten=shorten
    ).run()


_BYTES = kernels.ENTRY.itemsize + kernels.VERIFIED.itemsize
"""Memory of a solver by the number of its entries."""


def _allocate(position: Position, entries: int) -> Any:
    """Return the memory of a search from ``position``."""
    _, _, keys, _ = position.record()
    past, times = np.unique(keys[: position.ply + 1], return_counts=True)
    return kernels.Hunt(
        table=np.zeros(entries, kernels.ENTRY),
        games=np.zeros(DEEPEST, kernels.GAME),
        frames=np.zeros(DEEPEST, kernels.FRAME),
        children=np.zeros(_MOVES, kernels.CHILD),
        legal=np.zeros((1, kernels.MASK_WORDS), np.uint64),
        checks=np.zeros((1, kernels.MASK_WORDS), np.uint64),
        last=np.zeros(81, np.int64),
        barred=past[times >= 3],
        cursor=np.zeros(2, np.int64),
    )
