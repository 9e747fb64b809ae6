"""The fetcher against the publishers' server: what each answer becomes, and how many connections it takes."""

from __future__ import annotations

import errno
import hashlib
import os
import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pycurl
import pytest

from d4c_images.errors import StoreError, UsageError
from d4c_images.fetch import Connections, Fetcher, Request, host_of, own_code
from d4c_images.fetch.body import Body, content_range, unfinished
from d4c_images.model import FetchOptions, Limits, OwnCode, Reply
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.sweep import thinned

LIMITS = Limits(connect_s=4.0, total_s=60.0, stall_s=30.0, max_bytes=1_000_000)


@dataclass
class Memory:
    """A sink that keeps the body."""

    path: Path = Path("/memory")
    body: bytearray = field(default_factory=bytearray)

    def write(self, body: bytes, /) -> None:
        self.body += body

    def abort(self) -> None:
        self.body.clear()


Make = Callable[..., Fetcher]


@pytest.fixture
def fetcher(publishers: Publishers) -> Iterator[Make]:
    made: list[Fetcher] = []

    def make(limits: Limits = LIMITS, **options: object) -> Fetcher:
        given = {"connect_to": (publishers.connect_to,), "cacert": publishers.cacert, **options}
        made.append(Fetcher(FetchOptions(limits, **given)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def wait_for(fetcher: Fetcher, n: int = 1) -> list[tuple[Request, Reply]]:
    end_at, replies = time.monotonic() + PATIENCE_S, list[tuple[Request, Reply]]()
    while len(replies) < n:
        assert time.monotonic() < end_at, f"{len(replies)} of {n} replies"
        replies += fetcher.poll(0.2)
    return replies


def get(fetcher: Fetcher, url: str, sink: Memory | None = None) -> Reply:
    connections = fetcher.connections(1)
    connections.start(Request(url, sink or Memory()))
    ((_, reply),) = wait_for(fetcher)
    connections.close()
    return reply


def test_a_good_answer_is_told_as_it_came(fetcher: Make) -> None:
    sink = Memory()
    reply = get(fetcher(), "http://ok.example.org/a.jpg", sink)
    body = bytes(sink.body)
    assert (reply.code, reply.size_bytes, reply.path) == (200, len(body), sink.path)
    assert reply.sha256 == hashlib.sha256(body).digest()
    assert reply.head == body[: 64 * 1024]
    assert reply.tail == body[-1024:]
    assert reply.headers["content-type"] == "image/jpeg"
    assert reply.headers["etag"]
    assert reply.elapsed_s > 0
    assert reply.error is None


def test_head_and_tail_of_a_long_and_of_a_short_body(fetcher: Make, publishers: Publishers) -> None:
    sink = Memory()
    reply = get(fetcher(), "http://example.org/long.bmp", sink)
    assert len(sink.body) > 70_000
    assert reply.head == sink.body[:65536]
    assert reply.tail == sink.body[-1024:]
    publishers.behave("example.org=text_uri")
    reply = get(fetcher(), "http://example.org/short")
    assert reply.head == reply.tail
    assert 0 < len(reply.head) < 1024


def test_who_asks_is_told_honestly(publishers: Publishers) -> None:
    """The very bytes of a request."""
    listener = socket.create_server(("127.0.0.1", 0))
    options = FetchOptions(LIMITS, user_agent="d4c-images/1 (+mailto:x@example.org)", from_address="x@example.org")
    fetcher = Fetcher(replace(options, allow_private_hosts=True))
    connections = fetcher.connections(1)
    connections.start(Request(f"http://127.0.0.1:{listener.getsockname()[1]}/a%20b.jpg?x=1", Memory()))
    client = None
    while client is None or not select.select([client], [], [], 0)[0]:
        list(fetcher.poll(0.05))
        if client is None and select.select([listener], [], [], 0)[0]:
            client, _ = listener.accept()
    request = client.recv(65536).decode()
    assert request.startswith("GET /a%20b.jpg?x=1 HTTP/1.1\r\n")
    assert "User-Agent: d4c-images/1 (+mailto:x@example.org)\r\n" in request
    assert "From: x@example.org\r\n" in request
    assert "Accept: image/*,*/*;q=0.5\r\n" in request
    assert "Accept-Encoding: gzip, deflate\r\n" in request
    assert "Cookie" not in request
    connections.close()
    fetcher.close()
    client.close()
    listener.close()


ANSWERS = {
    "close_before_answer": OwnCode.BROKEN,
    "reset_before_answer": OwnCode.BROKEN,
    "reset_mid_body": OwnCode.BROKEN,
    "close_mid_body": OwnCode.BROKEN,
    "chunked_truncated": OwnCode.BROKEN,
    "chunked_garbage": OwnCode.BROKEN,
    "garbage_status": OwnCode.BROKEN,
    "header_flood": OwnCode.BROKEN,
    "gzip_lie": 200,
    "gzip_image": 200,
    "early_hints": 200,
    "http10_no_length": 200,
    "endless": OwnCode.TOO_LARGE,
    "over_size_limit": OwnCode.TOO_LARGE,
    "redirect_to_ftp": OwnCode.BAD_REDIRECT,
    "redirect_to_file": OwnCode.BAD_REDIRECT,
    "redirect_to_garbage": OwnCode.BAD_REDIRECT,
    "redirect_nowhere": OwnCode.BAD_REDIRECT,
    "http_404": 404,
    "http_503": 503,
}


@pytest.fixture(scope="module")
def answers(publishers_process: Publishers) -> dict[str, Reply]:
    publishers_process.reset()
    return replies_to(publishers_process, list(ANSWERS), stall_s=10.0)  # what is well must not stall on a busy machine


def replies_to(server: Publishers, behaviours: list[str], stall_s: float) -> dict[str, Reply]:
    fetcher = Fetcher(FetchOptions(replace(LIMITS, stall_s=stall_s), connect_to=(server.connect_to,), cacert=server.cacert))
    connections = fetcher.connections(len(behaviours))
    for behaviour in behaviours:
        connections.start(Request(f"http://{behaviour.replace('_', '-')}.evil.test/a.jpg", Memory(), behaviour))
    replies = {request.key: reply for request, reply in wait_for(fetcher, len(behaviours))}
    connections.close()
    fetcher.close()
    return replies


@pytest.mark.parametrize("behaviour", ANSWERS)
def test_what_an_answer_becomes(answers: dict[str, Reply], behaviour: str) -> None:
    reply = answers[behaviour]
    assert reply.code == ANSWERS[behaviour], reply.error
    assert bool(reply.error) == (reply.code < 0)


@pytest.mark.parametrize("behaviour", thinned(("crawl", "hang_before_headers", "hang_in_headers"), every=3))
def test_an_answer_that_stalls_is_given_up_as_stalled(publishers: Publishers, behaviour: str) -> None:
    reply = replies_to(publishers, [behaviour], stall_s=1.0)[behaviour]
    assert reply.code == OwnCode.STALLED
    assert reply.error


@pytest.mark.parametrize("behaviour", ["tls_wrong_name", "tls_expired", "tls_unknown_ca", "tls_refused"])
def test_a_bad_certificate_is_not_trusted(fetcher: Make, publishers: Publishers, behaviour: str) -> None:
    publishers.behave(f"example.org={behaviour}")
    sink = Memory()
    assert get(fetcher(), "https://example.org/a.jpg", sink).code == OwnCode.TLS
    assert not sink.body


def test_certificates_are_verified_by_default(fetcher: Make) -> None:
    """Without `cacert` the server's own authority is a stranger."""
    assert get(fetcher(cacert=None), "https://example.org/a.jpg").code == OwnCode.TLS
    assert get(fetcher(), "https://example.org/a.jpg").code == 200


def test_a_missing_bundle_is_told_at_once(fetcher: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pem"):
        fetcher(cacert=tmp_path / "none.pem")


def test_the_total_time_is_limited_however_busy_the_answer(fetcher: Make, publishers: Publishers) -> None:
    publishers.behave("example.org=drip:30")
    reply = get(fetcher(Limits(total_s=0.3)), "http://example.org/a.jpg")
    assert reply.code == OwnCode.TIMEOUT
    assert 0.2 < reply.elapsed_s < 20, "the whole answer takes 30 s"


def test_a_closed_port_is_a_connect_error(fetcher: Make) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    assert get(fetcher(connect_to=(f"::127.0.0.1:{port}",)), "http://example.org/").code == OwnCode.CONNECT


def test_a_handshake_that_never_comes_is_a_connect_error(fetcher: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_only = fetcher(Limits(connect_s=0.2), connect_to=(f"::127.0.0.1:{silent.getsockname()[1]}",))
        assert get(silent_only, "https://example.org/").code == OwnCode.CONNECT


def test_a_name_that_does_not_exist(fetcher: Make) -> None:
    assert get(fetcher(Limits(connect_s=30.0), connect_to=()), "http://no-such-host.invalid/").code == OwnCode.DNS


@pytest.mark.parametrize(
    "url",
    ["", "photo.jpg", "ftp://example.org/a.jpg", "file:///etc/passwd", "http://", "http://[::1", "http://a b.org/", "data:x"],
)
def test_a_bad_url_is_a_reply(fetcher: Make, url: str) -> None:
    reply = get(fetcher(), url)
    assert reply.code == OwnCode.BAD_URL
    assert reply.error


def test_raw_blanks_and_letters_in_a_url_are_encoded(fetcher: Make, publishers: Publishers) -> None:
    assert get(fetcher(), "http://example.org/Träne 1.jpg?q=ä b").code == 200
    assert publishers.requests_of("http://example.org/Tr%C3%A4ne%201.jpg?q=%C3%A4%20b") == 1


@pytest.mark.parametrize(
    ("behaviour", "url", "target"),
    [
        ("redirect_301", "http://example.org/a.jpg", "http://example.org/moved/a.jpg"),
        ("redirect_302", "http://example.org/a.jpg", "http://example.org/moved/a.jpg"),
        ("redirect_303", "http://example.org/a.jpg", "http://example.org/moved/a.jpg"),
        ("redirect_307", "http://example.org/a.jpg", "http://example.org/moved/a.jpg"),
        ("redirect_308", "http://example.org/a.jpg", "http://example.org/moved/a.jpg"),
        ("redirect_relative", "http://example.org/x/a.jpg", "http://example.org/x/moved-a.jpg"),
        ("redirect_to_https", "http://example.org/a.jpg", "https://example.org/a.jpg"),
        ("redirect_to_host:other.example", "http://example.org/a.jpg", "http://other.example/a.jpg"),
    ],
)
def test_a_redirect_is_told_and_not_followed(fetcher: Make, publishers: Publishers, behaviour: str, url: str, target: str) -> None:
    publishers.behave(f"example.org={behaviour}")
    sink = Memory()
    reply = get(fetcher(), url, sink)
    assert 301 <= reply.code <= 308
    assert reply.redirect_url == target
    assert not sink.body
    assert sum(host["requests"] for host in publishers.counters()["hosts"].values()) == 1


def test_the_body_of_a_refusal_is_read_but_not_kept(fetcher: Make, publishers: Publishers) -> None:
    publishers.behave("example.org=html_404")
    sink = Memory()
    reply = get(fetcher(), "http://example.org/a.jpg", sink)
    assert reply.code == 404
    assert b"<html" in reply.head.lower()
    assert (reply.path, reply.sha256, bytes(sink.body)) == (None, None, b"")


class BrokenDisk(Memory):
    def write(self, body: bytes, /) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_no_verdict_on_the_image(fetcher: Make) -> None:
    one = fetcher()
    connections = one.connections(2)
    connections.start(Request("http://example.org/a.jpg", BrokenDisk()))
    with pytest.raises(StoreError, match="/memory: No space left"):
        wait_for(one)
    connections.close()


def start_all(connections: Connections, host: str, numbers: range) -> None:
    for number in numbers:
        connections.start(Request(f"http://{host}/{number}.jpg", Memory()))


def wait_until(is_true: Callable[[], bool]) -> None:
    end_at = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < end_at
        threading.Event().wait(0.01)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_connections_are_used_again_and_closed_with_their_lane(fetcher: Make, publishers: Publishers, scheme: str) -> None:
    one = fetcher()
    closing, staying = one.connections(2), one.connections(2)
    for _ in range(3):
        for number in range(2):
            closing.start(Request(f"{scheme}://a.example/{number}.jpg", Memory()))
            staying.start(Request(f"{scheme}://b.example/{number}.jpg", Memory()))
        wait_for(one, 4)
    assert publishers.host("a.example")["connections"] == 2
    assert publishers.host("a.example")["connections_now"] == 2
    closing.close()
    wait_until(lambda: publishers.host("a.example")["connections_now"] == 0)
    assert publishers.host("b.example")["connections_now"] == 2
    staying.start(Request(f"{scheme}://b.example/9.jpg", Memory()))
    wait_for(one)
    assert publishers.host("b.example")["connections"] == 2
    staying.close()
    wait_until(lambda: publishers.host("b.example")["connections_now"] == 0)


def test_idle_connections_count_too(fetcher: Make, publishers: Publishers) -> None:
    """One host, by http and by https in turn; then its limit sinks."""
    one = fetcher()
    connections = one.connections(2)
    for schemes in (("http", "https"), ("https", "https"), ("http", "http"), ("http", "https")):
        for number, scheme in enumerate(schemes):
            connections.start(Request(f"{scheme}://example.org/{number}.jpg", Memory()))
        assert {reply.code for _, reply in wait_for(one, 2)} == {200}
    assert publishers.host("example.org")["connections_max"] <= 3  # of a closed one the server may learn a moment later
    wait_until(lambda: publishers.host("example.org")["connections_now"] == 2)
    connections.resize(1)
    wait_until(lambda: publishers.host("example.org")["connections_now"] <= 1)
    connections.close()


def test_a_cancelled_request_closes_its_connection_and_says_nothing_more(fetcher: Make, publishers: Publishers) -> None:
    publishers.behave("example.org/slow*=hang_before_headers")
    one = fetcher()
    connections = one.connections(2)
    slow, quick = Request("http://example.org/slow", Memory()), Request("http://example.org/quick.jpg", Memory())
    connections.start(slow)
    connections.start(quick)
    wait_for(one)
    connections.cancel(slow)
    connections.cancel(slow)
    wait_until(lambda: publishers.host("example.org")["connections_now"] == 1)
    assert list(one.poll(0.05)) == []
    connections.start(Request("http://example.org/again.jpg", Memory()))
    assert wait_for(one)[0][1].code == 200
    connections.close()


def test_a_request_in_flight_ends_with_its_connections(fetcher: Make, publishers: Publishers) -> None:
    publishers.behave("example.org=hang_before_headers")
    one = fetcher()
    connections = one.connections(2)
    connections.start(Request("http://example.org/slow", Memory()))
    wait_until(lambda: not list(one.poll(0.01)) and publishers.host("example.org")["requests"] == 1)
    connections.close()
    wait_until(lambda: publishers.host("example.org").get("connections_now") == 0)


def test_another_thread_can_wake_a_poll_that_waits(fetcher: Make) -> None:
    one = fetcher()
    timer = threading.Timer(0.05, one.wake)
    timer.start()
    start = time.monotonic()
    assert list(one.poll(2 * PATIENCE_S)) == []
    assert time.monotonic() - start < PATIENCE_S
    timer.join()


def test_the_bell_may_ring_more_often_than_anybody_listens(fetcher: Make) -> None:
    one = fetcher()
    for _ in range(100_000):
        one.wake()
    list(one.poll(0.0))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Example.ORG/x", "example.org"),
        ("https://example.org:443/x", "example.org"),
        ("http://example.org:80/x", "example.org"),
        ("http://example.org:443/x", "example.org:443"),
        ("http://example.org:8080/x", "example.org:8080"),
        ("ftp://example.org/x", None),
        ("mailto:x@example.org", None),
        ("", None),
    ],
)
def test_the_host_of_a_url_is_written_as_in_the_ledger(url: str, host: str | None) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Operation too slow. Less than 256 bytes/sec transferred the last 30 seconds", OwnCode.STALLED),
        ("Resolving timed out after 20000 milliseconds", OwnCode.DNS),
        ("Connection timed out after 20001 milliseconds", OwnCode.CONNECT),
        ("Failed to connect to example.org port 443 after 20001 ms: Timeout was reached", OwnCode.CONNECT),
        ("SSL connection timeout", OwnCode.CONNECT),
        ("Operation timed out after 600000 milliseconds with 17 bytes received", OwnCode.TIMEOUT),
    ],
)
def test_which_timeout_it_was(message: str, code: OwnCode) -> None:
    assert own_code(pycurl.E_OPERATION_TIMEDOUT, message) == code


