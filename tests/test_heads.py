"""Outside 2xx, the head of an answer decides, whatever its body is; and cookies, which nobody keeps but who asks."""

from __future__ import annotations

import gzip

import pytest

from d4c_images.fetch import Fetcher, Request
from d4c_images.model import FetchOptions, Limits, OwnCode, Reply
from tests.scripted import Scripted, answer
from tests.test_fetch import Memory, wait_for

LIMITS = Limits(connect_s=4.0, total_s=20.0, stall_s=4.0, max_bytes=5_000_000)


def head(code: int, *headers: str) -> bytes:
    named = ("Retry-After: 2", "Location: /there.jpg", *headers)
    return "\r\n".join([f"HTTP/1.1 {code} So", *named, "Connection: close", "", ""]).encode()


TORN = {
    "breaks off": (("Content-Length: 500",), b"later"),
    "breaks off at once": (("Content-Length: 500",), b""),
    "is large": (("Content-Length: 900000",), bytes(900_000)),
    "has no end": ((), bytes(4_000_000)),
    "is said to be larger than any image": (("Content-Length: 3000000000",), b"later"),
    "is no gzip": (("Content-Encoding: gzip", "Content-Length: 5"), b"later"),
    "is half a gzip": (("Content-Encoding: gzip", "Content-Length: 900"), gzip.compress(bytes(range(256)) * 90)[:60]),
    "is no brotli": (("Content-Encoding: br", "Content-Length: 5"), b"later"),
    "has a coding that nobody knows": (("Content-Encoding: utf-8", "Content-Length: 5"), b"later"),
    "has no chunks": (("Transfer-Encoding: chunked",), b"banana\r\nlater"),
    "has half a chunk": (("Transfer-Encoding: chunked",), b"50\r\nlater"),
    "has a trailer": (("Transfer-Encoding: chunked",), b"5\r\nlater\r\n0\r\nX-Late: yes\r\n"),
}


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308, 400, 404, 416, 429, 500, 503])
def test_the_head_decides(code: int) -> None:
    given = list(TORN.values())
    with Scripted(lambda asked: head(code, *given[int(asked.path[1:])][0]) + given[int(asked.path[1:])][1]) as server:
        replies = asked_for([f"/{number}" for number in range(len(given))], server)
    assert [reply.code for reply in replies] == [code] * len(given)
    assert {reply.headers["retry-after"] for reply in replies} == {"2"}
    assert {reply.redirect_url for reply in replies} == {"http://example.org/there.jpg" if code in range(301, 309) else None}


@pytest.mark.parametrize(
    "spoilt",
    [
        "Content-Length: 99999999999999999999999", "Content-Length: -5", "Content-Length: abc", "Content-Length: 5, 6",
        "Transfer-Encoding: banana", f"Content-Encoding: {', '.join(['gzip'] * 6)}", "no header",
    ],
)  # fmt: skip
@pytest.mark.parametrize("code", [404, 429, 503])
def test_a_refusal_is_one_although_its_head_ends_in_nonsense(code: int, spoilt: str) -> None:
    with Scripted(lambda asked: f"HTTP/1.1 {code} So\r\nRetry-After: 2\r\n{spoilt}\r\n\r\nlater".encode()) as server:
        (reply,) = asked_for(["/1"], server)
    assert (reply.code, reply.headers["retry-after"]) == (code, "2")


def asked_for(paths: list[str], server: Scripted) -> list[Reply]:
    fetcher = Fetcher(FetchOptions(LIMITS, connect_to=(server.connect_to,)))
    connections = fetcher.connections(len(paths))
    try:
        for path in paths:
            connections.start(Request(f"http://example.org{path}", Memory(), path))
        replies = {request.key: reply for request, reply in wait_for(fetcher, len(paths))}
        return [replies[path] for path in paths]
    finally:
        connections.close()
        fetcher.close()


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"HTTP/1.1 100 Go on\r\n\r\n", OwnCode.BROKEN),
        (b"HTTP/1.1 200 So\r\nContent-Length: 500\r\n\r\nbody", OwnCode.BROKEN),
        (b"HTTP/1.1 200 So\r\nContent-Length: 3000000000\r\n\r\nbody", OwnCode.TOO_LARGE),
        (b"HTTP/1.1 200 So\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbody", OwnCode.BAD_ENCODING),
        (b"HTTP/1.1 302 So\r\nContent-Length: 500\r\n\r\nbody", OwnCode.BAD_REDIRECT),
    ],
)
def test_what_a_head_does_not_decide(wire: bytes, code: int) -> None:
    with Scripted(lambda asked: wire) as server:
        (reply,) = asked_for(["/1"], server)
    assert reply.code == code


def test_a_request_tells_which_cookies_are_there_and_another_one_does_not_send_them() -> None:
    gives = answer(302, "Location: /", "Set-Cookie: a=1; Path=/x", "Set-Cookie: b=2; Path=/; Domain=.example.org")
    with Scripted(lambda asked: gives) as server:
        fetcher = Fetcher(FetchOptions(LIMITS, connect_to=(server.connect_to,)))
        connections = fetcher.connections(1)

        def ask(url: str, cookies: tuple[str, ...] = ()) -> Request:
            connections.start(Request(url, Memory(), cookies=cookies))
            ((request, _),) = wait_for(fetcher)
            return request

        def sent() -> set[str]:
            return set(server.asked[-1].headers.get("cookie", "").split("; ")) - {""}

        got = ask("http://example.org/x/1").cookies
        assert len(got) == 2
        for url, cookies in (
            ("http://example.org/x/1", {"a=1", "b=2"}),
            ("http://example.org/1", {"b=2"}),
            ("http://www.example.org/x/1", {"b=2"}),
            ("http://other.org/x/1", set()),
        ):
            ask(url, got)
            assert sent() == cookies
            ask("http://example.org/x/1")
            assert not sent(), "the handle has forgotten them"
        connections.close()
        fetcher.close()
