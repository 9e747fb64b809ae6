"""Every way of answering that the server knows, well or badly: one small function each, registered by name with its one-line doc.

A behaviour is a generator of steps (`wire`): bytes, pauses, and how the connection ends. Without an `End` the connection is kept alive.
The `tls_` ones misbehave in the handshake (`tls.py`) and answer well after it. What the ledger must make of each: `expected.tsv`.
"""

from __future__ import annotations

import email.utils
import gzip
import itertools
import json
import random
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.publishers import pictures, rawfiles, site
from tests.publishers.wire import Ask, End, Pause, Step, Steps, head, page, whole


@dataclass(frozen=True, slots=True)
class Behaviour:
    name: str
    doc: str
    answer: Callable[[Ask], Steps]


BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(answer: Callable[[Ask], Steps]) -> Callable[[Ask], Steps]:
    _add(answer.__name__, answer.__doc__ or "", answer)
    return answer


def _add(name: str, doc: str, answer: Callable[[Ask], Steps]) -> None:
    BEHAVIOURS[name] = Behaviour(name, doc.strip(), answer)


def _constant(name: str, doc: str, make: Callable[[Ask], Step]) -> None:
    _add(name, doc, lambda ask: iter((make(ask),)))



@behaviour
def ok(ask: Ask) -> Steps:
    """The right answer, with ranges."""
    it = site.thing(ask)
    wanted = ask.headers.get("range", "")
    if wanted.startswith("bytes=") and wanted.removeprefix("bytes=").rstrip("-").isdigit():
        first, size = int(wanted.removeprefix("bytes=").rstrip("-")), len(it.body)
        if first >= size:
            yield whole(ask, b"", it.media_type, 416, content_range=f"bytes */{size}")
        else:
            span = f"bytes {first}-{size - 1}/{size}"
            yield whole(ask, it.body[first:], it.media_type, 206, content_range=span)
    else:
        yield whole(ask, it.body, it.media_type, etag=f'"{zlib.crc32(it.body):08x}"', accept_ranges="bytes")


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
    yield whole(ask, it.body, it.media_type, **{f"x_padding_{number}": "p" * 1000 for number in range(40)})


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


@behaviour
def recovers(ask: Ask) -> Steps:
    """Behaviour ARG at the first request of each URL, then the right answer."""
    yield from (BEHAVIOURS[ask.arg or "http_500"].answer(ask) if ask.nth == 1 else ok(ask))


@behaviour
def retry_after_date(ask: Ask) -> Steps:
    """429 with Retry-After as a date, ARG seconds ahead (1)."""
    when = email.utils.formatdate(time.time() + ask.seconds(1) + 0.999, usegmt=True)
    yield page(ask, 429, "Too Many Requests", retry_after=when)


@behaviour
def redirect_once(ask: Ask) -> Steps:
    """302 to another path of the same host, which answers well."""
    yield _redirect(ask, 302, f"/moved{ask.target}") if not ask.path.startswith("/moved/") else _good(ask)


@behaviour
def redirect_relative(ask: Ask) -> Steps:
    """302 with a relative Location."""
    yield _redirect(ask, 302, f"moved-{ask.target.rpartition('/')[2]}") if "/moved-" not in ask.path else _good(ask)


@behaviour
def redirect_to_https(ask: Ask) -> Steps:
    """301 from http to https of the same URL."""
    yield _redirect(ask, 301, f"https://{ask.host}{ask.target}") if ask.scheme == "http" else _good(ask)


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


@behaviour
def manifest_multi(ask: Ask) -> Steps:
    """A IIIF Presentation 3 manifest of three canvases, wherever it is asked for; images are served well."""
    yield _manifest_or_image(ask, version=3, canvases=3)


@behaviour
def manifest_v2(ask: Ask) -> Steps:
    """A IIIF Presentation 2 manifest of one canvas; images are served well."""
    yield _manifest_or_image(ask, version=2, canvases=1)


@behaviour
def manifest_empty(ask: Ask) -> Steps:
    """A IIIF manifest without a single canvas."""
    yield _manifest_or_image(ask, version=3, canvases=0)


def _redirect(ask: Ask, code: int, location: str) -> bytes:
    return page(ask, code, "This way", location=location)


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


def _manifest_or_image(ask: Ask, version: int, canvases: int) -> bytes:
    if ask.path.startswith("/image-api/"):
        return _good(ask)
    base = ask.path.removesuffix("/manifest").removesuffix("/manifest.json")
    found = site.manifest(f"{ask.scheme}://{ask.host}", base, version, canvases)
    return whole(ask, json.dumps(found).encode(), "application/ld+json")


