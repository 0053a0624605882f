"""The events of a run: its state, metrics, boards, games, evaluations, alerts and log lines.

Every event is a frozen dataclass. Clients subscribe to topics and receive the events of these
topics. The property ``event`` is the event's name in the event stream (the ``event:`` line).
``to_dict()`` returns the event's JSON payload, which also contains the name. This module imports no
other module of Keisei.
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
    "stale",
    "killed",
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
    """Base class of all events. An event describes something that happened in a run."""

    topic: ClassVar[Topic]
    run: str
    """Id of the run."""
    step: int
    """Number of plies, in all games together, that the run had trained on before the event."""
    time: float
    """Seconds since the epoch (1970-01-01 UTC)."""

    @property
    def event(self) -> str:
        """Name of the event, such as ``iteration``; the name of a Status is its ``kind``."""
        return type(self).__name__.lower()

    @property
    def keep(self) -> bool:
        """Whether queues must keep the event; if not, a full queue drops and counts the event."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON payload: the event's name and public fields. Tuples become lists."""
        public = {f.name: tuples_as_lists(getattr(self, f.name)) for f in fields(self) if f.repr}
        return {"event": self.event, **public}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Event):
    """A change of the run's state, a saved checkpoint, or the start or end of an event stream."""

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
        "stale",
        "killed",
        "reset",
        "bye",
    ]
    state: State
    """Only ``keisei watch`` sends ``stale`` (the run has written nothing for too long) and
    ``killed`` (the run's process died)."""
    message: str = ""

    @property
    def event(self) -> str:
        return self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Status):
    """The run failed with an exception.

    The event contains the traceback as text. A traceback object would keep the tensors of all
    its stack frames in memory.
    """

    kind: Literal["failed"] = "failed"
    state: State = "failed"
    type: str
    """Name of the exception's class."""
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Status):
    """Tells a client that the client missed events and must read the history again."""

    kind: Literal["reset"] = "reset"
    oldest: str = ""
    """Id of the oldest event that the server still has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration(Event):
    """The metrics of one iteration (a rollout and its update)."""

    topic: ClassVar[Topic] = "metrics"
    iteration: int
    values: dict[str, float]
    """The value of each metric, by its name (such as ``train/kl``); a value can be NaN."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON payload, with null in place of NaN and infinity, which JSON lacks.

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
    """P(win) - P(loss) of the side to move, from -1 to 1; None if the value is unknown."""
    top_moves: tuple[tuple[str, float], ...] = ()
    """The most probable moves as (USI, probability), the most probable move first."""

    @property
    def keep(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Game(Event):
    """A game that has ended."""

    topic: ClassVar[Topic] = "game"
    id: int
    result: Literal["black", "white", "draw", "capped"]
    """The winner (black is sente), ``draw``, or ``capped`` if the game reached the maximum ply."""
    reason: str
    """Why the game ended: checkmate, no_moves, repetition, perpetual_check, declaration or
    max_ply."""
    plies: int
    black: str = "self"
    white: str = "self"
    record: str = field(default="", repr=False)
    """The game as ``sfen ... moves ...``. The database stores this text; the payload omits it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Event):
    """A new state of an evaluation, or its progress."""

    topic: ClassVar[Topic] = "eval"
    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"] = "queued"
    """``interrupted``: the process ended before the evaluation ended.

    A resumed run continues an interrupted evaluation."""
    opponent: str = ""
    """The opponent's name."""
    games: int = 0
    """Largest number of games that the evaluation may play in all its matches together."""
    progress: float = 0.0
    """Number of ended games divided by ``games``, from 0 to 1."""
    score: float | None = None
    """(wins + (draws + capped games) / 2) / (number of games that have ended)."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval of the score."""
    result: dict[str, Any] | None = None
    """How many games ended with each result and for each reason; None before the evaluation ends.

    If the evaluation has several matches, ``result`` contains the results of all
    matches, and the ratings.
    """
    message: str = ""
    """Reason why the evaluation failed, or another remark for the people who watch the run."""
    strategy: str = "single"
    """Name of the strategy that decides which players meet in the matches."""
    spec: dict[str, Any] | None = None
    """The requested ``keisei.evaluation.spec.EvaluationSpec`` as a dictionary."""
    measured: int | None = None
    """Step of the weights that play as ``current``; None until the copy of these weights exists."""
    players: dict[str, str] = field(default_factory=dict)
    """The path of each network's checkpoint, by the network's name.

    Paths inside the run's folder are relative to this folder."""

    @property
    def keep(self) -> bool:
        return self.state != "running"


EVALUATION_OVER = ("done", "failed", "cancelled")
"""Final states. An evaluation in a final state never changes its state again."""
EVALUATION_ENDED = (*EVALUATION_OVER, "interrupted")
"""States after which this process sends no more events of the evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(Event):
    """A warning or remark that the people who watch the run should read."""

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
    """Return ``content`` as JSON, with null in place of NaN and infinity.

    JSON lacks NaN and infinity, and a browser's parser rejects such numbers. ``style``: keyword
    arguments for ``json.dumps``.
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
    """Return a copy of ``value`` with lists in place of all tuples, because JSON has no tuples."""
    if isinstance(value, tuple | list):
        return [tuples_as_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: tuples_as_lists(item) for key, item in value.items()}
    return value