# Large bodies that break off

LARGE = 2_239_743
TEN = "Mon, 05 Jan 2015 10:00:00 GMT"


def goes_on(fetcher: Fetcher, host: str, sink: Memory) -> list[Reply]:
    """Ask as often as it takes, each time for what is missing; at most six times."""
    connections, replies = fetcher.connections(1), list[Reply]()
    request = Request(f"http://{host}.evil.test/a.jpg", sink)
    for _ in range(6):
        connections.start(request)
        ((request, reply),) = wait_for(fetcher)
        replies.append(reply)
        if request.broke_off is None and not request.starts_over:
            break
        request = replace(request, goes_on=request.broke_off)
    connections.close()
    return replies


@pytest.mark.parametrize("percent", [47, 50, 80, 99])
def test_what_broke_off_is_gone_on_with_wherever_it_did(fetcher: Make, percent: int) -> None:
    whole, sink = Memory(), Memory()
    one = fetcher(replace(LIMITS, max_bytes=10_000_000))
    get(one, "http://breaks-ignores-range.evil.test/a.jpg?whole", Memory())
    get(one, "http://breaks-ignores-range.evil.test/a.jpg?whole", whole)
    assert len(whole.body) == LARGE
    first, second = goes_on(one, f"breaks-off--{percent}", sink)
    assert (first.code, first.size_bytes) == (OwnCode.BROKEN, LARGE * percent // 100)
    assert (second.code, second.size_bytes, second.error) == (200, LARGE, None)
    assert (second.sha256, sink.body) == (hashlib.sha256(whole.body).digest(), whole.body)
    assert (second.head, second.tail) == (whole.body[: 64 * 1024], whole.body[-1024:])
    assert first.received_bytes + second.received_bytes == LARGE + 1024, "the end of the first part is asked for again"


def test_a_small_part_is_not_worth_it(fetcher: Make) -> None:
    assert len(goes_on(fetcher(replace(LIMITS, max_bytes=10_000_000)), "breaks-off--46", Memory())) == 1


def test_the_rest_counts_for_the_size_limit(fetcher: Make) -> None:
    one = fetcher(replace(LIMITS, max_bytes=LARGE + 1))
    assert [reply.code for reply in goes_on(one, "breaks-off", Memory())] == [OwnCode.BROKEN, 200]
    endless = fetcher(replace(LIMITS, max_bytes=LARGE - 1))
    assert goes_on(endless, "breaks-off", Memory())[-1].code == OwnCode.TOO_LARGE


def headers_of(**headers: str) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("validator", "headers"),
    [
        ('"x"', {"etag": '"x"'}),
        (None, {"etag": 'W/"x"'}),
        (None, {"etag": "x"}),
        (None, {"etag": '"'}),
        (None, {"etag": '"x"\r\nevil: 1"'}),
        (None, {}),
        ('"x"', {"etag": '"x"', "content_encoding": "identity"}),
        (None, {"etag": '"x"', "content_encoding": "gzip"}),
        (None, {"etag": '"x"', "accept_ranges": "none"}),
        (TEN, {"last_modified": TEN, "date": "Mon, 05 Jan 2015 10:01:00 GMT"}),
        (None, {"last_modified": TEN, "date": "Mon, 05 Jan 2015 10:00:59 GMT"}),
        (None, {"last_modified": TEN}),
        (None, {"last_modified": "yesterday", "date": TEN}),
        (None, {"etag": 'W/"x"', "last_modified": TEN, "date": "Mon, 05 Jan 2016 10:00:00 GMT"}),
    ],
)
def test_what_tells_that_it_is_still_the_same(validator: str | None, headers: dict[str, str]) -> None:
    """RFC 9110 13.1.5: a strong ETag, or, where there is none at all, a date that is old enough."""
    given = headers_of(**{"accept_ranges": "bytes", **headers})
    found = unfinished(Body(Memory()), given, 200, OwnCode.BROKEN, None)
    assert (found and found.validator) == validator


