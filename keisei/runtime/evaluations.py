"""Matches played on the device thread, beside training."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from keisei.evaluation import Match, MatchSpec

AT_ONCE = 4
"""Matches played side by side; more wait for their turn."""
PROGRESS_SECONDS = 0.25


class Agent(Protocol):
    """A network ready to answer (``keisei.nets.policy.Agent``)."""

    def choose(
        self, observation: NDArray[np.uint8], mask: NDArray[np.uint64], *, greedy: bool = False
    ) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Moves and values of positions."""

    def snapshot(self) -> "Agent":
        """A copy that training does not touch."""


@dataclass(slots=True, eq=False)
class _Running:
    id: str
    spec: "MatchSpec"
    match: "Match"
    agent: Agent
    step: int
    """At which the agent was copied: it tells the weights that were measured."""
    told: float = 0.0
    """When it was last heard of."""


class Evaluations:
    """All matches of a run. An error in one is that one's result, and never leaves here."""

    def __init__(self, emit: Callable[..., None], alert: Callable[[str, str, str], None]) -> None:
        """``emit(id=..., state=..., ...)`` tells of a match, ``alert(name, level, text)`` warns."""
        self._emit = emit
        self._alert = alert
        self._waiting: dict[str, MatchSpec] = {}
        self._running: dict[str, _Running] = {}
        self._batch = 4096

    @property
    def running(self) -> bool:
        """Whether a match wants a turn."""
        return bool(self._running)

    @property
    def waiting(self) -> bool:
        """Whether a match could start, for which it needs the weights between two iterations."""
        return bool(self._waiting) and len(self._running) < AT_ONCE

    def add(self, id: str, spec: "MatchSpec") -> None:
        """Queue a match."""
        self._waiting[id] = spec
        self._tell(id, spec, "queued")

    def cancel(self, id: str) -> None:
        """End a match early; nothing happens if it has ended."""
        if id in self._waiting:
            self._tell(id, self._waiting.pop(id), "cancelled")
        elif id in self._running:
            item = self._running.pop(id)
            self._tell(id, item.spec, "cancelled", item.match)

    def start(self, agent: Agent, step: int) -> None:
        """Begin what waits, each with a copy of ``agent``, which has trained ``step`` steps.

        Between iterations only.
        """
        from keisei.evaluation import Match

        while self.waiting:
            id, spec = next(iter(self._waiting.items()))
            del self._waiting[id]
            try:
                item = _Running(id, spec, Match(spec), agent.snapshot(), step)
            except Exception as error:  # noqa: BLE001 (it becomes the match's result)
                self._tell(id, spec, "failed", message=_text(error))
            else:
                self._running[id] = item
                self._tell(id, spec, "running", item.match)

    def turn(self) -> None:
        """Play one ply of the match whose turn it is. At once, its games are few: a short time."""
        item = next(iter(self._running.values()), None)
        if item is None:
            return
        del self._running[item.id]
        try:
            if self._ply(item):
                self._running[item.id] = item  # behind the others
        except Exception as error:  # noqa: BLE001 (it becomes the match's result)
            self._tell(item.id, item.spec, "failed", item.match, message=_text(error))

    def close(self) -> None:
        """Cancel everything."""
        for id in (*self._waiting, *self._running):
            self.cancel(id)

    def _ply(self, item: _Running) -> bool:
        """Whether the match goes on."""
        wanted = item.match.request()
        if wanted is None:
            result = item.match.result().to_dict()
            self._tell(item.id, item.spec, "done", item.match, result=result | {"step": item.step})
            return False
        item.match.answer(self._choose(item, *wanted))
        if time.monotonic() - item.told >= PROGRESS_SECONDS:
            item.told = time.monotonic()
            self._tell(item.id, item.spec, "running", item.match)
        return True

    def _choose(
        self, item: _Running, observation: NDArray[np.uint8], mask: NDArray[np.uint64]
    ) -> NDArray[np.int16]:
        while True:
            try:
                moves = [
                    item.agent.choose(
                        observation[low : low + self._batch],
                        mask[low : low + self._batch],
                        greedy=item.spec.greedy,
                    )[0]
                    for low in range(0, len(observation), self._batch)
                ]
            except torch.OutOfMemoryError:
                if min(self._batch, len(observation)) == 1:
                    raise
                self._batch = min(self._batch, len(observation)) // 2
                torch.cuda.empty_cache()
                self._alert("evaluation_memory", "warning", f"out of memory: batch {self._batch}")
            else:
                return np.concatenate(moves)

    def _tell(
        self, id: str, spec: "MatchSpec", state: str, match: "Match | None" = None, **more: Any
    ) -> None:
        self._emit(
            id=id,
            state=state,
            opponent=spec.opponent,
            games=spec.games,
            progress=match.progress if match else 0.0,
            score=match.score if match else None,
            interval=match.interval if match else None,
            **more,
        )


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
