"""What a device thread asks of a learner, and how one is made ready."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from keisei.config import Settings
from keisei.play.turns import Agent
from keisei.ppo.ranks import ALONE, Ranks
from keisei.store import Checkpoint, load_checkpoint


class Report(Protocol):
    """What an iteration gave (``keisei.ppo.Report``)."""

    @property
    def step(self) -> int: ...
    @property
    def iteration(self) -> int: ...
    @property
    def values(self) -> dict[str, float]: ...
    @property
    def games(self) -> tuple[Any, ...]: ...
    @property
    def alerts(self) -> tuple[Any, ...]: ...


class Learner(Protocol):
    """What the worker asks of a learner (``keisei.ppo.Learner``)."""

    @property
    def step(self) -> int: ...
    @property
    def agent(self) -> Agent: ...
    @property
    def env(self) -> Any: ...
    @property
    def compile_failure(self) -> str: ...
    def warm_up(self) -> None: ...
    def iterate(self) -> Generator[None, None, Any]: ...
    def tensors(self) -> Mapping[str, Mapping[str, torch.Tensor]]: ...
    def state(self) -> dict[str, Any]: ...
    def load(self, tensors: Any, state: Mapping[str, Any]) -> None: ...
    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None: ...
    def roll_back(self, tensors: Any, step: int) -> None: ...
    def board(self) -> Mapping[str, Any] | None: ...


def build_learner(settings: Settings, ranks: Ranks = ALONE) -> Learner:
    """The real learner, in the precision and on the device that the settings name.

    Of several ranks each has the GPU of its own number. Raises DeviceError.
    """
    from keisei.nets.policy import resolve_device, resolve_dtype
    from keisei.ppo.learner import Learner as PPOLearner

    device = resolve_device(settings.device)
    if ranks.size > 1 and device.type == "cuda":
        device = resolve_device(f"cuda:{ranks.local}")
        torch.cuda.set_device(device)
    return PPOLearner(settings, device, resolve_dtype(settings.compute.dtype, device), ranks)


def begin(
    learner: Learner, resumed: Path | None, init: Path | None, rank: int = 0
) -> Checkpoint | None:
    """Bring a new learner to where the run begins. Returns the checkpoint that it continues."""
    checkpoint = None
    if resumed:
        checkpoint = load_checkpoint(resumed, rank)
        learner.load(checkpoint.tensors, checkpoint.state)
    elif init:
        learner.load_weights(load_checkpoint(init).tensors["weights"])
    learner.warm_up()
    return checkpoint
