"""What the server needs to know of a run: the one interface between them.

The live session (``keisei.Keisei``) has it, and ``keisei.testing.FakeRun``.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from keisei.config import Settings
from keisei.evaluation.spec import EvaluationSpec
from keisei.events import Topic
from keisei.runtime.book import EvaluationHandle
from keisei.runtime.status import StatusReport


class Reader(Protocol):
    """What is kept of a run. Blocking: the server calls it in a thread."""

    @property
    def path(self) -> Path | None:
        """The run's directory; None for one that writes nothing."""

    def metrics(
        self,
        keys: Sequence[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        max_points: int = 2000,
        after: int | None = None,
    ) -> dict[str, Any]:
        """Metric history by step."""

    def games(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """A page of recorded games."""

    def game(self, id: int) -> dict[str, Any] | None:
        """One recorded game."""

    def events(self, limit: int = 100, after: int | None = None) -> list[dict[str, Any]]:
        """A page of statuses and alerts."""

    def checkpoints(self) -> list[dict[str, Any]]:
        """The run's checkpoints."""

    def ratings(self) -> list[dict[str, Any]]:
        """The newest ratings of all players."""

    def match_games(
        self, evaluation: str | None = None, limit: int = 100, after: int | None = None
    ) -> list[dict[str, Any]]:
        """A page of the games of evaluations."""


class Source(Protocol):
    """A run, as the server sees it. Every method is called on the loop.

    Commands raise ``InboxFull`` when the run can take no more of them just now, and ``NotRunning``
    when its state doesn't allow them.
    """

    @property
    def settings(self) -> Settings:
        """The settings in use; those of a resumed run may differ from what it began with."""

    @property
    def reader(self) -> Reader:
        """What is kept of it."""

    def status(self) -> StatusReport:
        """What it is doing now."""

    def history(self, limit: int, after: int | None) -> list[dict[str, Any]]:
        """A page of statuses and alerts, newest first. Blocking: the server calls it in a thread."""

    def subscribe(
        self, topics: Collection[Topic], after: str | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Encoded server-sent events, from the one after id ``after``; ends with the run."""

    def dismiss(self) -> None:
        """End all subscriptions, with ``bye``: the server ends, and the run goes on."""

    def submit(self, kind: Literal["pause", "resume", "checkpoint"]) -> Any:
        """Queue a command; returning means that it was accepted, not that it is done."""

    def stop(self) -> None:
        """End the run, as SIGTERM does."""

    async def evaluate(self, spec: EvaluationSpec, key: str | None = None) -> EvaluationHandle:
        """Start an evaluation beside training; the same ``key`` again gives the same evaluation.

        Raises KeyReused too.
        """

    def evaluations(self) -> list[dict[str, Any]]:
        """All evaluations, newest first."""

    def evaluation(self, id: str) -> dict[str, Any] | None:
        """One of them."""

    def follow_evaluation(self, id: str) -> AsyncGenerator[dict[str, Any], None]:
        """How it stands now and after each change, to its end."""

    def cancel_evaluation(self, id: str) -> None:
        """End it early; nothing happens if it has ended."""
