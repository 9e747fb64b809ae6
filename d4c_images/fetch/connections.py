"""The connections of a lane. Decides nothing about how many there may be."""

from __future__ import annotations

import pycurl

from d4c_images.fetch.transfer import Request, Transfer
from d4c_images.fetch.urls import requestable
from d4c_images.model import FetchOptions, OwnCode, Reply


class Connections:
    """The connections of one lane of a host: at most `most`, used and idle together; after `close` none.

    libcurl keeps idle connections per multi handle and cannot close those of one host. Here each easy handle has a share of
    its own, and with it one connection that ends with the handle: the host's next turn may be another worker's.
    """

    def __init__(
        self, options: FetchOptions, cacert: str, multi: pycurl.CurlMulti, ready: list[tuple[Request, Reply]], most: int
    ) -> None:
        """Replies that need no request go to `ready`."""
        self._options, self._cacert = options, cacert
        self._multi = multi
        self._ready = ready
        self._most = most
        self._idle: list[Transfer] = []
        self._busy: dict[Request, Transfer] = {}

    def resize(self, most: int) -> None:
        """From now on at most so many; those in use beyond that end with their request."""
        self._most = most
        while self._idle and len(self._idle) + len(self._busy) > most:
            self._idle.pop(0).close()

    def start(self, request: Request) -> None:
        """Begin a request; the caller has not more than `most` under way."""
        url = requestable(request.url)
        if url is None:
            self._ready.append((request, _own(request, OwnCode.BAD_URL, "not an http(s) URL with a host")))
            return
        transfer = self._transfer_to(url[: url.index("/", 8)] if "/" in url[8:] else url)
        self._busy[request] = transfer
        try:
            transfer.begin(request, url)
        except pycurl.error as error:
            self.release(request)
            self._ready.append((request, _own(request, OwnCode.BAD_URL, str(error.args[-1]))))
            return
        self._multi.add_handle(transfer.curl)

    def cancel(self, request: Request) -> None:
        """Give a request up and close its connection; no reply will come. Unknown requests are none of our business."""
        if request in self._busy:
            self._multi.remove_handle(self._busy[request].curl)
            self.release(request)

    def release(self, request: Request) -> None:
        """The request is over."""
        transfer = self._busy.pop(request)
        if len(self._idle) + len(self._busy) < self._most:
            self._idle.append(transfer)
        else:
            transfer.close()

    def close(self) -> None:
        for request in list(self._busy):
            self.cancel(request)
        for transfer in self._idle:
            transfer.close()
        self._idle.clear()

    def _transfer_to(self, origin: str) -> Transfer:
        """An idle one with a connection there, else a new one in place of an idle one."""
        for number in range(len(self._idle) - 1, -1, -1):
            if self._idle[number].origin == origin:
                return self._idle.pop(number)
        if self._idle and len(self._idle) + len(self._busy) >= self._most:
            self._idle.pop(0).close()
        return Transfer(self, self._options, self._cacert, origin)


def _own(request: Request, code: OwnCode, text: str) -> Reply:
    return Reply(code=code, url=request.url, final_url=request.url, error=text, hops=request.hops)
