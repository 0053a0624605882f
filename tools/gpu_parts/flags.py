"""Settings and device of a part, from its command line."""

import argparse
from typing import Any

from keisei.cli import process

process.set_up()  # before torch is imported, as for `keisei train`
process.keep_kernels()

import torch  # noqa: E402

from keisei.cli.settings import add_config, load, take_overrides  # noqa: E402
from keisei.config import Settings  # noqa: E402
from keisei.nets.policy import resolve_device, resolve_dtype  # noqa: E402
from keisei.ppo.learner import Learner  # noqa: E402


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the arguments. Their attribute ``overrides`` contains settings."""
    import sys

    words, overrides = take_overrides(sys.argv[1:])
    add_config(parser)
    args = parser.parse_args(words)
    args.overrides = overrides
    return args


def learner(args: argparse.Namespace, config: str | None = None, **changed: Any) -> Learner:
    """Return a learner with the settings of ``args``, of the shipped ``config`` and ``changed``."""
    chosen = argparse.Namespace(**vars(args))
    chosen.overrides = args.overrides | changed
    if config:
        chosen.config = [config]
    settings: Settings = load(chosen)
    device = resolve_device(settings.device)
    if settings.compute.threads:
        torch.set_num_threads(settings.compute.threads)
    return Learner(settings, device, resolve_dtype(settings.compute.dtype, device))


def iterate(learner: Learner) -> dict[str, float]:
    """Run one iteration to its end, also on the device. Return its metrics."""
    turns = learner.iterate()
    while True:
        try:
            next(turns)
        except StopIteration as end:
            synchronise(learner)
            values: dict[str, float] = end.value.values
            return values


def synchronise(learner: Learner) -> None:
    """Wait until a GPU has done all its work."""
    if learner.device.type == "cuda":
        torch.cuda.synchronize(learner.device)
