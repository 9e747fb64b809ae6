"""What does an answer mean? One row per answer, then the reading of pages."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.model import ErrorType, OwnCode, Reply, Status, Verdict
from d4c_images.policy.judge import CodePolicy, DecodeFault, DecodeResult, judge, judge_decoded, readable_text
from d4c_images.policy.waits import MAX_RETRY_AFTER_S
from tests.publishers import pictures, rawfiles
from tests.support.tabular import rows

NOW = 784111777.0 - 60  # a minute before RFC 9110's example date
BODIES = {
    "JPEG": pictures.jpeg("a"),
    "PNG": pictures.png("a"),
    "DNG": rawfiles.dng_with_cfa("a"),
    "CUT": pictures.jpeg("a")[:5000],
}


def reply(
    code: int, headers: str = "", body: bytes = b"", url: str = "https://example.org/a.jpg", error: str | None = None
) -> Reply:
    pairs = dict(header.split(": ", 1) for header in headers.split("|") if header)
    return Reply(code, url, url, pairs, size_bytes=len(body), head=body[:65536], tail=body[-1024:], error=error)


@pytest.mark.parametrize(("code", "headers", "body", "status", "error_type", "flags", "wait", "said"), rows("answers.tsv"))
def test_an_answer_gets_the_verdict_of_its_row(
    code: str, headers: str, body: str, status: str, error_type: str, flags: str, wait: str, said: str
) -> None:
    verdict = judge(reply(int(code), headers, BODIES.get(body, body.encode())), CodePolicy(), NOW)
    assert (verdict.status, verdict.error_type or "") == (status, error_type)
    assert ("h" * verdict.host_trouble) + ("n" * verdict.try_next) == flags
    assert verdict.wait_s == (float(wait) if wait else None)
    assert said.lower() in (verdict.detail or "").lower()


def test_the_table_has_every_code_of_our_own() -> None:
    assert {int(row[0]) for row in rows("answers.tsv")} >= set(OwnCode)


def test_every_refusal_but_the_named_ones_is_permanent() -> None:
    transient = {code for code in range(400, 500) if judge(reply(code), CodePolicy(), NOW).status is Status.FAILED_TRANSIENT}
    assert transient == {408, 420, 425, 429}
    assert all(
        judge(reply(code), CodePolicy(), NOW).error_type == f"http_{code}" for code in range(400, 500) if code not in transient
    )


def test_every_server_error_is_transient() -> None:
    verdicts = [judge(reply(code), CodePolicy(), NOW) for code in range(500, 600)]
    assert {(v.status, v.error_type, v.host_trouble) for v in verdicts} == {(Status.FAILED_TRANSIENT, ErrorType.SERVER_ERROR, True)}
    assert [500 + at for at, v in enumerate(verdicts) if not v.try_next] == [503, 509, 529]


def test_the_librarys_own_words_are_kept() -> None:
    assert judge(reply(-5, error="certificate has expired"), CodePolicy(), NOW).detail == "certificate has expired"
    assert judge(reply(404, error="x"), CodePolicy(), NOW).detail == "x"


def test_ftp_is_said_plainly() -> None:
    verdict = judge(reply(OwnCode.BAD_URL, url="ftp://example.org/a.jpg", error="unsupported"), CodePolicy(), NOW)
    assert verdict == Verdict(Status.FAILED_PERMANENT, ErrorType.OTHER, "FTP is not supported", try_next=True)


def test_which_codes_mean_rate_limited_is_up_to_the_policy() -> None:
    policy = CodePolicy(rate_limited=frozenset((450,)))
    assert judge(reply(450), policy, NOW).error_type == ErrorType.RATE_LIMITED
    assert judge(reply(429), policy, NOW).error_type == "http_429"


@given(
    st.one_of(st.integers(-99, 700), st.sampled_from([200, 404, 429])),
    st.binary(max_size=200) | st.text(max_size=3000).map(lambda text: ("<html>" + text).encode("utf-8", "replace")),
    st.text(max_size=30),
    st.text(max_size=30),
)
def test_no_answer_raises_or_says_too_much(code: int, body: bytes, content_type: str, retry_after: str) -> None:
    headers = {"content-type": content_type, "retry-after": retry_after}
    answer = Reply(code, "u", "u", headers, size_bytes=len(body), head=body, tail=body[-1024:], error="e" * 3000)
    verdict = judge(answer, CodePolicy(), NOW)
    assert len(verdict.detail or "") <= 2000
    assert (verdict.detail or "").encode("utf-8") is not None
    assert verdict.wait_s is None or 0 <= verdict.wait_s <= MAX_RETRY_AFTER_S
    assert verdict.status in (Status.SUCCESS, Status.FAILED_TRANSIENT, Status.FAILED_PERMANENT)
    assert (verdict.error_type is None) <= (verdict.status is Status.SUCCESS)


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (DecodeResult(True, width=3, height=2), Verdict(Status.SUCCESS)),
        (DecodeResult(True, raw=True), Verdict(Status.SUCCESS, ErrorType.RAW_UNPROCESSED)),
        (
            DecodeResult(False, DecodeFault.RAW_UNOPENED, "unsupported", raw=True),
            Verdict(Status.SUCCESS, ErrorType.RAW_UNPROCESSED, "unsupported"),
        ),
        (DecodeResult(False, DecodeFault.TRUNCATED, "x", raw=True), Verdict(Status.FAILED_TRANSIENT, ErrorType.TRUNCATED, "x")),
        (DecodeResult(False, DecodeFault.TRUNCATED, "x"), Verdict(Status.FAILED_TRANSIENT, ErrorType.TRUNCATED, "x")),
        (
            DecodeResult(False, DecodeFault.UNDECODABLE, "y" * 3000),
            Verdict(Status.FAILED_PERMANENT, ErrorType.NOT_AN_IMAGE, "y" * 2000, try_next=True),
        ),
        (
            DecodeResult(False, DecodeFault.TOO_MANY_PIXELS),
            Verdict(Status.FAILED_PERMANENT, ErrorType.TOO_LARGE, try_next=True),
        ),
    ],
)
def test_a_finding_of_the_decoder_becomes_this_verdict(result: DecodeResult, verdict: Verdict) -> None:
    assert judge_decoded(result) == verdict


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("<html><body>b<p>c</p></body><title>T</title>", None, "T b c"),
        ("<title>Not&nbsp;Found</title><style>p{}</style><script>var a='<p>';</script><p>A &amp; B", None, "Not Found A & B"),
        ("<html><title>one</title><title>two</title>x<noscript>enable</noscript><!-- y -->z", None, "one x z"),
        ("<html>\n\n a \t b \u00a0 c\0d</html>", None, "a b c d"),
        ("<html><script>never ended", None, ""),
        ("<html>before<script>never ended", None, "before"),
        ('{"a":\n 1}', "application/json", '{"a": 1}'),
        ("<Error><Code>x</Code></Error>", None, "<Error><Code>x</Code></Error>"),
        ("plain  text", "text/plain", "plain text"),
    ],
)
def test_text_of_a_page(body: str, content_type: str | None, text: str) -> None:
    assert readable_text(body.encode(), content_type) == text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<html>größer".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ("<html>größer".encode("latin-1"), 'text/html; Charset="latin1"'),
        ('<html><meta charset="windows-1252">größer'.encode("cp1252"), "text/html"),
        ('<html><meta http-equiv="Content-Type" content="text/html; charset=iso-8859-15">größer'.encode("iso-8859-15"), None),
        ("<html>größer".encode("utf-16"), "text/html; charset=utf-8"),
        ("<html>größer".encode("utf-8-sig"), "text/html; charset=latin-1"),
        ("<html>größer".encode(), "text/html; charset=no-such-charset"),
        ("<html>größer".encode(), "text/html; charset=base64"),
        ("<html>größer".encode(), None),
    ],
)
def test_charset_of_a_page(body: bytes, content_type: str | None) -> None:
    assert readable_text(body, content_type) == "größer"


def test_broken_bytes_are_replaced() -> None:
    assert readable_text(b"<html>gr\xf6\xdfer", None) == "gr\ufffd\ufffder"


def test_a_long_page_is_cut() -> None:
    assert len(readable_text(b"<html>" + b"word " * 1000, None)) <= 2000
    assert readable_text(b"<html>" + b"word " * 1000, None, limit=9) == "word word"


HOSTILE = [
    b"<!--",
    b"<![CDATA[",
    b"<a ",
    b"</",
    b"<![foo",
    b"&#x",
    b"<script ",
    b"<title",
    b"<title>",
    b"<a b='",
    b"<?",
    b"<",
    b"<svg><",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_markup_costs_no_more_than_plain_text(piece: bytes) -> None:
    body = b"<html>" + piece * (65536 // len(piece))
    started = time.process_time()
    readable_text(body, None)
    assert time.process_time() - started < 1.0, "the standard parser needs up to half a minute for some of these"


@pytest.mark.parametrize(
    ("said", "forbids"),
    [
        ("noai", True),
        ("noimageai", True),
        ("NoAI , noimageai", True),
        ("noindex, nofollow, noai", True),
        ("noindex", False),
        ("all", False),
        ("", False),
        ("somebot: noai", False),
        ("somebot: noindex, noai", True),  # two headers may have been joined on the way
        ("*: noai", True),
        ("d4c-images: noimageai", True),
        ("D4C-Images:noai", True),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", True),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST", False),
        ("noaircraft", False),
    ],
)
def test_what_forbids_ai(said: str, forbids: bool) -> None:
    reply = Reply(200, "http://x.org/1.jpg", "http://x.org/1.jpg", {"x-robots-tag": said}, head=b"\xff\xd8\xff", size_bytes=3)
    verdict = judge(reply, CodePolicy(respects_robots_tag=True), 0.0)
    assert (verdict.error_type == ErrorType.ROBOTS_TAG) is forbids
    assert judge(reply, CodePolicy(), 0.0).error_type != ErrorType.ROBOTS_TAG
