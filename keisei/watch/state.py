"""The state of a watched run, from its newest status, its lock and the age of its files."""

import time
from collections.abc import Mapping

from keisei.events import State, Status
from keisei.watch.files import Look

ENDED: frozenset[State] = frozenset({"finished", "stopped", "failed"})
SILENT_SECONDS: Mapping[State, float] = {
    "starting": 120,
    "compiling": 900,
    "running": 60,
    "stopping": 120,
}
"""For each state: seconds without a new row or board after which a run is ``stale``.

A run in another state may be silent for any time.
"""
NOT_STARTED = "the run has not started yet"


def watched_state(look: Look, newest: Status | None, heard: float) -> tuple[State, str]:
    """Return the state of a run and a text about it.

    Args:
        look: the newest look at the files.
        newest: newest status in the database.
        heard: time of the newest row or board, in seconds since the epoch.
    """
    told: State = newest.state if newest else "starting"
    if look.problem:
        return ("stale" if newest else "starting"), look.problem
    # The release of the lock changes the lock's time, too.
    if newest and told in ENDED and (look.holder == "ended" or look.locked <= newest.time):
        return told, newest.message
    if look.holder == "interrupted":
        return "killed", "the run's process died; keisei train --resume continues the run"
    if look.holder == "ended":
        return "stopped", "the run's process has ended" if newest else NOT_STARTED
    if told in ENDED:  # a new process has the lock, and has not reported its start yet
        told, heard = "starting", look.locked
    if time.time() - max(heard, look.locked) > SILENT_SECONDS.get(told, float("inf")):
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(heard))
        return "stale", f"the run's process has written nothing since {since}"
    return told, newest.message if newest and newest.state == told else ""
