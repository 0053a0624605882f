"""How training and evaluation share the device, and how long an iteration still takes."""

import pytest

from keisei.runtime.share import Pace, Share


@pytest.mark.parametrize("wanted", [0.05, 0.1, 0.5, 0.9])
def test_evaluation_gets_its_share_and_no_more(wanted: float) -> None:
    share = Share(wanted)
    for _ in range(20_000):
        if share.evaluation_due():
            share.evaluated(0.02)
        else:
            share.trained(0.007)
    total = share.training + share.evaluation
    assert share.evaluation / total == pytest.approx(wanted, rel=0.1)


def test_without_a_share_evaluation_never_takes_a_turn_from_training() -> None:
    assert not Share(0).evaluation_due()


def test_training_alone_earns_evaluation_no_long_turn() -> None:
    share = Share(0.1)
    share.trained(1000)
    stopped = 0.0
    while share.evaluation_due():
        share.evaluated(0.02)
        stopped += 0.02
    assert stopped < 0.3
    share.trained(0.2)
    assert share.evaluation_due()


def test_evaluation_may_get_the_whole_device() -> None:
    share = Share(1)
    share.evaluated(1)
    share.trained(0.1)
    assert share.evaluation_due()


def test_what_is_left_of_an_iteration_is_estimated_from_the_one_before() -> None:
    pace = Pace()
    assert pace.left() == 0  # nothing is known, so a stop finishes the iteration
    for _ in range(4):
        pace.add(1.0)
    pace.done()
    assert pace.left() == pytest.approx(4)
    pace.add(1.0)
    assert pace.left() == pytest.approx(3)
    assert Pace(typical=3.0).left() == 3


def test_an_iteration_in_progress_needs_at_least_one_more_turn() -> None:
    pace = Pace()
    pace.add(0.5)
    pace.add(3.5)
    assert pace.left() == pytest.approx(3.5)
    pace.done()
    for _ in range(9):
        pace.add(0.5)
    assert pace.left() == pytest.approx(0.5)
