"""The sockets and timers of any number of libcurl's multi handles, in one `select`. Knows no request and no reply."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from functools import partial

import pycurl

from d4c_images.errors import D4CError


class Loop:
    """Drives multi handles. Not thread-safe, except `ring`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._multis: set[pycurl.CurlMulti] = set()
        self._timers: dict[pycurl.CurlMulti, float] = {}
        self._bell, self._bell_rope = socket.socketpair()
        self._bell.setblocking(False)
        self._bell_rope.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ)

    def multi(self) -> pycurl.CurlMulti:
        """A new multi handle, driven from now on until it is dropped."""
        try:
            multi = pycurl.CurlMulti()
        except pycurl.error as error:
            raise D4CError(f"cannot open connections: {error.args[-1]} (limit of open files? see ulimit -n)") from error
        self._multis.add(multi)
        multi.setopt(pycurl.M_SOCKETFUNCTION, partial(self._watch, multi))
        multi.setopt(pycurl.M_TIMERFUNCTION, partial(self._set_timer, multi))
        return multi

    def drop(self, multi: pycurl.CurlMulti) -> None:
        """Close a handle, with all of its connections."""
        self._multis.discard(multi)
        multi.close()
        self._timers.pop(multi, None)

    def turn(self, timeout_s: float) -> Iterator[pycurl.CurlMulti]:
        """Wait at most `timeout_s` for something to happen; yields each multi handle right after it may have finished something."""
        if self._timers:
            timeout_s = min(timeout_s, max(0.0, min(self._timers.values()) - time.monotonic()))
        for key, mask in self._selector.select(timeout_s):
            multi: pycurl.CurlMulti | None = key.data
            if multi is None:
                self._bell.recv(4096)
                continue
            if self._selector.get_map().get(key.fd) is not key:
                continue  # closed or reused as a result of earlier events
            flags = _flags(mask, selectors.EVENT_READ, selectors.EVENT_WRITE, pycurl.CSELECT_IN, pycurl.CSELECT_OUT)
            multi.socket_action(key.fd, flags)
            yield multi
        now = time.monotonic()
        for multi in [multi for multi, due in self._timers.items() if due <= now]:
            if self._timers.pop(multi, None) is not None:
                multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
                yield multi

    def ring(self) -> None:
        """Make a waiting `turn` return at once. Thread-safe."""
        try:
            self._bell_rope.send(b"!")
        except BlockingIOError:
            pass

    def close(self) -> None:
        for multi in list(self._multis):
            self.drop(multi)
        self._selector.close()
        self._bell.close()
        self._bell_rope.close()

    def _watch(self, multi: pycurl.CurlMulti, what: int, fd: int, _: object, data: object) -> None:
        if what == pycurl.POLL_REMOVE:
            try:
                self._selector.unregister(fd)
            except KeyError:
                pass
            return
        events = _flags(what, pycurl.POLL_IN, pycurl.POLL_OUT, selectors.EVENT_READ, selectors.EVENT_WRITE)
        try:
            self._selector.modify(fd, events, multi)
        except KeyError:
            self._selector.register(fd, events, multi)

    def _set_timer(self, multi: pycurl.CurlMulti, timeout_ms: int) -> None:
        if timeout_ms < 0:
            self._timers.pop(multi, None)
        else:
            self._timers[multi] = time.monotonic() + timeout_ms / 1000


def _flags(given: int, read: int, write: int, read_as: int, write_as: int) -> int:
    return (read_as if given & read else 0) | (write_as if given & write else 0)
