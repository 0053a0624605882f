"""Sessions end; failed sign-ins are limited; neither uses more and more memory."""

import pytest

from keisei.server.sessions import (
    FAILURE_SECONDS,
    FAILURES,
    MOST_ADDRESSES,
    MOST_SESSIONS,
    SECONDS,
    Failures,
    Sessions,
)


class Clock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_when_it_is_too_old_and_when_its_user_signs_out() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    old, ended = sessions.begin(), sessions.begin()
    assert sessions.find(old)
    sessions.end(ended)
    assert sessions.find(ended) is None
    clock.now += SECONDS - 1
    assert sessions.find(old)
    clock.now += 1
    assert sessions.find(old) is None
    assert sessions.find("") is None


def test_the_oldest_session_makes_room_for_a_new_one() -> None:
    sessions = Sessions()
    ids = [sessions.begin() for _ in range(MOST_SESSIONS + 1)]
    assert [sessions.find(id) is not None for id in ids[:2]] == [False, True]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("other", "also"),
    [("10.0.0.2", False), ("10.0.0.1", True)],
)
def test_an_address_waits_after_too_many_failures(other: str, also: bool) -> None:
    clock = Clock()
    failures = Failures(clock)
    for _ in range(FAILURES):
        assert failures.wait("10.0.0.1") == 0
        failures.add("10.0.0.1")
    assert failures.wait("10.0.0.1") == FAILURE_SECONDS
    assert (failures.wait(other) > 0) is also
    clock.now += FAILURE_SECONDS
    assert failures.wait("10.0.0.1") == 0
    failures.add("10.0.0.1")
    assert failures.wait("10.0.0.1") == 0


def test_a_machine_with_many_ipv6_addresses_is_one_address() -> None:
    failures = Failures(Clock())
    for number in range(FAILURES):
        failures.add(f"2001:db8::{number:x}")
        failures.add(f"::ffff:10.0.0.{number}")
    assert failures.wait("2001:db8::ffff") > 0
    assert failures.wait("2001:db8:0:1::1") == 0
    assert failures.wait("::ffff:10.0.0.1") == 0


def test_only_so_many_addresses_are_remembered() -> None:
    failures = Failures(Clock())
    for number in range(MOST_ADDRESSES + 5):
        failures.add(str(number))
    assert len(failures._by_address) == MOST_ADDRESSES
