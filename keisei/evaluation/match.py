"""A match between two players, many games side by side.

Networks' moves come from outside, one ply of up to ``AT_ONCE`` games at a time; local players move
by themselves::

    match = Match(MatchSpec("random", games=200))
    while (wanted := match.request()) is not None:
        match.answer(*agent.choose(wanted.observation, wanted.mask, draw=wanted.draw))
    print(match.result())
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from keisei.env import Reason, VectorEnv, material_actions, random_actions
from keisei.env.observe import PLY_COLUMN, ply_byte
from keisei.evaluation.statistics import score_interval
from keisei.shogi import START_SFEN, Position

Kind = Literal["network", "random", "material", "engine"]
Colour = Literal["black", "white"]
Result = Literal["black", "white", "draw", "capped"]
_Local = Callable[[NDArray[Any], NDArray[np.uint64], NDArray[np.uint64]], NDArray[np.int16]]

RESIGN_AFTER = 3
"""Hopeless moves of a network in a row after which it resigns, where it may."""
NO_LIMIT = -1
"""Of plies: a count down that never comes to 0."""
AT_ONCE = 512
"""Games played side by side; more follow when these are over. Bounds the work of one turn."""


def _random(games: NDArray[Any], mask: NDArray[np.uint64], rng: NDArray[np.uint64]) -> Any:
    return random_actions(mask, rng)


def _material(games: NDArray[Any], mask: NDArray[np.uint64], rng: NDArray[np.uint64]) -> Any:
    return material_actions(games, rng)


_LOCAL: dict[str, _Local] = {"random": _random, "material": _material}


def local_move(
    kind: Kind, game: NDArray[Any], mask: NDArray[np.uint64], rng: NDArray[np.uint64]
) -> int:
    """The move of a local player in GAME[1] with mask uint64[1, 35]; moves rng uint64[1] on."""
    return int(_LOCAL[kind](game, mask, rng)[0])


LOCAL = _LOCAL.keys()
"""Players that need nobody else."""
KINDS = ("network", *_LOCAL, "engine")


@dataclass(frozen=True, slots=True)
class Opening:
    """From where a pair begins, replayed once: that takes 0.1 ms a move."""

    line: str = "startpos"
    """``startpos moves ...`` or ``sfen ... moves ...``"""
    start: str = "startpos"
    """``startpos`` or ``sfen ...``"""
    actions: tuple[int, ...] = ()

    @classmethod
    def read(cls, line: str) -> Self:
        """Replay a line. Raises SfenError, IllegalMoveError."""
        start, _, moves = line.strip().removeprefix("position ").partition(" moves ")
        position, actions = Position(start), []
        sfen = position.sfen()
        for usi in moves.split():
            actions.append(position.action(usi))
            position.play(actions[-1])
        start = "startpos" if sfen == START_SFEN else f"sfen {sfen}"
        return cls(line, start, tuple(actions))


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """What is played. Raises ValueError naming the field, its bounds and the value."""

    opponent: Kind
    """``random``: uniform over the legal moves; ``material``: one ply deep; ``network``, ``engine``:
    their moves come from outside."""
    agent: Kind = "network"
    """Whose result it is."""
    games: int = 200
    """Even: each opening is played from both seats."""
    seed: int = 0
    """Of all random numbers, the networks' draws among them."""
    openings: Sequence[Opening] = field(default=(Opening(),), repr=False)
    """Pair k takes the k-th, round and round."""
    max_ply: int = 512
    """Plies after which a game is capped, those of the opening included."""
    declaration: Literal["27", "24", "none"] = "27"
    """Entering-king rule; both sides declare as soon as they can."""
    resign: float = 0.0
    """Resign for a network that expected this loss or a worse one, -1 being certain, at
    ``RESIGN_AFTER`` of its moves in a row: -0.95, say. 0: never."""
    trained_max_ply: tuple[int | None, int | None] = (None, None)
    """Maximum ply of the training games of agent and opponent, where they are networks: they see the
    ply as a share of that. None: ours."""

    def __post_init__(self) -> None:
        for name, kind in (("agent", self.agent), ("opponent", self.opponent)):
            if kind not in KINDS:
                raise ValueError(f"{name}: one of {', '.join(KINDS)} (got {kind!r})")
        if self.games < 2 or self.games % 2:
            raise ValueError(f"games: an even number, 2 or more (got {self.games})")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed: 0 to 2**64 - 1 (got {self.seed})")
        if not 1 <= self.max_ply <= 32_767:
            raise ValueError(f"max_ply: 1 to 32767 (got {self.max_ply})")
        if not self.openings:
            raise ValueError("openings: at least one")
        check_resign(self.resign)

    def opening(self, pair: int) -> Opening:
        """That of pair ``pair``."""
        return self.openings[pair % len(self.openings)]


