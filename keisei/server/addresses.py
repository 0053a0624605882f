"""The address of a client, for limits that apply to each client separately."""

import ipaddress

from starlette.types import Scope


def remote_address(scope: Scope) -> str | None:
    """Return the client's ``network_of``; None for a loopback address or an unknown address."""
    text = (scope.get("client") or ("",))[0]
    address = _address(text)
    return None if address is None or address.is_loopback else network_of(text)


def network_of(text: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address. Other texts are unchanged.

    One machine can use all addresses of its /64 network.
    """
    address = _address(text)
    if address is None:
        return text
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address; ``::ffff:a.b.c.d`` is an IPv4 address. None for other texts."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # for example a Unix socket
        return None
    if address.version == 6 and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
