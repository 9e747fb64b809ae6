"""The hosts that a run works on, as it knows them now: limits, pace, lanes and what is lent. Decides and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from d4c_images import pace
from d4c_images.limits import HostLimits
from d4c_images.model import Turn


@dataclass(slots=True)
class Lease:
    turn: Turn
    host_id: int
    worker: int
    outstanding: set[int]  # image ids without an outcome
    lent_at: float


@dataclass(slots=True)
class HostLane:
    worker: int = 0
    leases: list[int] = field(default_factory=list)  # the turn under way and at most one behind it
    claims: int = 0  # how many the next turn gets
    room: int = 0  # connections that it takes of its worker


@dataclass(slots=True, eq=False)
class Host:
    host_id: int
    name: str
    limits: HostLimits
    pace: pace.HostPace
    lanes: list[HostLane]
    due: float | None = None  # when it is looked at next; None: something else will bring it back
    rests_until: float = 0.0  # the interval between two requests, kept from one turn to the next
    words: str = ""  # the latest trouble with it
    n_given_up: int = 0  # images, while it is being given up
    in_line_since: float | None = None  # its time has come, but others of its group have all the lanes


class Roster:
    """Hosts by their number, and by politeness group."""

    def __init__(self) -> None:
        self._hosts: dict[int, Host] = {}
        self._groups: dict[str, set[int]] = {}

    def __contains__(self, host_id: int) -> bool:
        return host_id in self._hosts

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def __getitem__(self, host_id: int) -> Host:
        return self._hosts[host_id]

    def get(self, host_id: int) -> Host | None:
        return self._hosts.get(host_id)

    def add(self, host: Host) -> None:
        self._hosts[host.host_id] = host
        if host.limits.group is not None:
            self._groups.setdefault(host.limits.group, set()).add(host.host_id)

    def neighbours(self, host: Host) -> list[Host]:
        """The hosts that share its limits, itself among them."""
        return [self._hosts[host_id] for host_id in self._groups.get(host.limits.group or "", {host.host_id})]

    def rest(self, host: Host, until: float) -> None:
        """Have no idle lane lent before, of this host or of one that shares its limits."""
        for neighbour in self.neighbours(host):
            neighbour.rests_until = max(neighbour.rests_until, until)

    def is_group_busy(self, host: Host) -> bool:
        if host.limits.group is None:
            return False
        lanes = [lane for neighbour in self.neighbours(host) for lane in neighbour.lanes]
        return sum(bool(lane.leases) for lane in lanes) >= host.limits.lanes

    def line(self, host: Host) -> list[Host]:
        """The hosts of its group that wait for a lane, first come first served."""
        if host.limits.group is None:
            return []
        waiting = [one for one in self.neighbours(host) if one.in_line_since is not None]
        return sorted(waiting, key=lambda one: one.in_line_since or 0.0)
