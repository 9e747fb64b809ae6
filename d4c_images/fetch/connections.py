"""The connections of a lane: how many are allowed, and when they are closed. Decides nothing about what is requested over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycurl

from d4c_images.fetch.transfer import Request, Transfer
from d4c_images.fetch.urls import origin_of, requestable
from d4c_images.model import OwnCode, Reply

if TYPE_CHECKING:
    from d4c_images.fetch.fetcher import Fetcher


class Connections:
    """The connections of one lane of a host: at most `most`, in use and idle together; none after `close`.

    They are the pool of a multi handle of their own: libcurl counts them, makes room by closing an idle one, and closes all of them
    with the handle, since the host's next turn may go to another worker. With HTTP/2, requests share one.
    """

    def __init__(self, fetcher: Fetcher, most: int) -> None:
        self._fetcher = fetcher
        self._most = most
        self._multi = self._opened()
        self._busy: dict[Request, Transfer] = {}
        self._are_too_many = False

    def resize(self, most: int) -> None:
        """Change the maximum; surplus connections in use are closed after their request, idle ones at once or with it."""
        self._are_too_many |= most < self._most
        if most != self._most:
            self._most = most
            self._limit(self._multi)
        self._close_idle()

    def start(self, request: Request) -> None:
        """Start a request; the caller has at most `most` in flight."""
        url = requestable(request.url)
        if url is None:
            self._refuse(request, OwnCode.BAD_URL, "not an http(s) URL with a host")
            return
        route = self._fetcher.routes.of(url)
        if route.refusal is not None:
            self._refuse(request, OwnCode.PRIVATE_ADDRESS, route.refusal)
            return
        transfer = self._fetcher.transfer()
        origin = origin_of(url)
        try:
            transfer.begin(request, url, route, self._fetcher.memory(origin), may_wait=origin in self._fetcher.multiplexed)
        except pycurl.error as error:
            self._fetcher.spare(transfer)
            self._refuse(request, OwnCode.BAD_URL, str(error.args[-1]))
            return
        transfer.home = self
        self._busy[request] = transfer
        self._multi.add_handle(transfer.curl)

    def cancel(self, request: Request) -> None:
        """Abandon a request, with its connection or its stream; no reply will come. Unknown requests are ignored."""
        transfer = self._busy.get(request)
        if transfer is not None:
            self.release(transfer)

    def release(self, transfer: Transfer) -> None:
        """Its request is over."""
        self._multi.remove_handle(transfer.curl)
        del self._busy[transfer.request]
        self._fetcher.spare(transfer)
        self._close_idle()

    def close(self) -> None:
        for transfer in list(self._busy.values()):
            self.release(transfer)
        self._fetcher.loop.drop(self._multi)

    def _opened(self) -> pycurl.CurlMulti:
        multi = self._fetcher.loop.multi()
        self._limit(multi)
        return multi

    def _limit(self, multi: pycurl.CurlMulti) -> None:
        multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, self._most)
        multi.setopt(pycurl.M_MAXCONNECTS, self._most)

    def _close_idle(self) -> None:
        """After the limit was lowered: while a request is in flight, libcurl closes an idle connection for each that ends."""
        if self._are_too_many and not self._busy:
            self._are_too_many = False
            self._fetcher.loop.drop(self._multi)
            self._multi = self._opened()

    def _refuse(self, request: Request, code: OwnCode, why: str) -> None:
        self._fetcher.reply(request, Reply(code, request.url, request.url, error=why, hops=request.hops))
