"""What does an answer mean? Turns a reply, or the decoder's findings, into a `Verdict`. Fetches, waits and stores nothing.

The rules, in short: a refusal (4xx) and a body that is not an image are permanent; overload, silence and broken connections are
transient; the bytes of a 200 decide, never its headers. After a refusal, a page or an internal server error the next candidate of
the same image may be tried; trouble of the whole host counts against the host.
"""

from __future__ import annotations

import codecs
import html
import re
from dataclasses import dataclass, replace
from enum import StrEnum

from d4c_images.model import ErrorType, OwnCode, Reply, Sign, Status, Verdict, http_error
from d4c_images.policy import page_signs, robots
from d4c_images.policy.sniff import Kind, Sniffed, encoding_of_mark, sniff
from d4c_images.policy.waits import retry_after_s

MAX_DETAIL = 2000
_MOST_PAGE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class CodePolicy:
    """Which HTTP codes mean what. Everything else: 4xx is a permanent refusal, 5xx a transient server error."""

    success: frozenset[int] = frozenset((200, 203))
    rate_limited: frozenset[int] = frozenset((420, 429))
    overloaded: frozenset[int] = frozenset((503, 509, 529))  # the whole host, not only this image
    timed_out: frozenset[int] = frozenset((408, 425))
    unfinished: frozenset[int] = frozenset((206,))  # a part, although the whole was requested
    missing: frozenset[int] = frozenset((404, 410))  # explicitly about the image: words on its page cannot override that
    later: frozenset[int] = frozenset((202,))  # accepted, being prepared
    limited_by_retry_after: frozenset[int] = frozenset((403,))  # with Retry-After a rate limit, not a refusal
    respects_robots_tag: bool = False  # images served with `noai` or `noimageai` are not stored


class DecodeFault(StrEnum):
    TRUNCATED = "truncated"  # or damaged inside; another answer may be whole
    UNDECODABLE = "undecodable"  # certainly not an image
    TOO_MANY_PIXELS = "too_many_pixels"
    UNREAD = "unread"  # structurally complete, but not fully decoded: stored and flagged
    RAW_UNOPENED = "raw_unopened"  # looks like a camera raw file, but nothing here opens it: stored anyway


@dataclass(frozen=True, slots=True)
class DecodeResult:
    """What the decoder found in a stored body."""

    ok: bool
    reason: DecodeFault | None = None
    detail: str | None = None  # oddities, also of a sound image
    width: int | None = None
    height: int | None = None
    media_type: str | None = None
    extension: str | None = None  # without a dot
    raw: bool = False  # camera raw


_OWN_CODES: dict[int, Verdict] = {
    OwnCode.TIMEOUT: Verdict(Status.FAILED_TRANSIENT, ErrorType.TIMEOUT, host_trouble=True),
    OwnCode.STALLED: Verdict(Status.FAILED_TRANSIENT, ErrorType.TIMEOUT, host_trouble=True),
    OwnCode.CONNECT: Verdict(Status.FAILED_TRANSIENT, ErrorType.CONNECTION_BROKEN, host_trouble=True, unreachable=True),
    OwnCode.DNS: Verdict(Status.FAILED_TRANSIENT, ErrorType.DNS, host_trouble=True, unreachable=True),
    OwnCode.TLS: Verdict(Status.FAILED_TRANSIENT, ErrorType.TLS, host_trouble=True, unreachable=True),
    OwnCode.BROKEN: Verdict(Status.FAILED_TRANSIENT, ErrorType.CONNECTION_BROKEN, host_trouble=True),
    OwnCode.TOO_LARGE: Verdict(Status.FAILED_PERMANENT, ErrorType.TOO_LARGE, try_next=True),
    OwnCode.TOO_MANY_REDIRECTS: Verdict(Status.FAILED_PERMANENT, ErrorType.OTHER, try_next=True),
    OwnCode.BAD_REDIRECT: Verdict(Status.FAILED_PERMANENT, ErrorType.OTHER, try_next=True),
    OwnCode.BAD_ENCODING: Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER),
    OwnCode.BAD_URL: Verdict(Status.FAILED_PERMANENT, ErrorType.OTHER, try_next=True),
    OwnCode.PRIVATE_ADDRESS: Verdict(Status.FAILED_PERMANENT, ErrorType.PRIVATE_ADDRESS, try_next=True),
    OwnCode.CANCELLED: Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER),
    OwnCode.OTHER: Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER),
}


