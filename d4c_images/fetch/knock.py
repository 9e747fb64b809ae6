"""Connects to some hosts by the way that a download would take, to see if they can be reached, and asks them for nothing.

One connection to each, and a second one to the port of plain HTTP only if nothing was there. The certificate is verified, then the
connection is closed: no host has answered a request.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import pycurl

from d4c_images.fetch.codes import own_code
from d4c_images.fetch.proxies import Proxies
from d4c_images.fetch.route import Gate, Route, Routes
from d4c_images.model import FetchOptions, OwnCode
from d4c_images.policy.preflight import Knock
from d4c_images.settings import proxy_variables
from d4c_images.system import certificates

LOOK_S = 0.2
FINAL = (None, OwnCode.DNS, OwnCode.PRIVATE_ADDRESS, OwnCode.BAD_URL)  # the other port would say the same


def knock(hosts: Sequence[str], options: FetchOptions) -> list[Knock]:
    """What came of each, in this order. Hosts are as the ledger writes them; a way is tried for as long as `options` says."""
    found = {one.host: one for one in _at("https", hosts, options)}
    again = [host for host, one in found.items() if _may_speak_http(one)]
    for one in _at("http", again, options):
        if one.code is None:
            found[one.host] = one
    return [found[host] for host in hosts]


def _may_speak_http(one: Knock) -> bool:
    """Behind a proxy that is not to be seen: it takes any connection, and goes nowhere before it has a request."""
    return not (one.code in FINAL or one.by_proxy or one.detail.startswith("SSL certificate"))


def _at(scheme: str, hosts: Iterable[str], options: FetchOptions) -> Iterator[Knock]:
    routes, multi = Routes(options, Proxies.of(proxy_variables())), pycurl.CurlMulti()
    doors = []
    for host in hosts:
        route = routes.of(f"{scheme}://{host}/")
        if route.refusal is not None:
            yield Knock(host, OwnCode.PRIVATE_ADDRESS, route.refusal)
        else:
            doors.append(_Door(f"{scheme}://{host}/", host, route, options))
            multi.add_handle(doors[-1].curl)
    try:
        while multi.perform()[1]:
            multi.select(LOOK_S)
        _, _, failed = multi.info_read(max(1, len(doors)))
        failures = {id(curl): (code, message) for curl, code, message in failed}
        for door in doors:
            yield door.knock(*failures.get(id(door.curl), (pycurl.E_OK, "")))
    finally:
        for door in doors:
            multi.remove_handle(door.curl)
            door.curl.close()
        multi.close()


class _Door:
    """One connection."""

    def __init__(self, url: str, host: str, route: Route, options: FetchOptions) -> None:
        self._host, self._route = host, route
        self.curl = curl = pycurl.Curl()
        curl.setopt(pycurl.CONNECT_ONLY, 1)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.USERAGENT, options.user_agent)  # for a proxy
        curl.setopt(pycurl.CAINFO, os.fsencode(certificates.bundle(options.cacert)))
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round(options.limits.connect_s * 1000)))
        curl.setopt(pycurl.TIMEOUT_MS, max(1, round(options.limits.connect_s * 2000)))
        self._gate = Gate(curl)
        self._gate.take(route)
        curl.setopt(pycurl.URL, url)

    def knock(self, code: int, message: str) -> Knock:
        """What has come of it, by libcurl's code."""
        by_proxy = bool(self._route.proxy)
        if code == pycurl.E_OK:
            return Knock(self._host, by_proxy=by_proxy)
        if self._gate.refusal is not None:
            return Knock(self._host, OwnCode.PRIVATE_ADDRESS, self._gate.refusal)
        return Knock(self._host, own_code(code, message), message, by_proxy)
