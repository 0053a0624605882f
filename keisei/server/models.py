"""Models of query strings and bodies. A request that does not match its model gets 422."""

from dataclasses import fields
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from starlette.requests import Request

from keisei.events import TOPICS, Topic
from keisei.match_rules import MatchRules, Mates
from keisei.server.problems import invalid

MAX_ID = 2**63 - 1
"""Largest integer that SQLite can store."""

MAX_DIGITS = 18
"""Maximum number of digits of an id in a path; ``MAX_ID`` has one digit more.

The digits are counted before ``int`` is called, because ``int`` raises an exception for thousands
of digits.
"""

MAX_KEYS = 100
"""Maximum number of metrics in one request."""

PlayerText = Annotated[str, Field(min_length=1, max_length=1000)]
Number = Annotated[int, Field(ge=0, le=MAX_ID)]

MAX_NAME = 255
"""Maximum number of characters of a run's id."""

MAX_MOVES = 1000
"""Maximum number of moves in the body of ``POST /api/move``."""

MAX_SIMULATIONS = 10_000
"""Maximum number of simulations for one move."""

MAX_SECONDS = 20.0
"""Maximum time of the search for one move, in seconds."""

MAX_WAIT = 60.0
"""Maximum value of ``?wait=``, in seconds."""


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _refuse_bool(value: object) -> object:
    """Refuse ``true`` and ``false``, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number, not true or false")  # noqa: TRY004 (pydantic needs ValueError)
    return value


MatesNumber = Annotated[Mates, BeforeValidator(_refuse_bool)]


class Request_(BaseModel):  # noqa: N801 (Starlette uses the name Request)
    """Base class of all models. Unknown field names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class NoQuery(Request_):
    """No query parameters."""


class EventsQuery(Request_):
    """Query of ``/api/events``."""

    topics: Annotated[tuple[Topic, ...], BeforeValidator(_split)] = TOPICS
    """Topics of the events, separated by commas."""
    after: Annotated[str, Field(max_length=100)] | None = None
    """Id of the last event that the client received. The header ``Last-Event-ID`` has priority."""


class MetricsQuery(Request_):
    """Query of ``/api/metrics``."""

    keys: (
        Annotated[
            tuple[Annotated[str, Field(max_length=100)], ...],
            Field(max_length=MAX_KEYS),
            BeforeValidator(_split),
        ]
        | None
    ) = None
    """Names of metrics, separated by commas. Default: all metrics."""
    start: Annotated[Number | None, Field(alias="from")] = None
    """First step."""
    end: Annotated[Number | None, Field(alias="to")] = None
    """Last step."""
    max_points: Annotated[int, Field(ge=5, le=20_000)] = 2000
    """Maximum number of points of a metric. A longer series is thinned, but keeps its spikes."""
    after: Number | None = None
    """The ``cursor`` of an earlier answer: only later iterations are returned."""
    run: Annotated[str, Field(max_length=MAX_NAME)] | None = None
    """Id of another run in the folder ``run.root``. Default: the run of this server."""


class VersionQuery(Request_):
    """Query of ``/openapi.json``."""

    version: Literal["3.1", "3.2"] = "3.2"
    """Version of OpenAPI. OpenAPI 3.1 cannot describe the events of streams."""


class PageQuery(Request_):
    """Query of a route that returns a list in pages."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """Maximum number of entries on the page."""
    after: Number | None = None
    """Id of the last entry of the previous page."""


class EvaluationsQuery(Request_):
    """Query of ``GET /api/eval``."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """Maximum number of evaluations on the page."""
    after: Annotated[str, Field(max_length=100)] | None = None
    """Id of the last evaluation of the previous page."""


class RunsQuery(Request_):
    """Query of ``GET /api/runs``."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """Maximum number of runs on the page."""
    after: Annotated[str, Field(max_length=MAX_NAME)] | None = None
    """Id of the last run of the previous page."""


class WaitQuery(Request_):
    """Query of ``/api/eval/{id}``."""

    wait: Annotated[float, Field(ge=0, le=MAX_WAIT)] = 0
    """Maximum time to wait for the end of the evaluation, in seconds."""


_LIMITS: dict[str, dict[str, Any]] = {"games": {"ge": 2, "le": 10_000}, "seed": {"lt": 2**32}}
"""Bounds for requests, in addition to the bounds of ``MatchRules``."""
_TYPES: dict[str, Any] = {"mates": MatesNumber}
"""Types of rules in requests, where they are stricter than in ``MatchRules``."""

_RulesBody = create_model(
    "_RulesBody",
    __base__=Request_,
    **{
        rule.name: (
            Annotated[_TYPES.get(rule.name, rule.type), Field(**_LIMITS.get(rule.name, {}))] | None,
            Field(default=None, description=rule.metadata["description"]),
        )
        for rule in fields(MatchRules)
    },
)  # type: ignore[call-overload]


class EvalRequest(_RulesBody):  # type: ignore[misc, valid-type]
    """Body of ``POST /api/eval``: an evaluation of the current network.

    Each rule of ``MatchRules`` is an optional field. A missing rule gets its value from the run's
    settings, or its default if the settings do not have this rule.
    """

    model_config = ConfigDict(strict=True)

    agents: Annotated[list[PlayerText], Field(min_length=1, max_length=10)] = ["current"]  # noqa: RUF012 (pydantic copies it)
    """Ways to play that are measured: ``current``, or with options, ``current?simulations=64``."""
    opponent: PlayerText | None = None
    """``random``, ``material``, ``shipped``, ``current``, ``best``, a run's id (``RUN``), a
    checkpoint (``RUN/STEP``), or the name of an engine in the settings. If the server needs no
    token, the folder of a run or checkpoint is accepted too. Options of a network follow its name:
    ``best?simulations=64``."""
    opponents: Annotated[list[PlayerText], Field(max_length=100)] = []  # noqa: RUF012 (pydantic copies it)
    """More opponents, for strategies that take more than one opponent."""
    strategy: Annotated[str, Field(max_length=100)] = "single"
    """Name of the strategy that decides which players meet in the matches."""
    sprt: tuple[float, float] | None = None
    """[elo0, elo1] of the sequential test. A match ends as soon as the test has decided."""
    promote: bool = False
    """Whether the network becomes the run's ``best`` if the sequential test accepts it."""

    def given_rules(self) -> dict[str, Any]:
        """Return the values that the request gives for the rules, by rule name."""
        rules = {rule.name: getattr(self, rule.name) for rule in fields(MatchRules)}
        return {name: value for name, value in rules.items() if value is not None}


