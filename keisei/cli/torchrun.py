"""Under torchrun: the first process runs the command, the others train with it."""

import os
import signal
from collections.abc import Callable
from contextlib import closing

from keisei.cli.errors import CommandError


def ranks() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def lead(command: Callable[[], int]) -> int:
    """Run a command that trains; as one of several ranks only on the first, which the others follow.

    Returns its exit code, or raises what ended training.
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
            for number in (signal.SIGINT, signal.SIGTERM):  # when to stop is rank 0's decision
                signal.signal(number, signal.SIG_IGN)
            follow(group)
    except (RankError, DivergedError) as error:
        raise CommandError(str(error)) from error
    return 0
