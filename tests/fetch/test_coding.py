"""What a body is coded in, whatever its header says, for every length and framing: never a cut body, never a refusal for good."""

from __future__ import annotations

import gzip
import itertools
import select
import socket
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from d4c_images.fetch import Fetcher, Request
from d4c_images.fetch.coding import DECODED_AT_ONCE_BYTES, MOST_MEMBERS, Unpacker, named_codings, unpacker
from d4c_images.identity.manifest import MAX_BYTES
from d4c_images.model import ErrorType, FetchOptions, Limits, Orders, OwnCode, Reply, Status
from d4c_images.policy.judge import CodePolicy, judge
from tests.fetch.test_fetch import Memory, wait_for
from tests.publishers import pictures
from tests.steward.test_waits import claim, turn, worker_at
from tests.support.scripted import Scripted, answer

JPEG = pictures.jpeg("coded")
LIMITS = Limits(connect_s=4.0, total_s=20.0, stall_s=4.0, max_bytes=5_000_000)


def brotli(body: bytes) -> bytes:
    """In one block that is not compressed (RFC 7932 section 9.2)."""
    assert 0 < len(body) <= 1 << 16
    return ((len(body) - 1) << 4 | 1 << 20).to_bytes(3, "little") + body + b"\x03"


def raw_deflate(body: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(body) + packing.flush()


CODINGS = {
    "plain": lambda body: body,
    "gzip": lambda body: gzip.compress(body, mtime=0),
    "deflate": zlib.compress,
    "raw deflate": raw_deflate,
    "brotli": brotli,
    "gzip twice": lambda body: gzip.compress(gzip.compress(body, mtime=0), mtime=0),
    "gzip of deflate": lambda body: gzip.compress(zlib.compress(body), mtime=0),
    "gzip in parts": lambda body: gzip.compress(body[:5000], mtime=0) + gzip.compress(body[5000:], mtime=0),
    "gzip, padded": lambda body: gzip.compress(body, mtime=0) + bytes(700),
}
NAMES = [
    None, "", "identity", "none", "UTF-8", "binary", "gzip", " GZip ", "x-gzip", '"gzip"', "deflate", "br", "gzip, gzip",
    "deflate,gzip", "identity, gzip", "gzip, identity", "gzip;q=1", "utf-8, gzip", "aws-chunked", "zstd", ",", "image/jpeg", "\xe4",
]  # fmt: skip
PROVEN = {"gzip", "deflate", "gzip twice", "gzip of deflate", "gzip in parts", "gzip, padded"}  # whole, by a checksum
STATUSES = (200, 203, 206, 404, 503)
LENGTHS = (
    "right",
    "one too short",
    "half",
    "one too long",
    "twice",
    "none",
    "chunked",
    "chunked, no end",
    "cut, right",
    "cut, chunked",
)


def is_readable(real: str, name: str | None) -> bool:
    """Without libcurl's help."""
    if real == "raw deflate":
        return "deflate" in (name or "")
    return real != "brotli"


def wire(status: int, name: str | None, body: bytes, length: str) -> bytes:
    headers = [f"HTTP/1.1 {status} So", "Content-Type: image/jpeg", "Connection: close"]
    headers += [] if name is None else [f"Content-Encoding: {name}"]
    headers += [f"Content-Range: bytes 0-{len(body) - 1}/{len(body)}"] if status == 206 else []
    sent = body[: len(body) * 2 // 3] if length.startswith("cut") else body
    declared = {"right": 0, "one too short": -1, "half": -(len(body) // 2), "one too long": 1, "twice": len(body), "cut, right": 0}
    if length in declared:
        headers.append(f"Content-Length: {len(sent) + declared[length]}")
    elif "chunked" in length:
        headers.append("Transfer-Encoding: chunked")
        end = b"" if "no end" in length else b"0\r\n\r\n"
        sent = b"".join(b"%x\r\n%b\r\n" % (len(sent[at : at + 700]), sent[at : at + 700]) for at in range(0, len(sent), 700)) + end
    return "\r\n".join([*headers, "", ""]).encode("latin-1") + sent


def asked(answers: dict[str, bytes], options: FetchOptions | None = None) -> Iterator[tuple[str, Reply, bytes]]:
    """One request for each answer, by its path."""
    with Scripted(lambda one: answers[one.path]) as server:
        fetcher = Fetcher(replace(options or FetchOptions(LIMITS), connect_to=(server.connect_to,)))
        connections = fetcher.connections(8)
        try:
            waiting, n_open = iter(answers), 0
            for path in itertools.islice(waiting, 8):
                connections.start(Request(f"http://example.org{path}", Memory(), path))
                n_open += 1
            while n_open:
                for request, reply in wait_for(fetcher):
                    n_open -= 1
                    yield request.key, reply, bytes(request.sink.body)  # type: ignore[attr-defined]
                    for path in itertools.islice(waiting, 1):
                        connections.start(Request(f"http://example.org{path}", Memory(), path))
                        n_open += 1
        finally:
            connections.close()
            fetcher.close()


@pytest.mark.slow
@pytest.mark.parametrize("real", CODINGS)
@pytest.mark.parametrize("status", STATUSES)
def test_every_combination_of_what_is_said_and_what_is_sent(real: str, status: int) -> None:
    cases = {f"/{n}": case for n, case in enumerate(itertools.product(NAMES, LENGTHS))}
    packed = CODINGS[real](JPEG)
    answers = {path: wire(status, name, packed, length) for path, (name, length) in cases.items()}
    seen = set()
    for path, reply, body in asked(answers):
        name, length = cases[path]
        verdict = judge(reply, CodePolicy(), 0.0)
        what = (name, length, reply.code, reply.error, verdict)
        seen.add(path)
        if status >= 400:
            assert reply.code == status, what
            assert not body, what
            continue
        is_whole = length in ("right", "none", "chunked") or (
            real in PROVEN
            and (
                length in ("one too long", "twice", "chunked, no end")
                or (length == "one too short" and real == "gzip, padded" and status != 206)
            )
        )
        if verdict.status is Status.SUCCESS:
            assert body == JPEG, what
        if is_whole and is_readable(real, name):
            assert (verdict.status, body) == (Status.SUCCESS, JPEG), what
        elif is_readable(real, name) or named_codings(name or ""):
            assert verdict.status is Status.FAILED_TRANSIENT, what
    assert len(seen) == len(cases)


HERE = [(real, name, length) for real in ("plain", "gzip", "raw deflate") for name in (None, "UTF-8", "gzip", "deflate")
        for length in ("right", "half", "chunked", "cut, right")]  # fmt: skip


def test_some_of_these_combinations() -> None:
    """Those of every day."""
    cases = {f"/{n}": case for n, case in enumerate(HERE)}
    answers = {path: wire(200, name, CODINGS[real](JPEG), length) for path, (real, name, length) in cases.items()}
    for path, reply, body in asked(answers):
        real, name, length = cases[path]
        verdict = judge(reply, CodePolicy(), 0.0)
        is_stored = length in ("right", "chunked") and is_readable(real, name)
        assert (verdict.status is Status.SUCCESS) is is_stored, (cases[path], reply.code, verdict)
        assert body == JPEG or not is_stored


def test_brotli_that_nobody_asked_for_is_undone_by_libcurl(tmp_path: Path) -> None:
    with worker_at(lambda asked: answer(200, "Content-Encoding: br", body=brotli(JPEG)), tmp_path) as (server, outcomes):
        [outcome] = outcomes(Orders((turn(1, claim(1)),)))
    assert outcome.verdict is not None
    assert outcome.blob is not None
    assert (outcome.verdict.status, outcome.requests) == (Status.SUCCESS, 2)
    assert (tmp_path / outcome.blob.path).read_bytes() == JPEG
    assert [one.headers["accept-encoding"] for one in server.asked] == ["gzip, deflate", "gzip, deflate, br"]


def unpacked(body: bytes, named: tuple[str, ...] = (), step: int = 7) -> tuple[bytes, Unpacker]:
    taking = Unpacker(named)
    pieces = [piece for at in range(0, len(body), step) for piece in taking.feed(body[at : at + step])]
    pieces += taking.end()
    assert all(len(piece) <= max(DECODED_AT_ONCE_BYTES, 1024 + step) for piece in pieces)
    return b"".join(pieces), taking


@pytest.mark.parametrize("step", [1, 3, 1023, 1024, 100_000])
@pytest.mark.parametrize("real", sorted(CODINGS.keys() - {"brotli"}))
def test_it_does_not_matter_how_the_bytes_arrive(real: str, step: int) -> None:
    body, taking = unpacked(CODINGS[real](JPEG), ("deflate",), step)
    assert body == JPEG
    assert taking.fault is None
    assert taking.is_plain is (real == "plain")
    assert taking.is_proven_whole is (real in PROVEN)


@pytest.mark.parametrize("body", [b"", b"\x1f", b"\x1f\x8b", b"x", b"x\x9c", b"{}", b"xyz, a text", b"<html>"])
def test_short_bodies(body: bytes) -> None:
    assert unpacked(body)[0] == body


@pytest.mark.parametrize("at", range(10, 100, 7))
def test_damage_is_found(at: int) -> None:
    packed = bytearray(gzip.compress(JPEG, mtime=0))
    packed[len(packed) * at // 100] ^= 0x10
    body, taking = unpacked(bytes(packed), step=4000)
    assert taking.fault is not None or body == JPEG
    assert taking.fault is None or taking.fault[0] == OwnCode.BROKEN


def test_nearly_all_bodies_are_plain_at_once() -> None:
    assert unpacker((), JPEG) is None
    assert unpacker((), b"<html>") is None
    assert unpacker(("binary",), JPEG) is not None


def test_a_bomb_comes_in_small_pieces() -> None:
    bomb = gzip.compress(gzip.compress(bytes(100_000_000)))
    tracemalloc.start()
    taking, n = Unpacker(()), 0
    for piece in taking.feed(bomb + bytes(1024)):
        n += len(piece)
        assert len(piece) <= DECODED_AT_ONCE_BYTES
    assert n == 100_000_000
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_members_without_content_come_to_an_end() -> None:
    _, taking = unpacked(gzip.compress(b"", mtime=0) * (MOST_MEMBERS + 10), step=100_000)
    assert taking.fault is not None


def test_a_packed_body_that_comes_no_further_is_out_of_time() -> None:
    """The coding does not hide how a body ended."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fetcher = Fetcher(FetchOptions(replace(LIMITS, total_s=0.5), allow_private_hosts=True))
        connections = fetcher.connections(1)
        connections.start(Request(f"http://127.0.0.1:{listener.getsockname()[1]}/0", Memory()))
        while not select.select([listener], [], [], 0)[0]:
            list(fetcher.poll(0.05))
        client, _ = listener.accept()
        with client:
            client.sendall(wire(200, "gzip", gzip.compress(JPEG), "twice"))
            ((_, reply),) = wait_for(fetcher)
        connections.close()
        fetcher.close()
    assert reply.code == OwnCode.TIMEOUT


def test_of_a_text_no_more_is_read_than_a_document_may_have() -> None:
    texts = [b'{"items": [' + b"[]," * 7_000_000, b"<html>" + b"<br>" * 5_000_000]
    picture = JPEG + bytes(MAX_BYTES)
    bodies = {"/0": gzip.compress(texts[0], 1), "/1": texts[1], "/2": picture}
    answers = {path: answer(200, body=body) for path, body in bodies.items()}
    options = FetchOptions(replace(LIMITS, max_bytes=40_000_000))
    for path, reply, body in asked(answers, options):
        assert reply.code == 200, reply.error
        assert reply.size_bytes == len(body)
        if path == "/2":
            assert body == picture
        else:
            assert MAX_BYTES < len(body) <= MAX_BYTES + 256 * 1024
            assert judge(reply, CodePolicy(), 0.0).error_type == ErrorType.INVALID_CONTENT_TYPE


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("", ()), ("identity", ()), ("GZIP", ("gzip",)), ("x-gzip , br", ("gzip", "br")), ("UTF-8", ("utf-8",)), (",,", ()),
        ("none", ()), ('"deflate"; q=1', ("deflate",)),
    ],
)  # fmt: skip
def test_the_names_of_codings(header: str, names: tuple[str, ...]) -> None:
    assert named_codings(header) == names