class PositionRequest(Request_):
    """Body of ``POST /api/position``: a position and moves."""

    model_config = ConfigDict(strict=True)

    sfen: Annotated[str, Field(max_length=300)] = "startpos"
    """The position: an SFEN, or ``startpos``."""
    moves: Annotated[list[Annotated[str, Field(max_length=10)]], Field(max_length=MAX_MOVES)] = []
    """Moves in USI that are made in this position first."""


class MoveRequest(PositionRequest):
    """Body of ``POST /api/move``: a position, and how to choose the move."""

    model: PlayerText = "current"
    """The network that is asked: ``current``, ``best``, ``shipped``, a run's id (``RUN``), or a
    checkpoint (``RUN/STEP``)."""
    greedy: bool = True
    """``true``: the most probable move; ``false``: a random move by the network's policy."""
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    """Temperature of the random move, if ``greedy`` is ``false``: below 1, the most probable moves
    become more probable."""
    mates: MatesNumber = 1
    """Longest forced mate, in moves of both sides, that is searched: 1, 3, or 0 for no search. If
    the search finds a mate, the answer is its first move."""
    simulations: Annotated[int, Field(ge=0, le=MAX_SIMULATIONS)] = 0
    """Number of simulations of a tree search that chooses the move; 0: none, or as many as
    ``seconds`` allow."""
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] | None = None
    """Time for the tree search. While the run trains, the search gets only the share
    ``evaluation.share`` of the device's time."""


class PlayedGame(PositionRequest):
    """Body of ``POST /api/play/games``: a finished game between a person and a network.

    The server makes the moves and decides by the rules how the game ended.
    """

    colour: Literal["black", "white"]
    """The person's colour; black is sente."""
    person: Annotated[str, Field(min_length=1, max_length=100)] = "human"
    """The person's name."""
    opponent: Annotated[str, Field(min_length=1, max_length=300)]
    """The network's name: ``player`` in the answers of ``POST /api/move``."""
    end: Literal["resignation", "declaration"] | None = None
    """``resignation``: the person resigned. ``declaration``: the side to move declared. null: the
    game is over by the rules."""
    values: Annotated[list[float | None], Field(max_length=MAX_MOVES)] = []
    """For each move, the value in [-1, 1] that the mover expected before the move; null if unknown.
    An empty list: all values are unknown."""


class ShowcaseRequest(Request_):
    """Body of ``POST /api/showcase``."""

    model_config = ConfigDict(strict=True)

    game: Number | Literal["longest", "newest"]
    """Number of a game in progress. ``longest``: the game in progress with the most moves.
    ``newest``: the game in progress with the highest number."""


class SignIn(Request_):
    """Body of ``POST /api/session``."""

    token: str = ""
    """The server's access token."""


Model = TypeVar("Model", bound=BaseModel)


def parse_query(model: type[Model], request: Request) -> Model:
    """Return the query string as ``model``. Values of a repeated name are joined by commas.

    Raises Problem 422.
    """
    query = request.query_params
    values = {name: ",".join(query.getlist(name)) for name in query}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid(error, model) from None


async def parse_body(model: type[Model], request: Request) -> Model:
    """Return the JSON body as ``model``. Raises Problem 422."""
    try:
        return model.model_validate_json(await request.body() or b"{}")
    except ValidationError as error:
        raise invalid(error, model) from None
