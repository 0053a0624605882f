"""Events that the device thread sends: states, alerts, boards, and what an iteration gave."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch

from keisei.events import Alert, Board, Event, Game, Iteration, State, Status
from keisei.feed.outbox import Outbox
from keisei.ppo.learner import IterationReport, Learner
from keisei.process import heap_bytes
from keisei.runtime.share import Share

BOARD_SECONDS = 0.5
"""Time between two boards."""


class Emitter:
    """Makes events and puts them into the outbox. Device thread only."""

    def __init__(self, run: str, step: int, outbox: Outbox) -> None:
        self.state: State = "starting"
        """The state in the newest status event."""
        self.step = step
        """Step that events carry."""
        self._run = run
        self._outbox = outbox
        self._marks = (step, 0.0, 0.0)
        """Step, seconds of training and of evaluation at the end of the last iteration."""
        self._board_due = 0.0
        self._failed_telemetry: set[str] = set()

    def start(self, step: int) -> None:
        """Count speed from here: the learner is ready at ``step``."""
        self.step = step
        self._marks = (step, 0.0, 0.0)

    def status(self, kind: Any, state: State, message: str = "") -> None:
        """Send a change of the run's state."""
        self.state = state
        self._emit(Status, kind=kind, state=state, message=message)

    def alert(self, name: str, level: str, message: str) -> None:
        """Send an alert."""
        self._emit(Alert, name=name, level=level, message=message)

    def iteration(self, report: IterationReport, share: Share, device: str) -> None:
        """Send an iteration's metrics, alerts and games in one call, which wakes the loop once."""
        self.step = report.step
        before, self._marks = self._marks, (report.step, share.training, share.evaluation)
        steps, training, evaluation = (
            new - old for new, old in zip(self._marks, before, strict=True)
        )
        values = report.values | {
            "speed/steps_per_second": steps / (training + evaluation),
            "speed/share_evaluation": evaluation / (training + evaluation),
        }
        with self._telemetry("memory"):
            values |= _memory(device)
        event = self._event
        alerts = (
            event(Alert, name=a.name, level=a.level, message=a.message) for a in report.alerts
        )
        games = (
            event(
                Game,
                id=game.number,
                result=game.result,
                reason=game.reason,
                plies=game.plies,
                record=game.record,
            )
            for game in report.games
        )
        iteration = event(Iteration, iteration=report.iteration, values=values)
        self._outbox.emit(iteration, *alerts, *games)

    def board(self, learner: Learner) -> None:
        """Send the position of the game on show, twice a second at most."""
        now = time.monotonic()
        if now < self._board_due:
            return
        with self._telemetry("board"):
            if board := learner.board():
                self._board_due = now + BOARD_SECONDS
                self._emit(Board, **board)

    def last_words(self, event: Event) -> None:
        """Send a last event, without the limit of the outbox."""
        self._outbox.emit(event, always=True)

    @contextmanager
    def _telemetry(self, what: str) -> Iterator[None]:
        """Turn an exception in the block into an alert, once, so that training goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (whatever it is must not end a run)
            if what not in self._failed_telemetry:
                self._failed_telemetry.add(what)
                text = f"{what} is not shown: {type(error).__name__}: {error}"
                self.alert("telemetry", "warning", text)

    def _emit(self, kind: type[Event], /, **fields: Any) -> None:
        self._outbox.emit(self._event(kind, **fields))

    def _event(self, kind: type[Event], /, **fields: Any) -> Event:
        return kind(run=self._run, step=self.step, time=time.time(), **fields)


def _memory(device: str) -> dict[str, float]:
    """Return the memory of process and device. Raises OSError when no more files can be opened."""
    on_device = torch.cuda.memory_allocated(device) if device.startswith("cuda") else 0
    return {
        "system/rss_bytes": float(psutil.Process().memory_info().rss),
        "system/heap_bytes": float(heap_bytes()),
        "system/device_bytes": float(on_device),
    }