@dataclass(frozen=True, slots=True)
class PlayedGame:
    """One game of a match, ended."""

    number: int
    """Within the match. Games 2k and 2k + 1 are pair k: one opening, one stream of random numbers."""
    result: Result
    reason: str
    """checkmate, no_moves, repetition, perpetual_check, declaration, max_ply or resignation; of an
    engine also illegal_move."""
    start: str
    """``startpos`` or ``sfen ...``: where it began."""
    actions: NDArray[np.int16] = field(repr=False)
    """[plies], those of the opening among them"""
    values: NDArray[np.float32] = field(repr=False)
    """[plies] what the mover's network expected, P(win) - P(loss); NaN where none was asked"""

    @property
    def pair(self) -> int:
        """The pair it belongs to."""
        return self.number // 2

    @property
    def agent(self) -> Colour:
        """The agent's seat: black in the first game of a pair."""
        return "white" if self.number % 2 else "black"

    @property
    def plies(self) -> int:
        """Its length."""
        return len(self.actions)

    @property
    def points(self) -> float:
        """The agent's: 1, 1/2 or 0."""
        if self.result in {"draw", "capped"}:
            return 0.5
        return float(self.result == self.agent)

    def moves(self) -> list[str]:
        """The moves in USI. Replays the game: some milliseconds."""
        position = Position(self.start)
        return [position.play(action) for action in self.actions.tolist()]

    def record(self) -> str:
        """``startpos moves ...`` as in USI's ``position``. Replays the game: some milliseconds."""
        return write_line(self.start, self.moves())


