"""Measure the memory that training needs with the shipped settings for GPUs."""

import argparse
import gc
import json

import flags
import psutil
import torch

from keisei.ppo.learner import Learner


def main() -> None:
    """Print the memory of base and h100, plain and compiled, as JSON."""
    args = flags.parse(argparse.ArgumentParser(prog="tools/gpu memory", description=__doc__))
    results = {}
    for config in ("base", "h100"):
        # On a CPU, compiling takes minutes and shows nothing new.
        for compiled in (False, True)[: 1 + torch.cuda.is_available()]:
            name = f"{config}-compiled" if compiled else config
            learner = flags.learner(args, config, **{"compute.compile": compiled})
            results[name] = measure(learner)
            learner.env.close()
            del learner
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    print(json.dumps(results))


def measure(learner: Learner) -> dict[str, float]:
    """Return bytes of memory after each stage, and the most bytes during it."""
    results: dict[str, float] = {}

    def note(stage: str) -> None:
        if learner.device.type == "cuda":
            flags.synchronise(learner)
            results[stage] = torch.cuda.memory_allocated(learner.device)
            results[f"{stage}_peak"] = torch.cuda.max_memory_allocated(learner.device)
            results[f"{stage}_reserved"] = torch.cuda.memory_reserved(learner.device)
            torch.cuda.reset_peak_memory_stats(learner.device)
        results[f"{stage}_rss"] = psutil.Process().memory_info().rss

    note("built")
    learner.warm_up()
    note("warm")
    flags.iterate(learner)  # the optimiser makes its moments, and the pool its first network
    note("first_iteration")
    learner.play()
    note("rollout")
    flags.iterate(learner)
    note("iteration")
    results["bytes_per_ply"] = learner.bytes_per_ply
    return results


if __name__ == "__main__":
    main()
