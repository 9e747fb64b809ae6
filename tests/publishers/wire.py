"""What a behaviour is told (`Ask`) and what it may do to the wire (steps). No sockets here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Pause:
    """Send nothing for this many seconds."""

    seconds: float


class End(Enum):
    CLOSE = "close"  # finish sending, then FIN
    RESET = "reset"  # RST at once
    HANG = "hang"  # hold the connection open in silence until the client leaves


Step = bytes | Pause | End
Steps = Iterator[Step]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, as a behaviour sees it."""

    method: str
    scheme: str
    host: str  # lower case, as in the Host header, with a port only where the client named one
    target: str  # path and query, as sent
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""
    nth: int = 1  # 1 = the first request of this URL since the last reset
    arg: str = ""  # of the behaviour

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}{self.target}"

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def seconds(self, otherwise: float) -> float:
        return float(self.arg) if self.arg else otherwise

    def number(self, otherwise: int) -> int:
        return int(self.arg) if self.arg else otherwise


def head(code: int, headers: Mapping[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(code).phrase
    except ValueError:
        phrase = "Unheard Of"
    lines = [f"HTTP/1.1 {code} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def whole(ask: Ask, body: bytes, media_type: str | None, code: int = 200, **more: str) -> bytes:
    """A correct answer. Names in `more` are written with dashes: `retry_after="2"`."""
    headers = {"Server": "publishers/1"}
    if media_type is not None:
        headers["Content-Type"] = media_type
    headers["Content-Length"] = str(len(body))
    headers.update({name.replace("_", "-").title(): value for name, value in more.items()})
    return head(code, headers) + (b"" if ask.method == "HEAD" else body)


def page(ask: Ask, code: int, text: str, **more: str) -> bytes:
    """An HTML page, as servers send them with an error."""
    html = f"<!DOCTYPE html>\n<html><head><title>{text}</title></head><body><h1>{text}</h1><p>{ask.url}</p></body></html>\n"
    return whole(ask, html.encode(), "text/html; charset=utf-8", code, **more)
