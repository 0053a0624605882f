"""The tree searches in progress on a device thread. Each turn asks every network once."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keisei.search import Leaves, Search

Assessed = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]
"""Actions, their probabilities, and values (see ``Agent.assess``)."""


@dataclass(frozen=True, slots=True, eq=False)
class Thought:
    """A search in progress."""

    search: Search
    network: int
    """Id of the network that the search asks."""
    finish: Callable[[Exception | None], None]
    """Function that is called once: when the search ends, with the error that ended it, or None."""
    deadline: float = math.inf
    """Time (``time.monotonic``) at which the search ends, after at least one answer."""


class Searches:
    """Advances searches: in each turn, each network answers one batch for all its searches."""

    def __init__(
        self, assess: Callable[[int, NDArray[np.uint8], NDArray[np.uint64]], Assessed]
    ) -> None:
        """``assess``: function that asks a network for its answer to a batch of positions."""
        self._assess = assess
        self._thoughts: list[Thought] = []

    @property
    def running(self) -> bool:
        """Whether a search is in progress."""
        return bool(self._thoughts)

    def add(self, thought: Thought) -> None:
        """Begin a search, whose trees are planted."""
        self._thoughts.append(thought)

    def drop(self, search: Search) -> None:
        """End a search early, without a call of ``finish``."""
        self._thoughts = [thought for thought in self._thoughts if thought.search is not search]

    def turn(self) -> None:
        """Advance every search by one batch of positions. Never raises."""
        wanted: dict[int, list[tuple[Thought, Leaves]]] = {}
        for thought in list(self._thoughts):
            if thought not in self._thoughts:  # the end of another search has ended this one
                continue
            try:
                leaves = thought.search.request()
            except Exception as error:  # noqa: BLE001 (the error becomes the search's result)
                self._end(thought, error)
                continue
            if leaves is None:
                self._end(thought, None)
            else:
                wanted.setdefault(thought.network, []).append((thought, leaves))
        for network, batch in wanted.items():
            try:
                self._ask(network, batch)
            except Exception as error:  # noqa: BLE001 (the error becomes these searches' result)
                for thought, _ in batch:
                    self._end(thought, error)

    def close(self, error: Exception) -> None:
        """End all searches with an error."""
        for thought in list(self._thoughts):
            self._end(thought, error)

    def _ask(self, network: int, batch: list[tuple[Thought, Leaves]]) -> None:
        actions, priors, values = self._assess(
            network,
            np.concatenate([leaves.observation for _, leaves in batch]),
            np.concatenate([leaves.mask for _, leaves in batch]),
        )
        begin = 0
        for thought, leaves in batch:
            end = begin + len(leaves.mask)
            part = slice(begin, end)
            thought.search.answer(actions[part], priors[part], values[part])
            if time.monotonic() >= thought.deadline:
                thought.search.stop()
            begin = end

    def _end(self, thought: Thought, error: Exception | None) -> None:
        if thought in self._thoughts:
            self._thoughts.remove(thought)
            thought.finish(error)
