"""Measure tree search: positions per second, and the share of them that the bare network makes.

Two searches are measured on one torch thread: 64 trees that each give the network one position at a
time, and one tree that gives the network 16 positions at a time. The positions that a search gave
to the network are then evaluated again, in the same batches, without a search. A search and its
batches alternate, and each result is a median.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keisei.cli.errors import require

if TYPE_CHECKING:
    from keisei.nets.policy import Agent
    from keisei.search import Leaves, Search

TREES = 64
"""Number of trees of the first search."""

SIMULATIONS = 64
"""Number of simulations for each of these trees."""

LEAVES = 16
"""Positions of a tree that the second search gives to the network together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``keisei bench search``."""
    from keisei.cli.settings import player, whole

    parser.add_argument(
        "--player",
        metavar="RUN|CHECKPOINT",
        type=player,
        default="shipped",
        help="whose network answers (default: shipped, the network in the package)",
    )
    parser.add_argument("--device", default="cpu", help="device of the network (default: cpu)")
    parser.add_argument(
        "--simulations",
        type=whole,
        metavar="N",
        default=800,
        help="simulations of the search with one tree (default: 800)",
    )
    parser.add_argument(
        "--repeats",
        type=whole,
        metavar="N",
        default=9,
        help="repeats of each measurement (default: 9)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return the results of both searches, and the memory for a node with its edges.

    ``ratio`` is ``positions_per_second`` divided by ``bare_positions_per_second``. ``seconds`` and
    ``bare_seconds`` are the times of a whole search and of its batches without a search. ``batch``
    is the mean number of positions that the network evaluates at once. ``shares`` says how a
    search's time divides into the network, the compiled functions, and everything else, which is
    Python.
    """
    require("simulations", args.simulations, args.simulations >= 1, "1 or more")
    require("repeats", args.repeats, args.repeats >= 1, "1 or more")
    from keisei.cli import process

    process.set_up()
    import torch

    from keisei.play.players import load
    from keisei.search import Search

    torch.set_num_threads(1)
    agent = load(args.player, args.device).agent
    return {
        f"trees_{TREES}": _measure(agent, TREES, SIMULATIONS, 1, args.repeats),
        "one_tree": _measure(agent, 1, args.simulations, LEAVES, args.repeats),
        "bytes_per_node": Search.bytes_per_node(),
        "player": Path(args.player).name,
        "device": str(agent.device),
        "dtype": str(agent.dtype).removeprefix("torch."),
        "repeats": args.repeats,
    }


def _measure(
    agent: "Agent", trees: int, simulations: int, leaves: int, repeats: int
) -> dict[str, Any]:
    """Measure a search of ``trees`` trees."""
    search = _plant(trees, simulations, leaves)
    measured: dict[str, list[float]] = {"search": [], "bare": []}
    shares: dict[str, list[float]] = {}
    for repeat in range(repeats + 1):
        batches: list[Leaves] = []
        search = _plant(trees, simulations, leaves)
        searching = _seconds(lambda: _search(search, agent, batches))  # noqa: B023 (called at once)
        bare = _seconds(lambda: _forward(agent, batches))  # noqa: B023
        divided = _divide(agent, _plant(trees, simulations, leaves))
        if repeat:  # the first repeat only warms up
            measured["search"].append(searching)
            measured["bare"].append(bare)
            for name, share in divided.items():
                shares.setdefault(name, []).append(share)
    positions = sum(len(batch.mask) for batch in batches)
    ratios = [b / s for s, b in zip(measured["search"], measured["bare"], strict=True)]
    seconds, bare = (statistics.median(times) for times in measured.values())
    return {
        "simulations": trees * simulations,
        "positions": positions,
        "batch": positions / len(batches),
        "positions_per_second": positions / seconds,
        "bare_positions_per_second": positions / bare,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "seconds": seconds,
        "bare_seconds": bare,
        "shares": {name: statistics.median(values) for name, values in shares.items()},
    }


def _plant(trees: int, simulations: int, leaves: int) -> "Search":
    """Return a search whose trees grow from positions of random games, always the same ones."""
    from keisei.env import VectorEnv
    from keisei.search import Search, SearchOptions

    search = Search(trees, SearchOptions(simulations=simulations, leaves=leaves))
    with VectorEnv(trees, seed=1, reset_pool=0) as env:
        env.stagger()
        for t in range(trees):
            search.plant(
                t, env.games[t], *env.history(t), env.observation[t], env.mask[t],
                trained_max_ply=256,
            )  # fmt: skip
    return search


def _search(search: "Search", agent: "Agent", batches: "list[Leaves]") -> None:
    """Search to the end; add the positions that the network evaluated to ``batches``."""
    while (leaves := search.request()) is not None:
        search.answer(*agent.assess(leaves.observation, leaves.mask))
        batches.append(leaves)


def _forward(agent: "Agent", batches: "list[Leaves]") -> None:
    for leaves in batches:
        agent.assess(leaves.observation, leaves.mask)


def _seconds(part: Callable[[], None]) -> float:
    began = time.perf_counter()
    part()
    return time.perf_counter() - began


def _divide(agent: "Agent", search: "Search") -> dict[str, float]:
    """Search to the end; return the share of the time that each part of the search takes."""
    from keisei.search import tree
    from keisei.shogi import kernels

    spent: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_watch(agent, "assess", "network", spent))
        stack.enter_context(_watch(tree, "select", "select", spent))
        stack.enter_context(_watch(kernels, "visit_leaves", "visit", spent))
        stack.enter_context(_watch(tree, "settle", "settle", spent))
        stack.enter_context(_watch(tree, "expand", "expand", spent))
        whole = _seconds(lambda: _search(search, agent, []))
    spent["python"] = whole - sum(spent.values())
    return {name: seconds / whole for name, seconds in spent.items()}


@contextlib.contextmanager
def _watch(owner: Any, function: str, name: str, spent: dict[str, float]) -> Iterator[None]:
    """Add the time of all calls of a function to ``spent``."""
    known = getattr(owner, function)

    def watched(*arguments: Any) -> Any:
        began = time.perf_counter()
        result = known(*arguments)
        spent[name] = spent.get(name, 0.0) + time.perf_counter() - began
        return result

    setattr(owner, function, watched)
    try:
        yield
    finally:
        setattr(owner, function, known)
