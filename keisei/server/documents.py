"""Types of the JSON documents with which the API answers."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # before Python 3.12, pydantic needs this one

from keisei.events import Level, State, Topic
from keisei.metrics import Metric

Result = Literal["black", "white", "draw", "capped"]
"""Winner of a game (black is sente), ``draw``, or ``capped`` if the maximum ply was reached."""


class Accepted(TypedDict):
    """Answer to a command that the run will carry out."""

    message: str
    """What the run will do."""
    state: State


class Alive(TypedDict):
    """Answer of a server whose event loop runs."""

    status: Literal["ok"]


class Ready(TypedDict):
    """Answer of a server whose run is ready."""

    status: Literal["ready"]
    state: State


class SessionState(TypedDict):
    """What the server knows about a client."""

    signed_in: bool
    """Whether the client's cookie belongs to a session."""
    read_only: bool
    """Whether the server refuses all requests that would change something, except sign-ins and
    sign-outs."""


class Versions(TypedDict):
    """Versions of Python and of packages; null for a package that is not installed."""

    python: str
    keisei: str | None
    torch: str | None
    numba: str | None
    numpy: str | None
    starlette: str | None


class Series(TypedDict):
    """Values of one metric. The four lists have equal lengths."""

    iteration: list[int]
    step: list[int]
    time: list[float]
    """Seconds since the epoch."""
    value: list[float | None]
    """The values; null for NaN and infinite values."""


class MetricHistory(TypedDict):
    """Values of metrics."""

    series: dict[str, Series]
    """The series of each metric, by the metric's name."""
    nonfinite: list[str]
    """Names of metrics with values that are NaN or infinite."""
    cursor: int
    """Number of the run's newest iteration; 0 if there is none.

    Send this number as ``after`` to get newer values.
    """


class MetricCatalog(TypedDict):
    """All metrics that a run can write."""

    metrics: list[Metric]


class LogEntry(TypedDict):
    """A status or an alert."""

    id: NotRequired[int]
    """Number of the entry; missing while the database does not have the entry."""
    topic: Topic
    event: str
    """Name of the event, such as ``paused`` or ``alert``."""
    run: str
    step: int
    time: float
    """Seconds since the epoch."""
    message: str
    kind: NotRequired[str]
    """In a status: the same as ``event``."""
    state: NotRequired[State]
    """In a status: state of the run."""
    name: NotRequired[str]
    """In an alert: the subject."""
    level: NotRequired[Level]
    """In an alert: the level."""
    type: NotRequired[str]
    """In the status ``failed``: class of the exception."""
    traceback: NotRequired[str]
    """In the status ``failed``: traceback of the exception."""


class Page(TypedDict):
    """A page of a list."""

    next: int | str | None
    """Value of ``after`` for the next page; null on the last page."""


class LogPage(Page):
    """A page of the log, newest entry first."""

    events: list[LogEntry]


class SelfPlayGame(TypedDict):
    """A recorded self-play game, without its moves."""

    id: int
    step: int
    time: float
    """Time at which the game ended, in seconds since the epoch."""
    result: Result
    reason: str
    """Reason why the game ended, such as ``checkmate`` or ``max_ply``."""
    plies: int
    black: str
    white: str
    record: NotRequired[str]
    """Start position and moves, as ``sfen ... moves ...``."""


class GamePage(Page):
    """A page of recorded self-play games, newest game first."""

    games: list[SelfPlayGame]


class Checkpoint(TypedDict):
    """A checkpoint of the run."""

    step: int
    path: str
    """The checkpoint's folder; on a public board, only the last part of the path."""
    created: float | None
    """Time at which the checkpoint was saved, in seconds since the epoch; null if unknown."""
    bytes: int | None
    """Size of the files; null if unknown."""
    error: NotRequired[str]
    """Why the checkpoint's manifest cannot be read."""


class Checkpoints(TypedDict):
    """All checkpoints of the run, newest first."""

    checkpoints: list[Checkpoint]


class ProbableMove(TypedDict):
    """A move, and its probability in the network's policy."""

    move: str
    probability: float | None


class VisitedMove(TypedDict):
    """A move that a tree search visited."""

    move: str
    """The move in USI."""
    visits: int
    """Number of simulations that began with the move."""


class Ended(TypedDict):
    """Why a game is over, and who won it."""

    reason: Literal["checkmate", "no_moves", "repetition", "perpetual_check"]
    winner: Literal["black", "white"] | None
    """The winner; null if the game is a draw."""


class PositionAnswer(TypedDict):
    """A position, and what the rules allow in it."""

    sfen: str
    """The position after the request's moves."""
    side: Literal["black", "white"]
    """The side to move; black is sente."""
    check: bool
    """Whether the side to move is in check."""
    legal_moves: list[str]
    """All legal moves in USI, in alphabetical order; empty if the game is over."""
    occurrences: int
    """Number of occurrences of the position in the game; the fourth ends the game."""
    declaration: Literal["win", "draw"] | None
    """Result that the side to move can claim by the rule ``env.declaration``; null if none."""
    outcome: Ended | None
    """The end of the game; null if the game goes on. A possible declaration does not end it."""


