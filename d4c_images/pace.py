"""How fast, how wide and when may a host be asked? Gets `now` and returns seconds; has no clock, sleeps not, asks nobody.

A host is shut for a while when too large a share of its recent answers is trouble, never for a number of errors: 500 errors
among two million successes are a healthy host. After the while it gets one claim as a probe; that opens it or shuts it for
twice as long. `Retry-After` shuts it for as long as it asks.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import Any

from d4c_images.errors import UsageError
from d4c_images.model import Failure

ASKED = "; it "  # before a host's own wish, where it is shut already
LATE_ANSWERS_S = 60.0  # that come in so long after a network went down prove nothing
MOST_WORDS = 200  # of a host's own words in `blocked_why`


@dataclass(frozen=True, slots=True)
class Policy:
    """When a host is shut, and for how long."""

    window: float = 100.0  # recent answers that count; older ones fade as new ones come
    bad_share: float = 0.5
    least_tries: float = 20.0  # below them a share says nothing
    least_bad_alone: float = 10.0  # enough without a single success
    first_block_s: float = 60.0  # doubled with each block in a row
    most_block_s: float = 3600.0
    least_unreachable: int = 3  # in a row, without an answer between them
    give_up_s: float = 86400.0  # a host that could not be reached for so long, while others answered, is given up
    give_up_alone_s: float = 7 * 86400.0  # ... and where nobody else has answered since, so that our network may be at fault


@dataclass(frozen=True, slots=True)
class HostPace:
    """What is remembered of a host; the ledger keeps it between runs."""

    recent_ok: float = 0.0
    recent_bad: float = 0.0
    block_level: int = 0  # blocks in a row without a success between them
    blocked_until: float | None = None  # unix time; past and still set: the next claim is a probe
    blocked_why: str | None = None
    unreachable_since: float | None = None  # unix time of the first of `n_unreachable`
    n_unreachable: int = 0  # failures to reach it in a row


@dataclass(slots=True)
class News:
    """What some answers say about a host, in no particular order."""

    n_ok: int = 0  # answers of a host that works, a 404 among them
    n_bad: int = 0  # verdicts with `host_trouble`
    n_unreachable: int = 0  # those of them where it was not there to be asked
    retry_after_s: float | None = None  # the longest wait that one of them asked for
    troubles: Counter[str] = field(default_factory=Counter)
    words: dict[str, str] = field(default_factory=dict)  # the host's own, or libcurl's, of the latest trouble of a kind
    not_reached: Failure | None = None  # the latest

    @property
    def has_answer(self) -> bool:
        return self.n_ok > 0 or self.n_bad > self.n_unreachable

    def trouble(self, failure: Failure) -> None:
        verdict = failure.verdict
        self.n_bad += 1
        kind = f"http {failure.code}" if failure.code > 0 and failure.code != 200 else str(verdict.error_type)
        self.troubles[kind] += 1
        if verdict.detail:
            self.words[kind] = verdict.detail[:MOST_WORDS]
        if verdict.unreachable:
            self.n_unreachable += 1
            self.not_reached = failure

    def commonest(self) -> str:
        """The commonest trouble, with the latest words about it."""
        if not self.troubles:
            return ""
        kind = self.troubles.most_common(1)[0][0]
        return f"{kind} ({self.words[kind]})" if kind in self.words else kind


def retry_wait_s(attempt: int, base_s: float, cap_s: float, u: float) -> float:
    """Seconds until the next try of an image whose `attempt`th try (1 = the first) has failed for the time being.

    Doubles with each attempt up to the cap; `u` in [0, 1) spreads it between a half and the whole, so that images that failed
    together do not come back together.
    """
    doublings = min(max(attempt, 1) - 1, 60)
    return min(cap_s, base_s * 2.0**doublings) * (0.5 + 0.5 * u)


def allowed(pace: HostPace, now: float) -> int | None:
    """How many claims this host may be lent: None any number, 0 none yet, 1 as a probe."""
    if pace.blocked_until is None:
        return None
    if now < pace.blocked_until:
        return 0
    return 1 if pace.block_level else None


def after_batch(pace: HostPace, news: News, now: float, policy: Policy) -> HostPace:
    """The host's pace after some more answers.

    Where a host asks for a wait that is as long as a block would be, it takes the block's place, and the answers are no mark
    against the host. Answers to requests that were under way when the host was shut change nothing.
    """
    is_shut = pace.block_level > 0 and pace.blocked_until is not None
    if news.n_ok + news.n_bad and not (is_shut and now < (pace.blocked_until or now)):
        has_said = news.retry_after_s is not None and news.retry_after_s >= _block_s(pace, policy)
        pace = unreached(pace, news, now)
        if is_shut:
            pace = _after_probe(pace, news, has_said, now, policy)
        else:
            pace = _count(pace, news, 0 if has_said else news.n_bad, now, policy)
    return _held_back(pace, news.retry_after_s, now)


def unreached(pace: HostPace, news: News, now: float) -> HostPace:
    """How long, and how many times in a row, it could not be reached."""
    if news.has_answer:
        return replace(pace, unreachable_since=None, n_unreachable=0)
    since = now if pace.unreachable_since is None else pace.unreachable_since
    return replace(pace, unreachable_since=since, n_unreachable=pace.n_unreachable + news.n_unreachable)


def is_lost(pace: HostPace, anybody_answered_at: float | None, now: float, policy: Policy) -> bool:
    """Whether a host that could not be reached once more is to be given up."""
    since = pace.unreachable_since
    if since is None or pace.n_unreachable < policy.least_unreachable:
        return False
    proof_s = min(LATE_ANSWERS_S, policy.give_up_s)
    others_answered = anybody_answered_at is not None and anybody_answered_at >= since + proof_s
    return now - since >= (policy.give_up_s if others_answered else policy.give_up_alone_s)


def _after_probe(pace: HostPace, news: News, has_said: bool, now: float, policy: Policy) -> HostPace:
    if news.n_ok:
        return HostPace(recent_ok=float(news.n_ok))
    return pace if has_said else _blocked(pace, f"still in trouble after a wait: {news.commonest()}", now, policy)


def _count(pace: HostPace, news: News, n_bad: int, now: float, policy: Policy) -> HostPace:
    ok, bad = pace.recent_ok + news.n_ok, pace.recent_bad + n_bad
    if n_bad and pace.n_unreachable >= policy.least_unreachable:
        return _blocked(pace, f"cannot be reached: {news.commonest()}", now, policy)
    if n_bad and _is_sick(ok, bad, policy):
        why = f"{bad:.0f} of {ok + bad:.0f} recent answers were trouble, lately {news.commonest()}"
        return _blocked(pace, why, now, policy)
    while ok + bad > policy.window:
        ok, bad = ok / 2, bad / 2
    if pace.blocked_until is not None and now >= pace.blocked_until:
        pace = replace(pace, block_level=0, blocked_until=None, blocked_why=None)
    return replace(pace, recent_ok=ok, recent_bad=bad)


def _is_sick(ok: float, bad: float, policy: Policy) -> bool:
    if ok == 0:
        return bad >= policy.least_bad_alone
    return ok + bad >= policy.least_tries and bad >= policy.bad_share * (ok + bad)


def _block_s(pace: HostPace, policy: Policy) -> float:
    return min(policy.most_block_s, policy.first_block_s * 2.0 ** min(pace.block_level, 30))


def _blocked(pace: HostPace, why: str, now: float, policy: Policy) -> HostPace:
    until = now + _block_s(pace, policy)
    return replace(pace, recent_ok=0.0, recent_bad=0.0, block_level=pace.block_level + 1, blocked_until=until, blocked_why=why)


def _held_back(pace: HostPace, retry_after_s: float | None, now: float) -> HostPace:
    """Obey the host's own word, where it asks for longer than we would wait anyway."""
    if not retry_after_s or (pace.blocked_until is not None and now + retry_after_s <= pace.blocked_until):
        return pace
    why = f"asked for {retry_after_s:.0f} s (Retry-After)"
    if pace.block_level and pace.blocked_why:
        why = f"{pace.blocked_why.partition(ASKED)[0]}{ASKED}{why}"
    return replace(pace, blocked_until=now + retry_after_s, blocked_why=why)


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What a host bears. They hold for all processes and nodes of a run together."""

    connections: int = 2  # of one lane
    lanes: int = 1  # workers at once
    min_interval_s: float = 0.0  # between the starts of two requests of one lane
    bytes_per_s: float | None = None
    bytes_per_day: float | None = None
    group: str | None = None  # hosts of one operator that share these limits
    source: str | None = None  # who says so


@dataclass(frozen=True, slots=True)
class HostTable:
    """Limits by host name; `*.example.org` stands for every host below `example.org`."""

    default: HostLimits = field(default_factory=HostLimits)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed_default: frozenset[str] = frozenset()  # names that `[default]` sets

    def limits(self, host: str) -> HostLimits:
        """The limits of a host as `Image.host` spells it, the most particular entry first, missing values from `[default]`."""
        name = host.lower()
        bare = name if name in self.hosts else name.rpartition(":")[0] or name
        for pattern in (name, bare, *_suffixes(bare)):
            if pattern in self.hosts:
                return replace(self.default, **self.hosts[pattern])
        return self.default

    def over(self, other: HostTable) -> HostTable:
        """This table's words on top of another's: each value that it sets wins, each that it leaves open stays."""
        default = replace(other.default, **{name: getattr(self.default, name) for name in self.changed_default})
        hosts = {host: {**other.hosts.get(host, {}), **self.hosts.get(host, {})} for host in {**other.hosts, **self.hosts}}
        return HostTable(default, hosts, self.changed_default | other.changed_default)


def _suffixes(host: str) -> list[str]:
    labels = host.split(".")
    return [f"*.{'.'.join(labels[at:])}" for at in range(1, len(labels))]


def parse_hosts(toml_text: str) -> HostTable:
    """Read a hosts file: `[default]` and `[hosts."media.example.org"]` with the fields of `HostLimits`.

    Raises `UsageError` that names the line or the entry at fault.
    """
    try:
        document = tomllib.loads(toml_text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"hosts file: {error}") from error
    unknown = sorted(set(document) - {"default", "hosts"})
    if unknown:
        raise UsageError(f'hosts file: unknown table [{unknown[0]}]; known are [default] and [hosts."name"]')
    default = _checked("[default]", document.get("default", {}))
    entries = document.get("hosts", {})
    if not isinstance(entries, dict):
        raise UsageError("hosts file: [hosts] must be a table of hosts")
    hosts = {_host_name(host): _checked(f'[hosts."{host}"]', entry) for host, entry in entries.items()}
    return HostTable(replace(HostLimits(), **default), hosts, frozenset(default))


def _host_name(host: str) -> str:
    bare = host.removeprefix("*.")
    if not bare or "*" in bare or "/" in bare:
        raise UsageError(f'hosts file: "{host}" is no host name; write "media.example.org" or "*.example.org"')
    return host.lower()


_INTEGERS = ("connections", "lanes")
_TEXTS = ("group", "source")
_MOST = {"connections": 256, "lanes": 256}


def _checked(where: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise UsageError(f"hosts file: {where} must be a table (is a host name with dots written without quotes?)")
    known = [one.name for one in fields(HostLimits)]
    for name, value in entry.items():
        if name not in known:
            raise UsageError(f"hosts file: {where} has the unknown name {name!r}; known are {', '.join(known)}")
        if name in _TEXTS:
            fits, wanted = isinstance(value, str), "a text"
        elif name in _INTEGERS:
            fits, wanted = type(value) is int and 1 <= value <= _MOST[name], f"a whole number from 1 to {_MOST[name]}"
        else:
            least = 0 if name == "min_interval_s" else 1
            fits, wanted = type(value) in (int, float) and least <= value < 1e18, f"a number of at least {least}"
        if not fits:
            raise UsageError(f"hosts file: {where} {name} = {value!r} must be {wanted}")
    return dict(entry)
