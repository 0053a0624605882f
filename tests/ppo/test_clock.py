"""Time of an iteration by phase and by turn. The tests move the clock themselves."""

from collections.abc import Generator

import pytest

from keisei.ppo import clock as module
from keisei.ppo.clock import PHASES, Clock, Stopwatch


class Time:
    """Replaces the module ``time``: ``now`` changes only when a test sets it."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(module, "time", time)
    return time


def test_seconds_are_charged_to_the_phase_in_which_they_pass(time: Time) -> None:
    clock = Clock()
    for seconds in (2, 3):
        with clock.phase("env"):
            time.now += seconds
        time.now += 7
    with clock.phase("gae"):
        time.now += 1
    assert clock.seconds == dict.fromkeys(PHASES, 0) | {"env": 5, "gae": 1}
    clock.reset()
    assert clock.seconds == dict.fromkeys(PHASES, 0)


def test_a_stopwatch_does_not_count_the_time_in_which_it_is_suspended(time: Time) -> None:
    watch = Stopwatch()

    def turns() -> Generator[None, None, None]:
        for seconds in (2, 3):
            time.now += seconds
            assert watch.turn_seconds() == seconds
            yield from watch.suspend()
        time.now += 1

    for _ in turns():
        time.now += 50
    assert watch.turn_seconds() == 1
    assert watch.total_seconds() == 2 + 3 + 1
