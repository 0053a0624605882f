"""Decides whether training goes on after the device ran out of memory."""

import traceback

import torch

from keisei.ppo.ranks import Ranks
from keisei.runtime.emitter import Emitter

TRIES = 3
"""Consecutive iterations that must run out of memory until training ends."""


class Memory:
    """Lets a run survive a short lack of memory. Device thread only."""

    def __init__(self, ranks: Ranks, emitter: Emitter) -> None:
        self._ranks, self._emitter = ranks, emitter
        self._failures = 0

    def enough(self) -> None:
        """Note that an iteration had enough memory."""
        self._failures = 0

    def tries_again(self, error: Exception) -> bool:
        """Return whether the next iteration should be tried after ``error`` ended an iteration.

        The answer is no for errors that are not a lack of memory, and after ``TRIES`` consecutive
        failures. It is also no for several ranks, because the other ranks are still in the middle
        of the iteration. If the answer is yes, an alert is sent, and memory is freed.
        """
        if not is_out_of_memory(error) or self._ranks.size > 1:
            return False
        self._failures += 1
        if self._failures == TRIES:
            return False
        traceback.clear_frames(error.__traceback__)  # variables in the frames keep tensors alive
        torch.cuda.empty_cache()
        text = (
            f"{str(error).splitlines()[0]}; the plies of this iteration are lost, and training goes"
            f" on; {TRIES} such iterations in succession end the run; smaller ppo.minibatch,"
            " env.games or ppo.rollout_plies need less memory"
        )
        self._emitter.alert("out_of_memory", "error", text)
        return True


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an allocation failed, on the CPU or on a GPU."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error)  # torch on the CPU has no class for this
