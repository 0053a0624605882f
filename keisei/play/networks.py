"""The networks that the device thread loads to play matches."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from keisei.config import Env
from keisei.match_rules import Choice
from keisei.nets.policy import Agent
from keisei.play.mailbox import LIVE
from keisei.play.players import load_within
from keisei.play.searches import Assessed

BATCH = 4096
"""Maximum number of positions in one forward pass of a network."""
Moves = tuple[NDArray[np.int16], NDArray[np.float32]]
"""Actions and values for a batch of positions."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network that is ready to play on the device thread."""

    id: int
    name: str
    """Name of the network's weights, ``<run>@<step>``."""
    step: int
    """Number of steps for which the network was trained."""
    max_ply: int
    """Maximum ply of the network's training games. An input of the network is ply / ``max_ply``."""
    home: Path = Path()
    """Directory of the network's run; without a run, the checkpoint's folder.

    For a copy of the network in training, the path is empty. Runs with the same name have different
    directories.
    """


class Networks:
    """Loads and unloads networks, and chooses their moves. Device thread only."""

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
        """Create the object, which contains no network at first.

        Args:
            run: id of the run. The name of a copy of the run's network begins with this id.
            env: settings of the training games.
            device: device on which networks are loaded.
            alert: function that sends an alert; it takes the alert's name, level and text.
            memory_mib: maximum size of the weights of all networks together, in MiB.
            batch: maximum number of positions in one forward pass.
        """
        self._run, self._env, self._device, self._alert = run, env, device, alert
        self._memory = memory_mib
        self._batch = batch
        self._ids = itertools.count()
        self._agents: dict[int, Agent] = {}
        self.live: Agent | None = None
        """The network in training, whose id is ``LIVE``. Only requests for single moves ask it."""

    def copy_weights(self, live: Agent, step: int) -> LoadedNetwork:
        """Copy ``live``, the network in training, which was trained for ``step`` steps.

        Raises MemoryError if all networks together would exceed ``memory_mib``.
        """
        self._check_memory(live.nbytes)
        id = next(self._ids)
        self._agents[id] = live.snapshot()
        return LoadedNetwork(id, f"{self._run}@{step}", step, self._env.max_ply)

    def load(self, path: Path) -> LoadedNetwork:
        """Load the network of a run or checkpoint.

        Raises MemoryError if all networks together would exceed ``memory_mib``. Also raises
        CheckpointError, RunError, DeviceError.
        """
        player = load_within(path, self._device, self._check_memory)
        id = next(self._ids)
        self._agents[id] = player.agent
        return LoadedNetwork(id, player.name, player.step, player.max_ply, player.home)

    def close(self, id: int) -> None:
        """Unload a network. Does nothing if the network is not loaded."""
        self._agents.pop(id, None)

    def close_all(self) -> None:
        """Unload all networks."""
        self._agents.clear()
        self.live = None

    def agent(self, id: int) -> Agent:
        """Return a network that is loaded, or the network in training. Raises KeyError."""
        return self.live if id == LIVE and self.live else self._agents[id]

    def choose(
        self,
        id: int,
        observation: NDArray[np.uint8],
        mask: NDArray[np.uint64],
        draw: NDArray[np.float32],
        choice: Choice,
    ) -> Moves:
        """Return a network's moves and values (see ``Agent.choose``).

        If the device runs out of memory, the maximum batch is permanently reduced by at least half,
        an alert is sent, and all positions are computed again. Raises torch.OutOfMemoryError if
        there is not enough memory for one position.
        """
        agent, how = self._agents[id], choice._asdict()
        found = self._in_parts(
            len(mask), lambda p: agent.choose(observation[p], mask[p], draw=draw[p], **how)
        )
        actions, values = zip(*found, strict=True)
        return np.concatenate(actions), np.concatenate(values)

    def assess(self, id: int, observation: NDArray[np.uint8], mask: NDArray[np.uint64]) -> Assessed:
        """Return a network's whole policies and values (see ``Agent.assess``).

        A shortage of memory is handled as in ``choose``.
        """
        agent = self.agent(id)
        found = self._in_parts(len(mask), lambda p: agent.assess(observation[p], mask[p]))
        width = max(actions.shape[1] for actions, _, _ in found)
        return (
            np.concatenate([_widen(actions, width, -1) for actions, _, _ in found]),
            np.concatenate([_widen(priors, width, 0) for _, priors, _ in found]),
            np.concatenate([values for _, _, values in found]),
        )

    def _in_parts(self, count: int, ask: Callable[[slice], T]) -> list[T]:
        """Call ``ask`` for parts of ``count`` positions that the device's memory can hold."""
        while True:
            parts = [slice(low, low + self._batch) for low in range(0, count, self._batch)]
            try:
                return [ask(part) for part in parts]
            except torch.OutOfMemoryError:
                if min(self._batch, count) == 1:
                    raise
                self._batch = min(self._batch, count) // 2
                torch.cuda.empty_cache()
                text = f"out of memory: from now on, a batch has at most {self._batch} positions"
                self._alert("evaluation_memory", "warning", text)

    def _check_memory(self, nbytes: int) -> None:
        """Raise MemoryError if ``nbytes`` more bytes of weights would exceed the limit."""
        loaded = sum(agent.nbytes for agent in self._agents.values()) / 2**20
        more = nbytes / 2**20
        if loaded + more > self._memory:
            raise MemoryError(
                f"evaluation.memory_mib: {self._memory}; the loaded networks take {loaded:.1f} MiB, "
                f"and the new network needs {more:.1f} MiB more"
            )


def _widen(array: NDArray[Any], width: int, padding: float) -> NDArray[Any]:
    """Return the array [M, L] with ``width`` columns."""
    more = width - array.shape[1]
    return np.pad(array, ((0, 0), (0, more)), constant_values=padding) if more else array
