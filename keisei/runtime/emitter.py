"""Sends the events of the device thread: states, alerts, boards, and iterations' results."""

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
"""Shortest time between two board events, in seconds."""


class Emitter:
    """Makes events and puts them into the outbox. Device thread only."""

    def __init__(self, run: str, step: int, outbox: Outbox) -> None:
        self.state: State = "starting"
        """State in the newest status event."""
        self.step = step
        """Step that the next events contain."""
        self._run = run
        self._outbox = outbox
        self._marks = (step, 0.0, 0.0)
        """Step, seconds of training and seconds of evaluation at the end of the last iteration."""
        self._board_due = 0.0
        self._failed_telemetry: set[str] = set()

    def start(self, step: int) -> None:
        """Set the step at which the learner begins. The first measurement of speed begins here."""
        self.step = step
        self._marks = (step, 0.0, 0.0)

    def status(self, kind: Any, state: State, message: str = "") -> None:
        """Send an event about the run's state."""
        self.state = state
        self._emit(Status, kind=kind, state=state, message=message)

    def alert(self, name: str, level: str, message: str) -> None:
        """Send an alert."""
        self._emit(Alert, name=name, level=level, message=message)

    def iteration(self, report: IterationReport, share: Share, device: str) -> None:
        """Send an iteration's events in one call, so that the event loop wakes only once."""
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
        # The games come first: when the iteration is in the database, its games are there too.
        self._outbox.emit(*games, iteration, *alerts)

    def board(self, learner: Learner) -> None:
        """Send the position of the displayed game, at most twice a second."""
        now = time.monotonic()
        if now < self._board_due:
            return
        with self._telemetry("board"):
            if board := learner.board():
                self._board_due = now + BOARD_SECONDS
                self._emit(Board, **board)

    def last_words(self, event: Event) -> None:
        """Send the run's last event, even if the outbox is full."""
        self._outbox.emit(event, always=True)

    @contextmanager
    def _telemetry(self, what: str) -> Iterator[None]:
        """Catch an exception that the block raises, so that training goes on.

        The first exception for each value of ``what`` is sent as an alert.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 (no failure of telemetry may end a run)
            if what not in self._failed_telemetry:
                self._failed_telemetry.add(what)
                text = f"{what} is not shown: {type(error).__name__}: {error}"
                self.alert("telemetry", "warning", text)

    def _emit(self, kind: type[Event], /, **fields: Any) -> None:
        self._outbox.emit(self._event(kind, **fields))

    def _event(self, kind: type[Event], /, **fields: Any) -> Event:
        return kind(run=self._run, step=self.step, time=time.time(), **fields)


def _memory(device: str) -> dict[str, float]:
    """Return the memory that this process uses in RAM and on the device, in bytes.

    Raises OSError if the process can't open a file.
    """
    on_device = torch.cuda.memory_allocated(device) if device.startswith("cuda") else 0
    return {
        "system/rss_bytes": float(psutil.Process().memory_info().rss),
        "system/heap_bytes": float(heap_bytes()),
        "system/device_bytes": float(on_device),
    }
