"""Training on several ranks: the orders that rank 0 sends, and how the other ranks obey them.

Rank 0 is a complete run. The other ranks have no event loop and no database, and they decide
nothing. Before each turn, they wait for an order from rank 0.
"""

import json
from pathlib import Path

import torch

from keisei.ppo.learner import Learner
from keisei.ppo.ranks import Group, Ranks
from keisei.runtime.learners import begin, build_learner
from keisei.store import NotFiniteError, load_checkpoint, read_settings
from keisei.store.checkpoints import write_part
from keisei.store.manifest import Files


def start_others(ranks: Ranks, run: Path, resumed: Path | None, init: Path | None) -> None:
    """Order the other ranks to begin the run from rank 0's checkpoint. Rank 0 only."""
    paths = {"run": run, "resumed": resumed, "init": init}
    ranks.send_order("start", json.dumps({k: str(v.absolute()) for k, v in paths.items() if v}))


def collect_parts(ranks: Ranks, folder: Path) -> Files:
    """Order the other ranks to write their parts of a checkpoint into ``folder``. Rank 0 only.

    Returns the files that the other ranks wrote. Raises OSError if a rank can't write its files.
    """
    ranks.send_order("save", str(folder))
    files: Files = {}
    for rank, answer in enumerate(map(json.loads, ranks.gather("{}"))):
        if isinstance(answer, str):
            raise OSError(f"rank {rank}: {answer}")
        files |= answer
    return files


def follow(ranks: Group) -> None:
    """Obey the orders of rank 0 until training ends. Only ranks other than 0 call this.

    Raises RankError, and any exception that training raises on this rank.
    """
    order, text = ranks.receive_order()
    if order == "end":  # the run was stopped before training began
        return
    learner = _start(ranks, **{name: Path(path) for name, path in json.loads(text).items()})
    try:
        _follow(ranks, learner)
    finally:
        learner.env.close()


def _start(
    ranks: Group, run: Path, resumed: Path | None = None, init: Path | None = None
) -> Learner:
    settings = read_settings(run)
    torch.set_num_threads(settings.compute.threads)
    learner = build_learner(settings, ranks)
    begin(learner, resumed, init, ranks.rank)
    ranks.gather(learner.compile_failure)
    return learner


def _follow(ranks: Group, learner: Learner) -> None:
    iteration = learner.iterate()
    while True:
        match ranks.receive_order():
            case "train", _:
                if next(iteration, "over") == "over":
                    iteration = learner.iterate()
            case "save", folder:
                ranks.gather(json.dumps(_write(Path(folder), ranks.rank, learner)))
            case "rollback", path:
                good = load_checkpoint(Path(path))
                learner.roll_back(good.tensors, good.step)
            case "end", _:
                return


def _write(folder: Path, rank: int, learner: Learner) -> Files | str:
    """Write this rank's part of a checkpoint. Return the files, or the reason for a failure."""
    from keisei.ppo.checkpoint import RANK_GROUPS

    tensors = learner.tensors()
    own = {group: tensors[group] for group in RANK_GROUPS}
    try:
        return write_part(folder, rank, own, learner.state())
    except (OSError, NotFiniteError) as error:  # a full disk must not end training
        return str(error)
