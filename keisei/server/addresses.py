"""The address of a client, for limits that apply to each client separately."""

import ipaddress

from starlette.types import Scope


def remote_address(scope: Scope) -> str | None:
    """Return the client's address; return None for a loopback address or an unknown address.

    An IPv6 client usually owns a whole /64 network, so the function returns the client's network.
    """
    try:
        address = ipaddress.ip_address((scope.get("client") or ("",))[0])
    except ValueError:  # for example a Unix socket
        return None
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return None
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
