"""A match between an agent and an engine: both send their moves from outside.

Games are played one by one, as many at once as the caller likes::

    match = EngineMatch(EngineMatchSpec(games=20, openings=random_openings(10)))
    while (game := match.begin()) is not None:
        while not game.over:
            if game.agent_to_move:
                game.play(agent.choose(*game.look())[0][0])
            else:
                game.answer(engine.best_move(game.moves))
        match.finish(game)
    print(match.result())
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keisei.evaluation.match import Colour, MatchResult, PlayedGame
from keisei.evaluation.statistics import score_interval
from keisei.shogi import START_SFEN, IllegalMoveError, Position, SfenError, kernels
from keisei.shogi.position import Rule
from keisei.shogi.sfen import read_sfen

Fault = Literal["timeout", "crash"]
"""What an engine does that says nothing of its strength."""

_EARLIER, _PLY = 95, 97
"""Columns of the compact observation: earlier occurrences; ply, of 255 parts of the maximum."""


@dataclass(frozen=True, slots=True)
class EngineMatchSpec:
    """What is played. Raises ValueError naming the field, its bounds and the value.

    Looks at the openings, for which the rules are compiled if nobody has used them yet.
    """

    games: int = 200
    """Even: each opening is played from both seats."""
    openings: Sequence[str] = ("startpos",)
    """``startpos moves ...`` or ``sfen ... moves ...``; pair k takes the k-th, round and round."""
    max_ply: int = 512
    """Plies after which a game is capped, those of the opening included."""
    declaration: Rule = "27"
    """Entering-king rule; both sides are taken to declare as soon as they can."""
    trained_max_ply: int | None = None
    """Maximum ply of the agent's training games: it sees the ply as a share of that. None: ours."""

    def __post_init__(self) -> None:
        if self.games < 2 or self.games % 2:
            raise ValueError(f"games: an even number, 2 or more (got {self.games})")
        if not 1 <= self.max_ply <= 32_767:
            raise ValueError(f"max_ply: 1 to 32767 (got {self.max_ply})")
        if not self.openings:
            raise ValueError("openings: at least one")
        for pair, opening in enumerate(self.openings[: self.games // 2]):
            try:
                game = GameInPlay(self, 2 * pair)
            except (SfenError, IllegalMoveError) as error:
                raise ValueError(f"openings: {opening!r}: {error}") from error
            if game.over:
                raise ValueError(f"openings: the game is over after {opening!r}")


@dataclass(frozen=True, slots=True)
class EngineGame(PlayedGame):
    """One game of a match. Its actions include the opening's.

    Reasons beside those of ``PlayedGame``: illegal_move, resignation.
    """

    start: str
    """``startpos`` or ``sfen ...``: where it began."""

    def record(self) -> str:
        """``startpos moves ...`` as in USI's ``position``. Replays the game: some milliseconds."""
        position = Position(self.start)
        return _record(self.start, [position.play(action) for action in self.actions.tolist()])


class GameInPlay:
    """A game between the agent and an engine, by the rules of ``keisei.shogi``.

    Raises SfenError or IllegalMoveError for an opening that is none.
    """

    def __init__(self, spec: EngineMatchSpec, number: int) -> None:
        self.number = number
        self.agent: Colour = "white" if number % 2 else "black"
        self._spec = spec
        opening = spec.openings[number // 2 % len(spec.openings)]
        start, _, moves = opening.strip().removeprefix("position ").partition(" moves ")
        self._position = Position(start)
        start = self._position.sfen()
        self._start = "startpos" if start == START_SFEN else f"sfen {start}"
        self._moves: list[str] = []
        self._actions: list[int] = []
        self._end: tuple[Literal["black", "white", "draw", "capped"], str] | None = None
        for usi in moves.split():
            self.play(self._position.action(usi))

    @property
    def over(self) -> bool:
        """Whether the game has ended."""
        return self._end is not None

    @property
    def agent_to_move(self) -> bool:
        """Whose move it is, while the game goes on."""
        return self._position.side == self.agent

    @property
    def moves(self) -> str:
        """The game so far, as in USI's ``position``."""
        return _record(self._start, self._moves)

    def look(self) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """The position as the agent sees it: uint8[1, 131] and its mask uint64[1, 35]."""
        return observe(self._position, self._spec.trained_max_ply or self._spec.max_ply)

    def play(self, action: int) -> None:
        """The agent's move. Raises IllegalMoveError."""
        self._moves.append(self._position.play(action))
        self._actions.append(action)
        self._settle()

    def answer(self, text: str) -> None:
        """The engine's ``bestmove``, whatever it says.

        ``win`` is no move: where the side to move may declare, the game has ended before.
        """
        if text == "resign":
            self._end = self.agent, "resignation"
            return
        try:
            action = self._position.action(text)
        except IllegalMoveError:
            self._end = self.agent, "illegal_move"
        else:
            self.play(action)

    def engine_result(self) -> Literal["win", "lose", "draw"]:
        """How the game ended for the engine."""
        result = self.played().result
        if result in {"draw", "capped"}:
            return "draw"
        return "lose" if result == self.agent else "win"

    def played(self) -> EngineGame:
        """The game, ended. Raises RuntimeError if it is not."""
        if self._end is None:
            raise RuntimeError(f"game {self.number} is not over")
        return EngineGame(
            pair=self.number // 2,
            agent=self.agent,
            result=self._end[0],
            reason=self._end[1],
            plies=len(self._actions),
            actions=np.array(self._actions, np.int16),
            start=self._start,
        )

    def _settle(self) -> None:
        outcome = self._position.outcome(self._spec.declaration)
        if outcome is not None:
            self._end = outcome.winner or "draw", outcome.reason
        elif self._position.ply >= self._spec.max_ply:
            self._end = "capped", "max_ply"


@dataclass(frozen=True, slots=True)
class EngineMatchResult:
    """How a match against an engine ended."""

    match: MatchResult
    """Seen by the agent."""
    faults: dict[Fault, int]
    """Games that were played again because the engine did not answer or crashed."""
    engine: str
    """What the engine calls itself."""
    engine_cpu_seconds: float
    """Processor time of the engines and whatever else this process had started and saw end."""
    error: str | None = None
    """Why it ended before all games were played."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON; all but the games themselves."""
        return self.match.to_dict() | {
            "faults": dict(self.faults),
            "engine": self.engine,
            "engine_cpu_seconds": round(self.engine_cpu_seconds, 3),
            "error": self.error,
        }


@dataclass(slots=True)
class EngineMatch:
    """A match in play: which game is next, and how those that ended did."""

    spec: EngineMatchSpec
    faults: dict[Fault, int] = field(default_factory=lambda: {"timeout": 0, "crash": 0})
    _next: int = 0
    _again: list[int] = field(default_factory=list)
    _played: dict[int, EngineGame] = field(default_factory=dict)

    def begin(self) -> GameInPlay | None:
        """The next game; None if all have begun."""
        if self._again:
            return GameInPlay(self.spec, self._again.pop())
        if self._next == self.spec.games:
            return None
        self._next += 1
        return GameInPlay(self.spec, self._next - 1)

    def finish(self, game: GameInPlay) -> None:
        """Take a game that is over. Raises RuntimeError if it is not."""
        self._played[game.number] = game.played()

    def fault(self, game: GameInPlay, fault: Fault) -> None:
        """The engine failed in this game: it counts nothing and will be played again."""
        self.faults[fault] += 1
        self._again.append(game.number)

    @property
    def progress(self) -> float:
        """Share of the games that ended."""
        return len(self._played) / self.spec.games

    @property
    def score(self) -> float | None:
        """Score over the games that ended, None before the first."""
        return self.result().score if self._played else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of that score."""
        return self.result().interval if self._played else None

    def result(self) -> MatchResult:
        """The result of the games that ended. Raises RuntimeError if none has."""
        if not self._played:
            raise RuntimeError("no game has ended")
        return tally([game for _, game in sorted(self._played.items())])


def tally(played: Sequence[PlayedGame]) -> MatchResult:
    """The result of one game or more."""
    ends: dict[str, Counter[str]] = {
        kind: Counter() for kind in ("wins", "losses", "draws", "capped")
    }
    points = np.zeros(len(played))
    for row, game in enumerate(played):
        if game.result in {"black", "white"}:
            kind = "wins" if game.result == game.agent else "losses"
        else:
            kind = "draws" if game.result == "draw" else "capped"
        ends[kind][game.reason] += 1
        points[row] = {"wins": 1.0, "losses": 0.0}.get(kind, 0.5)
    counts = {kind: found.total() for kind, found in ends.items()}
    return MatchResult(
        games=len(played),
        **counts,
        score=float(points.mean()),
        interval=score_interval(points, np.array([game.pair for game in played])),
        by_reason={kind: dict(sorted(ends[kind].items())) for kind in ("wins", "losses", "draws")},
        played=tuple(played),
    )


def observe(position: Position, max_ply: int) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Compact observation uint8[1, 131] and mask uint64[1, 35], as ``VectorEnv`` shows them."""
    game, _ = read_sfen(position.sfen())
    observation = np.zeros((1, kernels.OBSERVATION_BYTES), np.uint8)
    mask = np.zeros((1, kernels.MASK_WORDS), np.uint64)
    tags, keys = np.zeros((1, 2, 64), np.uint16), np.zeros((1, 2), np.uint64)
    reason, result = np.zeros(1, np.int64), np.zeros(1, np.int64)
    kernels.visit_games(
        0, 1, np.array([-1]), game, tags, keys, observation, mask, reason, result,
        kernels.NO_RULE, max_ply,
    )  # fmt: skip
    observation[0, _EARLIER] = position.occurrences - 1
    observation[0, _PLY] = min(position.ply * 255 // max_ply, 255)
    return observation, mask


def random_openings(number: int, seed: int = 0, plies: int = 4) -> list[str]:
    """Openings of ``plies`` random legal moves from the start position.

    With them two deterministic players do not play one game over and over.
    """
    rng = np.random.default_rng(seed)
    openings = []
    for _ in range(number):
        position, moves = Position(), []
        for _ in range(plies):
            moves.append(str(rng.choice(position.legal_moves())))
            position.push(moves[-1])
        openings.append(_record("startpos", moves))
    return openings


def _record(start: str, moves: Sequence[str]) -> str:
    return " ".join([start, "moves", *moves]) if moves else start
