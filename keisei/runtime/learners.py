"""Makes a run's learner and brings it to where the run begins."""

from pathlib import Path

import torch

from keisei.config import Settings
from keisei.nets.policy import resolve_device, resolve_dtype
from keisei.ppo.learner import Learner
from keisei.ppo.ranks import ALONE, Ranks
from keisei.store import Checkpoint, load_checkpoint


def build_learner(settings: Settings, ranks: Ranks = ALONE) -> Learner:
    """Return a learner in the precision and on the device that the settings name.

    With several ranks, each takes the GPU of its own number. Raises DeviceError.
    """
    device = resolve_device(settings.device)
    if ranks.size > 1 and device.type == "cuda":
        device = resolve_device(f"cuda:{ranks.local}")
        torch.cuda.set_device(device)
    return Learner(settings, device, resolve_dtype(settings.compute.dtype, device), ranks)


def begin(
    learner: Learner, resumed: Path | None, init: Path | None, rank: int = 0
) -> Checkpoint | None:
    """Load what a new learner starts from, and warm it up. Return the checkpoint that it continues.

    Raises CheckpointError.
    """
    checkpoint = None
    if resumed:
        checkpoint = load_checkpoint(resumed, rank)
        learner.load(checkpoint.tensors, checkpoint.state)
    elif init:
        learner.load_weights(load_checkpoint(init).tensors["weights"])
    learner.warm_up()
    return checkpoint
