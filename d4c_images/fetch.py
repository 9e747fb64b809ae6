"""Image bodies over HTTP(S) with libcurl's multi interface: streamed to a sink, hashed on the way. Judges and paces nothing.

One request is one exchange: a redirect is told, never followed, since whoever asks has to count, pace and place the next
request. A bad server or a bad URL becomes a `Reply` with an `OwnCode`; only a sink that cannot be written raises.
"""

from __future__ import annotations

import hashlib
import selectors
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin

import certifi
import pycurl

from d4c_images.errors import StoreError, UsageError
from d4c_images.identity import parts, usable_url
from d4c_images.model import FetchOptions, OwnCode, Reply

HEAD_BYTES = 64 * 1024
TAIL_BYTES = 1024
ERROR_PAGE_BYTES = 256 * 1024  # more of a body that nobody will keep is not read
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Sink(Protocol):
    """Where a body goes. Asked for `write` only once a body with a 2xx code arrives."""

    @property
    def path(self) -> Path: ...

    def write(self, body: bytes, /) -> object: ...


@dataclass(eq=False, slots=True)
class Request:
    """One exchange to be made. `key` is the caller's own and comes back with the reply."""

    url: str
    sink: Sink
    key: Any = None
    hops: int = 0  # redirects before this one, handed on to the reply


def host_of(url: str) -> str | None:
    """Host of an http(s) URL as the ledger writes it: lower case, with a port only where it is not the scheme's default."""
    usable = usable_url(url)
    return parts(usable).host if usable is not None and usable.startswith("http") else None


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
        return Connections(self, self._ready, most)

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
        transfer: _Transfer = curl.transfer
        self.multi.remove_handle(curl)
        request, reply = transfer.finish(error, message)
        self._ready.append((request, reply))


class Connections:
    """The connections of one lane of a host: at most `most`, used and idle together; after `close` none.

    libcurl keeps idle connections per multi handle and cannot close those of one host. Here each easy handle has a share of
    its own, and with it one connection that ends with the handle: the host's next turn may be another worker's.
    """

    def __init__(self, fetcher: Fetcher, ready: list[tuple[Request, Reply]], most: int) -> None:
        self._fetcher = fetcher
        self._ready = ready
        self._most = most
        self._idle: list[_Transfer] = []
        self._busy: dict[Request, _Transfer] = {}

    def resize(self, most: int) -> None:
        """From now on at most so many; those in use beyond that end with their request."""
        self._most = most
        while self._idle and len(self._idle) + len(self._busy) > most:
            self._idle.pop(0).close()

    def start(self, request: Request) -> None:
        """Begin a request; the caller has not more than `most` under way."""
        url = _requestable(request.url)
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
        self._fetcher.multi.add_handle(transfer.curl)

    def cancel(self, request: Request) -> None:
        """Give a request up and close its connection; no reply will come. Unknown requests are none of our business."""
        if request in self._busy:
            self._fetcher.multi.remove_handle(self._busy[request].curl)
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

    def _transfer_to(self, origin: str) -> _Transfer:
        """An idle one with a connection there, else a new one in place of an idle one."""
        for number in range(len(self._idle) - 1, -1, -1):
            if self._idle[number].origin == origin:
                return self._idle.pop(number)
        if self._idle and len(self._idle) + len(self._busy) >= self._most:
            self._idle.pop(0).close()
        return _Transfer(self, self._fetcher, origin)


