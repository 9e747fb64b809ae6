"""Where the connections of a request may lead: along the route that the operator configured, or to public addresses only.

What counts is the address of the socket: libcurl passes each one in before it connects, so a name may change its addresses at any
time. A URL that spells out a private address is refused on any route, unless `--connect-to` names it. `--connect-to` and the
proxies are resolved here, and libcurl gets what applies to the request at hand: so what is trusted and what is done cannot differ.
"""

from __future__ import annotations

import os
import re
import socket
from typing import Any, NamedTuple

import pycurl

from d4c_images.fetch.addresses import why_not_public, why_not_public_host
from d4c_images.fetch.proxies import Proxies
from d4c_images.fetch.urls import host_of
from d4c_images.model import FetchOptions

ADVICE = "not requested: not a public address (see --allow-private-hosts)"
_PORTS = {"http": "80", "https": "443"}
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_HOST = r"(\[[^\]]*\]|[^:]*)"
_ENTRY = re.compile(rf"{_HOST}:([0-9]*):{_HOST}(?::([0-9]*))?").fullmatch


class Address(NamedTuple):
    """What libcurl is about to connect to, as pycurl passes it."""

    family: int
    socktype: int
    protocol: int
    addr: Any  # in the form of the module `socket`


class Route(NamedTuple):
    """How one request reaches its server."""

    connect_to: str | None = None  # libcurl's option, for any host
    proxy: str = ""
    is_trusted: bool = False  # the operator configured the target, or allows any address
    refusal: str | None = None  # why the request is not sent


class ConnectTo(NamedTuple):
    """An entry of curl's option, HOST1:PORT1:HOST2:PORT2; an empty part stands for any, or for what the URL says."""

    host: str
    port: str
    to_host: str
    to_port: str

    @classmethod
    def read(cls, text: str) -> ConnectTo | None:
        """None if curl would ignore it."""
        found = _ENTRY(text)
        return None if found is None else cls(found[1].lower(), found[2], found[3], found[4] or "")

    def fits(self, name: str, port: str) -> bool:
        return self.host in ("", name) and self.port in ("", port)


class Routes:
    """The routes that a run's options and environment provide."""

    def __init__(self, options: FetchOptions, proxies: Proxies) -> None:
        self._allows_private = options.allow_private_hosts
        self._entries = [entry for text in options.connect_to if (entry := ConnectTo.read(text))]
        self._proxies = proxies
        self._usual = Route(is_trusted=self._allows_private) if not (self._entries or proxies.by_scheme) else None

    def of(self, url: str) -> Route:
        """The route of a requestable URL."""
        host = host_of(url) or ""
        scheme = url.partition(":")[0].lower()
        entry = self._entry(scheme, host) if self._entries else None
        is_led = entry is not None and bool(entry.to_host)
        is_named = entry is not None and is_led and bool(entry.host)
        if not (is_named or self._allows_private) and (kind := why_not_public_host(host)):
            return Route(refusal=f"{host} ({kind}): {ADVICE}")
        if self._usual is not None:
            return self._usual
        proxy = self._proxies.proxy(scheme, _name(host))
        connect_to = None if entry is None else f"::{entry.to_host}:{entry.to_port}"
        return Route(connect_to, proxy, is_led or bool(proxy) or self._allows_private)

    def _entry(self, scheme: str, host: str) -> ConnectTo | None:
        name = _name(host)
        port = host[len(name) + 1 :] or _PORTS[scheme]
        return next((entry for entry in self._entries if entry.fits(name, port)), None)


class Gate:
    """Opens the sockets of one easy handle, along its request's route."""

    def __init__(self, curl: pycurl.Curl) -> None:
        self._curl = curl
        self._route = Route()
        self._refused: list[str] = []
        self._has_opened = False
        curl.setopt(pycurl.PROXY, "")  # environment variables count only through the route
        curl.setopt(pycurl.NOPROXY, "")
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self.open)

    def take(self, route: Route) -> None:
        """Set the route of the next request."""
        self._refused.clear()
        self._has_opened = False
        if route is self._route or route == self._route:
            return
        if route.connect_to != self._route.connect_to:
            self._curl.setopt(pycurl.CONNECT_TO, [] if route.connect_to is None else [os.fsencode(route.connect_to)])
        if route.proxy != self._route.proxy:
            self._curl.setopt(pycurl.PROXY, os.fsencode(route.proxy))  # pycurl encodes str as ASCII
        self._route = route

    @property
    def refusal(self) -> str | None:
        """Why no connection was tried, if there were addresses and all of them were refused."""
        return f"{', '.join(self._refused)}: {ADVICE}" if self._refused and not self._has_opened else None

    def open(self, purpose: int, address: Address) -> socket.socket | int:
        """libcurl's callback before each connection; must not raise."""
        family, socktype, protocol, at = address
        if not self._route.is_trusted:
            kind = why_not_public(at[0]) if family in _FAMILIES else "local socket"
            if kind is not None:
                self._refused.append(f"{at[0]} ({kind})" if family in _FAMILIES else kind)
                return int(pycurl.SOCKET_BAD)
        self._has_opened = True
        try:
            return _Lent(family, socktype, protocol)
        except OSError:  # no file descriptor left, or no IPv6 here
            return int(pycurl.SOCKET_BAD)


class _Lent(socket.socket):
    """A socket that libcurl duplicates."""

    def __del__(self) -> None:
        self.close()


def _name(host: str) -> str:
    """Without the port."""
    return host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]
