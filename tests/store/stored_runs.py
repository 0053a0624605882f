"""Make runs on the disk, with small checkpoints, metrics and evaluations."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keisei.config import Settings
from keisei.events import Alert, Iteration
from keisei.nets.registry import build
from keisei.store import Database, MatchTable, RunDirectory, save_checkpoint

NET = {"kind": "se_resnet", "blocks": 2, "channels": 8}


def make_run(
    path: Path,
    steps: Iterable[int] = (),
    settings: dict[str, Any] | None = None,
    *,
    state: dict[str, Any] | None = None,
    net: dict[str, Any] | None = None,
) -> Path:
    """Make a closed run with a checkpoint and an iteration at each of ``steps``."""
    net = net or NET
    tree = {"net": net, "run": {"checkpoints_kept": 99}} | (settings or {})
    with RunDirectory.create(Settings.model_validate(tree), path) as run:
        database = Database(run.database)
        for number, step in enumerate(steps, 1):
            weights = build(**net, seed=step).state_dict()
            whole = {"net": net, "iteration": number, "elapsed_seconds": 3600.0 * number}
            save_checkpoint(run, step, {"weights": weights}, whole | (state or {}))
            values = {"train/entropy": 4 - step / 1000, "games/length": float(step)}
            where = {"run": run.id, "step": step, "time": 1000.0 + step}
            database.append([Iteration(iteration=number, values=values, **where)])
            database.append([Alert(name="draws", level="warning", message=f"at {step}", **where)])
        database.close()
    return path


def evaluate(
    run: Path, step: int, opponent: str, score: float, *, mode: str = "", state: str = "done"
) -> None:
    """Store an evaluation of the run's network at ``step``."""
    table = MatchTable(run)
    key = f"{step}-{opponent}-{mode}-{state}"
    result = {
        "agent": f"{run.name}@{step}{mode}",
        "opponent": opponent,
        "games": 40,
        "score": score,
        "interval": [score - 0.1, score + 0.1],
    }
    table.begin(key, step, {"run": run.name, "opponent": opponent})
    table.update(key, state, {"result": result} if state == "done" else {})
    table.close()


def damage(file: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
