"""From the text of an identifier to a normalised URL. Knows nothing of publishers and never merges two different photos.

What is made equal follows RFC 3986 section 6.2: the case of scheme and host, default ports, the case of hex digits in
percent-encoding, unnecessary encoding, dot segments, the fragment (never sent to a server). In addition, what XML and HTML did to a
cell is undone, and the tracking parameters of advertisers are removed (`utm_source` and its kin, `fbclid`, `gclid`). What servers
may distinguish stays distinct: http and https, `www.`, the case of the path, `//`, a trailing slash, a backslash, the query and its
order, a query of digits alone, `%2F`, `%2B`, `%26`, composed and decomposed letters, user names.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import NamedTuple

from d4c_images.model import RejectReason

MAX_LENGTH = 8192


class Url(NamedTuple):
    """A normalised URL in parts."""

    text: str
    scheme: str
    host: str  # lower case, with the port only if it is not the scheme's default
    path: str  # begins with "/"
    query: str  # with its "?" (and a kept fragment), or ""

    @property
    def root(self) -> str:
        """Everything before the path."""
        return self.text[: len(self.text) - len(self.path) - len(self.query)]

    def arguments(self) -> dict[str, str] | None:
        """The query split at `&` and `=`, not decoded; None if it contains a name twice, or a fragment."""
        pairs = [pair.partition("=") for pair in self.query[1:].split("&") if pair]
        arguments = {name: value for name, _, value in pairs}
        return None if len(arguments) < len(pairs) or "#" in self.query else arguments


_DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21}

_PARTS = re.compile(r"(https?|ftp)://(?:[^/]*@)?([^/]+)(/[^?#]*)(.*)").fullmatch
_CONTROLS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")  # never intended, anywhere
_AT_AN_END = "".join(one for one in map(chr, range(0x3001)) if one.isspace() or "\x80" <= one < "\xa0") + (
    "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"  # never intended at an end
)
_WRAPPINGS_AT_MOST = 9  # nested
_ENTITY = re.compile(r"&(?:(?:amp;)+|#0{0,9}([0-9]{1,7});|#[xX]0{0,9}([0-9A-Fa-f]{1,6});)")
_TRACKING = re.compile(r"(?<=[?&])(?:utm_(?:source|medium|campaign|term|content|id)|fbclid|gclid)=[^&]*(?:&|\Z)")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_IMAGE_NAME = re.compile(r"\.(?:jpe?g|jpe|png|gif|tiff?|bmp|webp|jp2|dng|cr2|nef|heic|avif)\Z", re.IGNORECASE)
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_IPV6 = re.compile(r"\[[0-9a-f:.]{2,45}\]\Z")
_NO_SCHEME = re.compile(
    r"(?:www\.[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,18}|(?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|museum|[A-Za-z]{2}))/."
)
_NEEDS_WORK_IN_PATH = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9._~!$&'()*+,;=:@/-]")
_NEEDS_WORK_IN_QUERY = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def parts(text: str) -> Url:
    """Split a URL returned by `usable_url`."""
    found = _PARTS(text)
    if found is None:
        raise ValueError(f"not a normalised URL: {text!r}")
    return Url(text, *found.groups())


def usable_url(text: str) -> str | None:
    """The normalised http, https or ftp URL in a cell, or None (then `unusable_reason` says why).

    Repairs what is certain: blanks and control characters, doubled quotes of small GBIF downloads, `&amp;`, a missing scheme before
    what clearly is a host with a path, characters that should have been percent-encoded. Idempotent: `usable_url(usable_url(x))` is
    `usable_url(x)`.
    """
    url = _analyse(text)
    return None if isinstance(url, RejectReason) else url


def unusable_reason(text: str) -> RejectReason | None:
    """`no_identifier`, `not_http`, `malformed_url`, or None for a usable URL."""
    url = _analyse(text)
    return url if isinstance(url, RejectReason) else None


def _analyse(text: str) -> str | RejectReason:
    """A normalised URL, or why there is none."""
    if len(text) > 4 * MAX_LENGTH:
        return RejectReason.MALFORMED_URL if text.strip() else RejectReason.NO_IDENTIFIER
    text = bare(text)
    if not text:
        return RejectReason.NO_IDENTIFIER
    if len(text) > MAX_LENGTH:
        return RejectReason.MALFORMED_URL
    if text.startswith("//"):
        text = "https:" + text
    elif _NO_SCHEME.match(text):
        text = "http://" + text
    found = _SCHEME.match(text)
    if found is None:
        return RejectReason.NOT_HTTP
    scheme = found[1].lower()
    if scheme not in _DEFAULT_PORTS:
        return RejectReason.NOT_HTTP
    rest = text[found.end() :]
    if not rest.startswith("//"):
        return RejectReason.MALFORMED_URL
    return _normalise(scheme, rest[2:])


def _normalise(scheme: str, rest: str) -> str:
    end = min((at for at in map(rest.find, "/?#\\") if at >= 0), default=len(rest))
    authority, rest = rest[:end], rest[end:]
    user, at, host = authority.rpartition("@")
    known = _host(host, scheme)
    if known is None:
        return RejectReason.MALFORMED_URL
    rest, fragment = _fragment(rest)
    path, mark, query = rest.partition("?")
    path = unescape(_NEEDS_WORK_IN_PATH.sub(_encode, path))
    if not path.startswith("/"):
        path = "/" + path
    if "/." in path:
        path = _without_dots(path)
    query = without_tracking(mark + unescape(_NEEDS_WORK_IN_QUERY.sub(_encode, query)))
    user = _NEEDS_WORK_IN_PATH.sub(_encode, user) + at
    url = f"{scheme}://{user}{known}{path}{query}{fragment}"
    return url if len(url) <= MAX_LENGTH else RejectReason.MALFORMED_URL


def without_tracking(query: str) -> str:
    """A query, with its `?`, without tracking parameters."""
    kept = _TRACKING.sub("", query)
    return query if kept == query else kept.rstrip("&") if len(kept) > 1 else ""


def unescape(text: str) -> str:
    """Undo what XML and HTML did to the `&` of a query (seen doubled, `&amp;amp;`) and to letters (`&#228;`).

    The `#` of such a letter would otherwise end the query, and with it the photo's number.
    """
    while (clear := _ENTITY.sub(_character, text)) != text:
        text = clear
    return text


def _character(entity: re.Match[str]) -> str:
    if entity[1] is None and entity[2] is None:
        return "&"
    code = int(entity[1]) if entity[1] else int(entity[2], 16)
    return chr(code) if code <= sys.maxunicode else entity[0]


def bare(text: str) -> str:
    """Without entities, control characters, and surrounding blanks, CSV quotes or angle brackets."""
    for _ in range(_WRAPPINGS_AT_MOST):
        before = text
        text = _CONTROLS.sub("", unescape(text)).lstrip(_AT_AN_END).rstrip(_AT_AN_END + "|")
        if len(text) > 1 and text[0] + text[-1] in ('""', "<>"):
            text = text[1:-1].replace('""', '"')
        if text == before:
            break
    return text


def _host(host: str, scheme: str) -> str | None:
    """Host and port in their normal form; None if no server can have that name."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, ""
    if len(name) > 253:
        return None
    if not name.isascii():
        try:
            name = ".".join(map(_ascii_label, _DOTS.split(name)))
        except UnicodeError:
            return None
    name = name.lower().removesuffix(".")
    if not (_HOST_NAME.match(name) or _IPV6.match(name)):
        return None
    if name in _DEFAULT_PORTS or _IMAGE_NAME.search(name):  # `http://https//...`, and GBIF's own `http://654355.jpg`
        return None
    if not port:
        return name
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 0 < int(port) < 65536:
        return None
    return name if int(port) == _DEFAULT_PORTS[scheme] else f"{name}:{int(port)}"


