"""Where the server may listen, its Host names, and the addresses that it prints."""

import socket

import pytest

from keisei.config import Server, Settings
from keisei.server import create_app
from keisei.server.hosts import HostRefusedError, check_host, urls
from keisei.testing import FakeRun

STRANGE = ["0.0.0.0", "::", "192.168.1.2", "example.org", ""]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "localhost", "::1", "[::1]"])
def test_a_loopback_address_needs_no_token(host: str) -> None:
    check_host(Server(host=host))


@pytest.mark.parametrize("host", STRANGE)
def test_another_address_needs_a_token_or_a_read_only_server(host: str) -> None:
    with pytest.raises(HostRefusedError, match=r"server\.host.*loopback.*server\.token_file"):
        check_host(Server(host=host))
    check_host(Server(host=host, token_file="token"))
    check_host(Server(host=host, read_only=True))


def test_a_wildcard_for_all_host_names_is_refused() -> None:
    server = Server(allowed_hosts=("localhost", "*"), token_file="token")
    with pytest.raises(HostRefusedError, match=r"server\.allowed_hosts"):
        check_host(server)
    with pytest.raises(HostRefusedError, match=r"server\.allowed_hosts"):
        create_app(FakeRun(Settings(server=server)))


@pytest.mark.parametrize(
    "origin", ["*", "null", "lab.org", "https://lab.org/", "https://lab.org/x"]
)
def test_a_wrong_origin_is_refused(origin: str) -> None:
    with pytest.raises(HostRefusedError, match=r"server\.cors_origins.*https://lab"):
        check_host(Server(cors_origins=(origin,)))


@pytest.mark.parametrize("proxy", ["*", "proxy.lan", "10.0.0.1/8", ""])
def test_a_proxy_that_is_no_address_is_refused(proxy: str) -> None:
    with pytest.raises(HostRefusedError, match=r"server\.trusted_proxies.*10\.0\.0\.0/24"):
        check_host(Server(trusted_proxies=(proxy,)))


def test_a_socket_on_all_addresses_is_shown_with_an_address_that_others_can_use() -> None:
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        port = sock.getsockname()[1]
        first, second = urls(sock, https=True)
    assert "0.0.0.0" not in first
    assert first.endswith(f":{port}/")
    assert second == f"https://localhost:{port}/"


def test_a_socket_on_one_address_is_shown_with_this_address() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        assert urls(sock) == [f"http://127.0.0.1:{sock.getsockname()[1]}/"]
