"""Progress of a download in a job log, with a line a minute; and the wording shared by all watchers. Changes nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TextIO

from d4c_images.durations import counted, show_clock, show_moment, show_size, show_span
from d4c_images.ledger.questions.from_counters import ImageCounts
from d4c_images.model import Totals
from d4c_images.policy.preflight import reached_nobody
from d4c_images.policy.shut_door import without_resuming
from d4c_images.report.folding import Folding
from d4c_images.report.meter import Meter, Pace
from d4c_images.steward.terms import Drain, Ending, Snapshot, Watcher
from d4c_images.system import clocks
from d4c_images.system.terminal import clean

LOG_RUN_EVERY_S = 60.0
REASONS = 3  # failure reasons in a line
HOSTS_NAMED = 2  # likewise


class LogProgress(Watcher):
    """One line a minute, and one for each notable event."""

    def __init__(self, out: TextIO | None = None, head: str = "") -> None:
        """`head` says which run this is."""
        self._out, self._head = out or sys.stdout, head
        self._meter = Meter()
        self._folding = Folding()
        self._next_at = 0.0

    def started(self, snapshot: Snapshot) -> None:
        images = snapshot.images
        if self._head:
            self.say(snapshot.now, f"{self._head}; times are {zone(snapshot.now)}")
        self.say(
            snapshot.now,
            f"start: {images.left:,} of {counted(images.total, 'image')}{snapshot.scope} left "
            f"at {counted(snapshot.n_hosts, 'host')}, {images.success:,} stored, {images.failed:,} failed for good",
        )
        self._next_at = snapshot.now + LOG_RUN_EVERY_S

    def ticked(self, snapshot: Snapshot) -> None:
        pace = self._meter.add(snapshot)
        if snapshot.now < self._next_at:
            return
        self._next_at = snapshot.now + LOG_RUN_EVERY_S
        self.say(snapshot.now, _line(snapshot, pace))

    def host_blocked(self, host: str, until: float, why: str) -> None:
        now = clocks.now()
        again = self._folding.again(host, now, until - now)
        if again is not None:
            self.say(now, blocked(host, until, why) + again)

    def host_given_up(self, host: str, n_images: int, why: str) -> None:
        self.say(None, given_up(host, n_images, why))

    def idle(self, until: float, host: str, why: str) -> None:
        now = clocks.now()
        again = self._folding.again(f"to wait for {host}", now, until - now)
        if again is not None:
            self.say(now, waiting(until, host, why) + again)

    def network_down(self, is_down: bool) -> None:
        self.say(None, network(is_down))

    def no_way_out(self, n_hosts: int, why: str) -> None:
        self.say(None, reached_nobody(n_hosts, why))

    def worker_died(self, why: str) -> None:
        self.say(None, f"a worker process died ({why})")

    def draining(self, drain: Drain, in_flight: Mapping[str, int]) -> None:
        self.say(None, draining(drain, in_flight))

    def ended(self, snapshot: Snapshot, ending: Ending) -> None:
        if self._folding.n_folded:
            self.say(snapshot.now, f"{counted(self._folding.n_folded, 'line')} folded: hosts that were blocked again")
        self.say(snapshot.now, "end: " + summary(snapshot, ending))

    def say(self, now: float | None, text: str) -> None:
        stamp = show_moment(clocks.now.to_wall(clocks.now() if now is None else now))
        print(f"{stamp} {clean(text)}", file=self._out, flush=True)


def zone(when: float) -> str:
    """`UTC`, `CET (UTC+01:00)`."""
    moment = datetime.fromtimestamp(clocks.now.to_wall(when)).astimezone()
    offset = f"UTC{moment.isoformat()[-6:]}"
    return "UTC" if f"{moment:%Z}" == "UTC" else f"{moment:%Z} ({offset})"


def blocked(host: str, until: float, why: str) -> str:
    return f"{host} is blocked until {clock(until)}: {why}"


def given_up(host: str, n_images: int, why: str) -> str:
    again = f"'download --retry-failed transient --host {host}' tries {'it' if n_images == 1 else 'them'} again"
    return f"gave up on {host} with {counted(n_images, 'image')} left: {without_resuming(why)}; {again}"


def waiting(until: float, host: str, why: str) -> str:
    return f"nothing to do until {clock(until)}, when {host} is next{f': {why}' if why else ''}"


def draining(drain: Drain, in_flight: Mapping[str, int]) -> str:
    n_in_flight = sum(in_flight.values())
    at = " and ".join(in_flight) if len(in_flight) <= HOSTS_NAMED else counted(len(in_flight), "host")
    requests = counted(n_in_flight, "request")
    if drain.drops is not None:
        return f"{drain.drops}: dropping {requests} in flight at {at}; the images stay pending, and no attempt is counted"
    again = f"; press Ctrl-C again to drop {'it' if n_in_flight == 1 else 'them'}" if drain.is_attended else ""
    return f"{drain.why}: finishing {requests} in flight at {at}, for up to {show_span(drain.grace_s)}{again}"


def network(is_down: bool) -> str:
    if is_down:
        return "no host can be reached: this machine's network seems to be down; one request now and then finds out"
    return "the network is back"


def summary(snapshot: Snapshot, ending: Ending) -> str:
    """What a run has done, in one line."""
    totals, images = snapshot.totals, snapshot.images
    lasted_s = max(snapshot.now - snapshot.started_at, 1e-9)
    adopted = f" ({totals.n_adopted:,} found on disk)" if totals.n_adopted else ""
    return (
        f"{end_words(snapshot, ending)}; {counted(totals.n_success, 'image')} stored{adopted}, "
        f"{totals.n_failed:,} failed for good, "
        f"{counted(totals.n_retry, 'attempt')} to be retried, {show_size(totals.stored_bytes)} in {show_span(lasted_s)} "
        f"({totals.n_settled / lasted_s:.1f} images/s); "
        f"{asked_again(totals)}"
        f"{images.success:,} of {counted(images.total, 'image')}{snapshot.scope} stored, {images.left:,} left"
    )


def end_words(snapshot: Snapshot, ending: Ending) -> str:
    """Why a run has ended: which signal it was, or what it waits for."""
    if ending is Ending.SIGNAL and snapshot.drain is not None:
        return snapshot.drain.why
    if ending is not Ending.WAITING:
        return str(ending)
    if snapshot.is_all_paused:
        return "everything left is paused by hand: 'd4c-images hosts resume NAME' resumes it"
    return f"{ending}: {waits}" if (waits := waits_of(snapshot)) else str(ending)


def waits_of(snapshot: Snapshot) -> str:
    """Which hosts are blocked or paused now, and until when."""
    parts = []
    if snapshot.n_blocked:
        which = "" if snapshot.n_blocked == 1 else ", the first"
        until = f"{which} until {clock(min(snapshot.blocked.values()))}" if snapshot.blocked else ""
        parts.append(f"{counted(snapshot.n_blocked, 'host')} blocked{until}")
    if snapshot.n_paused:
        parts.append(f"{counted(snapshot.n_paused, 'host')} paused by hand (hosts resume)")
    return ", ".join(parts)


def reasons(images: ImageCounts, most: int = REASONS) -> str:
    """`7 http_404, 4 timeout and 12 more`: reasons of final failures."""
    more = sum(n for _, n in images.failures[most:])
    return ", ".join(f"{n:,} {name}" for name, n in images.failures[:most]) + (f" and {more:,} more" if more else "")


def asked_again(totals: Totals) -> str:
    """What became of refetched images; nothing if there are none."""
    if not totals.n_same + totals.n_changed + totals.n_not_again:
        return ""
    return f"refetched: {totals.n_same:,} unchanged, {totals.n_changed:,} changed, {totals.n_not_again:,} failed; "


def _line(snapshot: Snapshot, pace: Pace) -> str:
    images, done, in_all = snapshot.images, snapshot.n_done, snapshot.n_in_all
    why = f" ({reasons(images)})" if images.failed else ""
    parts = [
        f"{done:,}/{in_all:,} ({done / max(1, in_all):.1%})",
        f"{images.success:,} stored, {images.failed:,} failed{why}, {images.to_retry:,} to retry",
        f"{pace.images_per_s or 0:.1f} images/s, {show_size(pace.bytes_per_s or 0)}/s",
        f"{counted(snapshot.n_in_flight, 'request')} in flight",
        _end(snapshot, pace),
    ]
    return "; ".join(filter(None, [*parts, waits_of(snapshot)]))


def _end(snapshot: Snapshot, pace: Pace) -> str:
    """The estimated end; or what it waits for."""
    if snapshot.is_all_paused:
        return "nothing to do: everything left is paused by hand"
    slowest = pace.slowest(snapshot)
    if slowest is None and not snapshot.n_in_flight and snapshot.blocked:
        until, host = min((until, host) for host, until in snapshot.blocked.items())
        return waiting(until, host, "")
    eta = f"ETA {show_span(pace.eta_s) if pace.eta_s is not None else 'unknown'}"
    if slowest is None:
        return eta
    its = f", {show_span(slowest.eta_s)}" if slowest.eta_s is not None else ""
    return f"{eta}, slowest {slowest.host} ({slowest.n_left:,} left{its})"


def clock(when: float) -> str:
    return show_clock(clocks.now.to_wall(when), time.time())
