"""Rate limits that a server announces before they are reached, in `RateLimit` headers of every vintage. Waits for nothing.

It reads the fields of the IETF's drafts (https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/), which have
changed: `RateLimit: "default";r=0;t=30` with `RateLimit-Policy: "default";q=100;w=60` (draft 10), `RateLimit: limit=100,
remaining=0, reset=30` (draft 7), `RateLimit-Limit`, `-Remaining` and `-Reset` (draft 6 and before); and their predecessors
`X-RateLimit-*` and `X-Rate-Limit-*`, whose reset is a number of seconds from now or, as at GitHub, since 1970. What cannot be
parsed is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from d4c_images.policy.waits import seconds_until

LONGEST_NAMED_WAIT_S = 7 * 86400.0  # a mistyped number must not block a host for ever
EPOCH_FROM = 1e9  # seconds: no server means 30 years
EPOCH_MS_FROM = 1e12
FREE_SHARE = 0.5  # of a window's requests; once fewer remain, they are spread over the rest of the window

_PREFIXES = ("ratelimit", "x-ratelimit", "x-rate-limit")
_NUMBER = re.compile(r"\s*(-?\d{1,18})(?:\.(\d*))?\s*(?:[,;]|\Z)")
_PARAMETER = re.compile(r"(?:^|[;,\s])([a-z]+)\s*=\s*(-?\d{1,18})\b", re.IGNORECASE)
_ITEM = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^;,"]*)((?:[^,"]|"(?:[^"\\]|\\.)*")*)(?:,|\Z)')


class Slowdown(NamedTuple):
    """Seconds, from now; 0 if nothing is asked for."""

    hold_s: float  # no request at all
    interval_s: float  # between two requests


class _Quota(NamedTuple):
    remaining: int  # requests
    reset_s: float  # until the quota is renewed
    limit: int | None  # requests in a whole window


def wish_of(headers: Mapping[str, str], now: float) -> Slowdown:
    """What the headers (names in lower case) of an answer ask for; `now` (unix time) is our own clock, for servers that do not send
    theirs.

    No request until the reset if none remain. Once less than half of a window's requests are left, or if the size of the window is
    unknown, the remaining ones are spread over the time until the reset. Of several limits the strictest counts.
    """
    hold_s = interval_s = 0.0
    if not any(name.startswith(_PREFIXES) for name in headers):  # as with most answers
        return Slowdown(hold_s, interval_s)
    for quota in _quotas(headers, now):
        if quota.remaining <= 0:
            hold_s = max(hold_s, quota.reset_s)
        elif quota.limit is None or quota.remaining < FREE_SHARE * quota.limit:
            interval_s = max(interval_s, quota.reset_s / quota.remaining)
    return Slowdown(hold_s, interval_s)


def _quotas(headers: Mapping[str, str], now: float) -> Iterator[_Quota]:
    field = headers.get("ratelimit", "")
    if "remaining" in field.lower():
        values = {name.lower(): int(value) for name, value in _PARAMETER.findall(field)}
        yield from _quota(values.get("remaining"), _in_s(values.get("reset"), headers, now), values.get("limit"))
    else:
        limits = {name: values.get("q") for name, values in _items(headers.get("ratelimit-policy", ""))}
        for name, values in _items(field):
            yield from _quota(values.get("r"), _in_s(values.get("t"), headers, now), limits.get(name))
    for prefix in _PREFIXES:
        remaining, reset, limit = (_number(headers.get(f"{prefix}-{name}")) for name in ("remaining", "reset", "limit"))
        yield from _quota(remaining, _in_s(reset, headers, now), limit)


def _in_s(reset: int | None, headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a reset, given in seconds from now or as a time."""
    if reset is None or reset < EPOCH_FROM:
        return reset
    return seconds_until(reset / 1000 if reset >= EPOCH_MS_FROM else reset, headers, now)


def _quota(remaining: int | None, reset_s: float | None, limit: int | None) -> Iterator[_Quota]:
    if remaining is not None and reset_s is not None and reset_s > 0:
        yield _Quota(remaining, min(reset_s, LONGEST_NAMED_WAIT_S), limit)


def _items(field: str) -> Iterator[tuple[str, dict[str, int]]]:
    """Name and numeric parameters of each item of a list of structured fields (RFC 9651)."""
    for name, parameters in _ITEM.findall(field[:2000]):
        yield name.strip().strip('"'), {key.lower(): int(value) for key, value in _PARAMETER.findall(parameters)}


def _number(value: str | None) -> int | None:
    """Rounded up: no wait is cut short."""
    found = _NUMBER.match(value or "")
    return int(found[1]) + bool((found[2] or "").strip("0")) if found else None
