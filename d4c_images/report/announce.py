"""Turns the events of a run into messages for a notifier. Sends nothing itself and never raises.

A message is worth a person's attention: start, milestones, a host blocked for long or shutting us out, a stall,
the end.
"""

from __future__ import annotations

from collections.abc import Callable

from d4c_images.durations import counted, show_span
from d4c_images.policy.preflight import reached_nobody
from d4c_images.report.progress import given_up, network, summary
from d4c_images.steward.terms import Ending, Snapshot, Watcher

LONG_BLOCK_S = 600.0  # shorter blocks are routine
STALL_S = 900.0


class Announcer(Watcher):
    """`send` queues one message and returns at once (`notify.Notifier.send`)."""

    def __init__(self, send: Callable[[str], None], title: str, every: int) -> None:
        """`title` names the run (ledger, host, job); a milestone is announced each time `every` more images are stored."""
        self._send, self._title, self._every = send, title, every
        self._milestone = 0
        self._moved_at = 0.0
        self._settled = 0
        self._stalled = False
        self._told: set[str] = set()
        self._now = 0.0

    def started(self, snapshot: Snapshot) -> None:
        images = snapshot.images
        self._milestone = images.success // self._every
        self._moved_at = self._now = snapshot.now
        self._send(
            f":arrow_forward: {self._title}: started, {images.left:,} of {counted(images.total, 'image')}{snapshot.scope} left "
            f"at {counted(snapshot.n_hosts, 'host')}"
        )

    def ticked(self, snapshot: Snapshot) -> None:
        self._now = snapshot.now
        reached = snapshot.images.success // self._every
        if reached > self._milestone:
            self._milestone = reached
            images = snapshot.images
            self._send(
                f":checkered_flag: {self._title}: {counted(images.success, 'image')} stored, {images.failed:,} failed, "
                f"{images.left:,} left"
            )
        self._watch_for_stall(snapshot)

    def host_blocked(self, host: str, until: float, why: str) -> None:
        if until - self._now >= LONG_BLOCK_S and host not in self._told:
            self._told.add(host)
            self._send(f":no_entry: {self._title}: {host} is blocked for {show_span(until - self._now)}: {why}")

    def host_shut(self, host: str, why: str) -> None:
        """It answers everything with one page: an operator should know, however short the first wait is."""
        if host not in self._told:
            self._told.add(host)
            self._send(f":no_entry: {self._title}: {host} is blocked: {why}")

    def host_given_up(self, host: str, n_images: int, why: str) -> None:
        self._send(f":no_entry: {self._title}: {given_up(host, n_images, why)}")

    def network_down(self, is_down: bool) -> None:
        self._send(f":hourglass: {self._title}: {network(is_down)}")

    def no_way_out(self, n_hosts: int, why: str) -> None:
        self._send(f":no_entry: {self._title}: {reached_nobody(n_hosts, why)}")

    def ended(self, snapshot: Snapshot, ending: Ending) -> None:
        mark = ":white_check_mark:" if ending is Ending.DONE else ":pause_button:"
        self._send(f"{mark} {self._title}: {summary(snapshot, ending)}")

    def died(self, why: str) -> None:
        self._send(f":x: {self._title}: failed: {why}")

    def _watch_for_stall(self, snapshot: Snapshot) -> None:
        if snapshot.totals.n_settled != self._settled:
            if self._stalled:
                self._send(f":arrow_forward: {self._title}: making progress again")
            self._settled, self._moved_at, self._stalled = snapshot.totals.n_settled, snapshot.now, False
        elif not self._stalled and snapshot.now - self._moved_at >= STALL_S:
            self._stalled = True
            self._send(
                f":hourglass: {self._title}: no progress for {show_span(STALL_S)}, {snapshot.images.left:,} left, "
                f"{counted(snapshot.n_blocked, 'host')} blocked"
            )
