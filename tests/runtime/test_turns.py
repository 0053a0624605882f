"""Sharing the device's time."""

import pytest

from keisei.runtime.turns import Pace, Share


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 0.9])
def test_evaluation_gets_its_share_and_no_more(share: float) -> None:
    scheduler = Share(share)
    for _ in range(20_000):
        if scheduler.evaluation_due():
            scheduler.evaluated(0.02)
        else:
            scheduler.trained(0.007)
    total = scheduler.training + scheduler.evaluation
    assert scheduler.evaluation / total == pytest.approx(share, rel=0.1)


def test_no_share_no_turn() -> None:
    assert not Share(0).evaluation_due()


def test_training_alone_does_not_save_up_a_long_stop() -> None:
    scheduler = Share(0.1)
    scheduler.trained(1000)
    stopped = 0.0
    while scheduler.evaluation_due():
        scheduler.evaluated(0.02)
        stopped += 0.02
    assert stopped < 0.3
    scheduler.trained(0.2)
    assert scheduler.evaluation_due()


def test_all_of_the_device_may_be_given() -> None:
    scheduler = Share(1)
    scheduler.evaluated(1)
    scheduler.trained(0.1)
    assert scheduler.evaluation_due()


def test_pace_knows_what_is_left_of_an_iteration() -> None:
    pace = Pace()
    assert pace.left() == 0  # nothing is known: try
    for _ in range(4):
        pace.add(1.0)
    pace.done()
    assert pace.left() == pytest.approx(4)
    pace.add(1.0)
    assert pace.left() == pytest.approx(3)


def test_an_iteration_in_progress_needs_one_more_turn_at_least() -> None:
    pace = Pace()
    pace.add(0.5)
    pace.add(3.5)
    assert pace.left() == pytest.approx(3.5)
    pace.done()
    for _ in range(9):
        pace.add(0.5)
    assert pace.left() == pytest.approx(0.5)
