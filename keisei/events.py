"""What a run tells the world: the events that cross from the device thread to the loop.

Every event is a frozen dataclass. ``topic`` is what clients subscribe to, ``event`` is the name on the
wire (``event:`` of the stream), ``to_dict()`` is the JSON payload, which holds that name too. This
module imports nothing of ours.
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
    """One thing that happened in a run."""

    topic: ClassVar[Topic]
    run: str
    """Id of the run."""
    step: int
    """Plies trained on so far, summed over games."""
    time: float
    """Seconds since the epoch."""

    @property
    def event(self) -> str:
        """Name of the event: ``iteration``, ``board`` ...; that of a Status is its ``kind``."""
        return type(self).__name__.lower()

    @property
    def keep(self) -> bool:
        """Whether it must reach the loop; others may be dropped under load, and are counted."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """The JSON payload: ``event`` and every public field, tuples as lists."""
        told = {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.repr}
        return {"event": self.event, **told}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Event):
    """A change in the run's life."""

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
    """The worker raised. Carries text only: a kept traceback would hold its frames' tensors."""

    kind: Literal["failed"] = "failed"
    state: State = "failed"
    type: str
    """Name of the exception's class."""
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Status):
    """Events were lost for this reader. Read the history again, then go on with the next event."""

    kind: Literal["reset"] = "reset"
    oldest: str = ""
    """Id of the oldest event that can still be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration(Event):
    """Metrics of one iteration (a rollout and its update)."""

    topic: ClassVar[Topic] = "metrics"
    iteration: int
    values: dict[str, float]
    """Metric name (``train/kl`` ...) to value; may hold NaN."""

    def to_dict(self) -> dict[str, Any]:
        """As every event, but NaN and infinities are null (JSON has none) and named in ``nonfinite``."""
        bad = sorted(key for key, value in self.values.items() if not math.isfinite(value))
        payload = Event.to_dict(self)
        payload["values"] = {k: None if k in bad else v for k, v in self.values.items()}
        if bad:
            payload["nonfinite"] = bad
        return payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Board(Event):
    """The newest position of one self-play game that the network judged, with its answer."""

    topic: ClassVar[Topic] = "board"
    game: int
    """Number of the game within the run."""
    sfen: str
    last_move: str | None
    """USI, or None at the start."""
    ply: int
    value: float | None
    """P(win) - P(loss) for the side to move, in [-1, 1]."""
    top_moves: tuple[tuple[str, float], ...] = ()
    """(USI, probability), most probable first."""

    @property
    def keep(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Game(Event):
    """A finished game."""

    topic: ClassVar[Topic] = "game"
    id: int
    result: Literal["black", "white", "draw", "capped"]
    """Winner (black = sente), or a draw, or the maximum ply reached."""
    reason: str
    """checkmate, no_moves, repetition, perpetual_check, declaration or max_ply."""
    plies: int
    black: str = "self"
    white: str = "self"
    record: str = field(default="", repr=False)
    """``sfen ... moves ...`` as in USI's ``position``; for the database, not on the stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Event):
    """Progress or end of an evaluation."""

    topic: ClassVar[Topic] = "eval"
    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"] = "queued"
    """``interrupted``: by the end of the process; a resumed run goes on with it."""
    opponent: str = ""
    """Whom the agent meets."""
    games: int = 0
    """Games that are to be played."""
    progress: float = 0.0
    """Share of the games that ended, 0 to 1."""
    score: float | None = None
    """(wins + (draws + capped) / 2) / games ended so far."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval of the score."""
    result: dict[str, Any] | None = None
    """Counts and ends by reason, once done; of several matches, each of them, and ratings."""
    message: str = ""
    strategy: str = "single"
    spec: dict[str, Any] | None = None
    """What was asked for (``keisei.evaluation.spec.EvaluationSpec``)."""
    measured: int | None = None
    """Step of the weights that ``current`` stands for, once they were taken."""
    players: dict[str, str] = field(default_factory=dict)
    """The checkpoints that names of networks stand for; the run's own from its folder on."""

    @property
    def keep(self) -> bool:
        return self.state != "running"


EVALUATION_OVER = ("done", "failed", "cancelled")
"""States in which an evaluation has ended for good."""
EVALUATION_ENDED = (*EVALUATION_OVER, "interrupted")
"""States in which nothing more comes of it in this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(Event):
    """Something a person should know."""

    topic: ClassVar[Topic] = "alert"
    name: str
    level: Level
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Log(Event):
    """A log line."""

    topic: ClassVar[Topic] = "log"
    name: str
    level: Level
    message: str

    @property
    def keep(self) -> bool:
        return False


def dumps(content: Any, **style: Any) -> str:
    """JSON, with null for NaN and infinities: it has none, and a browser's parser stops at one.

    ``style``: what else ``json.dumps`` is told.
    """
    try:
        return json.dumps(content, allow_nan=False, **style)
    except ValueError:
        return json.dumps(_finite(content), allow_nan=False, **style)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(value: Any) -> Any:
    """Return a value as JSON gives it back: tuples become lists."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
