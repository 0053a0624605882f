"""Sends a run's events to Weights & Biases (W&B), through a process that owns the W&B run."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import anyio

from keisei.config import Settings
from keisei.events import Event, Status
from keisei.feed.supervise import Report
from keisei.sinks.wandb_client import WandbClient, WandbError
from keisei.sinks.wandb_rows import to_row

START_SECONDS = 8.0
"""Maximum time to reach W&B, in seconds. After this time, the run is logged offline."""
FINISH_SECONDS = 12.0
"""Maximum time to upload the last data when the run ends, in seconds.

This time is shorter than the time that a run gives its sinks
(``keisei.runtime.life.CLOSE_SECONDS``)."""

_log = logging.getLogger(__name__)


class WandbSink:
    """Logs the metrics, evaluations and artifacts of a run in one W&B run.

    Another process owns the W&B run, so that W&B's code can neither block this process nor take
    time from its threads. ``docs/decisions/0009-wandb-in-a-process.md`` gives the measurements.
    """

    name = "wandb"

    def __init__(self, settings: Settings, folder: Path, report: Report) -> None:
        """``folder`` is the run's folder. ``report`` sends alerts."""
        self._settings, self._folder, self._report = settings, folder, report
        self._client: WandbClient | None = None
        self._files = ""
        """Folder of the files that W&B writes for this run."""
        self._state = ""
        """Newest state of the run."""
        self._checkpoint = ""
        """Folder of the newest checkpoint, if checkpoints become artifacts."""

    async def write(self, events: Sequence[Event]) -> None:
        """Log iterations and ended evaluations. Raises WandbError and OSError."""
        try:
            client = self._client or await self._connect()
            rows = [asdict(row) for event in events if (row := to_row(event))]
            if rows:
                await client.ask("log", rows=rows)
            for event in events:
                if isinstance(event, Status):
                    await self._note(client, event)
        except BaseException as error:  # a later call continues the W&B run with a new process
            await self._end()
            if isinstance(error, anyio.get_cancelled_exc_class()):  # because the run ends
                self._warn("no answer")
            raise

    async def close(self) -> None:
        """End the W&B run: upload its last data, for ``FINISH_SECONDS`` at most."""
        if self._client is None:
            return
        problem = f"the upload took longer than {FINISH_SECONDS:.0f} s"
        try:
            with anyio.move_on_after(FINISH_SECONDS):
                await self._client.ask("finish", state=self._state, checkpoint=self._checkpoint)
                await self._client.finished()
                problem = ""
        except (WandbError, OSError) as error:
            problem = str(error)
        finally:
            await self._end()
        if problem:
            self._warn(problem)

    def _warn(self, problem: str) -> None:
        """Log that data is missing. At the end of the run, alerts are no longer possible."""
        text = "wandb: not all data was uploaded (%s): upload it with `wandb sync %s`"
        _log.warning(text, problem, self._files)

    async def _note(self, client: WandbClient, status: Status) -> None:
        """Remember the run's state. After a checkpoint, log what only the run's files contain."""
        self._state = status.state
        if status.kind != "checkpoint":
            return
        artifacts = self._settings.wandb.artifacts
        try:
            await client.ask("checkpoint", path=status.message, artifacts=artifacts)
        except WandbError as error:  # for example, the checkpoint has been removed meanwhile
            self._report("wandb", "warning", f"{status.message}: {error}")
        if artifacts:
            self._checkpoint = status.message

    async def _connect(self) -> WandbClient:
        """Start the W&B run: online if the settings say so and W&B can be reached in time."""
        if self._settings.wandb.mode == "offline":
            return await self._open("offline")
        problem = f"no answer within {START_SECONDS:.0f} s"
        try:
            with anyio.move_on_after(START_SECONDS):
                return await self._open("online")
        except (WandbError, OSError) as error:
            problem = str(error)
        await self._end()
        client = await self._open("offline")
        text = f"W&B can't be reached, so the run is logged offline ({problem})"
        self._report("wandb", "warning", f"{text}; upload it with `wandb sync {self._files}`")
        return client

    async def _open(self, mode: Literal["online", "offline"]) -> WandbClient:
        self._client = client = await WandbClient.start()
        answer = await client.ask("start", **self._options(mode))
        self._files = answer["files"]
        if mode == "online":
            self._report("wandb", "info", f"the run is logged at {answer['url']}")
        return client

    def _options(self, mode: str) -> dict[str, Any]:
        """Return the arguments of the action ``start``."""
        chosen = self._settings.wandb
        return {
            "folder": str(self._folder),
            "pid": os.getpid(),
            "mode": mode,
            "project": chosen.project or os.environ.get("WANDB_PROJECT") or "keisei",
            "entity": chosen.entity or None,
            "name": chosen.name or os.environ.get("WANDB_NAME") or self._folder.name,
            "group": chosen.group or None,
            "tags": chosen.tags or None,
            "config": self._settings.model_dump(mode="json") | {"run_id": self._folder.name},
        }

    async def _end(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.end()
