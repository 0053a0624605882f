"""Compiled rules, a device stand-in and a run with a database, for the tests of keisei.play."""

from pathlib import Path

import numpy as np
import pytest
from device_stand_in import DeviceStandIn

from keisei.config import Settings
from keisei.env import random_actions
from keisei.evaluation import Match, MatchSpec
from keisei.play.tournament import _openings
from keisei.search import warm_up
from keisei.store import Database, RunDirectory


@pytest.fixture(scope="session", autouse=True)
def compiled_rules() -> None:
    """Compile the rules and the search, and read the openings.

    Otherwise the first test would block its loop with that.
    """
    Match(MatchSpec("random", games=2)).request()  # with the search for mates
    warm_up()
    Match(MatchSpec("random", agent="material", games=2, max_ply=60)).request()
    random_actions(np.ones((1, 35), np.uint64), np.array([1], np.uint64))
    _openings(None)


@pytest.fixture
def device() -> DeviceStandIn:
    """A device without limits."""
    return DeviceStandIn()


@pytest.fixture
def recorded_run(tmp_path: Path) -> Path:
    """Return the directory of a run that has a database, but no evaluation yet."""
    with RunDirectory.create(Settings(), tmp_path / "run") as run:
        Database(run.database).close()
    return run.path
