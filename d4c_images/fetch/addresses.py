"""Which addresses are public, and which address a host name spells out. Resolves no name.

After the IANA registries of special-purpose addresses (https://www.iana.org/assignments/iana-ipv4-special-registry/,
https://www.iana.org/assignments/iana-ipv6-special-registry/). The table is our own, since `is_global` of Python's `ipaddress`
differs between patch releases.
"""

from __future__ import annotations

import functools
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_IPV4 = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_IPV6 = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b:1::/48", "IPv4-translated"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # everything allocated so far
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052


def why_not_public(address: str) -> str | None:
    """What kind of address this is, such as `loopback`; None if it is a public Internet address.

    64:ff9b::/96 is how a resolver maps every IPv4 address in an IPv6-only network (DNS64, RFC 6147): it is as public as the address
    within.
    """
    try:
        ip = ip_address(address.partition("%")[0])  # without the zone of fe80::1%eth0
    except ValueError:
        return "unknown"
    if isinstance(ip, IPv4Address):
        return next((kind for network, kind in _IPV4 if ip in network), None)
    if ip in _NAT64:
        within = why_not_public(str(IPv4Address(int(ip) & 0xFFFFFFFF)))
        return within and f"IPv4-translated, {within}"
    kind = next((kind for network, kind in _IPV6 if ip in network), None)
    return kind or (None if ip in _GLOBAL_UNICAST else "reserved")


@functools.lru_cache(maxsize=1024)
def why_not_public_host(host: str) -> str | None:
    """The same for a URL's host, with or without a port; None also for a name, which says nothing before it is resolved.

    A URL has no need of a translated address, whatever it contains.
    """
    if host.startswith("["):
        try:
            literal = IPv6Address(host.partition("]")[0][1:])
        except ValueError:
            return None  # libcurl cannot use it either
        return why_not_public(str(literal)) or ("IPv4-translated" if literal in _NAT64 else None)
    name = host.partition(":")[0].lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761
        return "loopback"
    address = _spelled(name)
    return None if address is None else why_not_public(address)


def _spelled(name: str) -> str | None:
    """The IPv4 address that a resolver reads from a name without a query: 2130706433, 0x7f.1, 0177.0.0.1."""
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except (OSError, UnicodeError):
        return None
