"""The hosts of a rehearsal and what becomes of their images, by a seed. Starts nothing.

Times are seconds of the compressed clock, except `latency_s`, which is the machine's.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

FIRST_ID = 4_000_000_000


class Kind(StrEnum):
    WELL = "well"
    FLAKY = "flaky"  # an inner error or half a body at the first request for one image in five
    SECONDS = "seconds"  # 503 with Retry-After in seconds
    DATE = "date"  # 429 with Retry-After as a date, by a clock that may be wrong
    BROKEN_BODY = "broken_body"  # 503 with Retry-After whose body breaks off
    QUOTA = "quota"  # a picture, and no request remains until the reset
    INTERVAL = "interval"  # may be asked once in so many seconds
    DOOR = "door"  # shuts for a while
    NEVER = "never"  # shuts for good
    MISSING_404 = "missing_404"  # of a part of its images
    MISSING_403 = "missing_403"  # likewise, as some buckets say it
    GONE = "gone"  # all its images
    HANGING = "hanging"  # takes requests and says nothing
    DEAD = "dead"  # nobody listens there


class Expected(StrEnum):
    """What has to become of an image in the end."""

    STORED = "stored"
    GONE = "gone"  # failed for good
    KEPT = "kept back"  # behind a shut door: stored or waiting, but never failed for good
    AWAY = "away"  # given up
    SILENT = "silent"  # not stored: waiting, or out of attempts


ODD = (Kind.DOOR, Kind.NEVER, Kind.MISSING_404, Kind.MISSING_403, Kind.GONE, Kind.HANGING, Kind.DEAD)
"""One of each in a hundred hosts."""

COMMON = (
    *(Kind.WELL, Kind.SECONDS, Kind.WELL, Kind.DATE, Kind.FLAKY, Kind.BROKEN_BODY, Kind.WELL),
    *(Kind.QUOTA, Kind.INTERVAL, Kind.SECONDS, Kind.WELL, Kind.FLAKY),
)
"""All others, in turn."""

MOST_LATENCY_S = 0.3  # of the machine
MISSING_SHARE = 0.3
FLAKY_SHARE = 0.2
SKEWS_S = (0.0, 3600.0, -3600.0, 90.0, 86400.0)
DOOR_PAGES = ("challenge", "bot_check", "quota")


def is_one_of(url: str, share: float) -> bool:
    """Whether a URL is among so many of them, which never change."""
    return zlib.crc32(url.encode()) < share * 2**32


@dataclass(frozen=True, slots=True)
class Host:
    """One host."""

    name: str
    kind: Kind
    images: int
    connections: int = 1
    group: str | None = None  # of hosts that share these limits
    min_interval_s: float = 0.0
    latency_s: float = 0.02
    every: int = 10  # requests, of which one names a wait
    wait_s: int = 30
    first_wait_s: int = 300  # the first one is long: it has to outlast jobs and kills
    skew_s: float = 0.0  # of its wall clock
    door_after: int = 60  # pictures, until the door shuts
    door_s: float = 3600.0
    page: str = "challenge"

    def urls(self) -> Iterator[str]:
        return (f"http://{self.name}/images/{number}.jpg" for number in range(self.images))

    def expected(self, url: str) -> Expected:
        match self.kind:
            case Kind.GONE:
                return Expected.GONE
            case Kind.MISSING_404 | Kind.MISSING_403:
                return Expected.GONE if is_one_of(url, MISSING_SHARE) else Expected.STORED
            case Kind.NEVER:
                return Expected.KEPT
            case Kind.DEAD:
                return Expected.AWAY
            case Kind.HANGING:
                return Expected.SILENT
        return Expected.STORED


@dataclass(frozen=True, slots=True)
class Size:
    """How big a rehearsal is."""

    hosts: int
    images: int
    busy_s: float  # that a host may need for all its images, with all that it asks for
    long_wait_s: int  # about the first wait that a host names
    work_s: float  # of the machine: that a big host needs for its answers alone


def hosts(size: Size, chance: random.Random) -> list[Host]:
    """Sizes follow Zipf's law. Which kind has which size is the seed's choice."""
    kinds = [kind for kind in ODD for _ in range(max(1, size.hosts // 100))]
    kinds += [COMMON[number % len(COMMON)] for number in range(size.hosts - len(kinds))]
    chance.shuffle(kinds)
    weights = [1 / rank**0.8 for rank in range(1, size.hosts + 1)]
    sizes = [max(4, round(size.images * weight / sum(weights))) for weight in weights]
    sizes[0] += size.images - sum(sizes)
    n_pages = chance.randrange(len(DOOR_PAGES))
    plan = []
    for number, (kind, images) in enumerate(zip(kinds, sizes, strict=True)):
        plan.append(_host(f"h{number:03d}.weeks.example", kind, images, size, chance))
        if kind is Kind.DOOR or kind is Kind.NEVER:
            plan[-1] = _with_door(plan[-1], DOOR_PAGES[(n_pages + number) % len(DOOR_PAGES)])
    return _grouped(plan, chance)


def _host(name: str, kind: Kind, images: int, size: Size, chance: random.Random) -> Host:
    connections = chance.choice((1, 1, 2, 4)) if kind is not Kind.INTERVAL else 1
    interval_s = 0.0
    if kind is Kind.INTERVAL:
        interval_s = min(40.0, max(24.0, size.busy_s / images))
        images = min(images, round(size.busy_s / interval_s))
    every = chance.randrange(4, 9)
    wait_s = max(2, min(chance.choice((7, 20, 45, 90, 240)), int(size.busy_s * every / max(images, 1))))
    return Host(
        name=name,
        kind=kind,
        images=images,
        connections=connections,
        min_interval_s=round(interval_s, 1),
        latency_s=round(min(MOST_LATENCY_S, chance.uniform(0.3, 1.0) * size.work_s * connections / images), 4),
        every=every,
        wait_s=wait_s,
        first_wait_s=round(size.long_wait_s * chance.uniform(0.5, 2.0)),
        skew_s=chance.choice(SKEWS_S) if kind is Kind.DATE else 0.0,
    )


def _with_door(host: Host, page: str) -> Host:
    return replace(host, page=page, door_after=min(60, host.images // 2))


def _grouped(plan: list[Host], chance: random.Random) -> list[Host]:
    """Some hosts that name waits belong to one operator: three each share a limit."""
    some = [number for number, host in enumerate(plan) if host.kind is Kind.SECONDS]
    chance.shuffle(some)
    for n_group, members in enumerate(some[at : at + 3] for at in range(0, len(some) // 2, 3)):
        for number in members:
            plan[number] = replace(plan[number], group=f"operator{n_group}", connections=plan[members[0]].connections)
    return plan
