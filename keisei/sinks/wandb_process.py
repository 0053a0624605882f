"""The process that owns a W&B run. ``WandbSink`` sends it requests through pipes."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import psutil

from keisei.metrics import METRICS
from keisei.sinks.wandb_memory import Memory
from keisei.sinks.wandb_rows import Row, evaluation_row
from keisei.store.reader import RunReader

if TYPE_CHECKING:
    from wandb import Run

NICENESS = 5
"""Niceness of this process, so that training has priority."""
INIT_SECONDS = 6.0
"""Maximum time for W&B's client to reach the server, in seconds."""
UPLOAD_SECONDS = 9.0
"""Maximum time for the upload of the last data when the run ends, in seconds."""
LEAVE_SECONDS = 2.0
"""Maximum time for W&B's client to close its files after the upload, in seconds."""
ORPHAN_SECONDS = 30
"""Maximum lifetime of this process after its parent was killed, in seconds."""
ARTIFACT_SECONDS = 1800.0
"""Minimum time between two uploads of artifacts, in seconds.

The upload at the end of the run ignores this limit.
"""
FLUSH_SECONDS = 1.0
"""Seconds between two flushes of W&B's log.

If this process is killed, the rows since the last flush are lost.
"""
GAMES = 200
"""Number of newest games in the artifact ``games``."""


class Owner:
    """Owns one W&B run. Each public method is an action that the parent process can ask for."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._folder: Path
        self._memory: Memory
        self._artifacts_due = 0.0

    def start(self, *, folder: str, pid: int, **options: Any) -> dict[str, Any]:
        """Begin or continue the W&B run of the Keisei run in ``folder``. Raises wandb.Error.

        ``pid`` is the process whose CPU time and memory W&B shows. ``options`` are the other
        arguments of ``wandb.init``.
        """
        import wandb

        self._folder, self._memory = Path(folder), Memory(Path(folder))
        self._run = run = wandb.init(
            id=self._memory.id,
            resume="allow",
            reinit="create_new",
            dir=os.environ.get("WANDB_DIR") or folder,
            settings=wandb.Settings(
                console="off",
                silent=True,
                init_timeout=INIT_SECONDS,
                finish_timeout=UPLOAD_SECONDS,
                finish_timeout_raises=True,
                stop_fn=_ignore_stop,
                x_transaction_log_flush_interval=FLUSH_SECONDS,
                x_stats_pid=pid,
            ),
            **options,
        )
        for group in {metric.name.partition("/")[0] for metric in METRICS}:
            axis = "eval/step" if group == "eval" else "train/step"
            run.define_metric(f"{group}/*", step_metric=axis)
        return {"url": run.url, "files": str(Path(run.dir).parent)}

    def log(self, *, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Log the rows that the W&B run does not have yet."""
        for row in [Row(**fields) for fields in rows]:
            if self._memory.is_new(row):
                self._log(row)
        return {}

    def checkpoint(self, *, path: str, artifacts: bool) -> dict[str, Any]:
        """Log what only the run's files contain: evaluations of ``keisei evaluate``, and artifacts.

        ``path`` is the folder of a checkpoint that was saved just now. Artifacts are logged only if
        ``artifacts`` is true, and not more often than every ``ARTIFACT_SECONDS``.
        """
        for fields in reversed(RunReader(self._folder).evaluations()):
            done = fields.get("command") and fields["state"] == "done" and fields.get("result")
            if done and self._memory.is_new_evaluation(fields["id"]):
                self._log(evaluation_row(fields))
        if artifacts and time.monotonic() >= self._artifacts_due:
            self._artifacts_due = time.monotonic() + ARTIFACT_SECONDS
            self._add_artifacts(Path(path))
        return {}

    def finish(self, *, state: str, checkpoint: str) -> dict[str, Any]:
        """End the W&B run and upload its last data. Raises TimeoutError.

        ``checkpoint`` is the folder of the checkpoint for the last artifact; empty for none.
        """
        try:
            if checkpoint:
                self._add_artifacts(Path(checkpoint))
        finally:
            run, self._run = self._owned, None
            run.summary["state"] = state
            run.finish(exit_code=int(state == "failed"))
        return {}

    def close(self) -> None:
        """If the W&B run has not ended, the parent process was killed: end the run as failed."""
        if self._run:
            signal.alarm(ORPHAN_SECONDS)
            self._run.finish(exit_code=1)

    @property
    def _owned(self) -> "Run":
        if self._run is None:
            raise RuntimeError("the W&B run has not begun or has ended")
        return self._run

    def _log(self, row: Row) -> None:
        self._memory.remember(row)
        self._owned.log(row.values)

    def _add_artifacts(self, checkpoint: Path) -> None:
        """Add a checkpoint, the newest games and the ratings of all players as artifacts."""
        import wandb

        reader, id = RunReader(self._folder), self._owned.id
        model = wandb.Artifact(f"checkpoint-{id}", "model", metadata={"step": int(checkpoint.name)})
        model.add_dir(str(checkpoint))
        self._owned.log_artifact(model)
        games = [reader.game(game["id"]) or game for game in reader.games(limit=GAMES)]
        for kind, rows in (("games", games), ("ratings", reader.ratings())):
            if rows:
                table = wandb.Table(list[str | int](rows[0]), [list(row.values()) for row in rows])
                artifact = wandb.Artifact(f"{kind}-{id}", kind)
                artifact.add(table, kind)
                self._owned.log_artifact(artifact)


def main() -> None:
    """Execute requests from standard input until it is closed; answer each request."""
    os.nice(NICENESS)
    requests, answers = _take_pipes()
    owner = Owner()
    for line in requests:
        action, values = json.loads(line)
        try:
            answer = getattr(owner, action)(**values)
        except Exception as error:  # noqa: BLE001 (the parent reports it)
            answer = {"error": _without_key(f"{type(error).__name__}: {error}")}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    owner.close()
    _leave()


def _leave() -> NoReturn:
    """Let W&B's client close its files, then end this process and the client's processes.

    Without a limit, the client would wait until its telemetry is sent. If the server hangs, that
    takes minutes.
    """
    import wandb

    closing = threading.Thread(target=wandb.teardown, daemon=True)
    closing.start()
    closing.join(LEAVE_SECONDS)
    for child in psutil.Process().children():
        child.kill()
    os._exit(0)


def _take_pipes() -> tuple[IO[str], IO[str]]:
    """Return standard input and output, and put the null device in their place.

    Otherwise W&B's client, or the process that it starts, could write into the answers, or keep the
    pipes open.
    """
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    return requests, answers


def _without_key(text: str) -> str:
    """Return a text without the API key, because alerts are logged and sent to browsers."""
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "***") if key else text


def _ignore_stop() -> None:
    """Do nothing if somebody presses the stop button of W&B."""