class _Transfer:
    """One easy handle with its connection, and the state of the exchange that it makes now."""

    def __init__(self, home: Connections, fetcher: Fetcher, origin: str) -> None:
        options = fetcher.options
        self.origin = origin  # scheme, host and port
        self._home = home
        self._limits = options.limits
        self._share = pycurl.CurlShare()
        self._share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_CONNECT)
        self.curl = curl = pycurl.Curl()
        curl.transfer = self
        curl.setopt(pycurl.SHARE, self._share)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)  # one connection is one request: limits count both
        curl.setopt(pycurl.USERAGENT, options.user_agent)
        curl.setopt(pycurl.HTTPHEADER, ["Accept: image/*,*/*;q=0.5"])
        curl.setopt(pycurl.ENCODING, "gzip, deflate, br")
        curl.setopt(pycurl.BUFFERSIZE, 256 * 1024)
        curl.setopt(pycurl.CAINFO, fetcher.cacert)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, _ms(self._limits.connect_s))
        curl.setopt(pycurl.TIMEOUT_MS, _ms(self._limits.total_s))
        curl.setopt(pycurl.LOW_SPEED_TIME, max(1, round(self._limits.stall_s)))
        curl.setopt(pycurl.LOW_SPEED_LIMIT, self._limits.stall_bytes_per_s)
        curl.setopt(pycurl.MAXFILESIZE_LARGE, self._limits.max_bytes)
        if options.connect_to:
            curl.setopt(pycurl.CONNECT_TO, list(options.connect_to))
        curl.setopt(pycurl.WRITEFUNCTION, self._body)
        curl.setopt(pycurl.HEADERFUNCTION, self._header)

    def close(self) -> None:
        self.curl.close()
        self._share.close()

    def begin(self, request: Request, url: str) -> None:
        self._request = request
        self._lines: list[bytes] = []
        self._code = 0
        self._kept: bool | None = None  # None: no body yet
        self._hash = hashlib.sha256()
        self._size = 0
        self._head = bytearray()
        self._tail = b""
        self._own: OwnCode | None = None
        self._fault: OSError | StoreError | None = None
        self.curl.setopt(pycurl.URL, url)

    def finish(self, error: int, message: str) -> tuple[Request, Reply]:
        request = self._request
        elapsed_s = self.curl.getinfo(pycurl.TOTAL_TIME)
        sent_after_s = self.curl.getinfo(pycurl.PRETRANSFER_TIME)
        self._code = self.curl.getinfo(pycurl.RESPONSE_CODE)
        self._home.release(request)
        if isinstance(self._fault, StoreError):
            raise self._fault
        if self._fault is not None:
            raise StoreError(f"{request.sink.path}: {self._fault.strerror or self._fault}") from self._fault
        return request, replace(self._reply(request, error, message), elapsed_s=elapsed_s, sent_after_s=sent_after_s)

    def _reply(self, request: Request, error: int, message: str) -> Reply:
        headers = _parsed(self._lines)
        code, text, redirect_url = self._code, message or None, None
        if self._own is not None:
            code = self._own
        elif error == pycurl.E_WRITE_ERROR and self._kept is False:
            text = None  # an error page of which we have read enough
        elif error != pycurl.E_OK:
            code = own_code(error, message)
        elif code in REDIRECTS:
            redirect_url = _target(request.url, headers.get("location", ""))
            if redirect_url is None:
                code, text = OwnCode.BAD_REDIRECT, f"{code} to {headers.get('location', 'nowhere')[:500]}"
        elif code < 100:
            code, text = OwnCode.BROKEN, "an answer without a status"
        return Reply(
            code=int(code),
            url=request.url,
            final_url=request.url,
            headers=headers,
            path=request.sink.path if self._kept else None,
            size_bytes=self._size,
            sha256=self._hash.digest() if self._kept else None,
            head=bytes(self._head),
            tail=self._tail,
            error=text,
            redirect_url=redirect_url,
            hops=request.hops,
        )

    def _header(self, line: bytes) -> None:
        if line.startswith(b"HTTP/"):  # a new answer: what came before was a 1xx
            self._lines = []
        self._lines.append(line)

    def _body(self, chunk: bytes) -> int | None:
        """libcurl's write callback: anything but None ends the transfer with E_WRITE_ERROR. Must not raise."""
        if self._kept is None:
            self._kept = self._lines[0].split(None, 2)[1][:1] == b"2" if self._lines else False
        self._size += len(chunk)
        if len(self._head) < HEAD_BYTES:
            self._head += chunk[: HEAD_BYTES - len(self._head)]
        self._tail = chunk[-TAIL_BYTES:] if len(chunk) >= TAIL_BYTES else (self._tail + chunk)[-TAIL_BYTES:]
        if not self._kept:
            return None if self._size <= ERROR_PAGE_BYTES else 0
        if self._size > self._limits.max_bytes:
            self._own = OwnCode.TOO_LARGE
            return 0
        self._hash.update(chunk)
        try:
            self._request.sink.write(chunk)
        except (OSError, StoreError) as error:
            self._fault = error
            return 0
        return None


