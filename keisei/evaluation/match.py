"""A match between an agent, whose moves come from outside, and a local player.

Up to ``AT_ONCE`` games run side by side, one ply a turn::

    match = Match(MatchSpec("random", games=200))
    while (wanted := match.request()) is not None:
        match.answer(agent.choose(*wanted)[0])
    print(match.result())
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keisei.env import Reason, StepResult, VectorEnv, legal_lists, material_actions, random_actions
from keisei.evaluation.statistics import score_interval
from keisei.shogi import Position

Opponent = Literal["random", "material"]
Colour = Literal["black", "white"]
Player = Callable[[NDArray[Any], NDArray[np.uint64], NDArray[np.uint64]], NDArray[np.int16]]

AT_ONCE = 512
"""Games played side by side; more follow when these are over. Bounds the work of one turn."""

_PLY = 97
"""Column of the compact observation that holds the ply, of 255 parts of the maximum."""


def _random(games: NDArray[Any], mask: NDArray[np.uint64], rng: NDArray[np.uint64]) -> Any:
    return random_actions(mask, rng)


def _material(games: NDArray[Any], mask: NDArray[np.uint64], rng: NDArray[np.uint64]) -> Any:
    return material_actions(games, rng)


_PLAYERS: dict[str, Player] = {"random": _random, "material": _material}


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """What is played. Raises ValueError naming the field, its bounds and the value."""

    opponent: Opponent
    """``random``: uniform over the legal moves; ``material``: one ply deep."""
    games: int = 200
    """Even: each opening is played from both seats."""
    greedy: bool = False
    """Whether the agent should play its most probable move. For the caller; a match takes any."""
    seed: int = 0
    """Of the opponent's moves."""
    max_ply: int = 512
    """Plies after which a game is capped."""
    declaration: Literal["27", "24", "none"] = "27"
    """Entering-king rule; both sides declare as soon as they can."""
    trained_max_ply: int | None = None
    """Maximum ply of the agent's training games: it sees the ply as a share of that. None: ours."""

    def __post_init__(self) -> None:
        if self.opponent not in _PLAYERS:
            raise ValueError(f"opponent: one of {', '.join(_PLAYERS)} (got {self.opponent!r})")
        if self.games < 2 or self.games % 2:
            raise ValueError(f"games: an even number, 2 or more (got {self.games})")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed: 0 to 2**64 - 1 (got {self.seed})")
        if not 1 <= self.max_ply <= 32_767:
            raise ValueError(f"max_ply: 1 to 32767 (got {self.max_ply})")


@dataclass(frozen=True, slots=True)
class PlayedGame:
    """One game of a match."""

    pair: int
    """Games of a pair have the same opening and the opponent's random numbers."""
    agent: Colour
    """The agent's seat."""
    result: Literal["black", "white", "draw", "capped"]
    reason: str
    """checkmate, no_moves, repetition, perpetual_check, declaration or max_ply."""
    plies: int
    actions: NDArray[np.int16] = field(repr=False)
    """[plies]"""

    def record(self) -> str:
        """``startpos moves ...`` as in USI's ``position``. Replays the game: some milliseconds."""
        position = Position()
        return " ".join(["startpos moves", *map(position.play, self.actions.tolist())])


@dataclass(frozen=True, slots=True)
class MatchResult:
    """How a match ended, seen by the agent. wins + draws + losses + capped = games."""

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


