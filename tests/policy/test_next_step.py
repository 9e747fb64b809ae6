"""What does a worker do next with an image? One row per answer, then per failure; then what holds for all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.model import ErrorType, Failure, OwnCode, Reply, Status, Verdict
from d4c_images.policy.judge import CodePolicy
from d4c_images.policy.next_step import (
    Again,
    Fail,
    Follow,
    NextStep,
    Question,
    ReadDocument,
    Recourse,
    Served,
    after_failure,
    after_reply,
    is_moved_to_https,
    is_to_be_spared,
    more_hopeful,
    to_carry,
    without_picture,
)
from tests.publishers import pictures

NOW = 784111777.0 - 60  # a minute before RFC 9110's example date
URL = "http://example.org/a.jpg"
HTTPS = "https://example.org/a.jpg"
ELSEWHERE = "https://cdn.example.net/a.jpg"
PLAIN = Question(
    URL,
    is_upgraded=False,
    may_follow=True,
    starts_over=False,
    is_conditional=False,
    is_undoable=False,
    is_stored=False,
    stored_sha256=None,
)
UPGRADED = PLAIN._replace(is_upgraded=True)
LED_TOO_OFTEN = PLAIN._replace(may_follow=False)
STORED = PLAIN._replace(is_stored=True, is_conditional=True, stored_sha256=b"as before")
LOST = STORED._replace(is_conditional=False, stored_sha256=None)

PICTURE = pictures.jpeg("a")
PAGE = b"<!DOCTYPE html><html><title>No such thing</title></html>"
MANIFEST = b'{"@context": "http://iiif.io/api/presentation/3/context.json", "id": "https://example.org/m", "type": "Manifest"}'


def answer(code: int, body: bytes = b"", *, url: str = URL, to: str | None = None, **headers: str) -> Reply:
    return Reply(
        code,
        url,
        url,
        {name.replace("_", "-"): value for name, value in headers.items()},
        path=Path("body") if body else None,
        size_bytes=len(body),
        sha256=b"others" if body else None,
        head=body[:65536],
        tail=body[-1024:],
        redirect_url=to,
    )


def named(step: NextStep) -> object:
    """The step, with no more of a verdict than its type of error."""
    match step:
        case ReadDocument():
            return ReadDocument, step.verdict.error_type
        case Fail():
            return Fail, step.code, step.verdict.error_type
        case _:
            return step


AS_STORED = replace(answer(200, PICTURE), sha256=b"as before")
TOO_MANY = (Fail, OwnCode.TOO_MANY_REDIRECTS, ErrorType.OTHER)

STEPS = {
    # pictures
    "a picture is examined": (PLAIN, answer(200, PICTURE), Served.NEW),
    "a picture over https is examined": (UPGRADED, answer(200, PICTURE), Served.NEW),
    "a picture that has changed is examined": (STORED, answer(200, PICTURE), Served.NEW),
    "a picture that is stored is not examined again": (STORED, AS_STORED, Served.SAME_BYTES),
    "a picture that was lost is examined though its bytes are the same": (LOST, AS_STORED, Served.NEW),
    "a picture without a hash is not taken for one that was lost": (LOST, replace(AS_STORED, sha256=None), Served.NEW),
    "304 to a condition leaves what is stored": (STORED, answer(304), Served.NOT_MODIFIED),
    "304 without a condition is a failure": (PLAIN, answer(304), (Fail, 304, "http_304")),
    "304 for what was lost is a failure": (LOST, answer(304), (Fail, 304, "http_304")),
    # other ways to ask
    "the rest of a body that cannot be had": (PLAIN._replace(starts_over=True), answer(416), Again.FROM_THE_START),
    "another body instead of the rest": (PLAIN._replace(starts_over=True), answer(200, PICTURE), Again.FROM_THE_START),
    "412 to a condition": (STORED, answer(412), Again.UNCONDITIONALLY),
    "412 without a condition is a refusal": (PLAIN, answer(412), (Fail, 412, "http_412")),
    "a coding that libcurl can undo": (PLAIN._replace(is_undoable=True), answer(OwnCode.BAD_ENCODING), Again.UNDONE_BY_LIBCURL),
    "a coding that nobody can undo": (PLAIN, answer(OwnCode.BAD_ENCODING), (Fail, OwnCode.BAD_ENCODING, ErrorType.OTHER)),
    "such a coding of a picture that came all the same": (PLAIN._replace(is_undoable=True), answer(200, PICTURE), Served.NEW),
    "https refuses the image": (UPGRADED, answer(404), Again.BY_HTTP),
    "https has a page instead": (UPGRADED, answer(200, PAGE), Again.BY_HTTP),
    "https is overloaded, and so is http": (UPGRADED, answer(503), (Fail, 503, ErrorType.SERVER_ERROR)),
    "https cannot be reached": (UPGRADED, answer(OwnCode.CONNECT), (Fail, OwnCode.CONNECT, ErrorType.CONNECTION_BROKEN)),
    # redirects
    "a redirect": (PLAIN, answer(302, to=ELSEWHERE), Follow(ELSEWHERE, 0.0)),
    "a redirect that names seconds": (PLAIN, answer(302, to=ELSEWHERE, retry_after="7"), Follow(ELSEWHERE, 7.0)),
    "a redirect that names a date": (
        PLAIN,
        answer(302, to=ELSEWHERE, retry_after="Sun, 06 Nov 1994 08:49:37 GMT"),
        Follow(ELSEWHERE, 60.0),
    ),
    "a redirect of a stored image": (STORED, answer(302, to=ELSEWHERE), Follow(ELSEWHERE, 0.0)),
    "a redirect from https back to http": (UPGRADED, answer(302, url=HTTPS, to=URL), Again.BY_HTTP),
    "the same after too many redirects": (
        UPGRADED._replace(may_follow=False),
        answer(302, url=HTTPS, to=URL),
        Again.BY_HTTP,
    ),
    "a redirect from https elsewhere": (UPGRADED, answer(302, url=HTTPS, to=ELSEWHERE), Follow(ELSEWHERE, 0.0)),
    "a redirect to itself is followed until there are too many": (PLAIN, answer(302, to=URL), Follow(URL, 0.0)),
    "one redirect too many": (LED_TOO_OFTEN, answer(302, to=ELSEWHERE), TOO_MANY),
    "one redirect too many, with a picture in its body": (LED_TOO_OFTEN, answer(302, PICTURE, to=ELSEWHERE), TOO_MANY),
    "one redirect too many over https": (
        UPGRADED._replace(may_follow=False),
        answer(302, url=HTTPS, to=ELSEWHERE),
        Again.BY_HTTP,
    ),
    # documents
    "a IIIF document is read": (PLAIN, answer(200, MANIFEST), (ReadDocument, ErrorType.INVALID_CONTENT_TYPE)),
    "a IIIF document over https is read": (UPGRADED, answer(200, MANIFEST), (ReadDocument, ErrorType.INVALID_CONTENT_TYPE)),
    "a page at the address of a document is read": (
        PLAIN,
        answer(200, PAGE, url="http://example.org/iiif/3/manifest.json"),
        (ReadDocument, ErrorType.INVALID_CONTENT_TYPE),
    ),
    "a document instead of a stored image is a failure": (
        STORED,
        answer(200, MANIFEST),
        (Fail, 200, ErrorType.INVALID_CONTENT_TYPE),
    ),
    "a document with an error is a failure": (PLAIN, answer(500, MANIFEST), (Fail, 500, ErrorType.SERVER_ERROR)),
    "a document whose body was not kept is a failure": (
        PLAIN,
        replace(answer(200, MANIFEST), path=None),
        (Fail, 200, ErrorType.INVALID_CONTENT_TYPE),
    ),
    # failures
    "a page": (PLAIN, answer(200, PAGE), (Fail, 200, ErrorType.INVALID_CONTENT_TYPE)),
    "a refusal": (PLAIN, answer(404), (Fail, 404, "http_404")),
    "a refusal of a stored image": (STORED, answer(410), (Fail, 410, "http_410")),
    "a rate limit": (PLAIN, answer(429), (Fail, 429, ErrorType.RATE_LIMITED)),
    "a body that breaks off": (PLAIN, answer(OwnCode.BROKEN, PICTURE), (Fail, OwnCode.BROKEN, ErrorType.TRUNCATED)),
    "a picture that is cut off": (PLAIN, answer(200, PICTURE[:5000]), (Fail, 200, ErrorType.TRUNCATED)),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_reply_leads_to_its_step(name: str) -> None:
    question, reply, expected = STEPS[name]
    assert named(after_reply(question, reply, CodePolicy(), NOW)) == expected


def test_the_table_has_every_step() -> None:
    steps = {named(after_reply(question, reply, CodePolicy(), NOW)) for question, reply, _ in STEPS.values()}
    kinds = {step[0] if isinstance(step, tuple) else type(step) for step in steps}
    assert {*Again, *Served} <= steps
    assert {Follow, ReadDocument, Fail} <= kinds


@pytest.mark.parametrize(
    ("code", "to", "expected"),
    [
        (301, HTTPS, True),
        (308, HTTPS, True),
        (302, HTTPS, False),  # only for now
        (307, HTTPS, False),
        (301, ELSEWHERE, False),
        (301, HTTPS + "?from=http", False),  # of this image only
        (301, URL, False),
        (301, None, False),
    ],
)
def test_a_host_moves_to_https_by_a_permanent_redirect_to_the_same_place(code: int, to: str | None, expected: bool) -> None:
    assert is_moved_to_https(URL, answer(code, to=to)) is expected


TRANSIENT = Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER)
TIMEOUT = Verdict(Status.FAILED_TRANSIENT, ErrorType.TIMEOUT, host_trouble=True)
GONE = Verdict(Status.FAILED_PERMANENT, "http_404", try_next=True)
CUT = Verdict(Status.FAILED_TRANSIENT, ErrorType.TRUNCATED)
UNREACHABLE = Verdict(Status.FAILED_TRANSIENT, ErrorType.CONNECTION_BROKEN, host_trouble=True, unreachable=True)


@pytest.mark.parametrize(
    ("verdict", "can_resume", "is_last_attempt", "expected"),
    [
        pytest.param(TIMEOUT, True, False, Recourse.RESUME, id="a body that broke off is resumed"),
        pytest.param(GONE, True, True, Recourse.RESUME, id="before another candidate is asked"),
        pytest.param(GONE, False, False, Recourse.NEXT_CANDIDATE, id="a refusal leads to the next candidate"),
        pytest.param(CUT, False, False, Recourse.GIVE_UP, id="what may pass is tried again another time"),
        pytest.param(CUT, False, True, Recourse.NEXT_CANDIDATE, id="a cut body if there is no other time"),
        pytest.param(TIMEOUT, False, True, Recourse.NEXT_CANDIDATE, id="a timeout if there is no other time"),
        pytest.param(UNREACHABLE, False, True, Recourse.GIVE_UP, id="a host that is not there costs no attempt"),
        pytest.param(TRANSIENT, False, True, Recourse.GIVE_UP, id="what has nothing to do with the candidate"),
    ],
)
def test_a_failure_leaves_its_recourse(verdict: Verdict, can_resume: bool, is_last_attempt: bool, expected: Recourse) -> None:
    assert after_failure(verdict, can_resume=can_resume, is_last_attempt=is_last_attempt) is expected


@pytest.mark.parametrize(
    ("verdict", "code", "expected"),
    [
        pytest.param(UNREACHABLE, OwnCode.CONNECT, True, id="a host that is not there"),
        pytest.param(replace(TRANSIENT, error_type=ErrorType.RATE_LIMITED), 403, True, id="a rate limit, whatever its code"),
        pytest.param(replace(TIMEOUT, wait_s=5.0), 500, True, id="trouble with a named wait"),
        pytest.param(TIMEOUT, 503, True, id="503"),
        pytest.param(TIMEOUT, 429, True, id="429"),
        pytest.param(TIMEOUT, 500, False, id="one error of a server"),
        pytest.param(TIMEOUT, OwnCode.TIMEOUT, False, id="one timeout"),
        pytest.param(replace(TRANSIENT, wait_s=5.0), 404, False, id="a wait without trouble"),
        pytest.param(TRANSIENT, 503, False, id="503 that does not speak of the host"),
        pytest.param(GONE, 404, False, id="a refusal"),
    ],
)
def test_a_single_answer_has_the_host_spared(verdict: Verdict, code: int, expected: bool) -> None:
    assert is_to_be_spared(verdict, code) is expected


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        pytest.param(None, Failure(GONE, 404, 0), Failure(GONE, 404, 0), id="the first one"),
        pytest.param(Failure(GONE, 404, 0), Failure(CUT, 200, 1), Failure(CUT, 200, 1), id="transient after permanent"),
        pytest.param(Failure(CUT, 200, 0), Failure(GONE, 404, 1), Failure(CUT, 200, 0), id="permanent after transient"),
        pytest.param(
            Failure(CUT, 200, 0), Failure(TIMEOUT, -1, 1), Failure(TIMEOUT, -1, 0), id="about the host, with the better candidate"
        ),
        pytest.param(
            Failure(CUT, 200, 0),
            Failure(replace(GONE, host_trouble=True), 403, 1),
            Failure(replace(CUT, host_trouble=True), 200, 0),
            id="trouble with the host is not forgotten",
        ),
        pytest.param(Failure(TIMEOUT, -1, 0), Failure(CUT, 200, 1), Failure(TIMEOUT, -1, 0), id="transient after one of the host"),
    ],
)
def test_of_two_failures_the_more_hopeful_one_decides(before: Failure | None, now: Failure, expected: Failure) -> None:
    assert more_hopeful(before, now) == expected


def test_only_a_transient_failure_is_carried_to_another_host() -> None:
    assert to_carry(None) is None
    assert to_carry(Failure(GONE, 404, 0)) is None
    assert to_carry(Failure(CUT, 200, 0)) == Failure(CUT, 200, 0)


CODES = st.sampled_from([*OwnCode, 200, 203, 206, 301, 302, 304, 308, 403, 404, 412, 416, 420, 429, 500, 503])
QUESTIONS = st.builds(
    Question,
    st.sampled_from([URL, HTTPS]),
    *[st.booleans()] * 6,
    stored_sha256=st.sampled_from([None, b"as before", b"others"]),
)
REPLIES = st.builds(
    answer,
    CODES,
    st.sampled_from([b"", PICTURE, PICTURE[:5000], PAGE, MANIFEST]),
    url=st.sampled_from([URL, HTTPS]),
    to=st.sampled_from([None, URL, HTTPS, ELSEWHERE]),
    retry_after=st.sampled_from(["", "3", "Sun, 06 Nov 1994 08:49:37 GMT", "soon"]),
)


@given(QUESTIONS, REPLIES)
def test_any_reply_leads_to_a_step_that_is_allowed(question: Question, reply: Reply) -> None:
    step = after_reply(question, reply, CodePolicy(), NOW)
    match step:
        case Follow():
            assert question.may_follow
            assert step.wait_s >= 0.0
        case Again.FROM_THE_START:
            assert question.starts_over
        case Again.BY_HTTP:
            assert question.is_upgraded, "or it would be asked the same for ever"
        case Again.UNCONDITIONALLY:
            assert question.is_conditional
        case Again.UNDONE_BY_LIBCURL:
            assert question.is_undoable
        case Served.NOT_MODIFIED:
            assert question.is_conditional
            assert reply.code == 304
        case Served.SAME_BYTES:
            assert reply.sha256 == question.stored_sha256 is not None
        case Served.NEW:
            assert reply.code in CodePolicy().success
            assert reply.head == PICTURE
        case ReadDocument():
            assert not question.is_stored
            assert reply.path is not None
        case Fail():
            assert step.verdict.status is not Status.SUCCESS


@given(QUESTIONS, REPLIES)
def test_no_way_to_ask_again_is_chosen_twice(question: Question, reply: Reply) -> None:
    """Each way changes the next question so that the same answer leads to something else: an attempt ends."""
    for _ in range(len(Again) + 1):
        match after_reply(question, reply, CodePolicy(), NOW):
            case Again.FROM_THE_START:
                question = question._replace(starts_over=False)
            case Again.BY_HTTP:
                question = question._replace(is_upgraded=False)
            case Again.UNCONDITIONALLY:
                question = question._replace(is_conditional=False)
            case Again.UNDONE_BY_LIBCURL:
                question = question._replace(is_undoable=False)
            case _:
                return
    pytest.fail("asked again and again")


@given(st.sampled_from([TRANSIENT, TIMEOUT, GONE, CUT, UNREACHABLE]), st.booleans())
def test_an_answer_without_a_picture_counts_if_the_url_was_asked_as_written(verdict: Verdict, is_upgraded: bool) -> None:
    expected = Again.BY_HTTP if is_upgraded and not verdict.host_trouble else Fail(verdict, 200)
    assert without_picture(verdict, 200, is_upgraded=is_upgraded) == expected
