"""Matches that a test plays turn by turn, without a device thread, and agents for them."""

from collections.abc import Callable
from typing import Any

import torch
from fake_learner import FakeAgent

from keisei.config import Env
from keisei.evaluation import Match, MatchSpec
from keisei.play.networks import LoadedNetwork, Networks
from keisei.play.turns import Job, Matches, OpenNetwork, PlayMatch

SPEC = MatchSpec("random", games=8, max_ply=12)


class SmallMemory(FakeAgent):
    """An agent that runs out of memory above ``room`` positions; it notes its batches."""

    def __init__(self, room: int = 3) -> None:
        super().__init__()
        self.room = room
        self.batches: list[int] = []

    def choose(self, observation: Any, mask: Any, **more: Any) -> Any:
        if len(mask) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.batches.append(len(mask))
        return super().choose(observation, mask, **more)

    def snapshot(self) -> "SmallMemory":
        return self


class DeviceStandIn:
    """The networks and matches of a device thread, with the alerts that they send."""

    def __init__(self, **limits: int) -> None:
        self.alerts: list[tuple[str, ...]] = []
        alert = lambda *alert: self.alerts.append(alert)  # noqa: E731
        self.networks = Networks("run", Env(), "cpu", alert, **limits)
        self.matches = Matches(self.networks)

    async def open(self, agent: FakeAgent, step: int = 7) -> LoadedNetwork:
        """Load a copy of ``agent``."""
        command = OpenNetwork("current")
        self.matches.obey(command, agent, step)
        network: LoadedNetwork = await command.finished
        return network

    async def start(
        self,
        *networks: LoadedNetwork,
        spec: MatchSpec = SPEC,
        on_games: Callable[..., None] = print,
    ) -> Job:
        """Begin a match of one network against ``random``, or of two networks."""
        both = networks[0], networks[1] if len(networks) > 1 else None
        job = Job(Match(spec), both, on_games=on_games)
        self.matches.obey(PlayMatch(job))
        return job

    def play(self) -> None:
        """Play every match to its end, which must come within 1000 turns."""
        for _ in range(1000):
            if not self.matches.running:
                return
            self.matches.turn([])
        raise AssertionError("a match does not end")
