"""Hosts by when they will finish: limits, pace, state and images left. Changes nothing.

A run ends with its slowest host. Its end follows from the recently observed pace or, without one, from the minimum time that the
limits allow.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.questions import overview
from d4c_images.ledger.questions.overview import HostInWork
from d4c_images.ledger.queue import pacing
from d4c_images.policy import pace
from d4c_images.policy.limits import HostLimits, HostTable, LimitBook


class State(StrEnum):
    DONE = "done"  # nothing is left
    PAUSED = "paused"  # by an operator
    BLOCKED = "blocked"  # it has asked for it, or is in trouble
    WORKING = "working"
    WAITING = "waiting"  # for a run, for a connection, for its next attempt


@dataclass(frozen=True, slots=True)
class Choice:
    """Which hosts to list."""

    names: Sequence[str] = ()  # names and patterns; none: all
    least_left: int = 1  # images


@dataclass(frozen=True, slots=True)
class HostLine:
    """One host, as a report shows it."""

    host: str
    group: str | None
    state: State
    until: int | None  # unix time, of a pause or of being blocked; None: no end is known
    why: str | None
    n_images: int
    n_left: int
    connections: int  # the limits: those of its group, if it has one
    min_interval_s: float
    bytes_per_s: float | None
    bytes_per_day: float | None
    width: int | None  # its current number of connections
    images_per_s: float | None
    eta_s: float | None  # seconds until its last image; None if unknown

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in HOST_FIELDS}


HOST_FIELDS = tuple(field.name for field in dataclasses.fields(HostLine))


def limits_and_order(ledger: Reader, table: HostTable, choice: Choice, now: float) -> tuple[LimitBook, npt.NDArray[np.int32]]:
    """The limits that apply, with what operators have set, and the hosts `in_order` by them: both as of one moment."""

    def both() -> tuple[LimitBook, npt.NDArray[np.int32]]:
        book = LimitBook(table, pacing.wanted_limits(ledger.rows))
        return book, in_order(ledger, book, choice, now)

    return ledger.at_one_moment(both)


def in_order(ledger: Reader, book: LimitBook, choice: Choice, now: float) -> npt.NDArray[np.int32]:
    """The numbers of the hosts, the last to finish first, those with nothing left last. Takes some 20 bytes per host."""
    ids, lefts, etas = [np.empty(0, np.int32)], [np.empty(0, np.int64)], [np.empty(0)]
    for ends in overview.ends(ledger, choice.names, now):
        kinds = np.array(list(map(book.kind, ends.host)))
        n_left = np.array(ends.n_left, np.int64)
        is_wanted = n_left >= choice.least_left
        ids.append(np.array(ends.host_id, np.int32)[is_wanted])
        lefts.append(n_left[is_wanted])
        etas.append(_etas_s(ends, kinds, book, n_left)[is_wanted])
    host_ids, n_left, eta_s = np.concatenate(ids), np.concatenate(lefts), np.concatenate(etas)
    order: npt.NDArray[np.int32] = host_ids[np.lexsort((host_ids, -n_left, -eta_s, n_left == 0))]
    return order


def lines(ledger: Reader, book: LimitBook, host_ids: Iterable[int], now: float, step: int = 1000) -> Iterator[HostLine]:
    """The lines for these hosts, in this order; queried in batches."""
    numbers = iter(host_ids)
    while some := list(itertools.islice(numbers, step)):
        for host in overview.hosts_in_work(ledger, some):
            yield _line(host, book.shared_limits(host.host), now)


def _etas_s(
    ends: overview.Ends, kinds: npt.NDArray[np.int64], book: LimitBook, n_left: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Like `_eta_s`, for many hosts at once; infinity if unknown."""
    limits = [one if one.group is None else book.group_limits(one.group) for one in book.kinds]
    connections = np.array([one.connections for one in limits])[kinds]
    interval_s = np.array([one.min_interval_s for one in limits])[kinds]
    byte_s = np.array([max(1 / (one.bytes_per_s or 1e99), 86400 / (one.bytes_per_day or 1e99)) for one in limits])[kinds]
    rates, latency_s = np.array(ends.images_per_s, float), np.array(ends.latency_s, float)  # NaN if there is none
    each_s = np.maximum(latency_s / connections, np.maximum(interval_s, np.array(ends.image_bytes) * byte_s))
    with np.errstate(divide="ignore"):
        each_s = np.where(rates > 0, 1 / rates, each_s)
    eta_s = np.array(ends.waits_s, float) + n_left * each_s
    result: npt.NDArray[np.float64] = np.where(np.isnan(eta_s), math.inf, eta_s)
    return result


def _line(host: HostInWork, limits: HostLimits, now: float) -> HostLine:
    state, until, why = _state(host, now)
    return HostLine(
        host.host,
        limits.group,
        state,
        until,
        why,
        host.n_images,
        host.n_left,
        limits.connections,
        limits.min_interval_s,
        limits.bytes_per_s,
        limits.bytes_per_day,
        None if host.width is None else max(1, min(limits.connections, int(host.width))),
        host.images_per_s,
        _eta_s(host, limits, state, until, now),
    )


def _state(host: HostInWork, now: float) -> tuple[State, int | None, str | None]:
    if not host.n_left:
        return State.DONE, None, None
    if host.paused_at is not None and (host.paused_until is None or host.paused_until > now):
        return State.PAUSED, host.paused_until, None
    if host.blocked_until is not None and host.blocked_until > now:
        return State.BLOCKED, host.blocked_until, host.blocked_why
    return (State.WORKING if host.n_leased else State.WAITING), None, None


def _eta_s(host: HostInWork, limits: HostLimits, state: State, until: int | None, now: float) -> float | None:
    if not host.n_left or (state is State.PAUSED and until is None):
        return None
    waits_s = 0.0 if until is None else until - now
    if host.images_per_s:
        return waits_s + host.n_left / host.images_per_s
    if host.latency_s is None:
        return None
    image_bytes = host.received_bytes / max(1, host.n_requests)
    return waits_s + pace.least_s(host.n_left, limits, host.latency_s, image_bytes)