def _ascii_label(label: str) -> str:
    """A label of an internationalised host name, as browsers and curl look it up (RFC 5891, UTS 46).

    Python's codec implements the older standard, in which `ß` is `ss` and the final `ς` is `σ`: possibly somebody else's name.
    """
    folded = unicodedata.normalize("NFKC", label).lower()
    if "ß" in folded or "ς" in folded:
        return "xn--" + folded.encode("punycode").decode("ascii")
    return label.encode("idna").decode("ascii")


def _fragment(rest: str) -> tuple[str, str]:
    """Split off the fragment: ("/path?query", "" or "#...").

    It is dropped, unless it names the page of a viewer, or is not a fragment at all but a `#` that should have been encoded
    (`/AB #12.jpg`): two such names must not become one.
    """
    rest, mark, fragment = rest.partition("#")
    if not mark or fragment.startswith(("!", "/", "page")):
        return rest, mark + unescape(_NEEDS_WORK_IN_QUERY.sub(_encode, fragment))
    if _IMAGE_NAME.search(fragment) and not _IMAGE_NAME.search(rest.partition("?")[0]):
        return f"{rest}%23{fragment.replace('#', '%23')}", ""
    return rest, ""


def _encode(found: re.Match[str]) -> str:
    piece = found[0]
    if len(piece) == 3:
        decoded = chr(int(piece[1:], 16))
        return decoded if decoded in _UNRESERVED else piece.upper()
    try:
        raw = piece.encode("utf-8", "surrogateescape")  # an invalid byte of the file stays that byte
    except UnicodeEncodeError:
        raw = piece.encode("utf-8", "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in raw)


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4, as curl and every browser do before a request."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