@dataclass(frozen=True, slots=True)
class MatchResult:
    """How a match stands, seen by the agent. wins + draws + losses + capped = games."""

    games: int
    wins: int
    draws: int
    losses: int
    capped: int
    """Games that reached the maximum ply."""
    score: float
    """(wins + (draws + capped) / 2) / games"""
    interval: tuple[float, float]
    """95 %, see ``score_interval``."""
    by_reason: dict[str, dict[str, int]]
    """``wins``, ``losses``, ``draws``: ends by reason."""
    played: tuple[PlayedGame, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; all but the games themselves."""
        return {
            "games": self.games,
            "wins": self.wins,
            "draws": self.draws,
            "losses": self.losses,
            "capped": self.capped,
            "score": self.score,
            "interval": list(self.interval),
            "by_reason": self.by_reason,
        }


def check_resign(value: float) -> None:
    """Raises ValueError if nobody could expect so little, or would call it hopeless."""
    if not -1 <= value <= 0:
        raise ValueError(f"resign: -1 to 0 (got {value})")


def tally(played: Sequence[PlayedGame]) -> MatchResult:
    """The result of one game or more."""
    ends: dict[str, Counter[str]] = {
        kind: Counter() for kind in ("wins", "draws", "losses", "capped")
    }
    kinds = {1.0: "wins", 0.0: "losses"}
    for game in played:
        undecided = "draws" if game.result == "draw" else "capped"
        ends[kinds.get(game.points, undecided)][game.reason] += 1
    points = np.array([game.points for game in played])
    return MatchResult(
        games=len(played),
        **{kind: found.total() for kind, found in ends.items()},
        score=float(points.mean()),
        interval=score_interval(points, np.array([game.pair for game in played])),
        by_reason={kind: dict(sorted(ends[kind].items())) for kind in ("wins", "losses", "draws")},
        played=tuple(played),
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Positions that want a network's move, M of them: 1 to ``AT_ONCE``."""

    observation: NDArray[np.uint8]
    """[M, 131]"""
    mask: NDArray[np.uint64]
    """[M, 35]"""
    draw: NDArray[np.float32]
    """[M] the random number in [0, 1) that this move is drawn by"""
    opponents: NDArray[np.bool_]
    """[M] whether it is the opponent's move, not the agent's"""


class Match:
    """A match in play, for all kinds of players but engines.

    Alternate ``request`` and ``answer`` until ``request`` gives None. Each pair has random numbers of
    its own, the same in both its games and whatever the number of games: pair k of a seed is always
    played the same by the same players. Equal networks so draw: each wins what the other loses.
    """

    def __init__(self, spec: MatchSpec, pairs: Sequence[int] | None = None) -> None:
        """``pairs``: those still to be played; all if None."""
        self.spec = spec
        self._todo = list(range(spec.games // 2) if pairs is None else pairs)
        self.played: list[PlayedGame] = []
        """The games that ended, in that order."""
        self._table: _Table | None = None

    def request(self, most: int = NO_LIMIT) -> Wanted | None:
        """Positions that want a move; None when all games are over.

        Plays on where only local players are to move: after ``most`` plies of that, the answer holds
        no position, and is to be answered all the same.
        """
        while self._table or self._todo:
            if self._table is None:
                now, self._todo = self._todo[: AT_ONCE // 2], self._todo[AT_ONCE // 2 :]
                self._table = _Table(self.spec, now)
            wanted = self._table.request(most)
            if wanted is not None:
                return wanted
            self._finish()
        return None

    def answer(
        self, actions: NDArray[np.integer[Any]], values: NDArray[np.floating[Any]] | None = None
    ) -> None:
        """The moves int[M] and what the network expects [M], in the order of ``request``.

        The games go on by one ply. Raises ValueError if a move is not legal or there are not M.
        """
        if self._table is None:
            raise ValueError("no move was asked for")
        self._table.answer(actions, values)
        self._finish()

    def result(self) -> MatchResult:
        """The result of the games that ended, by number. Raises ValueError before the first."""
        if not self.played:
            raise ValueError("no game has ended")
        return tally(sorted(self.played, key=lambda game: game.number))

    def _finish(self) -> None:
        """Take the games that have just ended."""
        table = self._table
        if table is not None:
            self.played += table.ended()
            if table.over:
                self._table = None


class _Table:
    """Games of a match that are played side by side."""

    def __init__(self, spec: MatchSpec, pairs: Sequence[int]) -> None:
        self._spec = spec
        self._number = np.repeat(2 * np.array(pairs), 2) + np.tile([0, 1], len(pairs))
        n = len(self._number)
        self._agents_side = self._number % 2  # 0 black, 1 white
        self._asks = np.array([spec.agent == "network", spec.opponent == "network"])
        seeds = np.random.SeedSequence(spec.seed).generate_state(max(pairs) + 1, np.uint64)
        self._rng = seeds[self._number // 2][:, None]
        self._draw = np.repeat(
            [np.random.default_rng(seeds[k]).random(spec.max_ply, np.float32) for k in pairs], 2, 0
        )
        self._open = np.ones(n, np.bool_)
        self._hopeless = np.zeros((n, 2), np.int64)
        self._just_ended: list[PlayedGame] = []
        self._actions = np.zeros((n, spec.max_ply), np.int16)
        self._values = np.full((n, spec.max_ply), np.nan, np.float32)
        self._env = VectorEnv(
            n, max_ply=spec.max_ply, declaration=spec.declaration, seed=spec.seed, reset_pool=0
        )
        self._begin([spec.opening(k) for k in pairs for _ in (0, 1)])

    def _begin(self, openings: Sequence[Opening]) -> None:
        """Set the games up and make the openings' moves."""
        self._start = [opening.start for opening in openings]
        self._env.start_from([start.removeprefix("sfen ") for start in self._start])
        lines = [opening.actions for opening in openings]
        for ply in range(max(map(len, lines))):
            moves = np.array([line[ply] if ply < len(line) else -1 for line in lines])
            self._step(np.where(self._open, moves, -1))

    @property
    def over(self) -> bool:
        """Whether all games are."""
        return not self._open.any()

    def request(self, most: int) -> Wanted | None:
        while self._open.any():
            rows, opponents = self._wanted()
            if len(rows) or most == 0:
                mask, ply = self._env.mask[rows], self._env.games["ply"][rows]
                return Wanted(
                    self._observe(rows, opponents, ply), mask, self._draw[rows, ply], opponents
                )
            self._move(rows, np.empty(0, np.int16))
            most -= 1
        return None

    def answer(
        self, actions: NDArray[np.integer[Any]], values: NDArray[np.floating[Any]] | None
    ) -> None:
        rows, opponents = self._wanted()
        if np.shape(actions) != rows.shape:
            raise ValueError(f"{np.shape(actions)} moves for {len(rows)} positions")
        if values is not None:
            self._values[rows, self._env.games["ply"][rows]] = values
            if self._spec.resign:
                self._resign(rows, opponents.astype(np.intp), values)
        plays = self._open[rows]
        self._move(rows[plays], np.asarray(actions)[plays])

    def _resign(
        self,
        rows: NDArray[np.intp],
        opponents: NDArray[np.intp],
        values: NDArray[np.floating[Any]],
    ) -> None:
        """End the games in which the network to move has no hope left."""
        count = (self._hopeless[rows, opponents] + 1) * (values <= self._spec.resign)
        self._hopeless[rows, opponents] = count
        for row in rows[count >= RESIGN_AFTER].tolist():
            self._open[row] = False
            winner: Colour = "black" if self._env.games["side"][row] else "white"
            plies = int(self._env.games["ply"][row])
            self._just_ended.append(self._game(row, winner, "resignation", plies))

    def ended(self) -> list[PlayedGame]:
        """The games that ended since the last call."""
        found, self._just_ended = self._just_ended, []
        return found

    def _wanted(self) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Rows in which a network is to move, and whether it is the opponent's."""
        opponents = self._env.games["side"] != self._agents_side
        rows = np.flatnonzero(self._open & self._asks[opponents.astype(np.intp)])
        return rows, opponents[rows]

    def _observe(
        self, rows: NDArray[np.intp], opponents: NDArray[np.bool_], ply: NDArray[np.integer[Any]]
    ) -> NDArray[np.uint8]:
        observation = self._env.observation[rows]
        for side, cap in enumerate(self._spec.trained_max_ply):
            if cap is not None:
                theirs = opponents == side
                observation[theirs, PLY_COLUMN] = ply_byte(ply[theirs], cap)
        return observation

    def _move(self, rows: NDArray[np.intp], actions: NDArray[np.integer[Any]]) -> None:
        """Make the networks' moves and those of the local players."""
        env, spec = self._env, self._spec
        moves = np.full(len(env), -1)
        moves[rows] = actions
        local = self._open.copy()
        local[rows] = False
        for row in np.flatnonzero(local).tolist():
            one = slice(row, row + 1)
            agents = env.games["side"][row] == self._agents_side[row]
            kind = spec.agent if agents else spec.opponent
            moves[row] = local_move(kind, env.games[one], env.mask[one], self._rng[row])
        self._step(moves)

    def _step(self, moves: NDArray[np.int64]) -> None:
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


def write_line(start: str, moves: Sequence[str]) -> str:
    """``startpos moves ...`` or the like, as in USI's ``position``."""
    return " ".join([start, "moves", *moves]) if moves else start
