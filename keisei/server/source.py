"""The interface between the server and a run.

``keisei.Keisei`` (the live session) and ``keisei.testing.FakeRun`` implement it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from keisei.config import Settings
from keisei.evaluation.spec import EvaluationSpec
from keisei.feed.hub import Hub
from keisei.runtime.commands import CommandName
from keisei.runtime.evaluation_records import EvaluationHandle, EvaluationRecords
from keisei.runtime.status import StatusReport


class Reader(Protocol):
    """The stored data of a run. Methods block: the server calls them in a thread."""

    @property
    def path(self) -> Path | None:
        """The run's directory; None for a run that writes nothing."""

    def metrics(
        self,
        keys: Sequence[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        max_points: int = 2000,
        after: int | None = None,
    ) -> dict[str, Any]:
        """Return the metric history: ``series`` by metric name, and ``cursor`` to continue from.

        ``start`` and ``end`` are steps, ``after`` is an iteration; a series has at most
        ``max_points`` points.
        """

    def games(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return a page of recorded games, newest first."""

    def game(self, id: int) -> dict[str, Any] | None:
        """Return one recorded game, or None."""

    def events(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return a page of statuses and alerts, newest first."""

    def checkpoints(self) -> list[dict[str, Any]]:
        """Return the run's checkpoints."""

    def ratings(self) -> list[dict[str, Any]]:
        """Return the newest ratings of all players."""

    def match_games(
        self, evaluation: str | None = None, limit: int = 100, after: int | None = None
    ) -> list[dict[str, Any]]:
        """Return a page of the games of one evaluation, or of all; newest first."""


class Source(Protocol):
    """A run, as the server uses it. It calls every method but ``history`` on the event loop.

    Commands raise ``InboxFull`` when too many commands wait, and ``NotRunning`` when the state of
    the run does not allow them.
    """

    @property
    def settings(self) -> Settings:
        """The settings in use; resuming a run can change them."""

    @property
    def reader(self) -> Reader:
        """The stored data of the run."""

    @property
    def hub(self) -> Hub:
        """The run's events, encoded as server-sent events for the streams of clients."""

    @property
    def evaluation_records(self) -> EvaluationRecords:
        """The run's evaluations: to read, to follow and to cancel. ``evaluate`` adds one."""

    def status(self) -> StatusReport:
        """Return the state of the run now."""

    def history(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """Return a page of statuses and alerts, newest first. Blocks: called in a thread."""

    def submit(self, name: CommandName) -> Any:
        """Queue a command. On return it is accepted but not yet done."""

    def stop(self) -> None:
        """End the run, as SIGTERM does."""

    async def evaluate(self, spec: EvaluationSpec, key: str | None = None) -> EvaluationHandle:
        """Start an evaluation beside training; the same ``key`` again gives the same evaluation.

        Raises KeyReused if ``key`` was used with another ``spec``.
        """
