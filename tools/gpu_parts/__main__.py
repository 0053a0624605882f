"""Run parts of ``tools/gpu`` one after the other, and store each part's results and log."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from keisei.cli.bench.command import machine, versions

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PART_SECONDS = 530
"""Seconds after which a part is ended. Some machines run a command for ten minutes at most."""
KEISEI = ("-m", "keisei")
TRAIN = (*KEISEI, "bench", "train", "--json", "--repeats", "5", "--config")
EAGER, COMPILED = ("--compute.compile", "false"), ("--compute.compile", "true")
GPU = ("--device", "cuda")
SMALL = (
    "--device=cpu", "--env.games=8", "--env.max_ply=32", "--env.reset_pool=16", "--env.threads=1",
    "--ppo.rollout_plies=4", "--ppo.minibatch=16", "--net.blocks=1", "--net.channels=8",
    "--compute.threads=1",
)  # fmt: skip
"""Settings of ``--cpu``. With them every part takes some seconds on a CPU."""

PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "tests": ("the tests that need a GPU", ("-m", "pytest", "-q", "tests/test_gpu.py")),
    "train-base": ("speed of base training", (*TRAIN, "base", *EAGER)),
    "train-base-compiled": ("the same, compiled", (*TRAIN, "base", *COMPILED)),
    "train-h100": ("speed of h100 training, not compiled", (*TRAIN, "h100", *EAGER)),
    "train-h100-compiled": ("the same, compiled", (*TRAIN, "h100", *COMPILED)),
    "ppo": (
        "speed of Keisei and of a plain PPO loop",
        ("tools/bench_peers", "ppo", "--json", "--repeats", "8", "--config", "base"),
    ),
    "match": ("speed of matches", (*KEISEI, "bench", "match", "--json", "--config", "base")),
    "contention": (
        "speed of training beside evaluations",
        (*KEISEI, "bench", "contention", "--json", "--rounds=8", "--seconds=6", "--config=base"),
    ),
    "profile-base": (
        "where the GPU waits in an iteration of base",
        (str(HERE / "timeline.py"), "--config", "base", *EAGER),
    ),
    "profile-h100": (
        "where the GPU waits in an iteration of h100",
        (str(HERE / "timeline.py"), "--config", "h100", *COMPILED),
    ),
    "learn": (
        "seven minutes of learning, then matches",
        (str(HERE / "learn.py"), "--minutes=7", "--config=base", "--schedule.steps=50_000_000"),
    ),
    "resume": (
        "whether resumed training gives the same weights, bit for bit",
        (str(HERE / "resume.py"), "--config", "base"),
    ),
    "memory": ("GPU memory of base and h100", (str(HERE / "memory.py"),)),
}
"""Each part's description, and the arguments that Python gets."""
FASTER = {
    "match": ("--games=4", "--repeats=2"),
    "contention": ("--rounds=2", "--seconds=1"),
    "ppo": ("--repeats=2",),
    "learn": ("--minutes=0.1", "--games=2"),
}
"""Arguments that a part gets with ``--cpu``, beside ``SMALL``."""
WRITERS = ("profile-base", "profile-h100", "learn")
"""Parts that write further files into the folder of results."""


def main() -> int:
    """Run the chosen parts. Return 0 if all of them succeeded."""
    parser = argparse.ArgumentParser(prog="tools/gpu", description=__doc__)
    parser.add_argument("parts", nargs="+", metavar="PART", help="list, all, or names of parts")
    parser.add_argument("--cpu", action="store_true", help="small settings, on the CPU")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "gpu", help="folder of results (%(default)s)"
    )
    args = parser.parse_args()
    if args.parts == ["list"]:
        print("\n".join(f"{name:<20} {about}" for name, (about, _) in PARTS.items()))
        return 0
    names = list(PARTS) if args.parts == ["all"] else args.parts
    wrong = [name for name in names if name not in PARTS]
    if wrong:
        parser.error(f"{wrong[0]!r} is not one of: list, all, {', '.join(PARTS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    succeeded = [run(name, args.out.resolve(), args.cpu) for name in names]
    return 0 if all(succeeded) else 1


def run(name: str, out: Path, cpu: bool) -> bool:
    """Run a part; write ``NAME.json`` and ``NAME.txt``. Return whether the part succeeded."""
    command, log = arguments(name, out, cpu), out / f"{name}.txt"
    print(f"{name:<20} ", end="", flush=True)
    start = time.monotonic()
    code, answer = execute(command, log, cpu)
    try:
        results = json.loads(answer)
    except ValueError:  # pytest prints text, and a part that failed prints nothing
        results = None
        with log.open("a") as file:
            file.write(answer)
    report = {
        "part": name,
        "command": ["python", *command],
        "exit_code": code,
        "seconds": round(time.monotonic() - start, 1),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_only": cpu,
        "gpu": gpu(),
        "machine": machine(),
        "versions": versions(),
        "results": results,
    }
    (out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"{'ok' if code == 0 else 'FAILED, see ' + str(log)}, {report['seconds']} s", flush=True)
    return code == 0


def arguments(name: str, out: Path, cpu: bool) -> list[str]:
    """Return the arguments with which Python runs a part."""
    words = [*PARTS[name][1]]
    if name in WRITERS:
        words += ["--out", str(out / name)]
    if name != "tests":
        words += [*SMALL, *FASTER.get(name, ())] if cpu else GPU
    return words


def execute(command: list[str], log: Path, cpu: bool) -> tuple[int, str]:
    """Run Python with a part's arguments; stderr goes to ``log``. Return exit code and stdout.

    The part has a process group of its own, so that its child processes end with it.
    """
    changed = {"GPU_TESTS_DEVICE": "cpu", "OMP_NUM_THREADS": "1"} if cpu else {}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=os.environ | changed, text=True,
            stdout=subprocess.PIPE, stderr=file, start_new_session=True,
        )  # fmt: skip
        try:
            answer, _ = process.communicate(timeout=PART_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            answer, _ = process.communicate()
            file.write(f"\nended after {PART_SECONDS} seconds\n")
    return process.returncode, answer


def gpu() -> str:
    """Return the GPU's name, driver, memory and power limit, or why they are unknown."""
    query = "name,driver_version,memory.total,power.limit"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"unknown: {error}"


if __name__ == "__main__":
    sys.exit(main())