class Match:
    """A match in play. Alternate ``request`` and ``answer`` until ``request`` gives None.

    The opponent draws from one stream of random numbers a game, the same for both games of a pair
    and whatever the number of games: pair k of a seed is always played the same against the same
    moves.
    """

    def __init__(self, spec: MatchSpec) -> None:
        self.spec = spec
        n = spec.games
        self._player = _PLAYERS[spec.opponent]
        self._pair = np.arange(n) // 2
        self._side = np.arange(n) % 2  # the agent's: 0 black, 1 white
        streams = np.random.SeedSequence(spec.seed).generate_state(n // 2, np.uint64)
        self._rng = streams[self._pair][:, None]
        self._open = np.ones(n, np.bool_)
        self._moves = np.zeros((n, spec.max_ply), np.int16)
        self._winner = np.zeros(n, np.int8)
        self._reason = np.zeros(n, np.uint8)
        self._plies = np.zeros(n, np.int16)
        self._begin(0)

    def _begin(self, first: int) -> None:
        """Start the next games, those from ``first`` on."""
        spec = self.spec
        self._now = slice(first, min(first + AT_ONCE, spec.games))
        self._env = VectorEnv(
            self._now.stop - first,
            max_ply=spec.max_ply,
            declaration=spec.declaration,
            seed=spec.seed,
            reset_pool=0,
        )

    def request(self) -> tuple[NDArray[np.uint8], NDArray[np.uint64]] | None:
        """Positions that want the agent's move: uint8[M, 131] and masks uint64[M, 35].

        M is 1 to ``AT_ONCE``.

        None when all games are over. Plays on where only the opponent is to move.
        """
        while self._open.any():
            if not self._open[self._now].any():
                self._begin(self._now.stop)
            rows = self._wanted()
            if len(rows):
                return self._observe(rows), self._env.mask[rows]
            self._step(rows, np.empty(0, np.int16))
        return None

    def answer(self, actions: NDArray[np.integer[Any]]) -> None:
        """The agent's moves, int[M], in the order of ``request``; the games go on by one ply.

        Raises ValueError if one is not legal or there are not M of them.
        """
        rows = self._wanted()
        if np.shape(actions) != rows.shape:
            raise ValueError(f"{np.shape(actions)} moves for {len(rows)} positions")
        self._step(rows, actions)

    @property
    def progress(self) -> float:
        """Share of the games that ended."""
        return 1 - int(self._open.sum()) / self.spec.games

    @property
    def score(self) -> float | None:
        """Score over the games that ended, None before the first."""
        points = self._points()[~self._open]
        return float(points.mean()) if len(points) else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of that score."""
        ended = ~self._open
        return score_interval(self._points()[ended], self._pair[ended]) if ended.any() else None

    def result(self) -> MatchResult:
        """The result. Raises RuntimeError while games are still played."""
        if self._open.any():
            raise RuntimeError(f"{int(self._open.sum())} games are not over")
        played = tuple(self._game(row) for row in range(self.spec.games))
        kinds = [_outcome(game) for game in played]
        ends = {
            kind: Counter(
                game.reason for game, found in zip(played, kinds, strict=True) if found == kind
            )
            for kind in ("wins", "losses", "draws")
        }
        points = self._points()
        return MatchResult(
            games=self.spec.games,
            wins=kinds.count("wins"),
            draws=kinds.count("draws"),
            losses=kinds.count("losses"),
            capped=kinds.count("capped"),
            score=float(points.mean()),
            interval=score_interval(points, self._pair),
            by_reason={kind: dict(sorted(found.items())) for kind, found in ends.items()},
            played=played,
        )

    def _wanted(self) -> NDArray[np.intp]:
        """Rows of the environment in which the agent is to move."""
        mine = self._env.games["side"] == self._side[self._now]
        return np.flatnonzero(self._open[self._now] & mine)

    def _observe(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        observation = self._env.observation[rows]
        if self.spec.trained_max_ply is not None:
            ply = self._env.games["ply"][rows].astype(np.int64)
            observation[:, _PLY] = np.minimum(ply * 255 // self.spec.trained_max_ply, 255)
        return observation

    def _step(self, rows: NDArray[np.intp], actions: NDArray[np.integer[Any]]) -> None:
        env = self._env
        moves = legal_lists(env.mask)[0][:, 0].copy()  # games that are over: any move
        playing, rng = self._open[self._now].copy(), self._rng[self._now]
        opponents = playing.copy()
        opponents[rows] = False
        for row in np.flatnonzero(opponents).tolist():
            one = slice(row, row + 1)
            moves[one] = self._player(env.games[one], env.mask[one], rng[row])
        moves[rows] = actions
        ply = env.games["ply"].copy()
        step = env.step(moves)
        self._moves[self._now][playing, ply[playing]] = moves[playing]
        self._settle(step)

    def _settle(self, step: StepResult) -> None:
        ended = self._open[self._now] & (step.terminated | step.truncated)
        self._winner[self._now][ended] = step.winner[ended]
        self._reason[self._now][ended] = step.reason[ended]
        self._plies[self._now][ended] = step.plies[ended]
        self._open[self._now][ended] = False

    def _points(self) -> NDArray[np.float64]:
        """1, 1/2 or 0 for each game; those still played count nothing yet."""
        won = self._winner * (1 - 2 * self._side)
        return (1 + won) / 2

    def _game(self, row: int) -> PlayedGame:
        reason, winner = Reason(int(self._reason[row])), int(self._winner[row])
        plies = int(self._plies[row])
        undecided: Literal["draw", "capped"] = "capped" if reason == Reason.MAX_PLY else "draw"
        return PlayedGame(
            pair=int(self._pair[row]),
            agent="white" if self._side[row] else "black",
            result="black" if winner > 0 else "white" if winner < 0 else undecided,
            reason=reason.label,
            plies=plies,
            actions=self._moves[row, :plies].copy(),
        )


def _outcome(game: PlayedGame) -> str:
    if game.result in {"black", "white"}:
        return "wins" if game.result == game.agent else "losses"
    return "draws" if game.result == "draw" else "capped"