@pytest.mark.parametrize(
    ("code", "error"), [(206, OwnCode.BROKEN), (404, OwnCode.BROKEN), (200, OwnCode.TOO_LARGE), (200, OwnCode.TLS)]
)
def test_what_is_not_gone_on_with(code: int, error: OwnCode) -> None:
    assert unfinished(Body(Memory()), headers_of(etag='"x"', accept_ranges="bytes"), code, error, None) is None


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes 5-9/10", (5, 9, 10)),
        ("bytes 5-9/*", None),
        ("bytes */10", None),
        ("bytes 5-10/10", None),
        ("bytes 9-5/10", None),
        ("items 5-9/10", None),
        ("bytes 5-9/10, bytes 1-2/10", None),
        (f"bytes 5-{'9' * 30}/{'9' * 31}", None),
        ("", None),
    ],
)
def test_a_content_range_is_parsed_or_refused(header: str, span: tuple[int, int, int] | None) -> None:
    assert content_range({"content-range": header}) == span


# What is remembered


def test_tls_sessions_are_taken_up_again(fetcher: Make, publishers: Publishers) -> None:
    """Over connections, over turns, and over more hosts than libcurl keeps sessions of in one place."""
    one = fetcher()
    for _ in range(2):
        for number in range(40):
            assert get(one, f"https://h{number}.example/1.jpg").code == 200
    resumed = {host: seen["resumed"] for host, seen in publishers.counters()["hosts"].items()}
    assert resumed == {f"h{number}.example": 1 for number in range(40)}


