"""Where the server may listen, which Host names it accepts, and which URLs it has."""

import ipaddress
import re
import socket

import psutil

from keisei.config import Server

_ORIGIN = re.compile(r"https?://(\[[\da-f:.]+\]|[\w.-]+)(:\d+)?", re.ASCII)


class HostRefusedError(ValueError):
    """A setting of the server is wrong, or would let strangers use the server.

    The message names the setting and the remedy.
    """


def check_host(settings: Server) -> None:
    """Raise HostRefusedError if strangers could use the server, or if its settings are wrong."""
    allowed_hosts(settings)
    cors_origins(settings)
    trusted_proxies(settings)
    if not (_is_loopback(settings.host) or settings.token_file or settings.read_only):
        raise HostRefusedError(
            f"server.host: without a token, the server listens only on a loopback address such as "
            f"127.0.0.1 (got {settings.host!r}): set server.token_file to a file for the token, or "
            "server.read_only for a public board; a tunnel needs neither: "
            "ssh -L 8700:localhost:8700 HOST"
        )


def is_public(settings: Server) -> bool:
    """Return whether the server is a public board: read-only, and without a token."""
    return settings.read_only and not settings.token_file


def allowed_hosts(settings: Server) -> list[str]:
    """Return the accepted Host names: those in the settings, and the server's own.

    Raises HostRefusedError for ``*``, which would allow DNS rebinding. In this attack, a web
    site reaches the service through a host name that the site resolves to this machine.
    """
    if "*" in settings.allowed_hosts:
        raise HostRefusedError(
            "server.allowed_hosts: '*' would let any web site reach the service; "
            "list the host names, such as localhost or *.example.org"
        )
    return [*settings.allowed_hosts, *_own_hosts(settings.host)]


def cors_origins(settings: Server) -> list[str]:
    """Return the origins whose pages may use the API. Raises HostRefusedError if one is wrong."""
    for origin in settings.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            raise HostRefusedError(
                f"server.cors_origins: {origin!r} is not an origin such as https://lab.example.org "
                "(no path, no '*')"
            )
    return list(settings.cors_origins)


def trusted_proxies(settings: Server) -> list[str]:
    """Return the trusted addresses and networks. Raises HostRefusedError if one is wrong."""
    for proxy in settings.trusted_proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            raise HostRefusedError(
                f"server.trusted_proxies: {proxy!r} is neither an address nor a network "
                "such as 10.0.0.0/24"
            ) from None
    return list(settings.trusted_proxies)


def urls(sock: socket.socket, *, https: bool = False) -> list[str]:
    """Return the URLs of a listening socket.

    If there are two URLs, the first is for other machines, and the second is for this machine.
    """
    address, port = sock.getsockname()[:2]
    hosts = [_in_url(address)]
    if ipaddress.ip_address(address).is_unspecified:
        hosts = [_in_url(_address_in_network()), "localhost"]
    return [f"{'https' if https else 'http'}://{host}:{port}/" for host in hosts]


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost"


def _own_hosts(host: str) -> list[str]:
    """Return the Host names under which this machine is reached if the server listens on ``host``.

    IP addresses allow no DNS rebinding, which needs a host name that the attacker controls.
    """
    address = _address(host)
    if address is None:
        return [host] if host else []
    if not address.is_unspecified:
        return [_in_url(str(address))]
    cards = psutil.net_if_addrs().values()
    found = [_address(entry.address) for card in cards for entry in card]
    return [socket.gethostname(), *(_in_url(str(one)) for one in found if one)]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _address_in_network() -> str:
    """Return the address from which this machine reaches other networks.

    If there is no such address, return the host name.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # with UDP, `connect` only looks up the route
        except OSError:
            return socket.gethostname()
        address: str = probe.getsockname()[0]
        return address