def _bytes(name: str, doc: str, media_type: str | None, make: Callable[[Ask], bytes], code: int = 200) -> None:
    _constant(name, doc, lambda ask: whole(ask, make(ask), media_type, code))


_HTML = b"""<!DOCTYPE html><html><head><title>Specimen viewer</title><script>var x = 1;</script></head>
<body><h1>Our collection</h1><p>Please look at this specimen in our viewer.</p></body></html>"""
_DENIED = b"<html><body><h1>Access denied</h1><p>Your IP address has been blocked.</p></body></html>"
_XML = b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code><Message>The key does not exist.</Message></Error>'
_SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
_PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count 0/Kids[]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
_MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x00" + (b"\xff\xfb\x90\x64" + bytes(413)) * 20
_ZIP = b"PK\x05\x06" + bytes(18)


def _picture(ask: Ask) -> bytes:
    return pictures.jpeg(ask.url)


def _broken_jpeg(ask: Ask) -> bytes:
    return pictures.jpeg(ask.url)[:30] + random.Random(ask.url).randbytes(20_000).replace(b"\xff", b"\xfe") + b"\xff\xd9"


def _noisy_jpeg(ask: Ask) -> bytes:
    good = pictures.jpeg(ask.url)
    return good[: len(good) // 2] + b"\xff\xd9"


def _cut(body: bytes) -> bytes:
    return body[: len(body) * 2 // 3]


for _name, _doc, _media_type, _make in (
    ("empty", "200 with a body of zero bytes.", "image/jpeg", lambda ask: b""),
    ("html_as_jpeg", "An HTML page typed image/jpeg.", "image/jpeg", lambda ask: _HTML),
    ("html", "An HTML page, honestly typed, under 200.", "text/html; charset=utf-8", lambda ask: _HTML),
    ("access_denied_200", "An \"access denied\" page under 200.", "text/html", lambda ask: _DENIED),
    ("json_as_jpeg", "JSON that is no manifest, typed image/jpeg.", "image/jpeg", lambda ask: b'{"error": "no such image"}'),
    ("json", "JSON that is no manifest, honestly typed.", "application/json", lambda ask: b'{"error": "no such image"}'),
    ("xml_as_png", "An XML error message typed image/png.", "image/png", lambda ask: _XML),
    ("text_uri", "A URI as plain text, as JACQ answers without withredirect=1.", "text/plain", lambda ask: ask.url.encode()),
    ("svg", "An SVG drawing.", "image/svg+xml", lambda ask: _SVG),
    ("pdf", "A PDF.", "application/pdf", lambda ask: _PDF),
    ("mp3", "A sound.", "audio/mpeg", lambda ask: _MP3),
    ("zip", "An empty zip archive.", "application/zip", lambda ask: _ZIP),
    ("garbage", "Random bytes typed image/jpeg.", "image/jpeg", lambda ask: b"\x01" + random.Random(ask.url).randbytes(20_000)),
    ("jpeg_head_garbage", "30 bytes of JPEG, then garbage, then an end marker.", "image/jpeg", _broken_jpeg),
    ("jpeg_hollow", "Half of a JPEG, with an end marker put on.", "image/jpeg", _noisy_jpeg),
    ("jpeg_as_html", "A JPEG typed text/html.", "text/html", _picture),
    ("jpeg_as_octets", "A JPEG typed application/octet-stream, as half of Kew's.", "application/octet-stream", _picture),
    ("jpeg_untyped", "A JPEG without Content-Type.", None, _picture),
    ("png_as_jpeg", "A PNG typed image/jpeg, whatever the extension.", "image/jpeg", lambda ask: pictures.png(ask.url)),
    ("png", "A PNG.", "image/png", lambda ask: pictures.png(ask.url)),
    ("png_16bit", "A PNG of 16 bits.", "image/png", lambda ask: pictures.png(ask.url, kind="16bit")),
    ("png_palette", "A PNG with a palette.", "image/png", lambda ask: pictures.png(ask.url, kind="palette")),
    ("png_truncated", "Two thirds of a PNG.", "image/png", lambda ask: _cut(pictures.png(ask.url))),
    ("png_bomb", "A valid PNG of 50,000 x 50,000 pixels in 300 kB.", "image/png", lambda ask: pictures.png_bomb()),
    ("gif", "A GIF.", "image/gif", lambda ask: pictures.gif(ask.url)),
    ("gif_frames", "A GIF of three frames.", "image/gif", lambda ask: pictures.gif(ask.url, frames=3)),
    ("gif_truncated", "Two thirds of a GIF.", "image/gif", lambda ask: _cut(pictures.gif(ask.url))),
    ("tiff", "A TIFF.", "image/tiff", lambda ask: pictures.tiff(ask.url)),
    ("tiff_truncated", "Two thirds of a TIFF.", "image/tiff", lambda ask: _cut(pictures.tiff(ask.url))),
    ("webp", "A WebP.", "image/webp", lambda ask: pictures.webp(ask.url)),
    ("webp_truncated", "Two thirds of a WebP.", "image/webp", lambda ask: _cut(pictures.webp(ask.url))),
    ("bmp", "A BMP.", "image/bmp", lambda ask: pictures.bmp(ask.url)),
    ("jp2", "A JPEG 2000.", "image/jp2", lambda ask: pictures.jp2(ask.url)),
    ("avif", "An AVIF.", "image/avif", lambda ask: pictures.avif(ask.url)),
    ("heic", "A HEIC.", "image/heic", lambda ask: pictures.heic(ask.url)),
    ("jpeg_progressive", "A progressive JPEG.", "image/jpeg", lambda ask: pictures.jpeg(ask.url, kind="progressive")),
    ("jpeg_rotated", "A JPEG with EXIF orientation 6.", "image/jpeg", lambda ask: pictures.jpeg(ask.url, kind="exif_rotated")),
    ("jpeg_cmyk", "A CMYK JPEG.", "image/jpeg", lambda ask: pictures.jpeg(ask.url, kind="cmyk")),
    ("jpeg_icc", "A JPEG with an ICC profile.", "image/jpeg", lambda ask: pictures.jpeg(ask.url, kind="icc")),
    ("dng_cfa", "A DNG with the sensor data in IFD0.", "image/jpeg", lambda ask: rawfiles.dng_with_cfa(ask.url)),
    ("dng_preview", "A DNG with a preview in IFD0, typed image/tiff.", "image/tiff", lambda ask: rawfiles.dng_with_preview(ask.url)),
):
    _bytes(_name, _doc, _media_type, _make)

for _name in ("cr2", "cr3", "nef", "arw", "raf", "orf", "rw2"):
    _bytes(
        _name,
        f"A synthetic {_name.upper()} header (rawfiles.py).",
        "application/octet-stream",
        lambda ask, make=rawfiles.RAW_FILES[_name][1]: make(ask.url),
    )

_bytes("http_404_png", "404 with a PNG as its body, as JACQ answers.", "image/png", lambda ask: pictures.png(ask.url), 404)
_bytes("html_404", "404 with an HTML page.", "text/html", lambda ask: _HTML, 404)
_constant("http_204", "204, no content.", lambda ask: head(204, {"Server": "publishers/1"}))

for _code in (400, 401, 403, 404, 405, 406, 408, 410, 418, 429, 450, 451, 500, 501, 502, 503, 504, 520):
    _constant(f"http_{_code}", f"{_code} with a page and no more.", lambda ask, code=_code: page(ask, code, f"Error {code}"))
for _code in (429, 503):
    _constant(
        f"http_{_code}_seconds",
        f"{_code} with Retry-After: ARG seconds (1).",
        lambda ask, code=_code: page(ask, code, "Later, please", retry_after=str(ask.number(1))),
    )
for _code in (301, 302, 303, 307, 308):
    _constant(
        f"redirect_{_code}",
        f"{_code} to another path of the same host, which answers well.",
        lambda ask, code=_code: _good(ask) if ask.path.startswith("/moved/") else _redirect(ask, code, f"/moved{ask.target}"),
    )
for _name, _location in (("ftp", "ftp://ftp.example.org/1.jpg"), ("file", "file:///etc/passwd"), ("garbage", "http://[::1")):
    _constant(
        f"redirect_to_{_name}",
        f"302 to {_location}.",
        lambda ask, location=_location: _redirect(ask, 302, location),
    )
_constant("redirect_nowhere", "302 without a Location.", lambda ask: page(ask, 302, "This way"))

TLS_BEHAVIOURS = {
    "tls_wrong_name": "A certificate of another host.",
    "tls_expired": "A certificate that has expired.",
    "tls_unknown_ca": "A certificate of a CA that nobody knows.",
    "tls_refused": "An alert instead of a handshake.",
}
for _name, _doc in TLS_BEHAVIOURS.items():
    _add(_name, f"{_doc} Over http: the right answer.", ok)
