"""What the hosts of a rehearsal answer: heads and bodies as bytes, and the waits that they name. Has no clock and no sockets."""

from __future__ import annotations

import email.utils
import math
from typing import NamedTuple

from tests.publishers import pictures
from tests.weeks.plan import Host, Kind

NOT_THERE = b"<html><head><title>Not found</title></head><body><h1>This specimen has no image</h1></body></html>"
NO_ACCESS = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
CHALLENGE = "<html><head><title>Just a moment...</title></head><body>Checking your browser. Ray ID: {number:016x}</body></html>"
BOT_CHECK = "<html><head><title>Making sure you're not a bot!</title></head><body>Protected. Request {number:016x}</body></html>"
SIZE = (96, 72)


class Answer(NamedTuple):
    body: bytes
    is_whole_picture: bool = False
    closes: bool = False
    until_unix: float | None = None  # nobody asks before this time of the true clock
    why: str = ""


def picture(url: str, *more: str) -> Answer:
    return Answer(_http("200 OK", "image/jpeg", pictures.jpeg(url, SIZE), *more), is_whole_picture=True)


def half_a_picture(url: str) -> Answer:
    whole = picture(url).body
    return Answer(whole[: len(whole) * 2 // 3], closes=True)


def inner_error() -> Answer:
    return Answer(_http("500 Internal Server Error", "text/plain", b"an error"))


def not_there() -> Answer:
    return Answer(_http("404 Not Found", "text/html", NOT_THERE))


def no_access() -> Answer:
    return Answer(_http("403 Forbidden", "application/xml", NO_ACCESS))


def shut_door(page: str, number: int) -> Answer:
    match page:
        case "challenge":
            body = CHALLENGE.format(number=number).encode()
            return Answer(_http("403 Forbidden", "text/html", body, "cf-mitigated: challenge", "Server: cloudflare"))
        case "bot_check":
            return Answer(_http("200 OK", "text/html", BOT_CHECK.format(number=number).encode()))
    return Answer(_http("403 Forbidden", "text/plain", b"The quota of your address is used up. Please come back later."))


def with_wait(host: Host, url: str, wait_s: float, unix: float) -> Answer:
    """An answer of a host that names waits; `unix` is its true time of day."""
    match host.kind:
        case Kind.QUOTA:
            limits = ("RateLimit-Limit: 20", "RateLimit-Remaining: 0", f"RateLimit-Reset: {wait_s:.0f}")
            return picture(url, *limits)._replace(until_unix=unix + round(wait_s), why=f"RateLimit-Reset: {wait_s:.0f}")
        case Kind.DATE:
            local = unix + host.skew_s
            again = math.ceil(local + wait_s)
            words = email.utils.formatdate(again, usegmt=True)
            more = (f"Date: {email.utils.formatdate(math.floor(local), usegmt=True)}", f"Retry-After: {words}")
            body = _http("429 Too Many Requests", "text/plain", b"slow down", *more)
            why = f"429 with Retry-After: {words} ({wait_s:.0f} s, its clock {host.skew_s:+.0f} s)"
            return Answer(body, until_unix=again - host.skew_s, why=why)
        case Kind.BROKEN_BODY:
            head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 500\r\nRetry-After: {wait_s:.0f}\r\n\r\n"
            why = f"503 with Retry-After: {wait_s:.0f} and a body that breaks off"
            return Answer(head.encode() + b"sorry", closes=True, until_unix=unix + round(wait_s), why=why)
    body = _http("503 Service Unavailable", "text/plain", b"busy", f"Retry-After: {wait_s:.0f}")
    return Answer(body, until_unix=unix + round(wait_s), why=f"503 with Retry-After: {wait_s:.0f}")


def _http(status: str, media_type: str, body: bytes, *more: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *more, "", "")
    return "\r\n".join(lines).encode() + body
