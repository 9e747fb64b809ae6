"""Behaviours of servers that are asked whether an image has changed: well, each in its way, and badly. Whole answers only.

An image is asked for at first without a condition: then all of them give it, so what they do later can be set by a rule.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

from tests.publishers import site
from tests.publishers.registry import behaviour
from tests.publishers.wire import Ask, Steps, head, whole

CHANGED = "Tue, 03 Mar 2026 10:00:00 GMT"


def etag_of(body: bytes) -> str:
    return f'"{zlib.crc32(body):08x}"'


def is_known(ask: Ask, etag: str) -> bool:
    """By RFC 9110 section 13.1.2: weak or strong, in a list or alone."""
    known = [one.strip().removeprefix("W/") for one in ask.headers.get("if-none-match", "").split(",")]
    return etag.removeprefix("W/") in known


def not_modified(**more: str) -> bytes:
    names = {name.replace("_", "-").title(): value for name, value in more.items()}
    return head(304, {"Server": "publishers/1", **names})


def is_conditional(ask: Ask) -> bool:
    return "if-none-match" in ask.headers or "if-modified-since" in ask.headers


@behaviour
def changed(ask: Ask) -> Steps:
    """The right answer of a publisher that has put another image there, as good as any; ARG tells one of them from another."""
    body = site.thing(replace(ask, target=f"{ask.target}?{ask.arg}")).body
    etag = etag_of(body)
    yield not_modified(etag=etag) if is_known(ask, etag) else whole(ask, body, "image/jpeg", etag=etag)


@behaviour
def weak_etag(ask: Ask) -> Steps:
    """The right answer, with a weak ETag."""
    it = site.thing(ask)
    etag = f"W/{etag_of(it.body)}"
    yield not_modified(etag=etag) if is_known(ask, etag) else whole(ask, it.body, it.media_type, etag=etag)


@behaviour
def last_modified(ask: Ask) -> Steps:
    """The right answer, with a date of change and no ETag."""
    it = site.thing(ask)
    is_same = ask.headers.get("if-modified-since") == CHANGED
    yield not_modified(last_modified=CHANGED) if is_same else whole(ask, it.body, it.media_type, last_modified=CHANGED)


@behaviour
def new_etag(ask: Ask) -> Steps:
    """The right answer, with another ETag at each request: a farm whose servers make their own."""
    it = site.thing(ask)
    yield whole(ask, it.body, it.media_type, etag=f'"{ask.nth}"')


@behaviour
def no_validator(ask: Ask) -> Steps:
    """The right answer, with nothing to ask by later."""
    it = site.thing(ask)
    yield whole(ask, it.body, it.media_type)


@behaviour
def odd_etag(ask: Ask) -> Steps:
    """The right answer, with an ETag that no request can carry back."""
    it = site.thing(ask)
    yield whole(ask, it.body, it.media_type, etag='"\u00e9"')


@behaviour
def other_etag_304(ask: Ask) -> Steps:
    """304 to each condition, with the ETag of other bytes."""
    it = site.thing(ask)
    yield not_modified(etag='"other"') if is_conditional(ask) else whole(ask, it.body, it.media_type, etag=etag_of(it.body))


@behaviour
def always_304(ask: Ask) -> Steps:
    """304, also to who has nothing."""
    yield not_modified()


@behaviour
def precondition_failed(ask: Ask) -> Steps:
    """412 to each condition, else the right answer."""
    it = site.thing(ask)
    if is_conditional(ask):
        yield whole(ask, b"precondition failed", "text/plain", 412)
    else:
        yield whole(ask, it.body, it.media_type, etag=etag_of(it.body))
