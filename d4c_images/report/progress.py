"""Shows a running download in a job log, with a line a minute. Changes nothing.

Speeds are those of the last minute, so that a stall shows at once.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TextIO

from d4c_images.durations import counted, show_clock, show_moment, show_size, show_span
from d4c_images.model import Totals
from d4c_images.steward.terms import Ending, Snapshot, Watcher
from d4c_images.system import clocks
from d4c_images.system.terminal import clean

WINDOW_S = 60.0
LOG_RUN_EVERY_S = 60.0
SLOWEST = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """Speeds over the window; None where nothing can be said yet."""

    images_per_s: float | None
    bytes_per_s: float | None
    eta_s: float | None
    slowest: tuple[tuple[str, int, float | None], ...]  # host, images left, seconds left


class Meter:
    """Speeds and the time left, from snapshots. A run ends with its slowest host, so that decides the ETA."""

    def __init__(self) -> None:
        self._seen: deque[Snapshot] = deque()

    def add(self, snapshot: Snapshot) -> Pace:
        self._seen.append(snapshot)
        while len(self._seen) > 2 and snapshot.now - self._seen[1].now >= WINDOW_S:
            self._seen.popleft()
        first = self._seen[0]
        span_s = snapshot.now - first.now
        if span_s <= 0:
            return Pace(None, None, None, tuple((host.host, host.n_left, None) for host in snapshot.hosts[:SLOWEST]))
        rate = (snapshot.totals.n_settled - first.totals.n_settled) / span_s
        left_then = {host.host: host.n_left for host in first.hosts}
        etas = []
        for host in snapshot.hosts:
            done = left_then.get(host.host, host.n_left) - host.n_left
            etas.append((host.host, host.n_left, host.n_left * span_s / done if done > 0 else None))
        etas.sort(key=lambda eta: (eta[2] is not None, -(eta[2] or 0.0), -eta[1]))
        known = [eta for _, _, eta in etas if eta is not None]
        if rate <= 0:
            eta_s = None
        elif snapshot.n_left < snapshot.images.left:  # a limit ends it before its hosts have ended
            eta_s = snapshot.n_left / rate
        else:
            eta_s = max([snapshot.n_left / rate, *known])
        received = snapshot.totals.received_bytes - first.totals.received_bytes
        return Pace(rate, received / span_s, eta_s, tuple(etas[:SLOWEST]))


class LogProgress(Watcher):
    """One line a minute, and one for each thing worth knowing."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._meter = Meter()
        self._next_at = 0.0

    def started(self, snapshot: Snapshot) -> None:
        images = snapshot.images
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
        self.say(None, f"{host} is left alone until {clock(until)}: {why}")

    def host_given_up(self, host: str, n_images: int, why: str) -> None:
        self.say(None, given_up(host, n_images, why))

    def idle(self, until: float, host: str, why: str) -> None:
        self.say(None, waiting(until, host, why))

    def network_down(self, is_down: bool) -> None:
        self.say(None, network(is_down))

    def worker_died(self, why: str) -> None:
        self.say(None, f"a worker process died ({why})")

    def draining(self, why: str) -> None:
        self.say(None, f"{why}: nothing new is started, what is in flight ends")

    def ended(self, snapshot: Snapshot, ending: Ending) -> None:
        self.say(snapshot.now, "end: " + summary(snapshot, ending))

    def say(self, now: float | None, text: str) -> None:
        stamp = show_moment(clocks.now.to_wall(clocks.now() if now is None else now))
        print(f"{stamp} {clean(text)}", file=self._out, flush=True)


def given_up(host: str, n_images: int, why: str) -> str:
    return f"{host} is given up with {counted(n_images, 'image')}: {why}"


def waiting(until: float, host: str, why: str) -> str:
    return f"nothing to do before {clock(until)}, when {host} is asked again{f': {why}' if why else ''}"


def network(is_down: bool) -> str:
    if is_down:
        return "no host can be reached: this machine's network seems to be down; one request now and then finds out"
    return "the network is back"


def summary(snapshot: Snapshot, ending: Ending) -> str:
    """What a run has done, in one line."""
    totals, images = snapshot.totals, snapshot.images
    lasted_s = max(snapshot.now - snapshot.started_at, 1e-9)
    adopted = f" ({totals.n_adopted:,} adopted)" if totals.n_adopted else ""
    return (
        f"{ending}; {counted(totals.n_success, 'image')} stored{adopted}, {totals.n_failed:,} failed for good, "
        f"{counted(totals.n_retry, 'attempt')} failed for now, {show_size(totals.stored_bytes)} in {show_span(lasted_s)} "
        f"({totals.n_settled / lasted_s:.1f} images/s); "
        f"{asked_again(totals)}"
        f"{images.success:,} of {counted(images.total, 'image')}{snapshot.scope} stored, {images.left:,} left"
    )


def asked_again(totals: Totals) -> str:
    """What became of stored images; nothing where none was asked for again."""
    if not totals.n_same + totals.n_changed + totals.n_not_again:
        return ""
    return (
        f"{totals.n_same:,} asked for again are as they were, {totals.n_changed:,} had changed, "
        f"{totals.n_not_again:,} could not be had; "
    )


def _line(snapshot: Snapshot, pace: Pace) -> str:
    images, done, in_all = snapshot.images, snapshot.n_done, snapshot.n_in_all
    parts = [
        f"{done:,}/{in_all:,} ({done / max(1, in_all):.1%})",
        f"{images.success:,} stored, {images.failed:,} failed, {images.to_retry:,} to retry",
        f"{pace.images_per_s or 0:.1f} images/s, {show_size(pace.bytes_per_s or 0)}/s",
        f"ETA {show_span(pace.eta_s) if pace.eta_s is not None else 'unknown'}",
    ]
    if pace.slowest:
        host, left, eta_s = pace.slowest[0]
        parts.append(f"slowest {host} ({left:,} left{', ' + show_span(eta_s) if eta_s is not None else ''})")
    if snapshot.n_blocked:
        parts.append(f"{counted(snapshot.n_blocked, 'host')} blocked")
    if snapshot.n_paused:
        parts.append(f"{counted(snapshot.n_paused, 'host')} paused")
    return "; ".join(parts)


def clock(when: float) -> str:
    return show_clock(clocks.now.to_wall(when), time.time())
