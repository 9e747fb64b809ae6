"""Behaviours that need more than one whole answer with a code and a body (those are in `bodies.py`): one small function each.

A behaviour is a generator of steps (`wire.py`): bytes, pauses, and how the connection ends. Without an `End` the connection is
kept alive. The `tls_` ones misbehave in the handshake (`tls.py`) and answer well after it. What the ledger must make of each
stands in `expected.tsv`.
"""

from __future__ import annotations

import email.utils
import functools
import gzip
import itertools
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import replace

from tests.publishers import pictures, site
from tests.publishers.conditions import etag_of, is_known, not_modified
from tests.publishers.registry import BEHAVIOURS, add, add_single, behaviour
from tests.publishers.wire import Ask, End, Pause, Steps, head, page, whole


@behaviour
def ok(ask: Ask) -> Steps:
    """The right answer, with ranges and an ETag."""
    it = site.thing(ask)
    wanted = ask.headers.get("range", "")
    if wanted.startswith("bytes=") and wanted.removeprefix("bytes=").rstrip("-").isdigit():
        first, size = int(wanted.removeprefix("bytes=").rstrip("-")), len(it.body)
        if first >= size:
            yield whole(ask, b"", it.media_type, 416, content_range=f"bytes */{size}")
        else:
            span = f"bytes {first}-{size - 1}/{size}"
            yield whole(ask, it.body[first:], it.media_type, 206, content_range=span)
    elif is_known(ask, etag_of(it.body)):
        yield not_modified(etag=etag_of(it.body))
    else:
        yield whole(ask, it.body, it.media_type, etag=etag_of(it.body), accept_ranges="bytes")


@behaviour
def slow_first_byte(ask: Ask) -> Steps:
    """The right answer after ARG seconds (0.3)."""
    yield Pause(ask.seconds(0.3))
    yield from ok(ask)


@behaviour
def drip(ask: Ask) -> Steps:
    """The right answer in 20 pieces over ARG seconds (0.5)."""
    full = whole(ask, site.thing(ask).body, site.thing(ask).media_type)
    size = len(full) // 20 + 1
    for at in range(0, len(full), size):
        yield full[at : at + size]
        yield Pause(ask.seconds(0.5) / 20)


@behaviour
def crawl(ask: Ask) -> Steps:
    """Headers, then 5 bytes twice a second, for ever: below any low-speed limit, never silent for long."""
    yield head(200, {"Content-Type": "image/jpeg", "Content-Length": "40000"})
    for byte in itertools.cycle(b"\xff\xd8\xff\xe0"):
        yield bytes([byte]) * 5
        yield Pause(0.5)


@behaviour
def hang_before_headers(ask: Ask) -> Steps:
    """Takes the request and says nothing."""
    yield End.HANG


@behaviour
def hang_in_headers(ask: Ask) -> Steps:
    """Half a header, then nothing."""
    yield b"HTTP/1.1 200 OK\r\nContent-Ty"
    yield End.HANG


@behaviour
def hang_mid_body(ask: Ask) -> Steps:
    """Half of the body, then nothing."""
    yield _half(ask)
    yield End.HANG


@behaviour
def close_before_answer(ask: Ask) -> Steps:
    """FIN instead of an answer."""
    yield End.CLOSE


@behaviour
def reset_before_answer(ask: Ask) -> Steps:
    """RST instead of an answer."""
    yield End.RESET


@behaviour
def reset_mid_body(ask: Ask) -> Steps:
    """RST after half of the body."""
    yield _half(ask)
    yield Pause(0.02)  # RST would overtake what is still in the buffers
    yield End.RESET


@behaviour
def close_mid_body(ask: Ask) -> Steps:
    """FIN after half of the body: Content-Length is larger than what comes."""
    yield _half(ask)
    yield End.CLOSE


@behaviour
def chunked(ask: Ask) -> Steps:
    """The right answer in chunks."""
    it = site.thing(ask)
    yield head(200, {"Content-Type": it.media_type, "Transfer-Encoding": "chunked"})
    yield from _chunks(it.body)
    yield b"0\r\n\r\n"