def judge(reply: Reply, policy: CodePolicy, now: float) -> Verdict:
    """What one reply means for its image; `now` (unix time) is our own clock, for a `Retry-After` date from a server that does not
    send its own.

    A `SUCCESS` here says only that the bytes look sound: the decoder has the last word (`judge_decoded`). Redirects are followed by
    the caller; one that gets here led nowhere.
    """
    if reply.code < 100:
        return _judge_own(reply)
    if reply.code in policy.success:
        if policy.respects_robots_tag and robots.forbids_ai(reply.headers):
            return Verdict(Status.FAILED_PERMANENT, ErrorType.ROBOTS_TAG, robots.noted(reply.headers))
        return _judge_body(reply, sniff(reply.head, reply.tail, reply.size_bytes))
    return _judge_http(reply, policy, retry_after_s(reply.headers, now))


def _judge_own(reply: Reply) -> Verdict:
    verdict = _OWN_CODES.get(reply.code, _OWN_CODES[OwnCode.OTHER])
    detail = reply.error or _own_name(reply.code)
    error_type = verdict.error_type
    if reply.code == OwnCode.BROKEN and reply.size_bytes:
        error_type = ErrorType.TRUNCATED
    if reply.code == OwnCode.BAD_URL and reply.url.startswith("ftp:"):
        detail = "FTP is not supported"
    return replace(verdict, error_type=error_type, detail=in_one_line(detail))


def _own_name(code: int) -> str:
    return OwnCode(code).name.lower().replace("_", " ") if code in set(OwnCode) else f"code {code}"


def _judge_body(reply: Reply, sniffed: Sniffed) -> Verdict:
    if sniffed.kind is Kind.EMPTY:
        return Verdict(Status.FAILED_TRANSIENT, ErrorType.TRUNCATED, "empty body")
    if sniffed.kind in (Kind.IMAGE, Kind.RAW):
        if sniffed.truncated:
            detail = f"{sniffed.media_type}, cut off after {reply.size_bytes} bytes"
            return Verdict(Status.FAILED_TRANSIENT, ErrorType.TRUNCATED, detail)
        return Verdict(Status.SUCCESS, ErrorType.RAW_UNPROCESSED if sniffed.kind is Kind.RAW else None)
    if sniffed.kind is Kind.OTHER:
        return Verdict(Status.FAILED_PERMANENT, ErrorType.NOT_AN_IMAGE, sniffed.media_type, try_next=True)
    text = _page_text(reply)
    certain, sign = _signs(reply, text)
    return Verdict(
        Status.FAILED_TRANSIENT if certain else Status.FAILED_PERMANENT,
        ErrorType.INVALID_CONTENT_TYPE,
        text or sniffed.media_type,
        host_trouble=sign in page_signs.SPEAKS_OF_US,
        try_next=sign not in page_signs.SPEAKS_OF_US,
        sign=sign,
    )


def _judge_http(reply: Reply, policy: CodePolicy, wait_s: float | None) -> Verdict:
    detail = _detail(reply)
    certain, sign = _signs(reply, None if reply.code in policy.missing else detail)
    if reply.code in policy.unfinished:
        detail = in_one_line(reply.error) if reply.error else detail
    verdict = _judge_code(reply.code, policy, wait_s, detail)
    if sign is None or verdict.status is not Status.FAILED_PERMANENT:
        return replace(verdict, sign=sign)
    is_about_us = sign in page_signs.SPEAKS_OF_US
    status = Status.FAILED_TRANSIENT if certain else verdict.status
    return replace(verdict, status=status, host_trouble=is_about_us, try_next=not is_about_us, sign=sign)


def _judge_code(code: int, policy: CodePolicy, wait_s: float | None, detail: str | None) -> Verdict:
    if code in policy.rate_limited or (code in policy.limited_by_retry_after and wait_s is not None):
        return Verdict(Status.FAILED_TRANSIENT, ErrorType.RATE_LIMITED, detail, wait_s, host_trouble=True)
    if code in policy.overloaded or (500 <= code < 600 and wait_s is not None):
        return Verdict(Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR, detail, wait_s, host_trouble=True)
    if 500 <= code < 600:
        return Verdict(Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR, detail, host_trouble=True, try_next=True)
    if code in policy.timed_out:
        return Verdict(Status.FAILED_TRANSIENT, ErrorType.TIMEOUT, detail, host_trouble=True)
    if code in policy.unfinished:
        return Verdict(Status.FAILED_TRANSIENT, ErrorType.TRUNCATED, detail)
    if code in policy.later:
        return Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER, detail)
    return Verdict(Status.FAILED_PERMANENT, http_error(code), detail, try_next=True)


