"""One easy handle of libcurl, and its current exchange. Starts nothing and waits for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pycurl

from d4c_images.errors import StoreError
from d4c_images.fetch.body import Body, Sink, Unfinished, content_range, part_in, unfinished
from d4c_images.fetch.codes import own_code
from d4c_images.fetch.coding import Unpacker, named_codings, unpacker
from d4c_images.fetch.route import Gate, Route
from d4c_images.fetch.urls import host_of, location_of, target_of
from d4c_images.identity.manifest import MAX_BYTES as DOCUMENT_BYTES
from d4c_images.model import FetchOptions, OwnCode, Reply
from d4c_images.policy.sniff import Kind, sniff

ERROR_PAGE_BYTES = 256 * 1024  # read limit for a body that will not be stored
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Originals matter: no format is named that might make a server convert what it has.
ACCEPT = "Accept: image/*,*/*;q=0.5"
PLAIN_TEXTS = frozenset({Kind.HTML, Kind.JSON, Kind.XML, Kind.TEXT})
ACCEPT_ENCODING = "Accept-Encoding: gzip, deflate"  # decoded here (`coding`): libcurl would trust the header, not the bytes
CURL_ENCODINGS = "gzip, deflate, br"  # for brotli sent unasked, which only libcurl can decode
SPOILT = frozenset({8, pycurl.E_FILESIZE_EXCEEDED, pycurl.E_BAD_CONTENT_ENCODING})  # 8: WEIRD_SERVER_REPLY
NAME_WAITS = (b"retry-after", b"ratelimit", b"x-ratelimit", b"x-rate-limit")  # names, or prefixes of names, of headers
SINGLE = frozenset({"content-type", "content-length", "content-range", "date", "etag", "last-modified", "location"})


@dataclass(eq=False, slots=True)
class Request:
    """One exchange to be made. `key` belongs to the caller and comes back with the reply."""

    url: str
    sink: Sink
    key: Any = None
    hops: int = 0  # redirects before this one, copied to the reply
    goes_on: Unfinished | None = None  # resume this body
    condition: tuple[str, ...] = ()  # validators of what is stored: an answer of 304 has no body
    undone_by_curl: bool = False  # libcurl must decode the body's content coding
    cookies: tuple[str, ...] = ()  # initial ones; with the reply, the current ones (lines in Netscape's format)
    on_wait: Callable[[Request, Mapping[str, str]], None] | None = None  # called within `poll`; must not raise
    names_wait: bool = False  # set when the headers may name a wait, and were passed to `on_wait` before the body
    broke_off: Unfinished | None = None  # set with the reply: the body was interrupted, and can be resumed
    starts_over: bool = False  # set with the reply: the rest is not available, so request the whole


class Home(Protocol):
    """Where a transfer is in use."""

    def release(self, transfer: Transfer, /) -> None:
        """Its request is over."""


class Transfer:
    """One easy handle, and the state of its current exchange. Reused for one request after another, of any host."""

    home: Home
    request: Request
    url: str

    def __init__(self, options: FetchOptions, cacert: bytes) -> None:
        self._limits = options.limits
        self._insecure_hosts = options.insecure_hosts
        self._memory: pycurl.CurlShare | None = None
        self._extra: tuple[str, ...] | None = None  # extra headers of the previous request
        self._is_insecure = self._may_wait = False
        self._headers = [ACCEPT] + ([f"From: {options.from_address}"] if options.from_address else [])
        self.curl = curl = pycurl.Curl()
        curl.transfer = self
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        curl.setopt(pycurl.USERAGENT, options.user_agent)
        curl.setopt(pycurl.BUFFERSIZE, 256 * 1024)
        curl.setopt(pycurl.CAINFO, cacert)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, _ms(self._limits.connect_s))
        curl.setopt(pycurl.TIMEOUT_MS, _ms(self._limits.total_s))
        curl.setopt(pycurl.LOW_SPEED_TIME, max(1, round(self._limits.stall_s)))
        curl.setopt(pycurl.LOW_SPEED_LIMIT, self._limits.stall_bytes_per_s)
        curl.setopt(pycurl.MAXFILESIZE_LARGE, self._limits.max_bytes)
        curl.setopt(pycurl.COOKIEFILE, "")  # reads no file, but turns on libcurl's cookie engine
        self._gate = Gate(curl)
        curl.setopt(pycurl.WRITEFUNCTION, self._receive)
        curl.setopt(pycurl.HEADERFUNCTION, self._header)

    def close(self) -> None:
        self.curl.close()

    def begin(self, request: Request, url: str, route: Route, memory: pycurl.CurlShare, *, may_wait: bool) -> None:
        """Set up a request. `may_wait`: for a pending connection that it can share, instead of opening another one."""
        self.request, self.url = request, url
        self._lines: list[bytes] = []
        self._has_whole_head = False
        self._coded = ""  # the body's coding according to the answer
        self._unpacker: Unpacker | None = None  # None if the body is plain
        self._is_long_text = False  # no more of it is wanted
        self._look_again_at = DOCUMENT_BYTES
        self._kept: bool | None = None  # None if there is no body yet
        self._body = request.goes_on.body if request.goes_on else Body(request.sink)
        self._overlap = b""  # still to be matched
        self._own: tuple[OwnCode, str] | None = None
        self._fault: OSError | StoreError | None = None
        request.broke_off, request.starts_over, request.names_wait = None, False, False
        self._gate.take(route)
        if memory is not self._memory:
            if self._memory is not None:
                self.curl.unsetopt(pycurl.SHARE)
            self.curl.setopt(pycurl.SHARE, memory)
            self._memory = memory
        if self._insecure_hosts:
            self._verify(host_of(url) not in self._insecure_hosts)
        self._ask_for_rest(request.goes_on, request.condition, by_curl=request.undone_by_curl)
        self.curl.setopt(pycurl.COOKIELIST, "ALL")  # forget those of the previous request
        for cookie in request.cookies:
            self.curl.setopt(pycurl.COOKIELIST, cookie.encode("latin-1"))
        if may_wait is not self._may_wait:
            self._may_wait = may_wait
            self.curl.setopt(pycurl.PIPEWAIT, int(may_wait))
        self.curl.setopt(pycurl.URL, url)

    def finish(self, error: int, message: str) -> tuple[Request, Reply]:
        """The result of the exchange. Raises `StoreError` if the sink could not be written."""
        request = self.request
        try:
            if self._fault is not None:
                raise self._fault
            if self._unpacker is not None and self._own is None and not self._is_long_text:
                all(map(self._add, self._unpacker.end()))
            if self._kept:
                self._body.write()
        except OSError as fault:
            raise StoreError(f"{request.sink.path}: {fault.strerror or fault}") from fault
        self.has_multiplexed = self.curl.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2_0
        return request, self._reply(request, error, message)

    def _ask_for_rest(self, goes_on: Unfinished | None, condition: tuple[str, ...], *, by_curl: bool) -> None:
        """Request the rest of a body as stored: a range of a compressed representation would be useless."""
        extra: tuple[str, ...]
        if goes_on is not None:
            extra = ("Accept-Encoding: identity", f"If-Range: {goes_on.validator}")
            self.curl.setopt(pycurl.RANGE, f"{goes_on.first_byte}-")
        else:
            extra = condition if by_curl else (ACCEPT_ENCODING, *condition)
        if extra == self._extra:
            return
        self._extra = extra
        self.curl.setopt(pycurl.HTTPHEADER, [*self._headers, *extra])
        if goes_on is None:
            self.curl.unsetopt(pycurl.RANGE)
        if by_curl and goes_on is None:
            self.curl.setopt(pycurl.ENCODING, CURL_ENCODINGS)
        else:
            self.curl.unsetopt(pycurl.ENCODING)

    def _verify(self, is_secure: bool) -> None:
        if self._is_insecure is is_secure:
            self._is_insecure = not is_secure
            self.curl.setopt(pycurl.SSL_VERIFYPEER, int(is_secure))
            self.curl.setopt(pycurl.SSL_VERIFYHOST, 2 * is_secure)

    def _reply(self, request: Request, error: int, message: str) -> Reply:
        headers = _parsed(self._lines)
        if request.cookies or "set-cookie" in headers:
            lines = self.curl.getinfo_raw(pycurl.INFO_COOKIELIST)  # `getinfo` assumes UTF-8
            request.cookies = tuple(line.decode("latin-1") for line in lines)
        code, text, redirect_url = self._ended_as(request, error, message, headers)
        self._look_ahead(request, code, headers)
        return Reply(
            code=int(code),
            url=request.url,
            final_url=request.url,
            headers=headers,
            path=request.sink.path if self._kept else None,
            size_bytes=self._body.size_bytes,
            sha256=self._body.sha256() if self._kept else None,
            head=self._body.head,
            tail=self._body.tail,
            elapsed_s=self.curl.getinfo(pycurl.TOTAL_TIME),
            sent_after_s=self.curl.getinfo(pycurl.PRETRANSFER_TIME),
            error=text,
            redirect_url=redirect_url,
            hops=request.hops,
            received_bytes=self.curl.getinfo(pycurl.SIZE_DOWNLOAD_T),
        )

    def _ended_as(self, request: Request, error: int, message: str, headers: dict[str, str]) -> tuple[int, str | None, str | None]:
        """The reply's code, its error, and the target of a redirect."""
        if self._own is not None:
            return *self._own, None
        code = self.curl.getinfo(pycurl.RESPONSE_CODE)
        if request.starts_over:
            return code, None, None
        if error == pycurl.E_COULDNT_CONNECT and (refusal := self._gate.refusal):
            return OwnCode.PRIVATE_ADDRESS, refusal, None
        is_decided = self._is_decided_by_head(code, error) or self._is_enough(error)
        text = None if is_decided else message or None
        if error != pycurl.E_OK and not is_decided:
            return own_code(error, message), text, None
        if code in REDIRECTS:
            redirect_url = target_of(request.url, headers.get("location", ""))
            if redirect_url is None:
                return OwnCode.BAD_REDIRECT, f"{code} to {headers.get('location', 'nowhere')[:500]}", None
            return code, text, redirect_url
        if code < 100:
            return OwnCode.BROKEN, "a response without a status line", None
        if not self._kept:
            return code, text, None
        return *self._body_ended_as(request, code, text, headers), None

    def _body_ended_as(self, request: Request, code: int, text: str | None, headers: dict[str, str]) -> tuple[int, str | None]:
        """The code and the error of an answer whose body has ended."""
        if self._unpacker is not None and self._unpacker.fault is not None:
            return self._unpacker.fault
        if code == 206 and request.goes_on is not None:
            return self._joined(headers)
        if self._is_long_text:
            return code, text
        return part_in(code, headers, self._n_came())

    def _is_decided_by_head(self, code: int, error: int) -> bool:
        """Whether the answer says all that counts without its body, which may be interrupted, be endless, or lie about its coding.

        That is also so if libcurl stops reading at a header that makes the body unreadable.
        """
        is_enough = self._has_whole_head or (code >= 400 and error in SPOILT)
        return is_enough and code >= 300 and code == code_of(self._lines)

    def _is_enough(self, error: int) -> bool:
        """Whether the body is complete although libcurl denies it: a wrong Content-Length, or no more of it was wanted."""
        is_whole = self._unpacker is not None and self._unpacker.is_proven_whole
        return self._is_long_text or (error == pycurl.E_PARTIAL_FILE and is_whole)

    def _n_came(self) -> int:
        """Bytes of the body as sent."""
        return self._body.size_bytes if self._unpacker is None else self._unpacker.taken_bytes

    def _look_ahead(self, request: Request, code: int, headers: Mapping[str, str]) -> None:
        """Find out whether the body can be resumed, now that it has ended like this."""
        said, goes_on = code_of(self._lines), request.goes_on
        if self._kept:
            is_plain = self._unpacker is None or self._unpacker.is_plain
            if code < 0 and is_plain and self._body.size_bytes >= self._limits.resume_from_bytes:
                request.broke_off = unfinished(self._body, headers, said, OwnCode(code), goes_on)
        elif goes_on is not None:
            request.starts_over = code in (412, 416) or 200 <= code < 300
            if code < 0 and not self._lines:  # no answer: what there was before is still valid
                request.broke_off = goes_on
            elif self._kept is None:
                self._body = Body(request.sink)

    def _joined(self, headers: dict[str, str]) -> tuple[int, str | None]:
        """The body is complete, and so the answer counts as one with the whole; or a part of it is still missing."""
        span = content_range(headers)
        if span is not None and self._body.size_bytes == span.total:
            return 200, None
        named = headers.get("content-range")
        return OwnCode.BROKEN, f"{self._body.size_bytes:,} bytes in all after a resumed transfer, which was sent as {named}"

    def _header(self, line: bytes) -> None:
        if line.startswith(b"HTTP/"):  # a new answer: the one before was a 1xx
            self._lines = []
            self._has_whole_head = False
            self._coded = ""
        elif self._has_whole_head:
            return  # a trailer must not change what came before (RFC 9110 section 6.5.1)
        elif not line.strip():
            self._has_whole_head = True
            if any(one.lower().startswith(NAME_WAITS) for one in self._lines) and code_of(self._lines) >= 200:
                self._announce_wait()
        elif line[:17].lower() == b"content-encoding:":
            self._coded += "," + line[17:].strip().decode("latin-1")
        self._lines.append(line)

    def _announce_wait(self) -> None:
        """Announced at once: the body may take minutes to arrive, and its decoding as long."""
        if self.request.on_wait is not None:
            self.request.names_wait = True
            self.request.on_wait(self.request, _parsed(self._lines))

    def _receive(self, chunk: bytes) -> int | None:
        """libcurl's write callback: any result but None ends the transfer with E_WRITE_ERROR. Must not raise."""
        try:
            if self._kept is None and not self._begin_body(chunk):
                return 0
            if self._unpacker is None:
                return None if self._add(chunk) else 0
            return None if self._add_all(self._unpacker.feed(chunk)) else 0
        except (OSError, StoreError) as error:
            self._fault = error
            return 0

    def _add_all(self, pieces: Iterable[bytes]) -> bool:
        """Add decoded chunks; returns whether more of the coded body is wanted."""
        for piece in pieces:
            if not self._add(piece):
                return False
        fault = self._unpacker and self._unpacker.fault
        if fault and self._kept and self._own is None:
            self._own = fault
        return fault is None

    def _add(self, chunk: bytes) -> bool:
        """Add a chunk; returns whether more of the body is wanted."""
        if not self._kept:
            self._body.look(chunk)
            return self._body.size_bytes <= ERROR_PAGE_BYTES
        if self._overlap:
            n = min(len(self._overlap), len(chunk))
            if chunk[:n] != self._overlap[:n]:
                self.request.starts_over = True
                return False
            self._overlap, chunk = self._overlap[n:], chunk[n:]
        if self._body.size_bytes + len(chunk) > self._limits.max_bytes:
            self._own = OwnCode.TOO_LARGE, f"more than {self._limits.max_bytes:,} bytes"
            return False
        self._body.add(chunk)
        return self._body.size_bytes <= self._look_again_at or not self._turns_out_long()

    def _turns_out_long(self) -> bool:
        """Whether this is text too long for any page or document that anybody would read."""
        self._look_again_at = self._limits.max_bytes
        self._is_long_text = sniff(self._body.head, self._body.tail, self._body.size_bytes).kind in PLAIN_TEXTS
        return self._is_long_text

    def _begin_body(self, chunk: bytes) -> bool:
        """Decide by its first bytes what to do with the body; False if it is useless."""
        code, goes_on = code_of(self._lines), self.request.goes_on
        self._kept = 200 <= code < 300
        if goes_on is not None and code == 206:
            self.request.starts_over = not goes_on.is_continued_by(_parsed(self._lines))
            self._overlap = goes_on.overlap
            return not self.request.starts_over
        if goes_on is not None and self._kept:
            goes_on.body.start_over()
        elif goes_on is not None:
            self._body = Body(self.request.sink)
        named = named_codings(self._coded) if self._coded and not self.request.undone_by_curl else ()
        self._unpacker = unpacker(named, chunk)
        return True


def code_of(lines: list[bytes]) -> int:
    """The code in an answer's status line; 0 if it has none."""
    words = lines[0].split(None, 2) if lines else []
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _parsed(lines: list[bytes]) -> dict[str, str]:
    """By lower-case name. Repeated headers become one list (RFC 9110 section 5.3), unless only one is allowed."""
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            key = name.strip().decode("latin-1").lower()
            text = location_of(value) if key == "location" else _text(value.strip())
            headers[key] = f"{headers[key]}, {text}" if key in headers and key not in SINGLE else text
    return headers


def _text(value: bytes) -> str:
    """Decode a header value: UTF-8 if possible, else Latin-1, as in the old specification."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