_BY_CURL_CODE: dict[int, OwnCode] = {
    pycurl.E_URL_MALFORMAT: OwnCode.BAD_URL,
    pycurl.E_BAD_FUNCTION_ARGUMENT: OwnCode.BAD_URL,
    pycurl.E_UNSUPPORTED_PROTOCOL: OwnCode.BROKEN,  # the URL's scheme was looked at before: this is an answer in HTTP/0.9
    5: OwnCode.CONNECT,  # COULDNT_RESOLVE_PROXY: our side, no word about the image's host
    6: OwnCode.DNS,
    7: OwnCode.CONNECT,
    8: OwnCode.BROKEN,  # WEIRD_SERVER_REPLY
    pycurl.E_HTTP2: OwnCode.BROKEN,
    pycurl.E_PARTIAL_FILE: OwnCode.BROKEN,
    pycurl.E_SSL_CONNECT_ERROR: OwnCode.TLS,
    pycurl.E_GOT_NOTHING: OwnCode.BROKEN,
    pycurl.E_SEND_ERROR: OwnCode.BROKEN,
    pycurl.E_RECV_ERROR: OwnCode.BROKEN,
    pycurl.E_SSL_CERTPROBLEM: OwnCode.TLS,
    pycurl.E_SSL_CIPHER: OwnCode.TLS,
    pycurl.E_SSL_PEER_CERTIFICATE: OwnCode.TLS,
    pycurl.E_BAD_CONTENT_ENCODING: OwnCode.BAD_ENCODING,
    pycurl.E_FILESIZE_EXCEEDED: OwnCode.TOO_LARGE,
    pycurl.E_SSL_ISSUER_ERROR: OwnCode.TLS,
    pycurl.E_SSL_INVALIDCERTSTATUS: OwnCode.TLS,
    97: OwnCode.CONNECT,  # PROXY
    100: OwnCode.BROKEN,  # TOO_LARGE: of headers
}


def _system_cacert() -> Path:
    """The bundle that this machine's administrator keeps (Debian's place, Red Hat's), else that of certifi."""
    named = ssl.get_default_verify_paths().cafile
    places = (named, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    return next((Path(place) for place in places if place and Path(place).is_file()), Path(certifi.where()))


def own_code(curl_code: int, message: str) -> OwnCode:
    """Our word for a libcurl error (https://curl.se/libcurl/c/libcurl-errors.html).

    Code 28 stands for every timeout; only libcurl's message tells which of them it was.
    """
    if curl_code != pycurl.E_OPERATION_TIMEDOUT:
        return _BY_CURL_CODE.get(curl_code, OwnCode.OTHER)
    if "too slow" in message:
        return OwnCode.STALLED
    if message.startswith("Resolving"):
        return OwnCode.DNS
    return OwnCode.TIMEOUT if message.startswith("Operation timed out") else OwnCode.CONNECT


def _own(request: Request, code: OwnCode, text: str) -> Reply:
    return Reply(code=code, url=request.url, final_url=request.url, error=text, hops=request.hops)


def _flags(given: int, read: int, write: int, read_as: int, write_as: int) -> int:
    return (read_as if given & read else 0) | (write_as if given & write else 0)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _requestable(url: str) -> str | None:
    """`url` in the ASCII that a request line wants, untouched where it is that already; None where it is no http(s) URL."""
    if host_of(url) is None:
        return None
    return url if url.isascii() and url.isprintable() and " " not in url else usable_url(url)


def _target(url: str, location: str) -> str | None:
    """Where a Location header leads, or None where we do not go."""
    try:
        target = urljoin(url, location)
    except ValueError:
        return None
    return target if location and host_of(target) else None


def _parsed(lines: list[bytes]) -> dict[str, str]:
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().decode("latin-1").lower()] = _text(value.strip())
    return headers


def _text(value: bytes) -> str:
    """Header values are UTF-8 where servers write a raw path into Location, Latin-1 by the old book."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
