"""Connects to hosts as a download would, to test whether they can be reached. Sends no request.

One connection per host, and a second one for plain HTTP only if the first one failed. The certificate is verified, then the
connection is closed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import pycurl

from d4c_images.fetch.codes import own_code
from d4c_images.fetch.proxies import Proxies
from d4c_images.fetch.route import Gate, Route, Routes
from d4c_images.model import FetchOptions, OwnCode
from d4c_images.policy.preflight import ConnectResult
from d4c_images.settings import proxy_variables
from d4c_images.system import certificates

SELECT_S = 0.2
FINAL = (None, OwnCode.DNS, OwnCode.PRIVATE_ADDRESS, OwnCode.BAD_URL)  # plain HTTP would change nothing


def connect(hosts: Sequence[str], options: FetchOptions) -> list[ConnectResult]:
    """One result per host, in this order. Hosts are spelled as in the ledger; the timeout is that of `options`."""
    found = {one.host: one for one in _at("https", hosts, options)}
    again = [host for host, one in found.items() if _may_speak_http(one)]
    for one in _at("http", again, options):
        if one.code is None:
            found[one.host] = one
    return [found[host] for host in hosts]


def _may_speak_http(one: ConnectResult) -> bool:
    """Not through a proxy: for plain HTTP it accepts any connection, and does nothing until it gets a request."""
    return not (one.code in FINAL or one.by_proxy or one.detail.startswith("SSL certificate"))


def _at(scheme: str, hosts: Iterable[str], options: FetchOptions) -> Iterator[ConnectResult]:
    routes, multi = Routes(options, Proxies.of(proxy_variables())), pycurl.CurlMulti()
    connections = []
    for host in hosts:
        route = routes.of(f"{scheme}://{host}/")
        if route.refusal is not None:
            yield ConnectResult(host, OwnCode.PRIVATE_ADDRESS, route.refusal)
        else:
            connections.append(_Connection(f"{scheme}://{host}/", host, route, options))
            multi.add_handle(connections[-1].curl)
    try:
        while multi.perform()[1]:
            multi.select(SELECT_S)
        _, _, failed = multi.info_read(max(1, len(connections)))
        failures = {id(curl): (code, message) for curl, code, message in failed}
        for one in connections:
            yield one.result(*failures.get(id(one.curl), (pycurl.E_OK, "")))
    finally:
        for one in connections:
            multi.remove_handle(one.curl)
            one.curl.close()
        multi.close()


class _Connection:
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

    def result(self, code: int, message: str) -> ConnectResult:
        """For a connection that was made or has failed, from libcurl's code."""
        by_proxy = bool(self._route.proxy)
        if code == pycurl.E_OK:
            return ConnectResult(self._host, by_proxy=by_proxy)
        if self._gate.refusal is not None:
            return ConnectResult(self._host, OwnCode.PRIVATE_ADDRESS, self._gate.refusal)
        return ConnectResult(self._host, own_code(code, message), message, by_proxy)
