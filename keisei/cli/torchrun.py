"""Run a command under torchrun: rank 0 runs the command, the other ranks train with rank 0."""

import os
import signal
from collections.abc import Callable
from contextlib import closing

from keisei.cli.errors import CommandError


def ranks() -> int:
    """Return the number of processes that torchrun started; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def lead(command: Callable[[], int]) -> int:
    """Run a training command on rank 0; on all other ranks, train with rank 0.

    Return the exit code. With several ranks, raises CommandError if a rank fails or training
    diverges.
    """
    if ranks() == 1:
        return command()
    from keisei.ppo.detectors import DivergedError
    from keisei.ppo.ranks import CONTEXT_RANKS, Group, RankError
    from keisei.runtime.follower import follow

    rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    try:
        with closing(Group(rank, size, local)) as group:
            if rank == 0:
                CONTEXT_RANKS.set(group)
                return command()
            for number in (signal.SIGINT, signal.SIGTERM):  # only rank 0 reacts to signals
                signal.signal(number, signal.SIG_IGN)
            follow(group)
    except (RankError, DivergedError) as error:
        raise CommandError(str(error)) from error
    return 0