def test_addresses_are_remembered(fetcher: Make, publishers: Publishers) -> None:
    """A name that nobody but this worker's memory knows."""
    one = fetcher(connect_to=(), allow_private_hosts=True)
    url = f"http://nobody-knows.invalid:{publishers.port}/counters"
    teller = one.transfer()
    teller.curl.setopt(pycurl.RESOLVE, [f"nobody-knows.invalid:{publishers.port}:127.0.0.1"])
    one.spare(teller)
    assert get(one, url).code == 200
    teller = one.transfer()
    teller.curl.setopt(pycurl.RESOLVE, [])
    for _ in range(3):
        assert get(one, url).code == 200, "asked by another lane"
    other = fetcher(connect_to=())
    assert get(other, url).code == OwnCode.DNS


def test_where_one_address_is_deaf_the_other_is_asked(fetcher: Make, publishers: Publishers) -> None:
    """A name with an IPv6 address and an IPv4 one; nobody listens on the first."""
    one = fetcher(connect_to=(), allow_private_hosts=True)
    teller = one.transfer()
    teller.curl.setopt(pycurl.RESOLVE, [f"both.invalid:{publishers.port}:[::1],127.0.0.1"])
    one.spare(teller)
    assert get(one, f"http://both.invalid:{publishers.port}/counters").code == 200


