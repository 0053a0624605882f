"""Training on several ranks: the orders that rank 0 sends, and how the other ranks obey them.

Rank 0 is a complete run. The other ranks have no event loop and no database, and they decide
nothing. Before each turn, they wait for an order from rank 0. Only rank 0's machine has the run
directory. Ranks on other machines get their parts of a checkpoint from rank 0, and send them to it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from keisei.config import Settings
from keisei.ppo.learner import Learner
from keisei.ppo.ranks import Group, Ranks
from keisei.runtime.learners import build_learner
from keisei.store import Checkpoint, NotFiniteError
from keisei.store.checkpoints import WEIGHTS, read_verified, write_part
from keisei.store.manifest import Files

Tensors = Mapping[str, Mapping[str, Tensor]]
"""The tensors of each group of a checkpoint, by name of the tensor."""


# ---------------------------------------------------------------- rank 0
def start_others(ranks: Ranks, settings: Settings, resumed: Path | None, init: Path | None) -> None:
    """Order the other ranks to begin the run, and send them the checkpoint from which it begins."""
    found = "all" if resumed else WEIGHTS if init else ""
    order = {"settings": settings.model_dump(mode="json"), "checkpoint": found}
    ranks.send_order("start", json.dumps(order))
    for rank in range(1, ranks.size):
        if resumed:
            part = read_verified(resumed, rank)
            _send(ranks, rank, part.tensors, part.state)
        elif init:
            _send(ranks, rank, read_verified(init, only=WEIGHTS).tensors, {})


def collect_parts(ranks: Ranks, folder: Path) -> Files:
    """Collect the other ranks' parts of a checkpoint in ``folder``.

    The ranks on this machine write their parts at the same time. The parts from other machines are
    written here. Returns the files of all these ranks. Raises OSError, NotFiniteError.
    """
    ranks.send_order("save", str(folder))
    files: Files = {}
    remote: list[int] = []
    for rank, answer in enumerate(map(json.loads, ranks.gather("{}"))):
        if isinstance(answer, str):
            raise OSError(f"rank {rank}: {answer}")
        if answer is None:
            remote.append(rank)
        else:
            files |= answer
    for rank in remote:
        ranks.send_order("send", str(rank))  # one by one, because writing can fail
        files |= write_part(folder, rank, *_receive(ranks, rank))
    return files


def roll_back_others(ranks: Ranks, good: Checkpoint) -> None:
    """Order the other ranks to go back to a checkpoint, and send it to them."""
    ranks.send_order("rollback", str(good.step))
    for rank in range(1, ranks.size):
        _send(ranks, rank, {group: good.tensors[group] for group in (WEIGHTS, "optimizer")}, {})


# ---------------------------------------------------------------- the other ranks
def follow(ranks: Group) -> None:
    """Obey the orders of rank 0 until training ends. Only ranks other than 0 call this.

    Raises RankError, and any exception that training raises on this rank.
    """
    order, text = ranks.receive_order()
    if order == "end":  # the run was stopped before training began
        return
    learner = _start(ranks, **json.loads(text))
    try:
        _follow(ranks, learner)
    finally:
        learner.env.close()


def _start(ranks: Group, settings: dict[str, Any], checkpoint: str) -> Learner:
    chosen = Settings(**settings)
    torch.set_num_threads(chosen.compute.threads)
    tensors, state = _receive(ranks, 0) if checkpoint else ({}, {})
    learner = build_learner(chosen, ranks)
    if state:
        learner.load(tensors, state)
    elif tensors:
        learner.load_weights(tensors[WEIGHTS])
    learner.warm_up()
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
                own = _write(Path(folder), ranks.rank, learner) if ranks.with_rank_0 else None
                ranks.gather(json.dumps(own))
            case "send", rank if int(rank) == ranks.rank:
                _send(ranks, 0, _own(learner), learner.state())
            case "rollback", step:
                learner.roll_back(_receive(ranks, 0)[0], int(step))
            case "end", _:
                return


def _write(folder: Path, rank: int, learner: Learner) -> Files | str:
    """Write this rank's part of a checkpoint. Return the files, or the reason for a failure."""
    try:
        return write_part(folder, rank, _own(learner), learner.state())
    except (OSError, NotFiniteError) as error:  # a full disk must not end training
        return str(error)


def _own(learner: Learner) -> Tensors:
    """Return the tensors that differ between ranks."""
    from keisei.ppo.checkpoint import RANK_GROUPS

    tensors = learner.tensors()
    return {group: tensors[group] for group in RANK_GROUPS}


# ---------------------------------------------------------------- both
def _send(ranks: Ranks, to: int, tensors: Tensors, state: Mapping[str, Any]) -> None:
    """Send tensors and state of a checkpoint to the rank ``to``."""
    ranks.send(json.dumps({"state": state, "groups": list(tensors)}).encode(), to)
    for named in tensors.values():
        ranks.send(save({name: tensor.contiguous() for name, tensor in named.items()}), to)


def _receive(ranks: Ranks, source: int) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors and the state that the rank ``source`` sends."""
    head = json.loads(ranks.receive(source))
    return {group: load(ranks.receive(source)) for group in head["groups"]}, head["state"]