@behaviour
def chunked_truncated(ask: Ask) -> Steps:
    """Chunks of half of the body, then FIN without the last chunk."""
    it = site.thing(ask)
    yield head(200, {"Content-Type": it.media_type, "Transfer-Encoding": "chunked"})
    yield from _chunks(it.body[: len(it.body) // 2])
    yield End.CLOSE


@behaviour
def chunked_garbage(ask: Ask) -> Steps:
    """Says chunked, and the chunk sizes are no numbers."""
    yield head(200, {"Content-Type": "image/jpeg", "Transfer-Encoding": "chunked"})
    yield b"banana\r\n" + site.thing(ask).body
    yield End.CLOSE


@behaviour
def truncated_matching_length(ask: Ask) -> Steps:
    """Half of an image (JPEG, or as the extension says) whose Content-Length agrees."""
    it = site.thing(ask)
    yield whole(ask, it.body[: len(it.body) // 2], it.media_type)


@behaviour
def too_short_length(ask: Ask) -> Steps:
    """Content-Length is 1,000 bytes less than what is sent; then FIN."""
    it = site.thing(ask)
    yield head(200, {"Content-Type": it.media_type, "Content-Length": str(len(it.body) - 1000)}) + it.body
    yield End.CLOSE


@behaviour
def http10_no_length(ask: Ask) -> Steps:
    """HTTP/1.0, no Content-Length: the end of the connection is the end of the body."""
    it = site.thing(ask)
    yield f"HTTP/1.0 200 OK\r\nContent-Type: {it.media_type}\r\n\r\n".encode() + it.body
    yield End.CLOSE


@behaviour
def http10_truncated(ask: Ask) -> Steps:
    """HTTP/1.0 without Content-Length, half of the image: only the bytes can tell."""
    it = site.thing(ask)
    yield f"HTTP/1.0 200 OK\r\nContent-Type: {it.media_type}\r\n\r\n".encode() + it.body[: len(it.body) // 2]
    yield End.CLOSE


@behaviour
def endless(ask: Ask) -> Steps:
    """A body without end or length, a JPEG's beginning first."""
    yield head(200, {"Content-Type": "image/jpeg", "Connection": "close"}) + site.thing(ask).body[:-2]
    block = bytes(64 * 1024)
    while True:
        yield block
        yield Pause(0.0005)


@behaviour
def over_size_limit(ask: Ask) -> Steps:
    """Content-Length of ARG bytes (3 GiB) and the beginning of a JPEG."""
    yield head(200, {"Content-Type": "image/jpeg", "Content-Length": str(ask.number(3 * 1024**3))}) + site.thing(ask).body
    yield End.HANG


@behaviour
def garbage_status(ask: Ask) -> Steps:
    """A status line that is none."""
    yield b"BANANA/9.9 yellow\r\n\r\n" + random.Random(1).randbytes(2000)
    yield End.CLOSE


@behaviour
def huge_headers(ask: Ask) -> Steps:
    """The right answer under 40 headers of 1 kB."""
    it = site.thing(ask)
    padding = {f"X-Padding-{number}": "p" * 1000 for number in range(40)}
    yield head(200, {"Content-Type": it.media_type, "Content-Length": str(len(it.body)), **padding}) + it.body


@behaviour
def header_flood(ask: Ask) -> Steps:
    """Headers of 1 kB without end (8 MB of them, then FIN)."""
    yield b"HTTP/1.1 200 OK\r\n"
    for number in range(8000):
        yield b"X-Flood-%d: %s\r\n" % (number, b"f" * 1000)
    yield End.CLOSE


@behaviour
def early_hints(ask: Ask) -> Steps:
    """A 103 before the right answer."""
    yield b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    yield from ok(ask)


@behaviour
def changing(ask: Ask) -> Steps:
    """Another image at each request of the same URL."""
    yield whole(ask, pictures.jpeg(f"{ask.url} no. {ask.nth}"), "image/jpeg")


@behaviour
def gzip_image(ask: Ask) -> Steps:
    """A JPEG with a true Content-Encoding: gzip."""
    yield whole(ask, gzip.compress(site.thing(ask).body, mtime=0), site.thing(ask).media_type, content_encoding="gzip")


@behaviour
def gzip_lie(ask: Ask) -> Steps:
    """Content-Encoding: gzip on a plain JPEG."""
    yield whole(ask, site.thing(ask).body, site.thing(ask).media_type, content_encoding="gzip")


@behaviour
def gzip_truncated(ask: Ask) -> Steps:
    """A gzip stream cut off in the middle, with matching Content-Length."""
    packed = gzip.compress(site.thing(ask).body, mtime=0)
    yield whole(ask, packed[: len(packed) // 2], site.thing(ask).media_type, content_encoding="gzip")


@functools.lru_cache(maxsize=2)
def _inflatable_manifest(size_mb: int) -> bytes:
    packing, block = zlib.compressobj(9, wbits=31), b"[]," * (size_mb * 3_333)
    start = packing.compress(b'{"@context": "http://iiif.io/api/presentation/3/context.json", "type": "Manifest", "items": [')
    return b"".join([start, *(packing.compress(block) for _ in range(100)), packing.compress(b"[]]}"), packing.flush()])


@behaviour
def manifest_bomb(ask: Ask) -> Steps:
    """A IIIF manifest of ARG (21) MB that as many KB inflate to: millions of empty lists."""
    yield whole(ask, _inflatable_manifest(ask.number(21)), "application/json", content_encoding="gzip")


@behaviour
def robots(ask: Ask) -> Steps:
    """The right answer with X-Robots-Tag: ARG (noai), in as many headers as there are parts between bars."""
    it = site.thing(ask)
    tags = "".join(f"X-Robots-Tag: {tag}\r\n" for tag in (ask.arg or "noai").split("|"))
    first, rest = whole(ask, it.body, it.media_type).split(b"\r\n", 1)
    yield first + b"\r\n" + tags.encode() + rest


@behaviour
def recovers(ask: Ask) -> Steps:
    """Behaviour ARG at the first request of each URL, then the right answer."""
    plain = replace(ask, arg="")
    yield from (BEHAVIOURS[ask.arg or "http_500"].answer(plain) if ask.nth == 1 else ok(plain))


@behaviour
def retry_after_date(ask: Ask) -> Steps:
    """429 with Retry-After as a date, ARG seconds ahead (1)."""
    when = email.utils.formatdate(time.time() + ask.seconds(1) + 0.999, usegmt=True)
    yield page(ask, 429, "Too Many Requests", retry_after=when)


@behaviour
def redirect_once(ask: Ask) -> Steps:
    """302 to another path of the same host, which answers well."""
    yield _moved(302)(ask)


@behaviour
def redirect_relative(ask: Ask) -> Steps:
    """302 with a relative Location."""
    yield _redirect(ask, 302, f"moved-{ask.target.rpartition('/')[2]}") if "/moved-" not in ask.path else _good(ask)


@behaviour
def redirect_to_https(ask: Ask) -> Steps:
    """301 from http to https of the same URL."""
    yield _redirect(ask, 301, f"https://{ask.host}{ask.target}") if ask.scheme == "http" else _good(ask)


@behaviour
def redirect_to_http(ask: Ask) -> Steps:
    """302 from https to http of the same URL."""
    yield _redirect(ask, 302, f"http://{ask.host}{ask.target}") if ask.scheme == "https" else _good(ask)


@behaviour
def redirect_to_host(ask: Ask) -> Steps:
    """302 to the same path of host ARG (elsewhere.test)."""
    yield _redirect(ask, 302, f"{ask.scheme}://{ask.arg or 'elsewhere.test'}{ask.target}")


@behaviour
def redirect_loop(ask: Ask) -> Steps:
    """302 to itself."""
    yield _redirect(ask, 302, ask.url)


@behaviour
def redirect_chain(ask: Ask) -> Steps:
    """ARG redirects (9) on the same host, then the right answer."""
    path, _, step = ask.target.partition("?step=")
    done = int(step or 0)
    yield _redirect(ask, 302, f"{path}?step={done + 1}") if done < ask.number(9) else _good(ask)


def _redirect(ask: Ask, code: int, location: str) -> bytes:
    return page(ask, code, "This way", location=location)


def _moved(code: int) -> Callable[[Ask], bytes]:
    return lambda ask: _good(ask) if ask.path.startswith("/moved/") else _redirect(ask, code, f"/moved{ask.target}")


def _led_to(location: str) -> Callable[[Ask], bytes]:
    return lambda ask: _redirect(ask, 302, location)


def _good(ask: Ask) -> bytes:
    it = site.thing(ask)
    return whole(ask, it.body, it.media_type)


def _half(ask: Ask) -> bytes:
    it = site.thing(ask)
    return head(200, {"Content-Type": it.media_type, "Content-Length": str(len(it.body))}) + it.body[: len(it.body) // 2]


def _chunks(body: bytes) -> Steps:
    for at in range(0, len(body), 8000):
        part = body[at : at + 8000]
        yield b"%x\r\n%s\r\n" % (len(part), part)


for _code in (301, 302, 303, 307, 308):
    add_single(f"redirect_{_code}", f"{_code} to another path of the same host, which answers well.", _moved(_code))
for _name, _location in (("ftp", "ftp://ftp.example.org/1.jpg"), ("file", "file:///etc/passwd"), ("garbage", "http://[::1")):
    add_single(f"redirect_to_{_name}", f"302 to {_location}.", _led_to(_location))
add_single("redirect_nowhere", "302 without a Location.", lambda ask: page(ask, 302, "This way"))

TLS_BEHAVIOURS = {
    "tls_wrong_name": "A certificate of another host.",
    "tls_expired": "A certificate that has expired.",
    "tls_unknown_ca": "A certificate of a CA that nobody knows.",
    "tls_refused": "An alert instead of a handshake.",
}
for _name, _doc in TLS_BEHAVIOURS.items():
    add(_name, f"{_doc} Over http: the right answer.", ok)
