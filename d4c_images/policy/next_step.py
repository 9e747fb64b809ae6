"""What a worker does next with an image, given its request and the reply. Pure: sends nothing, changes nothing.

`after_reply` chooses a `NextStep`; `after_failure` says what happens to an image when a candidate has failed. `attempts` acts
on both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from d4c_images.identity import names_document
from d4c_images.model import ErrorType, Failure, OwnCode, Reply, Status, Verdict
from d4c_images.policy.judge import CodePolicy, judge
from d4c_images.policy.sniff import Kind, sniff
from d4c_images.policy.waits import retry_after_s

_MOVED_FOR_GOOD = (301, 308)
_OVERLOADED = (429, 503)

# A candidate that failed like this may succeed next time; the next candidate is tried only if there is no next time.
_KEEPS_CANDIDATE = frozenset({ErrorType.TIMEOUT, ErrorType.CONNECTION_BROKEN, ErrorType.TRUNCATED})


class Question(NamedTuple):
    """The request. One is made for each reply: a NamedTuple is the cheapest value with names."""

    url: str  # of the candidate, or where its redirects led; requested over https if `is_upgraded`
    is_upgraded: bool
    may_follow: bool  # one more redirect is allowed
    starts_over: bool  # the rest of a body was requested, but is not available
    is_conditional: bool  # a conditional request
    is_undoable: bool  # the body has a content coding that libcurl can decode, and was not asked to
    is_stored: bool  # the image is stored, or was
    stored_sha256: bytes | None  # of its bytes as received; None if the file is missing


class Again(Enum):
    """The same candidate is requested again in this turn, in another way."""

    FROM_THE_START = "the whole body instead of its rest"
    BY_HTTP = "by http, as its URL says: the host does not serve all of its URLs by https"
    UNCONDITIONALLY = "without a condition, which the server has misunderstood"
    UNDONE_BY_LIBCURL = "in the coding that the server uses, which libcurl undoes"


class Served(Enum):
    """The server has an image."""

    NEW = "its bytes have to be examined"
    SAME_BYTES = "its bytes are those in the store"
    NOT_MODIFIED = "the server says that what is in the store is current"


@dataclass(frozen=True, slots=True)
class Follow:
    """A redirect is followed."""

    url: str
    wait_s: float  # named by the redirect: no request to its target before that


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """The body may be a document that names images."""

    verdict: Verdict  # if it is not a document


@dataclass(frozen=True, slots=True)
class Fail:
    """The candidate has failed; `after_failure` says what follows."""

    verdict: Verdict
    code: int  # HTTP status or an OwnCode


NextStep = Again | Served | Follow | ReadDocument | Fail


class Recourse(Enum):
    """What happens to an image when one of its candidates has failed."""

    RESUME = "the rest of the body is asked for"
    NEXT_CANDIDATE = "the next candidate is asked, if there is one"
    GIVE_UP = "the attempt has failed"


def after_reply(asked: Question, reply: Reply, policy: CodePolicy, now: float) -> NextStep:
    """`now` is unix time, for a Retry-After with a date. A server that redirects too often has failed."""
    if asked.starts_over:
        return Again.FROM_THE_START
    if reply.redirect_url is not None:
        if asked.is_upgraded and reply.redirect_url == asked.url:  # back from https to http does not count as a hop
            return Again.BY_HTTP
        if asked.may_follow:
            return Follow(reply.redirect_url, retry_after_s(reply.headers, now) or 0.0)
        reply = replace(reply, code=OwnCode.TOO_MANY_REDIRECTS, redirect_url=None)
    if asked.is_conditional and reply.code == 412:  # not a valid answer to a GET with If-None-Match
        return Again.UNCONDITIONALLY
    if asked.is_conditional and reply.code == 304:
        return Served.NOT_MODIFIED
    if asked.is_undoable and reply.code == OwnCode.BAD_ENCODING:
        return Again.UNDONE_BY_LIBCURL
    verdict = judge(reply, policy, now)
    if verdict.status is Status.SUCCESS:
        is_same = asked.stored_sha256 is not None and reply.sha256 == asked.stored_sha256
        return Served.SAME_BYTES if is_same else Served.NEW
    if not asked.is_stored and _may_be_document(reply, verdict):
        return ReadDocument(verdict)
    return without_picture(verdict, reply.code, is_upgraded=asked.is_upgraded)


def without_picture(verdict: Verdict, code: int, *, is_upgraded: bool) -> Again | Fail:
    """What follows from an answer without an image, by its `verdict`. It counts only if the URL was requested as written."""
    return Again.BY_HTTP if is_upgraded and not verdict.host_trouble else Fail(verdict, code)


def is_moved_to_https(url: str, reply: Reply) -> bool:
    """Whether the host has permanently moved an http URL to https, otherwise unchanged: its other URLs can be upgraded directly."""
    return reply.code in _MOVED_FOR_GOOD and reply.redirect_url == "https" + url.removeprefix("http")


def after_failure(verdict: Verdict, *, can_resume: bool, is_last_attempt: bool) -> Recourse:
    """`is_last_attempt`: no other attempt will follow automatically, so the other candidates have no other chance."""
    if can_resume:
        return Recourse.RESUME
    is_last_chance = is_last_attempt and verdict.error_type in _KEEPS_CANDIDATE and not verdict.unreachable
    return Recourse.NEXT_CANDIDATE if verdict.try_next or is_last_chance else Recourse.GIVE_UP


def is_to_be_spared(verdict: Verdict, code: int) -> bool:
    """Whether a single answer ends requests to the host in this turn: it is overloaded, limits us, or cannot be reached."""
    is_overload = verdict.host_trouble and (verdict.wait_s is not None or code in _OVERLOADED)
    return is_overload or verdict.unreachable or verdict.error_type == ErrorType.RATE_LIMITED


def more_hopeful(before: Failure | None, now: Failure) -> Failure:
    """Which of two failures of one attempt decides: transient before permanent, then one that is about the host."""
    if before is None or before.verdict.status is Status.FAILED_PERMANENT:
        return now
    if now.verdict.status is Status.FAILED_TRANSIENT and now.verdict.host_trouble:
        return replace(now, url_no=before.url_no)  # the better candidate may succeed next time
    return replace(before, verdict=replace(before.verdict, host_trouble=before.verdict.host_trouble or now.verdict.host_trouble))


def to_carry(failure: Failure | None) -> Failure | None:
    """What the image's next host has to know. Not a permanent failure: whatever comes next is no worse."""
    return None if failure is None or failure.verdict.status is Status.FAILED_PERMANENT else failure


def _may_be_document(reply: Reply, verdict: Verdict) -> bool:
    """Whether a good answer that is not an image must be read as a IIIF document."""
    if verdict.error_type != ErrorType.INVALID_CONTENT_TYPE or reply.path is None:
        return False
    return sniff(reply.head, reply.tail, reply.size_bytes).kind is Kind.JSON or names_document(reply.url)
