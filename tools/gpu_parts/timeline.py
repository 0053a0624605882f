"""Profile one iteration: what the device does, when it does nothing, and what waits for it."""

import argparse
import gzip
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flags
import gaps
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from keisei.ppo.learner import Learner

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Print the results as JSON, and write the trace."""
    parser = argparse.ArgumentParser(prog="tools/gpu profile", description=__doc__)
    parser.add_argument("--out", required=True, help="start of the trace's file name")
    args = flags.parse(parser)
    learner = flags.learner(args)
    start = time.perf_counter()
    learner.warm_up()
    results: dict[str, Any] = {"warm_up_seconds": time.perf_counter() - start}
    results["compile_failure"] = learner.compile_failure
    for _ in range(3):
        start = time.perf_counter()
        flags.iterate(learner)
    results["iteration_seconds"] = time.perf_counter() - start
    results["phases"] = dict(learner.clock.seconds)
    results["waits"] = waits(learner)
    results |= gaps.analyse(trace(learner, Path(f"{args.out}.trace.json.gz")))
    print(json.dumps(results))


def waits(learner: Learner) -> dict[str, int]:
    """Return how often each line waits for the GPU in one iteration. Empty on a CPU."""
    if learner.device.type != "cuda":
        return {}
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        turns = learner.iterate()
        for _ in turns:
            pass
    torch.cuda.set_sync_debug_mode("default")
    lines = Counter(
        f"{Path(warning.filename).resolve()}:{warning.lineno}".removeprefix(f"{ROOT}/")
        for warning in caught
        if "synchronizing" in str(warning.message)
    )
    return dict(lines.most_common())


def trace(learner: Learner, file: Path) -> list[gaps.Event]:
    """Record one iteration. Write the trace for chrome://tracing, and return its events."""
    activities = [ProfilerActivity.CPU]
    if learner.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    mark_phases(learner)
    with profile(activities=activities) as recorded:
        flags.iterate(learner)
    recorded.export_chrome_trace(str(file))
    with gzip.open(file) as opened:
        events: list[gaps.Event] = json.load(opened)["traceEvents"]
    return events


def mark_phases(learner: Learner) -> None:
    """Let the trace contain the phases of the learner's clock."""
    measure = learner.clock.phase

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        with record_function(gaps.PHASE + name), measure(name):
            yield

    learner.clock.phase = phase  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