def test_verification_is_turned_off_for_the_named_host_only(fetcher: Make, publishers: Publishers) -> None:
    publishers.behave("*=tls_unknown_ca")
    one = fetcher(insecure_hosts=frozenset({"lax.example"}))
    connections = one.connections(1)
    for host, code in (("lax.example", 200), ("strict.example", OwnCode.TLS)) * 2:
        connections.start(Request(f"https://{host}/1.jpg", Memory()))
        assert wait_for(one)[0][1].code == code
    connections.close()


def test_a_header_that_comes_twice_is_one_list(fetcher: Make, publishers: Publishers) -> None:
    publishers.behave("example.org=robots:noindex|somebot:noai")
    assert get(fetcher(), "http://example.org/1.jpg").headers["x-robots-tag"] == "noindex, somebot:noai"


class Proxy(socketserver.ThreadingTCPServer):
    """Answers what it is asked for by http itself, and leads every tunnel to one port. Remembers the first lines."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, leads_to: int) -> None:
        self.leads_to = leads_to
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Proxied)


class _Proxied(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        self.server.asked.append(self.rfile.readline().decode().strip())
        while self.rfile.readline().strip():
            pass
        if not self.server.asked[-1].startswith("CONNECT "):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody")
            return
        self.wfile.write(b"HTTP/1.1 200 Here it is\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.server.leads_to)) as there:
            pair = {self.connection: there, there: self.connection}
            while True:
                for one in select.select(list(pair), [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    pair[one].sendall(data)


def test_proxies_are_those_of_the_environment(fetcher: Make, publishers: Publishers, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Proxy(publishers.port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.setenv("no_proxy", "direct.example")
        one = fetcher(connect_to=())
        assert get(one, "http://plain.example/1.jpg").size_bytes == 4
        assert get(one, "https://secure.example/1.jpg").code == 200, "through a tunnel, certificate and all"
        assert get(one, "http://direct.example/1.jpg").code == OwnCode.DNS
        assert proxy.asked == ["GET http://plain.example/1.jpg HTTP/1.1", "CONNECT secure.example:443 HTTP/1.1"]
        proxy.shutdown()
        thread.join()
