"""Rules that are compiled before any test, and a device stand-in."""

import numpy as np
import pytest
from device_stand_in import DeviceStandIn

from keisei.env import random_actions
from keisei.evaluation import Match, MatchSpec
from keisei.play.tournament import _openings


@pytest.fixture(scope="session", autouse=True)
def compiled_rules() -> None:
    """Compile the rules and read the openings, or the first test would block its loop with that."""
    Match(MatchSpec("random", agent="material", games=2, max_ply=60)).request()
    random_actions(np.ones((1, 35), np.uint64), np.array([1], np.uint64))
    _openings(None)


@pytest.fixture
def device() -> DeviceStandIn:
    """A device without limits."""
    return DeviceStandIn()
