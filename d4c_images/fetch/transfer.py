"""One easy handle of libcurl with its connection, and the exchange that it makes. Starts nothing and waits for nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pycurl

from d4c_images.errors import StoreError
from d4c_images.fetch.codes import own_code
from d4c_images.fetch.urls import target_of
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


class Home(Protocol):
    """Where a transfer belongs."""

    def release(self, request: Request, /) -> None:
        """The request is over."""


class Transfer:
    """One easy handle with its connection, and the state of the exchange that it makes now."""

    def __init__(self, home: Home, options: FetchOptions, cacert: str, origin: str) -> None:
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
        curl.setopt(pycurl.CAINFO, cacert)
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
            redirect_url = target_of(request.url, headers.get("location", ""))
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


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


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
