"""The loop around libcurl's multi interface: what comes in, for all requests at once. Keeps no connection itself."""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import certifi
import pycurl

from d4c_images.errors import UsageError
from d4c_images.fetch.connections import Connections
from d4c_images.fetch.transfer import Request, Transfer
from d4c_images.model import FetchOptions, Reply


class Fetcher:
    """Runs any number of requests at once. Not for use from several threads, except `wake`."""

    def __init__(self, options: FetchOptions) -> None:
        cacert = options.cacert or _system_cacert()
        if not cacert.is_file():
            raise UsageError(f"no such file of CA certificates: {cacert}")
        self.options = options
        self.cacert = str(cacert)
        self.multi = pycurl.CurlMulti()
        self.multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self.multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._timer: float | None = None
        self._selector = selectors.DefaultSelector()
        self._bell, self._bell_rope = socket.socketpair()
        self._bell.setblocking(False)
        self._bell_rope.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._ready: list[tuple[Request, Reply]] = []

    def connections(self, most: int) -> Connections:
        """A new set of connections that no other set shares, to be closed by the caller."""
        return Connections(self.options, self.cacert, self.multi, self._ready, most)

    def poll(self, timeout_s: float) -> Iterator[tuple[Request, Reply]]:
        """Replies that have come. Waits at most `timeout_s` for something to happen, which need not be a reply yet.

        Each reply is told before the next one is read, so that whoever asks can keep its connection busy meanwhile. Raises
        `StoreError` where a sink could not be written.
        """
        events = self._wait(0.0 if self._ready else timeout_s)
        yield from self._replies()
        for key, mask in events:
            if key.fileobj is self._bell:
                self._bell.recv(4096)
                continue
            flags = _flags(mask, selectors.EVENT_READ, selectors.EVENT_WRITE, pycurl.CSELECT_IN, pycurl.CSELECT_OUT)
            self.multi.socket_action(key.fd, flags)
            yield from self._replies()
        if self._timer is not None and time.monotonic() >= self._timer:
            self._timer = None
            self.multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            yield from self._replies()

    def wake(self) -> None:
        """Make a `poll` that waits return at once. For any thread."""
        try:
            self._bell_rope.send(b"!")
        except BlockingIOError:
            pass

    def close(self) -> None:
        self.multi.close()
        self._selector.close()
        self._bell.close()
        self._bell_rope.close()

    def _wait(self, timeout_s: float) -> list[tuple[selectors.SelectorKey, int]]:
        if self._timer is not None:
            timeout_s = min(timeout_s, max(0.0, self._timer - time.monotonic()))
        return self._selector.select(timeout_s)

    def _replies(self) -> Iterator[tuple[Request, Reply]]:
        """What libcurl is through with, and what needed no request."""
        queued = 1
        while queued:
            queued, done, failed = self.multi.info_read()
            for curl in done:
                self._finish(curl, pycurl.E_OK, "")
            for curl, code, message in failed:
                self._finish(curl, code, message)
        ready = self._ready[:]
        self._ready.clear()
        yield from ready

    def _watch(self, what: int, fd: int, multi: object, data: object) -> None:
        if what == pycurl.POLL_REMOVE:
            try:
                self._selector.unregister(fd)
            except KeyError:
                pass
            return
        events = _flags(what, pycurl.POLL_IN, pycurl.POLL_OUT, selectors.EVENT_READ, selectors.EVENT_WRITE)
        try:
            self._selector.modify(fd, events)
        except KeyError:
            self._selector.register(fd, events)

    def _set_timer(self, timeout_ms: int) -> None:
        self._timer = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000

    def _finish(self, curl: pycurl.Curl, error: int, message: str) -> None:
        transfer: Transfer = curl.transfer
        self.multi.remove_handle(curl)
        request, reply = transfer.finish(error, message)
        self._ready.append((request, reply))


def _system_cacert() -> Path:
    """The bundle that this machine's administrator keeps (Debian's place, Red Hat's), else that of certifi."""
    named = ssl.get_default_verify_paths().cafile
    places = (named, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    return next((Path(place) for place in places if place and Path(place).is_file()), Path(certifi.where()))


def _flags(given: int, read: int, write: int, read_as: int, write_as: int) -> int:
    return (read_as if given & read else 0) | (write_as if given & write else 0)