class MoveAnswer(TypedDict):
    """A network's answer to a position."""

    player: str
    """The network's name, ``<run>@<step>``."""

    move: str | None
    """The move in USI; null if no move is legal, or if the side to move declares a win."""
    declares_win: bool
    """Whether the side to move declares a win by the entering-king rule of the training games."""
    value: float | None
    """P(win) - P(loss) of the side to move, from -1 to 1; null if there is no move.

    1 if ``move`` begins a forced mate."""
    top_moves: list[ProbableMove]
    """The network's most probable moves, the most probable move first."""
    mate: int | None
    """Number of moves, counting both sides, of the forced mate that ``move`` begins; else null."""
    visits: list[VisitedMove]
    """The most visited moves of the tree search, the best move first; empty without a search."""
    line: list[str]
    """Principal variation of the tree search, in USI; empty without a search."""
    sfen: str
    """The position after the request's moves."""
    step: int
    """Step of the run at the time of the answer."""


class ListedRun(TypedDict):
    """A run in the folder ``run.root``."""

    id: str
    state: Literal["running", "ended", "interrupted", "unknown"]
    """``interrupted``: the run's process died. ``unknown``: the run's process belongs to another
    machine, or a file can't be read."""
    this: bool
    """Whether this server serves the run."""
    step: int | None
    """Step of the newest iteration; null before the first iteration."""
    started: float | None
    """Time of the run's first event, in seconds since the epoch."""
    updated: float | None
    """Time of the newest iteration, in seconds since the epoch."""
    score: float | None
    """Score of the newest evaluation that is done; null if there is none."""
    opponent: str | None
    """Field ``opponent`` of the evaluation that gave ``score``; null if there is none."""
    problem: str | None
    """Why a file of the run can't be read; null for a sound run."""


class RunPage(Page):
    """A page of runs, newest run first."""

    runs: list[ListedRun]


class Rating(TypedDict):
    """Rating of a player, computed from the games of all evaluations."""

    player: str
    kind: str
    elo: float
    low: float | None
    """Lower bound of the 95 % interval of ``elo``; null if unknown."""
    high: float | None
    """Upper bound of the 95 % interval of ``elo``; null if unknown."""
    games: int
    time: float
    """Time at which the rating was computed, in seconds since the epoch."""


class Ratings(TypedDict):
    """Ratings of all players, strongest player first."""

    ratings: list[Rating]


class EvaluationFields(TypedDict):
    """An evaluation: what was asked, its progress and its result."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    """``interrupted``: the process ended too early; a resumed run continues the evaluation."""
    strategy: str
    """Name of the strategy that decides which players meet in the matches."""
    opponent: str
    games: int
    """Largest number of games that the evaluation may play in all its matches together."""
    progress: float
    """Number of finished games divided by ``games``; 1 when the state is ``done``."""
    score: float | None
    """(wins + (draws + capped games) / 2) / finished games; null before the first game ends."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    """95 % confidence interval of ``score``."""
    result: dict[str, Any] | None
    """Counts of the games and statistics; null if there is no result."""
    message: str
    """Reason why the evaluation failed, or another remark."""
    spec: dict[str, Any] | None
    """The requested evaluation, with the fields of ``EvaluationSpec``."""
    measured: int | None
    """Step of the weights that play as ``current``; null until the copy of these weights exists."""
    players: dict[str, str]
    """Path of each network's checkpoint, by the network's name.

    Before the first promotion, ``best`` has no checkpoint; the value is ``random``."""
    created: float
    """Time of the request, in seconds since the epoch."""
    finished: float | None
    """Time of the end, in seconds since the epoch; null before the end."""


class StartedEvaluation(EvaluationFields):
    """An evaluation that was accepted."""

    follow: str
    """Address that answers when the evaluation has ended, or after 30 seconds."""


class EvaluationPage(Page):
    """A page of evaluations, newest evaluation first."""

    evaluations: list[EvaluationFields]


class EvaluationGame(TypedDict):
    """A finished game of an evaluation, without its moves."""

    id: int
    evaluation: str
    number: int
    """Number of the game within the evaluation."""
    pair: int
    """Number of the pair. Its two games have the same opening, but the players swap colours."""
    opening: str
    black: str
    white: str
    result: Result
    reason: str
    """Reason why the game ended, such as ``checkmate`` or ``max_ply``."""
    plies: int
    start: str
    """Position before the first move: ``startpos`` or ``sfen ...``."""
    time: float
    """Time at which the game ended, in seconds since the epoch."""


class EvaluationGameWithMoves(EvaluationGame):
    """A finished game of an evaluation."""

    moves: str
    """All moves in USI, separated by spaces."""
    values: list[float | None]
    """The value in [-1, 1] that the mover expected before each move; null if unknown.

    The list is empty if all values are unknown."""


class EvaluationGamePage(Page):
    """A page of an evaluation's games, newest game first."""

    games: list[EvaluationGame]
