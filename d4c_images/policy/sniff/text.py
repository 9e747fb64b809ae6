"""Pages and other text instead of an image: HTML, XML, SVG, JSON or plain, by how they begin. Does not read their content."""

from __future__ import annotations

import codecs
import re

from d4c_images.policy.sniff.kinds import Kind, Sniffed

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PREAMBLE = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_DOCTYPE = re.compile(r"<!doctype\s+([a-z0-9:]+)[^>\[]*(?:\[.*?\]\s*)?>?", re.IGNORECASE | re.DOTALL)
_HTML_START = re.compile(
    r"<(?:html|head|body|script|style|title|meta|link|base|table|div|span|p|br|hr|h[1-6]|font|center|b|i|strong|em|a|img|pre|iframe"
    r"|form|frameset|ul|ol|section|main|noscript)\b",
    re.IGNORECASE,
)
_TAG_START = re.compile(r"<([A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)(?=[\s/>])")
_JSON_START = re.compile(r"\{\s*(?:\"|\}|\Z)|\[\s*(?:[\[{\"\]0-9-]|true|false|null|\Z)")
_NOT_IN_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def encoding_of_mark(body: bytes) -> str | None:
    """The encoding from a byte order mark, or from two plain markup characters in UTF-16 without one."""
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return encoding
    return {b"<\x00": "utf-16-le", b"\x00<": "utf-16-be"}.get(body[:2])


def sniff_text(head: bytes) -> Sniffed:
    encoding = encoding_of_mark(head)
    is_text = encoding not in (None, "utf-8") or _reads_as_text(head[:1024])
    if not is_text and not head[:64].lstrip().startswith(b"<"):  # a page may contain a stray NUL
        return _UNKNOWN
    text = head[:16384].decode(encoding or "latin-1", "replace").removeprefix("\ufeff").removeprefix("\xef\xbb\xbf")
    start = _skip_preamble(text)
    markup = text[start : start + 2048]
    doctype = _DOCTYPE.match(markup)
    if doctype is not None:
        if doctype[1].lower() != "svg":
            return _HTML if doctype[1].lower() == "html" else _XML
        return _SVG
    if _HTML_START.match(markup):
        return _HTML
    tag = _TAG_START.match(markup)
    if tag is not None:
        return _SVG if tag[2].lower() == "svg" else _XML
    if text[:start].lstrip().startswith("<?xml"):
        return _XML
    if not is_text:
        return _UNKNOWN
    return _JSON if _JSON_START.match(markup) else _TEXT


_UNKNOWN = Sniffed(Kind.OTHER, "application/octet-stream")
_HTML = Sniffed(Kind.HTML, "text/html")
_XML = Sniffed(Kind.XML, "application/xml")
_SVG = Sniffed(Kind.OTHER, "image/svg+xml")
_JSON = Sniffed(Kind.JSON, "application/json")
_TEXT = Sniffed(Kind.TEXT, "text/plain")


def _skip_preamble(text: str) -> int:
    at = 0
    while found := _PREAMBLE.match(text, at):
        at = found.end()
    return at


def _reads_as_text(start: bytes) -> bool:
    if _NOT_IN_TEXT.search(start):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
        return True
    except UnicodeDecodeError:
        # Some legacy encoding: mostly ASCII, without control characters (see above).
        return sum(byte < 0x80 for byte in start) >= 0.7 * len(start)
