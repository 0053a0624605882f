"""One of two processes that train together. test_ranks.py runs ``two_ranks.py FOLDER WHAT``."""

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from keisei.config import Settings
from keisei.ppo import learner as learning
from keisei.ppo import ranks as grouping
from keisei.ppo.learner import IterationReport, Learner
from keisei.ppo.ranks import Group, RankError

SMALL = {
    "run.seed": 6,
    "env.games": 12,
    "env.max_ply": 25,
    "env.reset_pool": 16,
    "net.blocks": 1,
    "net.channels": 8,
    "ppo.rollout_plies": 15,
    "opponents.share": 0.5,
    "opponents.every": 1,
}


def iterate(learner: Learner) -> IterationReport:
    turns = learner.iterate()
    while True:
        try:
            next(turns)
        except StopIteration as end:
            return end.value


def make(group: Group, minibatch: int) -> Learner:
    settings = Settings.load(None, SMALL | {"ppo.minibatch": minibatch})
    return Learner(settings, torch.device("cpu"), torch.float32, group)


def shared_metrics(report: IterationReport) -> str:
    """Return the metrics that must be equal on both ranks: all but speeds and opponents' scores."""
    own = ("speed/", "opponents/")
    return json.dumps({k: v for k, v in report.values.items() if not k.startswith(own)})


def join(group: Group, folder: Path) -> None:
    """Save five iterations of many minibatches, then one of a single minibatch."""
    one = make(group, minibatch=6)
    shared = [shared_metrics(iterate(one)) for _ in range(5)]
    two = make(group, minibatch=100_000)
    two.roll_back(one.tensors(), one.step)
    for _ in range(3):  # until some games have opponents
        iterate(two)
    before, step = two.tensors(), two.step
    learned: list[torch.Tensor] = []
    kept: dict[str, Any] = {}
    prepare, learn = learning.prepare_batch, two._learn

    def keep_batch(*arguments: Any) -> Any:
        kept["batch"], summary = prepare(*arguments)
        return kept["batch"], summary

    def keep_rows(batch: Any, index: torch.Tensor, *rest: Any) -> None:
        learned.append(index)
        learn(batch, index, *rest)

    learning.prepare_batch, two._learn = keep_batch, keep_rows  # type: ignore[method-assign]
    report = iterate(two)
    rows = kept["batch"].select(learned[0])
    torch.save(
        {
            "shared": [*shared, shared_metrics(report)],
            "many": one.tensors(),
            "step": step,
            "taken": report.step - step,
            "before": before,
            "after": two.tensors(),
            "minibatches": len(learned),
            "rows": {name: getattr(rows, name) for name in rows.__slots__},
            "grad_norm": report.values["train/grad_norm"],
            "loss_policy": report.values["train/loss_policy"],
            "games": one.env.games["board"].tobytes(),
        },
        folder / f"{group.rank}.pt",
    )


def spoil(group: Group, folder: Path) -> None:
    """Make the loss, not the gradients, of rank 1 infinite in the second minibatch."""
    one = make(group, minibatch=50)
    count = 0
    ppo_loss = learning.ppo_loss

    def broken(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal count
        count += 1
        loss, stats = ppo_loss(*arguments)
        return loss + (float("inf") if group.rank == 1 and count == 2 else 0), stats

    learning.ppo_loss = broken
    skipped = iterate(one).values["train/skipped"]
    torch.save({"skipped": skipped, "after": one.tensors()}, folder / f"{group.rank}.pt")


def lose(group: Group, stuck: bool) -> None:
    """Let rank 1 end or hang within an iteration; rank 0 prints its error and when it came."""
    one = make(group, minibatch=50)
    iterate(one)
    turns = one.iterate()
    next(turns)
    if group.rank == 1:
        time.sleep(30 if stuck else 0)
        os._exit(7)
    began = time.monotonic()
    try:
        list(turns)
    except RankError as error:
        print(json.dumps([str(error), time.monotonic() - began]), flush=True)
        os._exit(0)


def main() -> None:
    """Run what the command line names."""
    folder, what = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    if what == "stuck":
        grouping.TIMEOUT = timedelta(seconds=5)
        (folder / os.environ["RANK"]).touch()  # starting Python takes longer than this timeout
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.01)
    group = Group(int(os.environ["RANK"]), 2, 0)
    match what:
        case "join":
            join(group, folder)
        case "spoil":
            spoil(group, folder)
        case _:
            lose(group, stuck=what == "stuck")
    if group.rank == 1:
        # A process that leaves the group before the other has finished may abort.
        assert group.receive_order() == ("end", "")
    group.close()
    threads = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    assert not [name for name in threads if "gloo" in name], (
        "gloo's threads may abort the process at exit"
    )


if __name__ == "__main__":
    main()
