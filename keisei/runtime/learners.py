"""Makes the learner of a run and loads the checkpoint from which the run begins."""

from pathlib import Path

import torch

from keisei import formats
from keisei.config import Settings
from keisei.nets.policy import resolve_device, resolve_dtype
from keisei.nets.registry import build
from keisei.ppo.checkpoint import load_moments, load_weights
from keisei.ppo.learner import Learner
from keisei.ppo.ranks import ALONE, Ranks
from keisei.ppo.update import make_optimizer
from keisei.store import Checkpoint, DamagedCheckpointError, load_checkpoint


def build_learner(settings: Settings, ranks: Ranks = ALONE) -> Learner:
    """Return a learner with the precision and the device that the settings name.

    With several ranks on GPUs, each rank uses the GPU whose number equals its local rank. Raises
    DeviceError.
    """
    device = resolve_device(settings.device)
    if ranks.size > 1 and device.type == "cuda":
        device = resolve_device(f"cuda:{ranks.local}")
        torch.cuda.set_device(device)
    return Learner(settings, device, resolve_dtype(settings.compute.dtype, device), ranks)


def check_fits(settings: Settings, path: Path) -> None:
    """Raise DamagedCheckpointError if a checkpoint does not fit the network of ``settings``.

    Such a checkpoint was made by hand, because all checkpoints of a run have the same network.
    A checkpoint of another format, or of weights alone, is not checked: it is refused elsewhere.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.state.get("format") != formats.STATE:
        return
    net = build(settings.net.kind, blocks=settings.net.blocks, channels=settings.net.channels)
    tensors = checkpoint.tensors
    try:
        load_weights(net, tensors["weights"], settings.net)
        load_moments(make_optimizer(net, settings.ppo.weight_decay), net, tensors["optimizer"])
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise DamagedCheckpointError(f"{path}: does not fit the run: {why}") from None


def begin(learner: Learner, resumed: Path | None, init: Path | None) -> Checkpoint | None:
    """Load a checkpoint into a new learner, and warm the learner up.

    From ``resumed``, the whole state is loaded; from ``init``, only the weights. If both are None,
    nothing is loaded. Returns the checkpoint of ``resumed``, or None. Raises CheckpointError.
    """
    checkpoint = None
    if resumed:
        checkpoint = load_checkpoint(resumed)
        learner.load(checkpoint.tensors, checkpoint.state)
    elif init:
        learner.load_weights(load_checkpoint(init).tensors["weights"])
    learner.warm_up()
    return checkpoint