def _signs(reply: Reply, text: str | None) -> tuple[Sign | None, Sign | None]:
    """The sign that is certain, if any; and the sign to act on."""
    certain = page_signs.in_headers(reply.headers)
    return certain, certain or (page_signs.in_text(text) if text else None)


def _detail(reply: Reply) -> str | None:
    """What the server said besides its code, if readable."""
    sniffed = sniff(reply.head, reply.tail, reply.size_bytes)
    if sniffed.kind is Kind.EMPTY:
        return reply.error and in_one_line(reply.error)
    if sniffed.kind in (Kind.HTML, Kind.JSON, Kind.XML, Kind.TEXT):
        return _page_text(reply) or None
    return f"with a body of {sniffed.media_type}, {reply.size_bytes} bytes"


def _page_text(reply: Reply) -> str:
    return readable_text(reply.head, reply.headers.get("content-type"), MAX_DETAIL)


def judge_decoded(result: DecodeResult) -> Verdict:
    """What the decoder's findings mean. Camera raw is stored whether or not it could be opened."""
    if result.raw and result.reason in (None, DecodeFault.RAW_UNOPENED):
        return Verdict(Status.SUCCESS, ErrorType.RAW_UNPROCESSED, result.detail and result.detail[:MAX_DETAIL])
    detail = result.detail and result.detail[:MAX_DETAIL]
    if result.ok:
        return Verdict(Status.SUCCESS, ErrorType.PARTLY_READ if result.reason is DecodeFault.UNREAD else None, detail)
    if result.reason is DecodeFault.TRUNCATED:
        return Verdict(Status.FAILED_TRANSIENT, ErrorType.TRUNCATED, detail)
    if result.reason is DecodeFault.TOO_MANY_PIXELS:
        return Verdict(Status.FAILED_PERMANENT, ErrorType.TOO_LARGE, detail, try_next=True)
    return Verdict(Status.FAILED_PERMANENT, ErrorType.NOT_AN_IMAGE, detail, try_next=True)


# The text of a page ----------------------------------------------------------------------------------------------------------
_UNREADABLE = re.compile(
    "[\x00-\x20\x7f-\xa0\u061c\u1680\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb\ud800-\udfff]+"
)
_META_CHARSET = re.compile(
    rb"<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,100}?encoding)\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{2,40})", re.IGNORECASE
)
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9._:-]{2,40})", re.IGNORECASE)
# A single pass, linear in the length: `html.parser` needs half a minute for 60 KB of unclosed tags.
_MARKUP = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<title\b[^<>]*+>(?P<title>.*?)(?:</title\s*>|\Z)"
    r"|<(?P<silent>script|style|noscript|template|svg)\b[^<>]*+>.*?(?:</(?P=silent)\s*>|\Z)"
    r"|<[/!?A-Za-z][^<>]*+>?",
    re.IGNORECASE | re.DOTALL,
)


def readable_text(body: bytes, content_type: str | None, limit: int = MAX_DETAIL) -> str:
    """What a person would read on a page, in one line of at most `limit` characters: the title, then the text.

    JSON, XML and plain text are passed through. Only the first 64 KiB are read.
    """
    text = _decoded(body[:_MOST_PAGE_BYTES], content_type)
    if sniff(body, body[-1024:], len(body)).kind is Kind.HTML:
        text = _text_of_html(text)
    return in_one_line(text, limit)


def in_one_line(text: str, limit: int = MAX_DETAIL) -> str:
    """Without control characters, direction marks and anything else that a terminal may act on.

    More lenient than `terminal.clean`, which prepares text for display: this is stored, so the joiners of Persian and Indic words
    stay, and the same bytes give the same text whatever Unicode version a worker's Python has.
    """
    return _UNREADABLE.sub(" ", text).strip()[:limit].rstrip()


def _decoded(body: bytes, content_type: str | None) -> str:
    """By the byte order mark, else the header, else the page's own declaration, else UTF-8."""
    named = _HEADER_CHARSET.search(content_type or "")
    inner = _META_CHARSET.search(body[:2048])
    names = (encoding_of_mark(body), named and named[1], inner and inner[1].decode("ascii"))
    for name in names:
        if name:
            try:
                return body.decode(codecs.lookup(name).name, "replace")
            except (LookupError, ValueError):
                continue
    return body.decode("utf-8", "replace")


def _text_of_html(markup: str) -> str:
    titles = [html.unescape(found["title"]) for found in _MARKUP.finditer(markup) if found["title"]]
    return " ".join((*titles[:1], html.unescape(_MARKUP.sub(" ", markup))))
