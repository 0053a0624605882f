"""Compare resumed training, and training from the same seed, with one training run, bit for bit."""

import argparse
import json
import os
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic mode needs it

import flags
import torch

from keisei.ppo.learner import Learner

ITERATIONS = 4
"""Iterations of the whole training. The checkpoint is taken after half of them."""


def main() -> None:
    """Print the comparisons as JSON: as shipped, compiled, and with deterministic algorithms."""
    args = flags.parse(argparse.ArgumentParser(prog="tools/gpu resume", description=__doc__))
    results = {"plain": compare(args)}
    if torch.cuda.is_available():  # on a CPU, compiling takes minutes and shows nothing new
        results["compiled"] = compare(args, **{"compute.compile": True})
    torch.use_deterministic_algorithms(True, warn_only=True)
    results["deterministic"] = compare(args)
    print(json.dumps(results))


def compare(args: argparse.Namespace, **changed: Any) -> dict[str, Any]:
    """Return whether training repeats itself, and whether resumed training equals the original."""
    whole, saved = train(args, ITERATIONS, **changed)
    again, _ = train(args, ITERATIONS, **changed)
    resumed, _ = train(args, ITERATIONS // 2, saved, **changed)
    return {"repeated": difference(whole, again), "resumed": difference(whole, resumed)}


def train(
    args: argparse.Namespace, iterations: int, saved: Any = None, **changed: Any
) -> tuple[dict[str, torch.Tensor], Any]:
    """Return the weights after the iterations, and a checkpoint from the middle of the training."""
    learner = flags.learner(args, **changed)
    learner.warm_up()
    if saved:
        learner.load(*saved)
    for iteration in range(iterations):
        if iteration == ITERATIONS // 2:
            saved = checkpoint(learner)
        flags.iterate(learner)
    weights = learner.tensors()["weights"]
    learner.env.close()
    return weights, saved


def checkpoint(learner: Learner) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Return what a checkpoint's files would contain."""
    return learner.tensors(), json.loads(json.dumps(learner.state()))


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Return whether all weights are equal, and their largest difference."""
    return {
        "equal": all(torch.equal(one[name], other[name]) for name in one),
        "largest_difference": max(float((one[name] - other[name]).abs().max()) for name in one),
    }


if __name__ == "__main__":
    main()
