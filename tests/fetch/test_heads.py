"""Responses other than 2xx are judged by status and headers, whatever the body; cookies last for one chain of redirects."""

from __future__ import annotations

import gzip

import pytest

from d4c_images.fetch import Fetcher, Request, Unfinished
from d4c_images.fetch.body import Body
from d4c_images.fetch.urls import requestable
from d4c_images.model import ErrorType, FetchOptions, Limits, OwnCode, Reply, Status
from d4c_images.policy.judge import CodePolicy, judge
from tests.fetch.test_fetch import Memory, wait_for
from tests.publishers import pictures
from tests.support.scripted import Scripted, answer

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
def test_a_torn_body_hides_nothing_of_the_head(code: int) -> None:
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
        (b"HTTP/1.1 200 So\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nbody", OwnCode.BAD_ENCODING),
        (b"HTTP/1.1 302 So\r\nContent-Length: 500\r\n\r\nbody", OwnCode.BAD_REDIRECT),
    ],
)
def test_what_a_head_does_not_decide(wire: bytes, code: int) -> None:
    with Scripted(lambda asked: wire) as server:
        (reply,) = asked_for(["/1"], server)
    assert reply.code == code


def test_a_trailer_is_no_header() -> None:
    body = b"%x\r\n%b\r\n0\r\nContent-Encoding: gzip\r\nContent-Range: bytes 0-3/9\r\nRetry-After: 9\r\n\r\n" % (N, JPEG)
    with Scripted(lambda asked: b"HTTP/1.1 200 So\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body) as server:
        (reply,) = asked_for(["/1"], server)
    assert (reply.code, reply.size_bytes) == (200, N)
    assert not {"content-encoding", "content-range", "retry-after"} & set(reply.headers)


# What is a whole and what a part, of an answer that was asked for whole

JPEG = pictures.jpeg("whole")
N = len(JPEG)
RANGES = [
    (206, f"bytes 0-{N - 1}/{N}", JPEG, True),
    (206, f"BYTES 0-{N - 1}/{N}", JPEG, True),
    (206, f"bytes  0-{N - 1}/{N}", JPEG, True),
    (206, f"bytes: 0-{N - 1}/{N}", JPEG, True),
    (206, f"bytes=0 - {N - 1} / {N}", JPEG, True),
    (206, f"0-{N - 1}/{N}", JPEG, True),
    (206, f"items 0-{N - 1}/{N}", JPEG, False),
    (206, f"bytes 0-{N - 2}/{N}", JPEG, True),  # one too few, in words
    (206, f"bytes 0-99/{N}", JPEG[:100], False),
    (206, f"bytes 100-{N - 1}/{N}", JPEG[100:], False),
    (206, f"bytes 0-{N - 1}/{N}", JPEG[:-1], False),
    (206, f"bytes 0-{N - 1}/{N + 1}", JPEG, False),
    (206, f"bytes 0-{N - 1}/*", JPEG, False),
    (206, f"bytes 0-{N}/{N}", JPEG, False),
    (206, "bytes */100", JPEG, False),
    (206, "nonsense", JPEG, False),
    (206, None, JPEG, False),
    (206, f"bytes 0-{N - 1}/{N}, bytes 0-1/{N}", JPEG, False),
    (200, None, JPEG, True),
    (200, f"bytes 0-{N - 1}/{N}", JPEG, True),
    (200, f"bytes 0-{N - 1}/{2 * N}", JPEG, False),  # the very part that it names
    (203, f"bytes {N}-{2 * N - 1}/{2 * N}", JPEG, False),
    (200, "bytes 0-99/100", JPEG, True),  # says nothing of these bytes
    (200, f"bytes 0-99/{2 * N}", JPEG, True),
    (200, f"bytes */{N}", JPEG, True),
    (200, "nonsense", JPEG, True),
]


@pytest.mark.parametrize(("code", "content_range", "body", "is_whole"), RANGES)
def test_what_is_a_whole_although_nobody_asked_for_a_part(
    code: int, content_range: str | None, body: bytes, is_whole: bool
) -> None:
    headers = ["Content-Type: image/jpeg"] + ([f"Content-Range: {content_range}"] if content_range is not None else [])
    with Scripted(lambda asked: answer(code, *headers, body=body)) as server:
        (reply,) = asked_for(["/1"], server)
    verdict = judge(reply, CodePolicy(), 0.0)
    wanted = (Status.SUCCESS, None) if is_whole else (Status.FAILED_TRANSIENT, ErrorType.TRUNCATED)
    assert (verdict.status, verdict.error_type) == wanted
    assert is_whole or "no range was requested" in str(verdict.detail)


GOES_ON = {"content-range": "bytes 10-99/100"}
SAME_DATE = "Mon, 05 Jan 2015 10:00:00 GMT"


@pytest.mark.parametrize(
    ("validator", "headers", "is_the_rest"),
    [
        ('"a"', {}, True),
        ('"a"', {"etag": '"a"'}, True),
        ('"a"', {"etag": '"b"'}, False),
        ('"a"', {"etag": 'W/"a"'}, False),
        ('"a"', {"last-modified": SAME_DATE}, True),
        (SAME_DATE, {"last-modified": SAME_DATE}, True),
        (SAME_DATE, {"last-modified": "Mon, 05 Jan 2015 10:00:01 GMT"}, False),
        ('"a"', {"content-range": "bytes 9-99/100"}, False),
        ('"a"', {"content-range": "bytes 11-99/100"}, False),
        ('"a"', {"content-range": "bytes 0-99/100"}, False),
        ('"a"', {"content-range": "bytes 10-98/99"}, False),
        ('"a"', {"content-range": "bytes 10-99/*"}, False),
        ('"a"', {"content-range": ""}, False),
        ('"a"', {"content-range": "bytes 10-50/100"}, True),  # and the rest of the rest
        ('"a"', {"content-type": "multipart/byteranges; boundary=x"}, False),
        ('"a"', {"content-encoding": "gzip"}, False),
        ('"a"', {"content-encoding": "utf-8"}, True),
    ],
)
def test_what_goes_on_with_a_body(validator: str, headers: dict[str, str], is_the_rest: bool) -> None:
    body = Body(Memory())
    body.add(b"0123456789")
    before = Unfinished(body, validator, 100)
    before.body.add(b"x" * 1024)
    span = headers.get("content-range", "bytes 10-99/100")
    moved = span.replace("10-", f"{before.first_byte}-") if span.startswith("bytes 10-") else span
    assert before.is_continued_by({**GOES_ON, **headers, "content-range": moved}) is is_the_rest


# Where a redirect leads


@pytest.mark.parametrize(
    ("location", "target"),
    [
        (b"/Tr\xe4ne.jpg", "http://example.org/Tr%E4ne.jpg"),
        (b"http://example.org/Tr\xe4ne.jpg?x=\xfc&y=1#\xe4", "http://example.org/Tr%E4ne.jpg?x=%FC&y=1"),
        ("/Träne.jpg".encode(), "http://example.org/Tr%C3%A4ne.jpg"),
        (b"/\xc3\xa4\xe4.jpg", "http://example.org/%C3%A4%E4.jpg"),
        (b"\xe4/b.jpg", "http://example.org/x/%E4/b.jpg"),
        (b"../\xe4.jpg", "http://example.org/%E4.jpg"),
        (b"?q=\xe4", "http://example.org/x/1?q=%E4"),
        (b"/a b.jpg", "http://example.org/a%20b.jpg"),
        (b"/a%20b%E4.jpg", "http://example.org/a%20b%E4.jpg"),
        (b"/a\tb\x01\x7f.jpg", "http://example.org/ab%01%7F.jpg"),
        (b" \t/a.jpg \t", "http://example.org/a.jpg"),
        (b"/\xff\xfe\x80.jpg", "http://example.org/%FF%FE%80.jpg"),
        (b"//other.example/\xe4", "http://other.example/%E4"),
        ("http://bücher.example/ä".encode(), "http://xn--bcher-kva.example/%C3%A4"),
        ("http://bücher.example/ä".encode("latin-1"), "http://xn--bcher-kva.example/%E4"),
    ],
)
def test_a_redirect_is_asked_for_by_the_bytes_of_its_location(location: bytes, target: str) -> None:
    paths = ["/x/1"]
    with Scripted(lambda asked: b"HTTP/1.1 302 So\r\nLocation: " + location + b"\r\nConnection: close\r\n\r\n") as server:
        (reply,) = asked_for(paths, server)
    assert reply.redirect_url is not None
    assert requestable(reply.redirect_url).partition("#")[0] == target  # type: ignore[union-attr]


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
