"""Behaviours of large bodies that break off: servers that can send the rest, cannot, and lie.

ARG is how much they send at first, in percent (50). The picture is of some 2.3 MB, the same at each request, unless a behaviour
says otherwise. Asked again for the whole, all of them send it.
"""

from __future__ import annotations

import functools
import random
import zlib
from dataclasses import dataclass

from PIL import Image

from tests.publishers import pictures
from tests.publishers.registry import behaviour
from tests.publishers.wire import Ask, End, Steps, head, whole


@functools.lru_cache(maxsize=4)
def large(seed: int = 1) -> bytes:
    size = (1600, 1000)
    noise = Image.frombytes("RGB", size, random.Random(seed).randbytes(3 * size[0] * size[1]))
    return pictures.with_jpeg_comment(pictures.saved(noise, "JPEG", quality=97), f"no. {seed}")


def etag_of(body: bytes) -> str:
    return f'"{zlib.crc32(body):08x}"'


@dataclass(frozen=True, slots=True)
class Rest:
    """What a request with Range and If-Range asks for; `first` is None where it asks for all."""

    first: int | None
    validator: str


def rest_of(ask: Ask) -> Rest:
    wanted = ask.headers.get("range", "").removeprefix("bytes=").rstrip("-")
    return Rest(int(wanted) if wanted.isdigit() else None, ask.headers.get("if-range", ""))


