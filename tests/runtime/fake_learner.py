"""A learner that learns nothing, for tests of the code around it."""

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from keisei import Settings
from keisei.env import legal_lists
from keisei.ppo.detectors import Finding


@dataclass(frozen=True)
class FakeReport:
    step: int
    iteration: int
    values: dict[str, float]
    games: tuple[Any, ...] = ()
    alerts: tuple[Finding, ...] = ()


class FakeAgent:
    """Plays the first legal move."""

    def __init__(self, copies: int = 0) -> None:
        self.copies = copies

    def choose(
        self, observation: NDArray[np.uint8], mask: NDArray[np.uint64], **more: Any
    ) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        bits = np.unpackbits(mask.view(np.uint8), axis=1, bitorder="little")
        return bits.argmax(axis=1).astype(np.int16), np.zeros(len(mask), np.float32)

    def assess(
        self, observation: NDArray[np.uint8], mask: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Give all legal moves the same probability, and every position the value 0."""
        actions, counts = legal_lists(mask, multiple=32)
        priors = (actions >= 0) / counts[:, None].astype(np.float32)
        return actions, priors.astype(np.float32), np.zeros(len(mask), np.float32)

    @property
    def nbytes(self) -> int:
        return 4

    def snapshot(self) -> "FakeAgent":
        return FakeAgent(self.copies + 1)


class FakeEnv:
    closed = False

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeLearner:
    """Its iterations have ``turns`` turns, which sleep ``seconds`` each, without the GIL."""

    settings: Settings
    turns: int = 4
    seconds: float = 0.005
    steps: int = 100
    warm_up_seconds: float = 0.0
    compile_failure: str = ""
    alerts: Callable[[int], tuple[Finding, ...]] = lambda iteration: ()
    """Takes an iteration's number, counted from 1; returns its alerts."""
    on_turn: Callable[["FakeLearner", int], None] = lambda learner, turn: None
    step: int = 0
    iteration: int = 0
    given_up: int = 0
    quiet: bool = True
    shown: int = 1
    went_back_to: list[int] = field(default_factory=list)
    agent: FakeAgent = field(default_factory=FakeAgent)
    env: FakeEnv = field(default_factory=FakeEnv)

    def warm_up(self) -> None:
        time.sleep(self.warm_up_seconds)

    def iterate(self) -> Generator[None, None, FakeReport]:
        try:
            for turn in range(self.turns):
                time.sleep(self.seconds)
                self.on_turn(self, turn)
                if turn < self.turns - 1:
                    yield
        except GeneratorExit:
            self.given_up += 1
            raise
        self.step += self.steps
        self.iteration += 1
        alerts = self.alerts(self.iteration)
        self.quiet = not alerts
        return FakeReport(self.step, self.iteration, {"train/kl": 0.01}, alerts=alerts)

    def tensors(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {"weights": {"w": torch.tensor([float(self.step)])}}

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "iteration": self.iteration, "quiet": self.quiet}

    def load(self, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        assert float(tensors["weights"]["w"]) == state["step"]
        self.step, self.iteration = state["step"], state["iteration"]

    def roll_back(self, tensors: Mapping[str, Any], step: int) -> None:
        assert float(tensors["weights"]["w"]) == step
        self.went_back_to.append(step)

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        self.agent = FakeAgent(int(weights["w"]))

    def show(self, game: int | str) -> int:
        if game == 0:
            raise LookupError("game 0 is not in progress")
        self.shown = game if isinstance(game, int) else 1
        return self.shown

    def board(self) -> dict[str, Any]:
        return {
            "game": self.shown, "sfen": "startpos", "last_move": None, "ply": 0, "value": 0.0,
            "top_moves": (),
        }  # fmt: skip
