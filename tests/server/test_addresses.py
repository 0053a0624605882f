"""Which clients have an address of their own for limits."""

import pytest

from keisei.server.addresses import remote_address


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1", "", "testclient"]
)
def test_a_client_on_this_machine_has_no_limit_of_its_own(host: str) -> None:
    assert remote_address({"client": (host, 1)}) is None


def test_a_client_of_a_unix_socket_has_no_limit_of_its_own() -> None:
    assert remote_address({"client": None}) is None
    assert remote_address({}) is None


def test_a_client_of_another_machine_is_known_by_its_address() -> None:
    assert remote_address({"client": ("192.0.2.7", 1)}) == "192.0.2.7"
    assert remote_address({"client": ("::ffff:192.0.2.7", 1)}) == "192.0.2.7"


def test_all_addresses_of_an_ipv6_network_are_one_client() -> None:
    one, two = ({"client": (f"2001:db8::{end}", 1)} for end in ("1", "ffff:2"))
    other = {"client": ("2001:db8:0:1::1", 1)}
    assert remote_address(one) == remote_address(two) != remote_address(other)
