"""Train for some minutes, then play matches; keep the network and the events of the training."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from keisei.cli.settings import take_overrides
from keisei.store.checkpoints import find_checkpoint

KEISEI = (sys.executable, "-m", "keisei")
KEPT = ("manifest.json", "state.json", "weights.safetensors")
"""Files of the newest checkpoint that are kept. A player needs no others."""


def main() -> None:
    """Print the last metrics and the matches' results as JSON."""
    words, overrides = take_overrides(sys.argv[1:])
    parser = argparse.ArgumentParser(prog="tools/gpu learn", description=__doc__)
    parser.add_argument("--config", required=True, help="settings of the training")
    parser.add_argument("--device", required=True, help="device of training and matches")
    parser.add_argument("--minutes", required=True, help="duration of the training")
    parser.add_argument("--games", default="200", help="games of each match (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the network")
    args = parser.parse_args(words)
    settings = [f"--{key}={value}" for key, value in overrides.items()]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(args, run, settings)
        keep(run, args.out)
        results = last_iteration(events_file(args.out))
        print(json.dumps(results | {"matches": play(args, run)}))


def train(args: argparse.Namespace, run: Path, settings: list[str]) -> None:
    """Train in a process of its own, as a user does. Write the events to a file."""
    command = [*KEISEI, "train", "--json", "--config", args.config, "--device", args.device]
    command += ["--run", str(run), f"--run.minutes={args.minutes}", *settings]
    args.out.mkdir(parents=True, exist_ok=True)
    with events_file(args.out).open("w") as file:
        subprocess.run(command, stdout=file, check=True)


def events_file(out: Path) -> Path:
    """Return the file of the training's events, beside the folder for the network."""
    return out.with_suffix(".jsonl")


def keep(run: Path, out: Path) -> None:
    """Copy the run's settings and the newest checkpoint's network, which is ready to play."""
    checkpoint, _ = find_checkpoint(run)
    for file in [run / "run.toml", *(checkpoint / name for name in KEPT)]:
        shutil.copy(file, out)


def last_iteration(file: Path) -> dict[str, Any]:
    """Return step and metrics of the last iteration."""
    events = map(json.loads, file.read_text().splitlines())
    *_, last = (event for event in events if event["event"] == "iteration")
    return {name: last[name] for name in ("step", "iteration", "values")}


def play(args: argparse.Namespace, run: Path) -> Any:
    """Return the report of the matches against random moves and the material player."""
    command = [*KEISEI, "evaluate", str(run), "--strategy", "gauntlet"]
    command += [
        "--opponent",
        "random",
        "--opponent",
        "material",
        "--device",
        args.device,
        "--games",
        args.games,
        "--json",
    ]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(answer.stdout)


if __name__ == "__main__":
    main()
