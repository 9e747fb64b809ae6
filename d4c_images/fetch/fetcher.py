"""Runs the requests of all lanes concurrently, and returns their replies. Does not decide when one is sent."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator

import pycurl

from d4c_images.fetch.connections import Connections
from d4c_images.fetch.loop import Loop
from d4c_images.fetch.proxies import Proxies
from d4c_images.fetch.route import Routes
from d4c_images.fetch.transfer import Request, Transfer
from d4c_images.fetch.urls import origin_of
from d4c_images.model import FetchOptions, Reply
from d4c_images.settings import proxy_variables
from d4c_images.system import certificates

ORIGINS_REMEMBERED = 512  # origins, about 12 KB each


class Fetcher:
    """Runs any number of requests concurrently. Not thread-safe, except `wake`."""

    def __init__(self, options: FetchOptions) -> None:
        cacert = certificates.bundle(options.cacert)
        self.options = options
        self.routes = Routes(options, Proxies.of(proxy_variables()))
        self._ready: list[tuple[Request, Reply]] = []  # for the caller of `poll`
        self.loop = Loop()
        self.multiplexed: set[str] = set()  # HTTP/2 origins: their requests wait for a connection to share
        self._cacert = os.fsencode(cacert)  # pycurl encodes str as ASCII
        self._spare: list[Transfer] = []
        self._memories: OrderedDict[str, pycurl.CurlShare] = OrderedDict()

    def connections(self, most: int) -> Connections:
        """A new set of connections, shared with no other; the caller closes it."""
        return Connections(self, most)

    def poll(self, timeout_s: float) -> Iterator[tuple[Request, Reply]]:
        """Replies that have arrived. Waits at most `timeout_s` for something to happen, which need not be a reply yet.

        Each reply is yielded before the next one is read, so that the caller can keep its connection busy meanwhile. Raises
        `StoreError` if a sink could not be written.
        """
        yield from self._told()
        for multi in self.loop.turn(0.0 if self._ready else timeout_s):
            self._read(multi)
            yield from self._told()

    def wake(self) -> None:
        """Make a waiting `poll` return at once. Thread-safe."""
        self.loop.ring()

    def close(self) -> None:
        self.loop.close()
        for transfer in self._spare:
            transfer.close()
        self._spare.clear()
        self._memories.clear()

    def reply(self, request: Request, reply: Reply) -> None:
        """Have `poll` return a reply to a request that is not sent."""
        self._ready.append((request, reply))

    def transfer(self) -> Transfer:
        """An unused transfer."""
        return self._spare.pop() if self._spare else Transfer(self.options, self._cacert)

    def spare(self, transfer: Transfer) -> None:
        self._spare.append(transfer)

    def memory(self, origin: str) -> pycurl.CurlShare:
        """An origin's cache across connections and turns: its addresses and its TLS sessions. Each origin has a share of its own,
        since one share has room for the sessions of 25 hosts."""
        share = self._memories.get(origin)
        if share is None:
            share = self._memories[origin] = pycurl.CurlShare()
            share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_DNS)
            share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_SSL_SESSION)
            if len(self._memories) > ORIGINS_REMEMBERED:
                self._memories.popitem(last=False)  # stays alive while a transfer uses it
        else:
            self._memories.move_to_end(origin)
        return share

    def _told(self) -> Iterator[tuple[Request, Reply]]:
        ready, self._ready = self._ready, []
        yield from ready

    def _read(self, multi: pycurl.CurlMulti) -> None:
        """Process libcurl's finished transfers."""
        queued = 1
        while queued:
            queued, done, failed = multi.info_read()
            for curl in done:
                self._finish(curl, pycurl.E_OK, "")
            for curl, code, message in failed:
                self._finish(curl, code, message)

    def _finish(self, curl: pycurl.Curl, error: int, message: str) -> None:
        transfer: Transfer = curl.transfer
        try:
            self._ready.append(transfer.finish(error, message))
        finally:
            transfer.home.release(transfer)
        if transfer.has_multiplexed:
            if len(self.multiplexed) > ORIGINS_REMEMBERED:
                self.multiplexed.clear()
            self.multiplexed.add(origin_of(transfer.url))
