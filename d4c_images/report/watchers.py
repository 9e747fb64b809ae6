"""Several watchers of a run as one. Shows nothing itself."""

from __future__ import annotations

from collections.abc import Mapping

from d4c_images.steward.terms import Drain, Ending, Snapshot, Watcher


class Watchers(Watcher):
    """Several watchers as one."""

    def __init__(self) -> None:
        self._all: list[Watcher] = []

    def add(self, watcher: Watcher) -> None:
        self._all.append(watcher)

    def started(self, snapshot: Snapshot) -> None:
        for watcher in self._all:
            watcher.started(snapshot)

    def ticked(self, snapshot: Snapshot) -> None:
        for watcher in self._all:
            watcher.ticked(snapshot)

    def host_blocked(self, host: str, until: float, why: str) -> None:
        for watcher in self._all:
            watcher.host_blocked(host, until, why)

    def host_shut(self, host: str, why: str) -> None:
        for watcher in self._all:
            watcher.host_shut(host, why)

    def host_given_up(self, host: str, n_images: int, why: str) -> None:
        for watcher in self._all:
            watcher.host_given_up(host, n_images, why)

    def idle(self, until: float, host: str, why: str) -> None:
        for watcher in self._all:
            watcher.idle(until, host, why)

    def network_down(self, is_down: bool) -> None:
        for watcher in self._all:
            watcher.network_down(is_down)

    def no_way_out(self, n_hosts: int, why: str) -> None:
        for watcher in self._all:
            watcher.no_way_out(n_hosts, why)

    def worker_died(self, why: str) -> None:
        for watcher in self._all:
            watcher.worker_died(why)

    def draining(self, drain: Drain, in_flight: Mapping[str, int]) -> None:
        for watcher in self._all:
            watcher.draining(drain, in_flight)

    def ended(self, snapshot: Snapshot, ending: Ending) -> None:
        for watcher in self._all:
            watcher.ended(snapshot, ending)

    def close(self) -> None:
        for watcher in self._all:
            watcher.close()
