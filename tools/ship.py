"""Train the network that ships with Keisei, measure it, and write it into the package."""

import argparse
import csv
import hashlib
import io
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from keisei.cli import main as cli
from keisei.cli.bench.command import machine, versions
from keisei.evaluation.spec import ENGINE
from keisei.resources import SHIPPED
from keisei.store import (
    RunDirectory,
    find_checkpoint,
    load_checkpoint,
    read_settings,
    save_checkpoint,
)
from keisei.store.checkpoints import WEIGHTS
from keisei.store.layout import LOCK_FILE
from keisei.usi import EngineSpec

ROOT = Path(__file__).parents[1]
LARGEST = 1_000_000
"""Largest size of the weights, in bytes, because every installation of Keisei contains them."""
OPPONENTS = (
    "random",
    "material",
    *(f"usi:fairy-stockfish?nodes=500&Skill Level={level}" for level in (-4, -2, 0)),
)
CURVE_ROWS = 100
"""Largest number of rows in ``training.csv``."""


@dataclass(frozen=True)
class Score:
    """The score of a match against one opponent."""

    opponent: str
    mates: int
    games: int
    score: float
    low: float
    high: float

    def row(self) -> str:
        """Return the score as a row of the card's table."""
        return (
            f"| `{self.opponent}` | {self.mates} | {self.games} | {self.score:.3f} "
            f"| {self.low:.3f} to {self.high:.3f} |"
        )


CARD = """\
# {name}

This network ships with Keisei: `keisei usi shipped` plays with it. It learned from self-play alone,
from random weights.

| | |
|---|---|
| network | {kind}, {blocks} blocks, {channels} channels, {parameters:,} parameters |
| training | {step:,} steps, {minutes:.0f} minutes, seed {seed}, {threads} torch threads |
| machine | {cpu}, {cores} cores |
| versions | {versions} |
| SHA-256 of the weights | `{sha256}` |
| licence | MIT |

## How it was made
`run.toml` holds all settings of the training, and `training.csv` holds its metrics. This command of
a checkout of Keisei repeats the training and the measurements:
```
tools/ship --config {home}/run.toml --run.minutes 0 --run.steps {step}
```
On the same machine, with the same versions, it makes the same weights, bit for bit. On another
machine, rounding differs, and so do the weights.

## Scores
The network played its most probable move; with `mates` 1, it played a mate in one wherever there
was one. Draws and capped games count half a point.

| opponent | mates | games | score | 95 % interval |
|---|---|---|---|---|
{scores}

Commands such as this one repeat a score:
```
keisei evaluate shipped --opponent material --games {games} --greedy --mates {mates}
```
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, unless --run names a run; then pack, measure and install the network."""
    parser = argparse.ArgumentParser(
        prog="tools/ship",
        description=__doc__,
        epilog="All other flags are flags of `keisei train`, such as --run.minutes 240.",
        allow_abbrev=False,
    )
    parser.add_argument("--run", type=Path, help="run to take (default: train a new one)")
    parser.add_argument("--out", type=Path, default=ROOT / "keisei" / SHIPPED, help="folder")
    parser.add_argument("--games", type=int, default=200, help="games in each match (default: 200)")
    parser.add_argument(
        "--opponent", action="append", help="opponent in the matches; may be repeated"
    )
    args, training = parser.parse_known_args(arguments)
    if bool(args.run) == bool(training):
        parser.error("give either --run RUN or flags for the training, such as --run.minutes 240")
    opponents = args.opponent or OPPONENTS
    for program in {EngineSpec.parse(name).path for name in opponents if name.startswith(ENGINE)}:
        if not shutil.which(program):  # said before hours of training
            parser.error(f"{program} is not in PATH; install it, or name opponents with --opponent")
    run = args.run or train(training)
    network = pack(run)
    scores = measure(network, opponents, args.games)
    (network / "CARD.md").write_text(card(run, network, scores, args.games), encoding="utf-8")
    install(network, args.out)


def keisei(*words: object) -> str:
    """Run a command and return its standard output."""
    with redirect_stdout(io.StringIO()) as out:
        code = cli.main([str(word) for word in words])
    if code:
        sys.exit(code)
    return out.getvalue()


