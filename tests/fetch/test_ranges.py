"""Servers that half keep the rules of ranges (RFC 9110 section 14), with bodies whose end no decoder would recognise.

What such a body lacks or has too much of, nothing but the fetcher can notice.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import random
from dataclasses import dataclass, field, replace

import pytest

from d4c_images.errors import StoreError
from d4c_images.fetch import Fetcher, Request
from d4c_images.fetch.body import Body, Unfinished, content_range, part_in, unfinished
from d4c_images.model import FetchOptions, Limits, OwnCode, Reply
from tests.fetch.test_fetch import Memory, wait_for
from tests.support.scripted import Asked, Scripted, answer

WHOLE = random.Random(7).randbytes(12_000)
N = len(WHOLE)
SENT = 7_000  # bytes that come before the connection breaks
FIRST = SENT - 1024  # what the rest is asked for from: the end of what is there is sent again
ETAG = 'ETag: "one"'
BEGINS = answer(200, ETAG, "Accept-Ranges: bytes", body=WHOLE[:SENT], length=N)
HOST = "photos.example.org"


def part(first: int, end: int, *headers: str, total: int = N, body: bytes | None = None, named_last: int | None = None) -> bytes:
    """A 206 with the bytes from `first` up to `end`."""
    last = end - 1 if named_last is None else named_last
    return answer(206, f"Content-Range: bytes {first}-{last}/{total}", *headers, body=WHOLE[first:end] if body is None else body)


@dataclass
class Asking:
    """Asks for one URL as often as the fetcher says that the rest, or the whole, is to be had; at most six times."""

    replies: list[Reply] = field(default_factory=list)
    sink: Memory = field(default_factory=Memory)
    starts_over: list[bool] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)

    @property
    def codes(self) -> list[int]:
        return [reply.code for reply in self.replies]


def ask(*answers: bytes, limits: Limits | None = None) -> Asking:
    """What becomes of a body; the last answer is given again and again."""
    asking, left = Asking(), list(answers)

    def answer_next(asked: Asked) -> bytes:
        asking.ranges.append(asked.headers.get("range"))
        return left.pop(0) if len(left) > 1 else left[0]

    with Scripted(answer_next) as server:
        given = limits or Limits(connect_s=4.0, total_s=60.0, stall_s=30.0, max_bytes=100_000, resume_from_bytes=2_000)
        fetcher = Fetcher(FetchOptions(given, connect_to=(server.connect_to,)))
        connections = fetcher.connections(1)
        request = Request(f"http://{HOST}/raw", asking.sink)
        for _ in range(6):
            connections.start(request)
            ((request, reply),) = wait_for(fetcher)
            asking.replies.append(reply)
            asking.starts_over.append(request.starts_over)
            if request.broke_off is None and not request.starts_over:
                break
            if request.starts_over:
                asking.sink.abort()
            request = replace(request, goes_on=request.broke_off)
        connections.close()
        fetcher.close()
    return asking


def is_whole(asking: Asking, body: bytes = WHOLE) -> bool:
    """The last reply is that of the whole, with its hash, and the sink holds it."""
    last = asking.replies[-1]
    return (last.code, last.size_bytes, last.sha256, bytes(asking.sink.body)) == (
        *(200, len(body), hashlib.sha256(body).digest()), body,
    )  # fmt: skip


def test_the_rest_makes_it_whole() -> None:
    asking = ask(BEGINS, part(FIRST, N, ETAG))
    assert is_whole(asking)
    assert (asking.codes, asking.ranges) == ([OwnCode.BROKEN, 200], [None, f"bytes={FIRST}-"])


@pytest.mark.parametrize("end", [SENT, SENT + 1, N - 1], ids=["nothing new", "one byte", "all but one byte"])
def test_a_part_of_the_rest_is_not_the_whole(end: int) -> None:
    """A server may send less than it was asked for, and it names the part that it sends."""
    asking = ask(BEGINS, part(FIRST, end, ETAG), part(end - 1024, N, ETAG))
    assert asking.codes == [OwnCode.BROKEN, OwnCode.BROKEN, 200]
    assert asking.replies[1].size_bytes == end
    assert asking.ranges[2] == f"bytes={end - 1024}-", "it goes on where it is now"
    assert is_whole(asking)


def test_a_part_of_the_rest_alone_never_becomes_a_whole_body() -> None:
    asking = ask(BEGINS, part(FIRST, N - 1, ETAG), part(N - 1 - 1024, N - 1, ETAG))
    assert set(asking.codes) == {OwnCode.BROKEN}


def test_a_rest_of_one_byte_makes_it_whole() -> None:
    begins = answer(200, ETAG, "Accept-Ranges: bytes", body=WHOLE[: N - 1], length=N)
    assert is_whole(ask(begins, part(N - 1 - 1024, N, ETAG)))


@pytest.mark.parametrize(
    "rest",
    [
        part(FIRST, N, ETAG, body=WHOLE[FIRST:] + b"x"),
        part(FIRST, N, ETAG, body=WHOLE[FIRST : N - 1]),
        part(FIRST, N - 1, ETAG, named_last=N - 1),
        part(FIRST, N, ETAG, named_last=N - 2),
    ],
    ids=["a byte more than it names", "a byte less", "a byte less, named as all", "all of it, named as a byte less"],
)
def test_what_counts_is_the_bytes_that_came(rest: bytes) -> None:
    """Whatever the header says of them."""
    asking = ask(BEGINS, rest, answer(404))
    has_all = rest.endswith(WHOLE[FIRST:])
    assert asking.codes[1] == (200 if has_all else OwnCode.BROKEN)
    assert is_whole(asking) or not has_all


NOT_ITS_REST = {
    "a total that has grown": part(FIRST, N, ETAG, total=N + 1),
    "a total that has shrunk": part(FIRST, N - 1, ETAG, total=N - 1),
    "another ETag": part(FIRST, N, 'ETag: "two"'),
    "a weak ETag of the same name": part(FIRST, N, 'ETag: W/"one"'),
    "a part that begins a byte later": part(FIRST + 1, N, ETAG),
    "a part that begins a byte earlier": part(FIRST - 1, N, ETAG),
    "the right bytes, named as others": part(FIRST + 1, N, ETAG, body=WHOLE[FIRST:]),
    "a part of no known body": answer(206, ETAG, f"Content-Range: bytes {FIRST}-{N - 1}/*", body=WHOLE[FIRST:]),
    "several parts": part(FIRST, N, ETAG, "Content-Type: multipart/byteranges; boundary=x"),
    "a packed part": part(FIRST, N, ETAG, "Content-Encoding: gzip"),
    "a part without a byte": answer(206, ETAG, f"Content-Range: bytes {FIRST}-{N - 1}/{N}"),
    "a whole without a byte": answer(200, ETAG),
    "no content": answer(204, ETAG),
    "other bytes where it goes on": part(FIRST, N, ETAG, body=b"\0" + WHOLE[FIRST + 1 :]),
    "other bytes just before where it goes on": part(FIRST, N, ETAG, body=WHOLE[FIRST : SENT - 1] + b"\0" + WHOLE[SENT:]),
}


@pytest.mark.parametrize("name", NOT_ITS_REST)
def test_what_is_not_the_rest_of_this_body_has_it_asked_for_anew(name: str) -> None:
    """From its first byte, and nothing of the two is joined."""
    asking = ask(BEGINS, NOT_ITS_REST[name], answer(200, ETAG, body=WHOLE))
    assert asking.starts_over == [False, True, False]
    assert asking.ranges == [None, f"bytes={FIRST}-", None]
    assert is_whole(asking)


def test_the_rest_may_leave_its_validator_unsaid() -> None:
    """It was asked for by If-Range, and the bytes meet."""
    assert is_whole(ask(BEGINS, part(FIRST, N)))


DATED = ("Last-Modified: Mon, 05 Jan 2015 10:00:00 GMT", "Date: Mon, 02 Mar 2026 10:00:00 GMT", "Accept-Ranges: bytes")


@pytest.mark.parametrize(("date", "is_same"), [(DATED[0], True), ("Last-Modified: Mon, 05 Jan 2015 10:00:01 GMT", False)])
def test_a_date_is_a_validator_like_any_other(date: str, is_same: bool) -> None:
    asking = ask(answer(200, *DATED, body=WHOLE[:SENT], length=N), part(FIRST, N, date), answer(200, body=WHOLE))
    assert asking.starts_over == ([False, False] if is_same else [False, True, False])
    assert is_whole(asking)


def test_a_total_that_was_named_with_a_part_counts_for_the_next_one() -> None:
    """The first answer came in chunks and did not name it."""
    head = f"HTTP/1.1 200 So\r\n{ETAG}\r\nAccept-Ranges: bytes\r\nTransfer-Encoding: chunked\r\n\r\n{SENT:x}\r\n".encode()
    begins = head + WHOLE[:SENT] + b"\r\n"  # and no last chunk
    asking = ask(begins, part(FIRST, 9_000, ETAG), part(9_000 - 1024, N, ETAG, total=N + 1), answer(200, body=WHOLE))
    assert asking.codes[:2] == [OwnCode.BROKEN] * 2
    assert asking.starts_over == [False, False, True, False]
    assert is_whole(asking)


def test_the_whole_in_place_of_the_rest_takes_the_place_of_what_was_there() -> None:
    other = random.Random(8).randbytes(N + 500)
    assert is_whole(ask(BEGINS, answer(200, 'ETag: "two"', body=other)), other)


# In place of the whole


@pytest.mark.parametrize(
    ("code", "named", "size_bytes", "becomes"),
    [
        (206, "bytes 0-11999/12000", 12_000, 200),
        (206, "bytes 0-0/1", 1, 200),
        (206, "bytes 0-11998/12000", 11_999, 206),
        (206, "bytes 1-11999/12000", 11_999, 206),
        (206, "bytes 1-11999/12000", 12_000, 206),
        (206, "bytes 0-11999/12000", 11_999, 206),
        (206, "bytes 0-11999/12000", 12_001, 206),
        (206, "bytes 0-11999/*", 12_000, 206),
        (206, None, 12_000, 206),
        (200, None, 12_000, 200),
        (200, "bytes 0-11999/12000", 12_000, 200),
        (200, "bytes 0-0/1", 1, 200),
        (200, "bytes 0-11998/12000", 11_999, 206),
        (200, "bytes 1-11999/12000", 11_999, 206),
        (200, "bytes 5-5/10", 1, 206),
        (203, "bytes 5-5/10", 1, 206),
        (200, "bytes 0-11998/12000", 12_000, 200),
    ],
)
def test_only_what_brings_all_of_it_is_the_whole(code: int, named: str | None, size_bytes: int, becomes: int) -> None:
    headers = {} if named is None else {"content-range": named}
    found, why = part_in(code, headers, size_bytes)
    assert found == becomes
    assert (why is None) == (becomes == 200)


def test_a_part_in_place_of_the_whole_is_told_as_a_part() -> None:
    half = answer(206, "Content-Type: image/x", f"Content-Range: bytes 0-{N // 2 - 1}/{N}", body=WHOLE[: N // 2])
    asking = ask(half)
    assert asking.codes == [206]
    assert asking.replies[0].error is not None
    assert is_whole(ask(part(0, N)))


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes 5-5/10", (5, 5, 10)),
        ("bytes 0-0/1", (0, 0, 1)),
        ("bytes 9-9/10", (9, 9, 10)),
        ("bytes 10-10/10", None),
        ("bytes 6-5/10", None),
        ("bytes=5-9/10", (5, 9, 10)),
        ("BYTES 5-9/10", (5, 9, 10)),
        ("5-9/10", (5, 9, 10)),
        (f"bytes 0-0/{'9' * 18}", (0, 0, 10**18 - 1)),
        (f"bytes 0-0/1{'0' * 18}", None),
    ],
)
def test_the_smallest_and_the_largest_parts(header: str, span: tuple[int, int, int] | None) -> None:
    assert content_range({"content-range": header}) == span


# What is remembered of a body that broke off


HEADERS = {"etag": '"one"', "accept-ranges": "bytes", "content-length": str(N)}


def body_of(data: bytes) -> Body:
    body = Body(Memory())
    body.add(data)
    return body


@pytest.mark.parametrize(
    ("length", "total"),
    [(str(N), N), ("", None), ("0", 0), ("-5", None), ("12000.0", None), ("9" * 18, 10**18 - 1), ("1" + "0" * 18, None)],
)
def test_a_length_that_is_no_length_is_not_known(length: str, total: int | None) -> None:
    found = unfinished(body_of(WHOLE[:SENT]), HEADERS | {"content-length": length}, 200, OwnCode.BROKEN, None)
    assert found is not None
    assert (found.total_bytes, found.first_byte, found.overlap) == (total, FIRST, WHOLE[FIRST:SENT])


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025])
def test_the_rest_of_a_short_beginning_is_asked_for_from_its_last_1024_bytes(size: int) -> None:
    found = unfinished(body_of(WHOLE[:size]), HEADERS, 200, OwnCode.BROKEN, None)
    assert found is not None
    assert (found.first_byte, len(found.overlap)) == (max(0, size - 1024), min(size, 1024))


@pytest.mark.parametrize(("code", "named", "total"), [(206, f"bytes {FIRST}-{N - 1}/{N}", N), (206, "", None), (200, "", "anew")])
def test_a_rest_that_breaks_off_too_is_asked_for_by_the_same_validator(code: int, named: str, total: object) -> None:
    """An answer of the whole has a validator of its own."""
    before = Unfinished(body_of(WHOLE[:SENT]), '"zero"', None)
    found = unfinished(before.body, HEADERS | {"content-range": named}, code, OwnCode.BROKEN, before)
    if total is None:
        assert found is None
    else:
        assert found is not None
        assert (found.validator, found.total_bytes) == (('"one"', N) if total == "anew" else ('"zero"', N))


@pytest.mark.parametrize(("sent", "n_asked"), [(1_999, 1), (2_000, 2)])
def test_what_is_worth_to_be_gone_on_with(sent: int, n_asked: int) -> None:
    begins = answer(200, ETAG, "Accept-Ranges: bytes", body=WHOLE[:sent], length=N)
    assert len(ask(begins, part(sent - 1024, N, ETAG)).replies) == n_asked


def test_a_failure_before_any_answer_keeps_what_was_there() -> None:
    """The next connection is closed without a word: the rest is asked for once more, not the whole."""
    asking = ask(BEGINS, b"", part(FIRST, N, ETAG))
    assert asking.ranges[1:] == [f"bytes={FIRST}-"] * 2
    assert is_whole(asking)


def test_a_rest_of_which_only_the_head_comes_has_failed_for_now() -> None:
    """Not one byte was added: nothing is joined, and the next attempt starts over."""
    head = part(FIRST, N, ETAG)[: -(N - FIRST)]
    asking = ask(BEGINS, head)
    assert asking.codes == [OwnCode.BROKEN] * 2
    assert asking.starts_over == [False, False]


@pytest.mark.parametrize("code", [412, 416])
def test_a_refusal_of_the_rest_has_the_whole_asked_for(code: int) -> None:
    asking = ask(BEGINS, answer(code, body=b"no"), answer(200, ETAG, body=WHOLE))
    assert asking.starts_over == [False, True, False]
    assert is_whole(asking)


@pytest.mark.parametrize("body", [b"no", b""])
@pytest.mark.parametrize("code", [404, 403, 500, 503])
def test_another_answer_to_a_request_for_the_rest_is_an_answer_about_the_image(code: int, body: bytes) -> None:
    """What was there is no part of it."""
    asking = ask(BEGINS, answer(code, body=body))
    assert asking.codes == [OwnCode.BROKEN, code]
    last = asking.replies[-1]
    assert (last.path, last.head, last.tail, last.size_bytes) == (None, body, body, len(body))


@pytest.mark.parametrize(("code", "is_kept"), [(200, True), (203, True), (299, True), (300, False)])
def test_only_the_body_of_a_good_answer_is_kept(code: int, is_kept: bool) -> None:
    asking = ask(answer(code, body=WHOLE))
    assert asking.codes == [code]
    assert (bytes(asking.sink.body), asking.replies[0].path is not None) == ((WHOLE, True) if is_kept else (b"", False))


# The size limit, and a sink that fails, in the middle of a body


CHUNKED = (
    f"HTTP/1.1 200 So\r\n{ETAG}\r\nAccept-Ranges: bytes\r\nTransfer-Encoding: chunked\r\n\r\n{SENT:x}\r\n".encode() + WHOLE[:SENT]
)


def limits_of(max_bytes: int) -> Limits:
    return Limits(connect_s=4.0, total_s=60.0, stall_s=30.0, max_bytes=max_bytes, resume_from_bytes=2_000)


@pytest.mark.parametrize(("max_bytes", "is_all"), [(N, True), (N - 1, False), (SENT, False)])
def test_all_parts_of_a_body_together_keep_the_size_limit(max_bytes: int, is_all: bool) -> None:
    """Neither of two answers is too large by itself, and the first one does not say how large it is."""
    asking = ask(CHUNKED + b"\r\n", part(FIRST, N, ETAG), limits=limits_of(max_bytes))
    assert asking.codes == [OwnCode.BROKEN, 200 if is_all else OwnCode.TOO_LARGE]
    assert is_whole(asking) is is_all
    assert len(asking.sink.body) <= max_bytes


@pytest.mark.parametrize(("max_bytes", "code"), [(N, 200), (N - 1, OwnCode.TOO_LARGE)])
def test_what_a_body_unpacks_to_keeps_the_size_limit(max_bytes: int, code: int) -> None:
    packed = gzip.compress(b"\xff\xd8" + bytes(N - 2))
    asking = ask(answer(200, "Content-Type: image/jpeg", "Content-Encoding: gzip", body=packed), limits=limits_of(max_bytes))
    assert asking.codes == [code]
    assert len(asking.sink.body) <= max_bytes


class Full(Memory):
    """A disk with room for one block."""

    def write(self, body: bytes, /) -> None:
        if self.body:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(body)


def test_a_disk_that_is_full_in_the_middle_of_a_body_is_no_verdict_on_the_image_and_ends_no_other_request() -> None:
    body = random.Random(9).randbytes(600_000)

    with Scripted(lambda asked: answer(200, body=body)) as server:
        fetcher = Fetcher(FetchOptions(limits_of(10_000_000), connect_to=(server.connect_to,)))
        connections = fetcher.connections(1)
        connections.start(Request(f"http://{HOST}/1", Full()))
        with pytest.raises(StoreError, match="/memory: No space left on device"):
            wait_for(fetcher)
        sink = Memory()
        connections.start(Request(f"http://{HOST}/2", sink))
        ((_, reply),) = wait_for(fetcher)
        assert (reply.code, bytes(sink.body)) == (200, body)
        connections.close()
        fetcher.close()


@pytest.mark.parametrize("sizes", [(40_000, 40_000, 40_000), (65_536, 1), (65_535, 1, 1), (1, 200_000), (70_000,), (10,)], ids=str)
def test_head_and_tail_are_those_of_the_body_however_it_comes(sizes: tuple[int, ...]) -> None:
    whole, sink = random.Random(3).randbytes(sum(sizes)), Memory()
    body, at = Body(sink), 0
    for size in sizes:
        body.add(whole[at : at + size])
        at += size
    body.write()
    assert (body.head, body.tail, body.size_bytes) == (whole[:65_536], whole[-1024:], len(whole))
    assert (bytes(sink.body), body.sha256()) == (whole, hashlib.sha256(whole).digest())
    body.start_over()
    assert (body.head, body.tail, body.size_bytes, bytes(sink.body)) == (b"", b"", 0, b"")
    body.add(b"anew")
    body.write()
    assert (bytes(sink.body), body.sha256()) == (b"anew", hashlib.sha256(b"anew").digest())
