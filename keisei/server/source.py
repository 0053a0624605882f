"""The interface between the server and a run.

``keisei.Keisei`` (the live session), ``keisei.watch.run.WatchedRun`` and
``keisei.testing.FakeRun`` implement this interface.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from keisei.config import Settings
from keisei.evaluation.spec import CURRENT, EvaluationSpec
from keisei.feed.hub import Hub
from keisei.match_rules import Mates
from keisei.play.mailbox import ChosenMove
from keisei.runtime.commands import CommandName
from keisei.runtime.evaluation_records import EvaluationHandle, EvaluationRecords
from keisei.runtime.status import StatusReport
from keisei.runtime.telemetry import Telemetry
from keisei.shogi import Position
from keisei.store.matches import MatchGame


class Reader(Protocol):
    """Access to the stored data of a run. Methods block, so the server calls them in a thread."""

    @property
    def path(self) -> Path | None:
        """Directory of the run; None for a run that writes no files."""

    def metrics(
        self,
        keys: Sequence[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        max_points: int = 2000,
        after: int | None = None,
    ) -> dict[str, Any]:
        """Return past values of metrics: a dict with ``series`` (one per metric) and ``cursor``.

        ``start`` and ``end`` are steps. Only iterations with numbers above ``after`` are returned;
        ``after`` may be the ``cursor`` of an earlier result. A series has at most ``max_points``
        points.
        """

    def games(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return a page of recorded games, newest first."""

    def game(self, id: int) -> dict[str, Any] | None:
        """Return one recorded game, or None if there is none with this id."""

    def events(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return a page of statuses and alerts, newest first."""

    def checkpoints(self) -> list[dict[str, Any]]:
        """Return the run's checkpoints."""

    def ratings(self) -> list[dict[str, Any]]:
        """Return the most recent ratings of all players."""

    def match_games(
        self, evaluation: str | None = None, limit: int = 100, after: int | None = None
    ) -> list[dict[str, Any]]:
        """Return a page of evaluation games, newest first.

        ``evaluation``: id of an evaluation; None means the games of all evaluations. The id
        ``PLAYED`` stands for the games that people played.
        """

    def match_game(self, evaluation: str, number: int) -> dict[str, Any] | None:
        """Return one evaluation game with its moves and values, or None if there is none."""


class Source(Protocol):
    """The properties and methods of a run that the server uses.

    The server calls ``history`` in a thread, and all other methods on the event loop. A command
    raises ``InboxFull`` when too many commands wait, and ``NotRunning`` when the state of the run
    does not allow the command.
    """

    @property
    def settings(self) -> Settings:
        """Settings in use. Some settings can change when a run is resumed."""

    @property
    def reader(self) -> Reader:
        """Reader of the run's stored data."""

    @property
    def hub(self) -> Hub:
        """Hub that encodes the run's events as server-sent events for the clients' streams."""

    @property
    def evaluation_records(self) -> EvaluationRecords:
        """Records of the run's evaluations. Each new evaluation adds a record."""

    @property
    def telemetry(self) -> Telemetry:
        """Counts and distributions since this process opened the run, for ``/metrics``."""

    def status(self) -> StatusReport:
        """Return the current state of the run."""

    def history(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return a page of statuses and alerts, newest first. The call blocks: use a thread."""

    def submit(self, name: CommandName) -> Any:
        """Put a command into the queue. The device thread executes the command later."""

    async def show(self, game: int | Literal["longest", "newest"]) -> int:
        """Choose the self-play game that ``board`` events show; return its number.

        Raises LookupError if no game with this number is in progress.
        """

    def stop(self) -> None:
        """Ask the run to end, as SIGTERM does."""

    async def choose_move(
        self,
        position: Position,
        *,
        model: str = CURRENT,
        greedy: bool = True,
        temperature: float = 1.0,
        mates: Mates = 1,
        simulations: int = 0,
        seconds: float | None = None,
    ) -> ChosenMove:
        """Return the move that the network ``model`` chooses in ``position``.

        ``model`` is ``current``, ``best``, ``shipped``, or the path of a run or checkpoint. If
        ``greedy`` is False, the move is chosen at random by the network's policy. But a forced
        mate of at most ``mates`` moves is played if the search finds it. With ``simulations`` or
        ``seconds``, a tree search with these limits chooses the move.
        """

    async def keep_game(self, game: MatchGame, person: str) -> int:
        """Store a game that the person named ``person`` played, and return its number."""

    async def evaluate(self, spec: EvaluationSpec, key: str | None = None) -> EvaluationHandle:
        """Start an evaluation; training continues.

        If an earlier evaluation has the same ``key``, return that evaluation. Raises KeyReused if
        that evaluation has a different ``spec``.
        """
