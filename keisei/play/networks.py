"""Networks loaded on the device thread to play matches, besides the one in training."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from keisei.config import Env
from keisei.match_rules import Choice
from keisei.nets.policy import Agent
from keisei.play.players import load_within

BATCH = 4096
"""Most positions that a network is asked about at once."""
Moves = tuple[NDArray[np.int16], NDArray[np.float32]]
"""Actions and values of positions."""


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network that is ready to play on the device thread."""

    id: int
    name: str
    """``<run>@<step>``: these weights."""
    step: int
    """Steps that it was trained for."""
    max_ply: int
    """Maximum ply of its training games: it sees the ply as a share of that."""
    home: Path = Path()
    """Directory of its run: two runs may have the same name."""


class Networks:
    """Loads, asks and unloads networks. Device thread only."""

    def __init__(
        self,
        run: str,
        env: Env,
        device: str,
        alert: Callable[[str, str, str], None],
        *,
        memory_mib: float = math.inf,
        batch: int = BATCH,
    ) -> None:
        """Start without networks.

        Args:
            run: id of the run, which names the copies of its network.
            env: settings of the games that the network in training plays.
            device: where networks are loaded.
            alert: sends an alert; takes its name, level and text.
            memory_mib: most MiB that the weights of all networks may take together.
            batch: most positions that are asked about at once.
        """
        self._run, self._env, self._device, self._alert = run, env, device, alert
        self._memory = memory_mib
        self._batch = batch
        self._ids = itertools.count()
        self._agents: dict[int, Agent] = {}

    def copy(self, live: Agent, step: int) -> LoadedNetwork:
        """Copy the weights of the network in training, which has trained for ``step`` steps.

        Raises MemoryError if the copy exceeds ``memory_mib``.
        """
        self._check_memory(live.nbytes)
        id = next(self._ids)
        self._agents[id] = live.snapshot()
        return LoadedNetwork(id, f"{self._run}@{step}", step, self._env.max_ply)

    def load(self, path: Path) -> LoadedNetwork:
        """Load the network of a run or checkpoint.

        Raises CheckpointError, RunError, DeviceError; MemoryError if it exceeds ``memory_mib``.
        """
        player = load_within(path, self._device, self._check_memory)
        id = next(self._ids)
        self._agents[id] = player.agent
        return LoadedNetwork(id, player.name, player.step, player.max_ply, player.home)

    def close(self, id: int) -> None:
        """Unload a network. Does nothing if it is not loaded."""
        self._agents.pop(id, None)

    def close_all(self) -> None:
        """Unload every network."""
        self._agents.clear()

    def choose(
        self,
        id: int,
        observation: NDArray[np.uint8],
        mask: NDArray[np.uint64],
        draw: NDArray[np.float32],
        choice: Choice,
    ) -> Moves:
        """Return a network's moves and values (see ``Agent.choose``).

        Halves the batch for good, with an alert, each time that the device runs out of memory.
        Raises torch.OutOfMemoryError when there is no room even for one position.
        """
        agent = self._agents[id]
        while True:
            parts = [slice(low, low + self._batch) for low in range(0, len(mask), self._batch)]
            try:
                found = [
                    agent.choose(observation[p], mask[p], draw=draw[p], **choice._asdict())
                    for p in parts
                ]
            except torch.OutOfMemoryError:
                if min(self._batch, len(mask)) == 1:
                    raise
                self._batch = min(self._batch, len(mask)) // 2
                torch.cuda.empty_cache()
                self._alert("evaluation_memory", "warning", f"out of memory: batch {self._batch}")
            else:
                actions, values = zip(*found, strict=True)
                return np.concatenate(actions), np.concatenate(values)

    def _check_memory(self, nbytes: int) -> None:
        """Raise MemoryError if the weights of one more network, of so many bytes, do not fit."""
        loaded = sum(agent.nbytes for agent in self._agents.values()) / 2**20
        more = nbytes / 2**20
        if loaded + more > self._memory:
            raise MemoryError(
                f"evaluation.memory_mib: {self._memory}; the networks of evaluations take "
                f"{loaded:.1f} MiB, and this one {more:.1f} more"
            )
