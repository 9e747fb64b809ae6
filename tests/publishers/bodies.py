"""Behaviours that are one whole answer: what a 200 may hold instead of (or as) an image, and plain HTTP codes."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable

from tests.publishers import pictures, rawfiles
from tests.publishers.registry import add_single
from tests.publishers.wire import Ask, head, page, whole


def _bytes(name: str, doc: str, media_type: str | None, make: Callable[[Ask], bytes], code: int = 200) -> None:
    add_single(name, doc, lambda ask: whole(ask, make(ask), media_type, code))


_HTML = b"""<!DOCTYPE html><html><head><title>Specimen viewer</title><script>var x = 1;</script></head>
<body><h1>Our collection</h1><p>Please look at this specimen in our viewer.</p></body></html>"""
_DENIED = b"<html><body><h1>Access denied</h1><p>Your IP address has been blocked.</p></body></html>"
_XML = b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code><Message>The key does not exist.</Message></Error>'
_SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count 0/Kids[]>>endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF\n"
)
_MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x00" + (b"\xff\xfb\x90\x64" + bytes(413)) * 20


def _picture(ask: Ask) -> bytes:
    return pictures.jpeg(ask.url)


def _broken_jpeg(ask: Ask) -> bytes:
    return pictures.jpeg(ask.url)[:30] + random.Random(ask.url).randbytes(20_000).replace(b"\xff", b"\xfe") + b"\xff\xd9"


def _hollow_jpeg(ask: Ask) -> bytes:
    whole_body = _picture(ask)
    return whole_body[: len(whole_body) // 2] + b"\xff\xd9"


def _zeroed_jpeg(ask: Ask) -> bytes:
    whole_body = _picture(ask)
    middle = len(whole_body) // 2
    return whole_body[:middle] + bytes(4096) + whole_body[middle + 4096 :]


def _flipped_jpeg(ask: Ask) -> bytes:
    body = bytearray(_picture(ask))
    for at in range(len(body) // 4, len(body) - 100, 1000):
        if 0xFF not in (body[at - 1], body[at], body[at] ^ 0x55):  # no marker comes or goes
            body[at] ^= 0x55
    return bytes(body)


def _surplus_jpeg(ask: Ask) -> bytes:
    return _picture(ask)[:-2] + b"\x11" * 500 + b"\xff\xd9"


def _zip(ask: Ask) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("readme.txt"), ask.url)
    return out.getvalue()


def _large_tiff(ask: Ask) -> bytes:
    return pictures.tiff_large(ask.number(9_000))


def _large_jpeg(ask: Ask) -> bytes:
    return pictures.jpeg_large(ask.number(7000))


def _raw_file(make: Callable[[str], bytes]) -> Callable[[Ask], bytes]:
    return lambda ask: make(ask.url)


def _refusal(code: int) -> Callable[[Ask], bytes]:
    return lambda ask: page(ask, code, f"Error {code}")


def _wait_request(code: int) -> Callable[[Ask], bytes]:
    return lambda ask: page(ask, code, "Later, please", retry_after=str(ask.number(1)))


def _cut(body: bytes) -> bytes:
    return body[: len(body) * 2 // 3]


for _name, _doc, _media_type, _make in (
    ("empty", "200 with a body of zero bytes.", "image/jpeg", lambda ask: b""),
    ("html_as_jpeg", "An HTML page typed image/jpeg.", "image/jpeg", lambda ask: _HTML),
    ("html", "An HTML page, honestly typed, under 200.", "text/html; charset=utf-8", lambda ask: _HTML),
    ("access_denied_200", 'An "access denied" page under 200.', "text/html", lambda ask: _DENIED),
    ("json_as_jpeg", "JSON that is no manifest, typed image/jpeg.", "image/jpeg", lambda ask: b'{"error": "no such image"}'),
    ("json", "JSON that is no manifest, honestly typed.", "application/json", lambda ask: b'{"error": "no such image"}'),
    ("xml_as_png", "An XML error message typed image/png.", "image/png", lambda ask: _XML),
    ("text_uri", "A URI as plain text, as JACQ answers without withredirect=1.", "text/plain", lambda ask: ask.url.encode()),
    ("svg", "An SVG drawing.", "image/svg+xml", lambda ask: _SVG),
    ("one_picture", "The same JPEG for every URL, a 'no image available'.", "image/jpeg", lambda ask: pictures.jpeg("none")),
    ("pdf", "A PDF.", "application/pdf", lambda ask: _PDF),
    ("mp3", "A sound.", "audio/mpeg", lambda ask: _MP3),
    ("zip", "A zip archive.", "application/zip", _zip),
    ("garbage", "Random bytes typed image/jpeg.", "image/jpeg", lambda ask: b"\x01" + random.Random(ask.url).randbytes(20_000)),
    ("jpeg_head_garbage", "30 bytes of JPEG, then garbage, then an end marker.", "image/jpeg", _broken_jpeg),
    ("jpeg_hollow", "The first half of a JPEG, then an end marker.", "image/jpeg", _hollow_jpeg),
    ("jpeg_zeroed", "A JPEG with 4 kB of zeros in its middle, of full length.", "image/jpeg", _zeroed_jpeg),
    ("jpeg_bitflips", "A JPEG with four bits flipped in one byte of a thousand.", "image/jpeg", _flipped_jpeg),
    ("jpeg_surplus", "A whole JPEG with 500 bytes more before its end marker, as some drones make.", "image/jpeg", _surplus_jpeg),
    ("jpeg_as_html", "A JPEG typed text/html.", "text/html", _picture),
    ("jpeg_as_octets", "A JPEG typed application/octet-stream, as half of Kew's.", "application/octet-stream", _picture),
    ("jpeg_untyped", "A JPEG without Content-Type.", None, _picture),
    ("png_as_jpeg", "A PNG typed image/jpeg, whatever the extension.", "image/jpeg", lambda ask: pictures.png(ask.url)),
    ("png", "A PNG.", "image/png", lambda ask: pictures.png(ask.url)),
    ("png_16bit", "A PNG of 16 bits.", "image/png", lambda ask: pictures.png(ask.url, kind="16bit")),
    ("png_palette", "A PNG with a palette.", "image/png", lambda ask: pictures.png(ask.url, kind="palette")),
    ("png_truncated", "Two thirds of a PNG.", "image/png", lambda ask: _cut(pictures.png(ask.url))),
    ("png_bomb", "A valid PNG of 50,000 x 50,000 pixels in 300 kB.", "image/png", lambda ask: pictures.png_bomb()),
    ("tiff_large", "A valid TIFF of ARG (9,000) pixels squared.", "image/tiff", _large_tiff),
    ("jpeg_large", "A progressive JPEG of ARG (7,000) pixels squared.", "image/jpeg", _large_jpeg),
    ("webp_bomb", "A valid WebP of 16,383 x 16,383 pixels in 34 bytes.", "image/webp", lambda ask: pictures.webp_bomb()),
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
    ("dng_preview", "A DNG with a preview in IFD0.", "image/tiff", lambda ask: rawfiles.dng_with_preview(ask.url)),
):
    _bytes(_name, _doc, _media_type, _make)

for _name in ("cr2", "cr3", "nef", "arw", "raf", "orf", "rw2"):
    _bytes(
        _name,
        f"A synthetic {_name.upper()} header (rawfiles.py).",
        "application/octet-stream",
        _raw_file(rawfiles.RAW_FILES[_name][1]),
    )

_bytes("http_404_png", "404 with a PNG as its body, as JACQ answers.", "image/png", lambda ask: pictures.png(ask.url), 404)
_bytes("html_404", "404 with an HTML page.", "text/html", lambda ask: _HTML, 404)
add_single("http_204", "204, no content.", lambda ask: head(204, {"Server": "publishers/1"}))

for _code in (400, 401, 403, 404, 405, 406, 408, 410, 418, 429, 450, 451, 500, 501, 502, 503, 504, 520):
    add_single(f"http_{_code}", f"{_code} with a page and no more.", _refusal(_code))
for _code in (429, 503):
    add_single(f"http_{_code}_seconds", f"{_code} with Retry-After: ARG seconds (1).", _wait_request(_code))
