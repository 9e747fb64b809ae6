"""Which proxy a request uses, according to the environment variables that curl reads. Connects to none.

The rules are curl's (https://curl.se/docs/manpage.html#ENVIRONMENT): `http_proxy` counts only in lower case, `no_proxy` lists
hosts, domains and networks, or `*` for everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

_LIST = re.compile(r"[ \t]*(?:[^ \t,]*[ \t]*,+[ \t]*)*[^ \t,]*")  # anything after a blank without a comma is ignored


@dataclass(frozen=True, slots=True)
class Proxies:
    by_scheme: Mapping[str, str] = field(default_factory=dict)
    spared: tuple[str, ...] = ()  # hosts, domains and networks without a proxy; lower case

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Proxies:
        def first(*names: str) -> str:
            return next((variables[name] for name in names if variables.get(name)), "")  # empty means unset

        others = ("all_proxy", "ALL_PROXY")
        found = {"http": first("http_proxy", *others), "https": first("https_proxy", "HTTPS_PROXY", *others)}
        spared = first("no_proxy", "NO_PROXY").lower()
        if spared == "*":  # in a list it means nothing
            return cls()
        listed = _LIST.match(spared)
        names = tuple(re.findall(r"[^ \t,]+", listed[0])) if listed else ()
        return cls({scheme: proxy for scheme, proxy in found.items() if proxy}, names)

    def proxy(self, scheme: str, name: str) -> str:
        """The proxy for a host (without port), or "" for none."""
        proxy = self.by_scheme.get(scheme, "")
        return "" if proxy and any(_covers(one, name) for one in self.spared) else proxy


def _covers(spared: str, name: str) -> bool:
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        domain = spared.strip(".")
        return name == domain or name.endswith(f".{domain}")
    try:
        network = ip_network(spared, strict=False)
    except ValueError:
        return False
    return network.prefixlen > 0 and address in network