def train(flags: list[str]) -> Path:
    """Train a new run with these flags; return the run."""
    run = Path("runs") / time.strftime("ship-%Y%m%d-%H%M%S")
    command = [sys.executable, "-m", "keisei", "train", "--run", str(run), *flags]
    subprocess.run(command, check=True)
    return run


def pack(run: Path) -> Path:
    """Write the run's newest weights, settings and metrics into a folder of the run; return it."""
    checkpoint = load_checkpoint(find_checkpoint(run, only=WEIGHTS)[0], only=WEIGHTS)
    state = {key: checkpoint.state[key] for key in ("iteration", "elapsed_seconds", "net")}
    build = run / "ship"
    shutil.rmtree(build, ignore_errors=True)
    with RunDirectory.create(read_settings(run), build / "new") as new:
        saved = save_checkpoint(
            new, checkpoint.step, checkpoint.tensors, {"format": "weights", **state}
        )
    (new.path / LOCK_FILE).unlink()
    (new.path / "training.csv").write_text(curve(keisei("metrics", run, "--csv")), "utf-8")
    weights = saved / f"{WEIGHTS}.safetensors"
    if weights.stat().st_size > LARGEST:
        sys.exit(f"{weights}: {weights.stat().st_size:,} bytes; at most {LARGEST:,} may ship")
    return new.path.rename(build / f"{SHIPPED}-{digest(weights)[:6]}")


def curve(text: str) -> str:
    """Return evenly spaced rows of the CSV text, with short numbers, and minutes for ``time``."""
    rows = list(csv.DictReader(io.StringIO(text)))
    chosen = rows[:: -math.ceil(len(rows) / CURVE_ROWS)][::-1]  # the last row is among them
    began = float(rows[0]["time"])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*("step", "minutes"), *list(rows[0])[3:]])
    for row in chosen:
        values = list(row.values())
        minutes = (float(row["time"]) - began) / 60
        short = [f"{float(value):.4g}" if value else "" for value in values[3:]]
        writer.writerow([row["step"], f"{minutes:.2f}", *short])
    return out.getvalue()


def measure(network: Path, opponents: Sequence[str], games: int) -> list[Score]:
    """Play matches against all opponents, without and with proven mates; return the scores."""
    found: list[Score] = []
    for mates in (0, 1):
        flags = [word for name in opponents for word in ("--opponent", name)]
        flags += ["--strategy", "gauntlet", "--games", str(games), "--mates", str(mates)]
        report = json.loads(keisei("evaluate", network, *flags, "--greedy", "--json"))
        found += [
            Score(match["opponent"], mates, games, match["score"], *match["interval"])
            for match in report.get("matches", [report])
        ]
    return found


def card(run: Path, network: Path, scores: list[Score], games: int) -> str:
    """Return the card of a packed network."""
    settings, (folder, _) = read_settings(run), find_checkpoint(network)
    checkpoint = load_checkpoint(folder)
    here, program = machine(), versions()
    return CARD.format(
        name=network.name,
        **checkpoint.state["net"],
        parameters=sum(tensor.numel() for tensor in checkpoint.tensors[WEIGHTS].values()),
        step=checkpoint.step,
        minutes=checkpoint.state["elapsed_seconds"] / 60,
        seed=settings.run.seed,
        threads=settings.compute.threads,
        cpu=here["cpu"],
        cores=here["cores"],
        versions=", ".join(f"{name} {version}" for name, version in program.items()),
        sha256=digest(folder / f"{WEIGHTS}.safetensors"),
        home=f"keisei/{SHIPPED}/{network.name}",
        scores="\n".join(score.row() for score in scores),
        games=games,
        mates=scores[-1].mates,
    )


def install(network: Path, out: Path) -> None:
    """Replace the network in the folder ``out``."""
    for old in out.glob(f"{SHIPPED}-*"):
        shutil.rmtree(old)
    shutil.copytree(network, out / network.name)
    print(f"{out / network.name}: read its CARD.md")


def digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
