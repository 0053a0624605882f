"""Time management: no clock runs here, all times are given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keisei.usi.clock import Budget, Progress, budget, enough
from keisei.usi.limits import Limits


def allot(
    words: str,
    *,
    black: bool = True,
    ply: int = 20,
    delay: int = 120,
    margin: int = 0,
    ponder: bool = False,
) -> Budget | None:
    return budget(
        Limits.parse(words.split()), black=black, ply=ply, delay=delay, byoyomi_margin=margin,
        ponder=ponder,
    )  # fmt: skip


def got(words: str, **options: int) -> Budget:
    found = allot(words, **options)
    assert found
    return found


def test_without_a_clock_there_is_no_budget() -> None:
    assert allot("nodes 100") is None
    assert allot("depth 3") is None
    assert allot("infinite") is None


def test_movetime_is_used_up_to_the_delay() -> None:
    assert got("movetime 1000") == Budget(0.88, 0.88, early=False)


def test_byoyomi_is_used_up_to_the_delay_and_its_margin() -> None:
    assert got("btime 0 wtime 0 byoyomi 1000") == Budget(0.88, 0.88)
    assert got("btime 0 wtime 0 byoyomi 1000", margin=200) == Budget(0.68, 0.68)
    assert got("btime 60000 wtime 0 byoyomi 1000", margin=200).limit > 0.88


def test_each_side_uses_its_own_clock() -> None:
    words = "btime 600000 wtime 1000 binc 0 winc 0"
    assert got(words, black=True).aim > 10 * got(words, black=False).aim


def test_the_time_left_is_spread_over_the_moves_to_come() -> None:
    early, late = got("btime 600000 wtime 0", ply=0), got("btime 600000 wtime 0", ply=130)
    assert early.aim == pytest.approx(600 / 70)
    assert late.aim == pytest.approx(600 / 20)
    assert early.limit == pytest.approx(3 * early.aim)


def test_a_bonus_is_used_whether_or_not_the_time_left_contains_it() -> None:
    assert got("btime 0 wtime 0 binc 500 winc 500").limit == pytest.approx(0.38)
    assert got("btime 500 wtime 500 binc 500 winc 500").limit == pytest.approx(0.38)
    assert 0.5 < got("btime 10000 wtime 10000 binc 500 winc 500").aim < 0.7


def test_with_ponder_a_move_takes_longer() -> None:
    assert got("btime 60000 wtime 0", ponder=True).aim > got("btime 60000 wtime 0").aim
    assert got("byoyomi 1000", ponder=True) == got("byoyomi 1000")


@given(
    st.integers(0, 10**7),
    st.integers(0, 10**5),
    st.integers(0, 10**5),
    st.integers(0, 500),
    st.integers(0, 5000),
)
def test_no_move_ever_takes_longer_than_the_clock_allows(
    left: int, bonus: int, byoyomi: int, ply: int, delay: int
) -> None:
    words = f"btime {left} wtime 0 binc {bonus} winc 0 byoyomi {byoyomi}"
    found = got(words, ply=ply, delay=delay)
    allowed = max(left, bonus) + byoyomi
    assert 0 <= found.aim <= found.limit <= max(allowed - delay, allowed / 10) / 1000


def at(elapsed: float, *, batch: float = 0.01, lead: int = 0, pace: float = 100) -> Progress:
    return Progress(elapsed, batch, lead, pace)


def yes() -> bool:
    return True


def no() -> bool:
    return False


def test_a_search_ends_at_the_aim_if_it_has_decided_else_at_the_limit() -> None:
    time = Budget(1.0, 3.0)
    assert not enough(time, at(0.9), yes)
    assert enough(time, at(1.0), yes)
    assert not enough(time, at(1.0), no)
    assert enough(time, at(2.99), no)


def test_no_batch_begins_that_could_end_after_the_limit() -> None:
    assert enough(Budget(1.0, 3.0), at(2.5, batch=0.6), no)
    assert enough(Budget(1.0, 1.0), at(0.5, batch=0.6), no)


def test_a_search_ends_early_if_the_second_move_cannot_catch_up() -> None:
    time = Budget(1.0, 3.0)
    assert enough(time, at(0.5, lead=51), no)
    assert not enough(time, at(0.5, lead=50), yes)
    assert not enough(Budget(1.0, 1.0, early=False), at(0.5, lead=51), yes)
