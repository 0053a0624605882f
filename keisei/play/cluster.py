"""Lets the machines of a Ray cluster play matches of networks, a few pairs at a time."""

import asyncio
import hashlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import torch
from safetensors.torch import load, save

from keisei.config import Settings
from keisei.env.observe import Observed
from keisei.evaluation import Match, MatchSpec, PlayedGame
from keisei.match_rules import Choice
from keisei.nets.policy import Agent
from keisei.play.arena import DeviceArena, Pair, local_arena
from keisei.play.match_trees import GameTree, MatchTrees
from keisei.play.networks import LoadedNetwork
from keisei.play.players import make_player
from keisei.resources import player_folder
from keisei.store import Checkpoint, find_checkpoint
from keisei.store.checkpoints import WEIGHTS
from keisei.store.export import read_weights

PAIRS = 16
"""Number of pairs in a task. A lost task plays its pairs again; a smaller batch plays slower."""
RETRIES = 3
"""How often a task is given to another worker process after its worker process has died."""
CACHED = 8
"""Number of networks that a worker process keeps ready."""


class ClusterError(OSError):
    """The Ray cluster can't be used. The message says why."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A network in the cluster's object store. Workers with the same hash load it only once."""

    hash: str
    """SHA-256 of the weights and of the settings of their training."""
    packed: Any = field(compare=False)
    """A reference to step, state and weights.

    The reference is in a list, so that Ray does not fetch the network for every task."""


class ClusterArena:
    """Plays matches of networks on a Ray cluster, and single moves (against engines) locally."""

    def __init__(self, local: DeviceArena, device: str, threads: int) -> None:
        import ray

        self._local = local
        self._shared: dict[int, Shared] = {}
        wants_gpu = device == "cuda" or (device == "auto" and "GPU" in ray.cluster_resources())
        needs = {"CPU": threads} | ({"GPU": 1} if wants_gpu else {})
        if not any(_fits(needs, node) for node in ray.nodes()):
            wanted = " and ".join(f"{count} {name}" for name, count in needs.items())
            raise ClusterError(f"--ray: no machine of the cluster has {wanted}")
        self._device, self._threads = device, threads
        self._play = ray.remote(
            num_cpus=threads, num_gpus=needs.get("GPU", 0), max_retries=RETRIES
        )(play_pairs)

    async def open(self, source: str) -> LoadedNetwork:
        """Load a network here, and put it into the cluster's object store.

        Raises the errors of ``DeviceArena.open``.
        """
        network = await self._local.open(source)
        self._shared[network.id] = await anyio.to_thread.run_sync(_share, source)
        return network

    async def play(
        self, match: Match, networks: Pair, on_games: Callable[[list[PlayedGame]], None]
    ) -> None:
        """Play a match to its end. If the call is cancelled, the match ends early.

        If a worker process dies, its task's pairs are played again, and nothing else. Raises the
        error of a task that failed, or whose workers died too often.
        """
        import ray

        shared = [None if network is None else self._shared[network.id] for network in networks]
        with anyio.CancelScope(shield=True):  # otherwise nobody could cancel the tasks
            refs = await anyio.to_thread.run_sync(self._submit, match, shared)
        futures = [asyncio.wrap_future(ref.future()) for ref in refs]
        try:
            for ended in asyncio.as_completed(futures):
                on_games(await ended)
        finally:
            for ref, future in zip(refs, futures, strict=True):
                if not future.done():
                    future.cancel()
                    ray.cancel(ref)

    def _submit(self, match: Match, shared: list[Shared | None]) -> list[Any]:
        """Give all pairs to the cluster. Returns references to the tasks' results. Blocks."""
        import ray

        spec = ray.put(match.spec)
        return [
            self._play.remote(
                spec, shared, match.todo[low : low + PAIRS], self._device, self._threads
            )
            for low in range(0, len(match.todo), PAIRS)
        ]

    async def choose(
        self,
        network: LoadedNetwork,
        observed: Observed,
        draw: float,
        choice: Choice,
        tree: GameTree | None = None,
    ) -> tuple[int, float]:
        """Return the network's action and value in one position. Raises NotRunning."""
        return await self._local.choose(network, observed, draw, choice, tree)

    async def close(self, network: LoadedNetwork) -> None:
        """Unload a network."""
        self._shared.pop(network.id, None)
        await self._local.close(network)


@asynccontextmanager
async def cluster_arena(address: str, device: str, threads: int) -> AsyncIterator[ClusterArena]:
    """Connect to a Ray cluster, or start one on this machine (``local``), while the block runs.

    Each task uses ``threads`` processors, and one GPU if ``device`` is ``cuda``, or is ``auto`` and
    the cluster has GPUs. Raises ClusterError.
    """
    with redirect_stdout(sys.stderr):  # Ray prints lost tasks on stdout, among our results
        await anyio.to_thread.run_sync(_connect, address)
        try:
            async with local_arena("cpu", threads) as local:
                yield await anyio.to_thread.run_sync(ClusterArena, local, device, threads)
        finally:
            import ray

            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(ray.shutdown)


def _connect(address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ClusterError(f"--ray: {error}: run pip install 'keisei[ray]'") from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise ClusterError(f"--ray: cannot connect to {address}: {why}") from error


def _fits(needs: dict[str, int], node: dict[str, Any]) -> bool:
    has = node["Resources"]
    return node["Alive"] and all(has.get(name, 0) >= count for name, count in needs.items())


def _share(source: str) -> Shared:
    import ray

    network = read_weights(find_checkpoint(player_folder(source), only=WEIGHTS)[0])
    weights = {name: value.contiguous() for name, value in network.tensors[WEIGHTS].items()}
    packed = network.step, network.state, save(weights)
    digest = hashlib.sha256(packed[2] + json.dumps(packed[1], sort_keys=True).encode())
    return Shared(digest.hexdigest(), [ray.put(packed)])


# ---------------------------------------------------------------- in the worker processes
def play_pairs(
    spec: MatchSpec,
    networks: Sequence[Shared | None],
    pairs: Sequence[int],
    device: str,
    threads: int,
) -> list[PlayedGame]:
    """Play pairs of a match to their end. This function is a task of Ray."""
    torch.set_num_threads(threads)
    agents = [None if network is None else _agent(network, device) for network in networks]
    match, trees = Match(spec, pairs), MatchTrees(spec)
    while (wanted := match.request()) is not None:
        actions = np.zeros(len(wanted.mask), np.int16)
        values = np.zeros(len(wanted.mask), np.float32)
        for side, agent in enumerate(agents):
            rows = wanted.opponents == bool(side)
            options = spec.options[side]
            if agent is not None and rows.any() and not options.searches:
                actions[rows], values[rows] = agent.choose(
                    wanted.observation[rows],
                    wanted.mask[rows],
                    draw=wanted.draw[rows],
                    **options.choice(spec)._asdict(),
                )
        for side, search in trees.begin(wanted):
            agent = agents[side]
            while agent is not None and (leaves := search.request()) is not None:
                search.answer(*agent.assess(leaves.observation, leaves.mask))
        trees.choose(wanted, actions, values)
        match.answer(actions, values)
    return match.played


@lru_cache(maxsize=CACHED)
def _agent(network: Shared, device: str) -> Agent:
    import ray

    step, state, weights = ray.get(network.packed[0])
    checkpoint = Checkpoint(Path(network.hash), step, {WEIGHTS: load(weights)}, state)
    return make_player(checkpoint, Settings(**state["settings"]), device).agent