def begin(ask: Ask, body: bytes, code: int = 200, **more: str) -> Steps:
    """A part of the answer, then FIN."""
    headers = {"Content-Type": "image/jpeg", "Content-Length": str(len(body)), "Accept-Ranges": "bytes"}
    headers |= {name.replace("_", "-").title(): value for name, value in more.items() if value}
    yield head(code, {name: value for name, value in headers.items() if value}) + body[: len(body) * ask.number(50) // 100]
    yield End.CLOSE


def part(ask: Ask, body: bytes, first: int, **more: str) -> bytes:
    more = {"content_range": f"bytes {first}-{len(body) - 1}/{len(body)}", "etag": etag_of(body), **more}
    return whole(ask, body[first:], "image/jpeg", 206, **more)


def all_of(ask: Ask, body: bytes) -> bytes:
    return whole(ask, body, "image/jpeg", etag=etag_of(body), accept_ranges="bytes")


@behaviour
def breaks_off(ask: Ask) -> Steps:
    """Breaks off once, and sends the rest when it is asked for it."""
    body, rest = large(), rest_of(ask)
    if ask.nth == 1:
        yield from begin(ask, body, etag=etag_of(body))
    elif rest.first is not None and rest.validator == etag_of(body):
        yield part(ask, body, rest.first)
    else:
        yield all_of(ask, body)


@behaviour
def breaks_off_dated(ask: Ask) -> Steps:
    """As breaks_off, without an ETag: only dates."""
    body, rest, date = large(), rest_of(ask), "Mon, 05 Jan 2015 10:00:00 GMT"
    if ask.nth == 1:
        yield from begin(ask, body, last_modified=date, date="Mon, 02 Mar 2026 10:00:00 GMT")
    elif rest.first is not None and rest.validator == date:
        yield part(ask, body, rest.first, etag="")
    else:
        yield whole(ask, body, "image/jpeg")


@behaviour
def breaks_off_twice(ask: Ask) -> Steps:
    """Breaks off, and so does the rest."""
    body, rest = large(), rest_of(ask)
    if ask.nth == 2 and rest.first is not None:
        span = f"bytes {rest.first}-{len(body) - 1}/{len(body)}"
        yield from begin(ask, body[rest.first :], 206, etag=etag_of(body), content_range=span)
    else:
        yield from breaks_off(ask)


@behaviour
def breaks_off_always(ask: Ask) -> Steps:
    """Breaks off 100 kB further at each request."""
    body, rest = large(), rest_of(ask)
    first = rest.first or 0
    sent = body[first : first + 100_000] if first else body[: len(body) // 2]
    headers = {"Content-Type": "image/jpeg", "Content-Length": str(len(body) - first), "ETag": etag_of(body)}
    headers |= {"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"} if first else {"Accept-Ranges": "bytes"}
    yield head(206 if first else 200, headers) + sent
    yield End.CLOSE


@behaviour
def breaks_then_hangs_up(ask: Ask) -> Steps:
    """Breaks off, closes the next connection without a word, then sends the rest."""
    if ask.nth == 2:
        yield End.CLOSE
    else:
        yield from breaks_off(ask)


@behaviour
def breaks_without_ranges(ask: Ask) -> Steps:
    """Breaks off, and has never said that it could send a part."""
    yield from begin(ask, large(), etag=etag_of(large()), accept_ranges="none") if ask.nth == 1 else iter([all_of(ask, large())])


@behaviour
def breaks_with_weak_etag(ask: Ask) -> Steps:
    """Breaks off; its ETag does not promise the same bytes."""
    yield from begin(ask, large(), etag=f"W/{etag_of(large())}") if ask.nth == 1 else iter([all_of(ask, large())])


@behaviour
def breaks_ignores_range(ask: Ask) -> Steps:
    """Breaks off, then sends the whole, whatever it is asked for."""
    yield from begin(ask, large(), etag=etag_of(large())) if ask.nth == 1 else iter([all_of(ask, large())])


@behaviour
def breaks_changed(ask: Ask) -> Steps:
    """Breaks off; by the next request the picture is another one, and the server says so with a 200."""
    yield from begin(ask, large(), etag=etag_of(large())) if ask.nth == 1 else iter([all_of(ask, large(2))])


@behaviour
def breaks_changed_unsaid(ask: Ask) -> Steps:
    """Breaks off; the rest is that of another picture, under the ETag of the first."""
    yield from _rest(ask, lambda first: part(ask, large(2)[: len(large())].ljust(len(large())), first, etag=etag_of(large())))


@behaviour
def breaks_changed_etag(ask: Ask) -> Steps:
    """Breaks off; If-Range is ignored, and the rest has another ETag."""
    yield from _rest(ask, lambda first: part(ask, large(), first, etag='"other"'))


@behaviour
def breaks_wrong_range(ask: Ask) -> Steps:
    """Breaks off; the rest begins elsewhere."""
    yield from _rest(ask, lambda first: part(ask, large(), first + 5000))


@behaviour
def breaks_other_total(ask: Ask) -> Steps:
    """Breaks off; the rest is of a body of another size."""
    yield from _rest(ask, lambda first: part(ask, large() + b"more", first))


@behaviour
def breaks_no_content_range(ask: Ask) -> Steps:
    """Breaks off; the rest does not say what it is."""
    yield from _rest(ask, lambda first: whole(ask, large()[first:], "image/jpeg", 206, etag=etag_of(large())))


@behaviour
def breaks_empty_rest(ask: Ask) -> Steps:
    """Breaks off; the rest is a 206 of no bytes."""
    yield from _rest(ask, lambda first: whole(ask, b"", "image/jpeg", 206, etag=etag_of(large())))


@behaviour
def breaks_416(ask: Ask) -> Steps:
    """Breaks off; the rest is out of range, it says."""
    yield from _rest(ask, lambda first: whole(ask, b"no such range", "text/plain", 416, content_range=f"bytes */{len(large())}"))


@behaviour
def breaks_412(ask: Ask) -> Steps:
    """Breaks off; it takes If-Range for a precondition."""
    yield from _rest(ask, lambda first: whole(ask, b"", None, 412))


@behaviour
def breaks_then_404(ask: Ask) -> Steps:
    """Breaks off; then there is nothing any more."""
    yield from begin(ask, large(), etag=etag_of(large())) if ask.nth == 1 else iter([whole(ask, b"gone", "text/plain", 404)])


@behaviour
def breaks_zero_rest(ask: Ask) -> Steps:
    """Breaks off; the rest begins as it should, then holds zeros, in the right number."""
    yield from _rest(ask, lambda first: part(ask, large()[: first + 1500].ljust(len(large()), b"\0"), first, etag=etag_of(large())))


def _rest(ask: Ask, answer: object) -> Steps:
    """Breaks off first; answers a request for the rest like this, and any other one well."""
    assert callable(answer)
    first = rest_of(ask).first
    if ask.nth == 1:
        yield from begin(ask, large(), etag=etag_of(large()))
    else:
        yield all_of(ask, large()) if first is None else answer(first)
