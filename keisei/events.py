"""The events of a run: its state, metrics, boards, games, evaluations, alerts and log lines.

Every event is a frozen dataclass. Clients subscribe to its ``topic``. ``event`` is its name in the
event stream (the ``event:`` line), and ``to_dict()`` returns its JSON payload, which contains the
name too. This module imports no other module of Keisei.
"""

import json
import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

Topic = Literal["status", "metrics", "board", "game", "eval", "alert", "log"]
State = Literal[
    "starting",
    "compiling",
    "running",
    "paused",
    "stopping",
    "finished",
    "stopped",
    "failed",
]
Level = Literal["info", "warning", "error"]

TOPICS: tuple[Topic, ...] = (
    "status",
    "metrics",
    "board",
    "game",
    "eval",
    "alert",
    "log",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base class of all events; an event is something that happened in a run."""

    topic: ClassVar[Topic]
    run: str
    """Id of the run."""
    step: int
    """Plies that the run had trained on before the event, summed over all games."""
    time: float
    """Seconds since the epoch (1970-01-01 UTC)."""

    @property
    def event(self) -> str:
        """Name of the event, such as ``iteration``; the name of a Status is its ``kind``."""
        return type(self).__name__.lower()

    @property
    def keep(self) -> bool:
        """Whether the event must be kept. Under load, other events are dropped and counted."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON payload: ``event`` and all public fields, with tuples as lists."""
        public = {f.name: tuples_as_lists(getattr(self, f.name)) for f in fields(self) if f.repr}
        return {"event": self.event, **public}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Event):
    """The run's state changed, or a checkpoint was saved, or the event stream begins or ends."""

    topic: ClassVar[Topic] = "status"
    kind: Literal[
        "hello",
        "started",
        "compiling",
        "running",
        "paused",
        "resumed",
        "checkpoint",
        "stopped",
        "finished",
        "failed",
        "reset",
        "bye",
    ]
    state: State
    message: str = ""

    @property
    def event(self) -> str:
        return self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Status):
    """The run failed with an exception.

    The event contains only text, because a traceback object would keep the tensors of its stack
    frames in memory.
    """

    kind: Literal["failed"] = "failed"
    state: State = "failed"
    type: str
    """Name of the exception's class."""
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Status):
    """Tells a client that it missed events. The client must read the history again."""

    kind: Literal["reset"] = "reset"
    oldest: str = ""
    """Id of the oldest event that the server still has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration(Event):
    """The metrics of one iteration (a rollout and its update)."""

    topic: ClassVar[Topic] = "metrics"
    iteration: int
    values: dict[str, float]
    """Values by name of the metric (``train/kl`` ...); a value may be NaN."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON payload, with null for NaN and infinities, which JSON does not have.

        The payload's ``nonfinite`` lists the names of the metrics that became null.
        """
        bad = sorted(key for key, value in self.values.items() if not math.isfinite(value))
        payload = Event.to_dict(self)
        payload["values"] = {k: None if k in bad else v for k, v in self.values.items()}
        if bad:
            payload["nonfinite"] = bad
        return payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Board(Event):
    """The newest position of a self-play game, with the network's value and top moves."""

    topic: ClassVar[Topic] = "board"
    game: int
    """Number of the game within the run."""
    sfen: str
    """The position, as SFEN."""
    last_move: str | None
    """The move that led to the position, in USI; None at the start of a game."""
    ply: int
    value: float | None
    """P(win) - P(loss) for the side to move, in [-1, 1]."""
    top_moves: tuple[tuple[str, float], ...] = ()
    """The most probable moves, best first: (USI, probability)."""

    @property
    def keep(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Game(Event):
    """A game that has ended."""

    topic: ClassVar[Topic] = "game"
    id: int
    result: Literal["black", "white", "draw", "capped"]
    """The winner (black is sente), ``draw``, or ``capped`` (the maximum ply was reached)."""
    reason: str
    """Reason: checkmate, no_moves, repetition, perpetual_check, declaration or max_ply."""
    plies: int
    black: str = "self"
    white: str = "self"
    record: str = field(default="", repr=False)
    """The game as ``sfen ... moves ...``; stored in the database, but not part of the payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Event):
    """The progress or the end of an evaluation."""

    topic: ClassVar[Topic] = "eval"
    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"] = "queued"
    """``interrupted``: the process ended before the evaluation did; a resumed run continues it."""
    opponent: str = ""
    """The opponent's name."""
    games: int = 0
    """Number of games that the evaluation plays in total."""
    progress: float = 0.0
    """Share of the games that have ended, 0 to 1."""
    score: float | None = None
    """(wins + (draws + capped) / 2) / (games that have ended)."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval of the score."""
    result: dict[str, Any] | None = None
    """When ``done``: how many games ended with each result and for each reason.

    An evaluation of several matches has an entry for each match, and ratings.
    """
    message: str = ""
    """Reason why the evaluation failed, or another remark for people."""
    strategy: str = "single"
    """Name of the strategy that decides who plays whom."""
    spec: dict[str, Any] | None = None
    """The request: a ``keisei.evaluation.spec.EvaluationSpec`` as a dictionary."""
    measured: int | None = None
    """Step of the weights that play as ``current``; None until they are copied."""
    players: dict[str, str] = field(default_factory=dict)
    """Path of each network's checkpoint, by name; paths of this run are relative to its folder."""

    @property
    def keep(self) -> bool:
        return self.state != "running"


EVALUATION_OVER = ("done", "failed", "cancelled")
"""Final states: an evaluation in one of them never changes its state again."""
EVALUATION_ENDED = (*EVALUATION_OVER, "interrupted")
"""States after which this process sends no more events of the evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(Event):
    """A warning or a remark that a person should read."""

    topic: ClassVar[Topic] = "alert"
    name: str
    """Subject of the alert, for example a detector's name."""
    level: Level
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Log(Event):
    """A line of the log."""

    topic: ClassVar[Topic] = "log"
    name: str
    """Name of the logger."""
    level: Level
    message: str

    @property
    def keep(self) -> bool:
        return False


def dumps(content: Any, **style: Any) -> str:
    """Return ``content`` as JSON, with null for NaN and infinities.

    JSON has no such numbers, and a browser's parser rejects them. ``style``: keyword arguments
    for ``json.dumps``.
    """
    try:
        return json.dumps(content, allow_nan=False, **style)
    except ValueError:
        return json.dumps(_null_for_nonfinite(content), allow_nan=False, **style)


def _null_for_nonfinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _null_for_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_null_for_nonfinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def tuples_as_lists(value: Any) -> Any:
    """Return a copy of a value in which all tuples are lists, as JSON would give it back."""
    if isinstance(value, tuple | list):
        return [tuples_as_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: tuples_as_lists(item) for key, item in value.items()}
    return value
