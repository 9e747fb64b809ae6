"""URLs as requests and the ledger need them. Sends nothing."""

from __future__ import annotations

import functools
import re
from urllib.parse import urljoin

from d4c_images.identity import parts, usable_url

_CLEAR = re.compile(
    r"https?://(?:[^/?#@\\&]*@)?(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]*)?(?:[/?#]|\Z)", re.ASCII | re.IGNORECASE
).match

_C0_AND_BLANK = bytes(range(0x21))
_AUTHORITY = re.compile(rb"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#\\]*")
_NOT_IN_URL = re.compile(rb"[^\x21-\x7e]")


@functools.lru_cache(maxsize=1024)  # called several times in a row for each request
def host_of(url: str) -> str | None:
    """Host of an http(s) URL as the ledger spells it: lower case, with the port only if it is not the scheme's default."""
    usable = usable_url(url)
    return parts(usable).host if usable is not None and usable.startswith("http") else None


def origin_of(url: str) -> str:
    """Scheme, host and port of a requestable URL, as spelled in it."""
    end = url.find("/", 8)
    return url if end < 0 else url[:end]


def requestable(url: str) -> str | None:
    """`url` in ASCII, as a request line needs it; unchanged if it is ASCII already; None if it is not an http(s) URL.

    Unchanged only if no other reader could see a different host in it: to libcurl, the host of `http://a.org\\@b.org/` is b.org.
    """
    if host_of(url) is None:
        return None
    return url if _CLEAR(url) and url.isascii() and url.isprintable() and " " not in url else usable_url(url)


def location_of(value: bytes) -> str:
    """A Location header as text. What a URL cannot contain is percent-encoded byte by byte, since the server reads bytes.

    Only a host must be decoded as characters. Surrounding blanks, tabs and line breaks go
    (https://url.spec.whatwg.org/#url-parsing).
    """
    value = value.strip(_C0_AND_BLANK).translate(None, b"\t\r\n")
    authority = _AUTHORITY.match(value)
    end = authority.end() if authority else 0
    try:
        host = value[:end].decode("utf-8")
    except UnicodeDecodeError:
        host = value[:end].decode("latin-1")
    return host + _NOT_IN_URL.sub(lambda found: b"%%%02X" % found[0][0], value[end:]).decode("ascii")


def target_of(url: str, location: str) -> str | None:
    """The target of a Location header, or None if it is not to be followed."""
    try:
        target = urljoin(url, location)
    except ValueError:
        return None
    return target if location and host_of(target) else None
