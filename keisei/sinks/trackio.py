"""Writes the metrics of a run into the local trackio project ``keisei``."""

from collections.abc import Sequence
from datetime import UTC, datetime

try:
    from trackio.sqlite_storage import SQLiteStorage
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}: run pip install 'keisei[trackio]'", name=error.name
    ) from None

from keisei.events import Event, Iteration
from keisei.feed.sinks import BlockingSink, RunInfo

PROJECT = "keisei"


class TrackioSink(BlockingSink):
    """Writes the metrics of each iteration into trackio's database on this machine.

    ``trackio.init`` is not used, because it prints on stdout, hides errors and may use the network.
    """

    name = "trackio"

    def __init__(self, run: RunInfo) -> None:
        super().__init__()
        self._run = run.id
        self._config = run.settings.model_dump(mode="json")

    def write_blocking(self, events: Sequence[Event]) -> None:
        """Write the metrics of all iterations among the events."""
        iterations = [event for event in events if isinstance(event, Iteration)]
        SQLiteStorage.bulk_log(
            PROJECT,
            self._run,
            [dict(event.values) for event in iterations],
            steps=[event.step for event in iterations],
            timestamps=[
                datetime.fromtimestamp(event.time, UTC).isoformat() for event in iterations
            ],
            config=self._config,
            # trackio ignores a row whose id it already has, so a resumed run writes no step twice.
            log_ids=[f"{self._run}@{event.step}" for event in iterations],
        )
