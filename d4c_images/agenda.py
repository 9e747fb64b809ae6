"""When to look at which host, and who goes first when there is no room for all. Lends nothing, asks no clock.

A run ends with its slowest host, so room goes to the hosts whose images take longest. Every other place goes to the host that has
waited longest, once that is longer than `PATIENCE_S`: so each gets its turn, at the latest when those before it have had theirs.
"""

from __future__ import annotations

import heapq

from d4c_images.roster import Host

PATIENCE_S = 30.0


class Agenda:
    """Hosts whose time will come, and those whose time has come."""

    def __init__(self) -> None:
        self._later: list[tuple[float, int, Host]] = []  # a heap by time, with late deletion
        self._crowds = (_Crowd(), _Crowd())  # of hosts that have not answered yet; of those that have
        self._order = 0

    @property
    def is_crowded(self) -> bool:
        """Some hosts wait for room."""
        return any(self._crowds)

    def add(self, host: Host, when: float) -> None:
        """Have the host looked at by `when`; an earlier date stands, and so does a place among those whose time has come."""
        if host.waits_since is None and (host.due is None or when < host.due):
            host.due = when
            self._order += 1
            heapq.heappush(self._later, (when, self._order, host))

    def drop(self, host: Host) -> None:
        """Nothing is to be done there any more, or for a while."""
        host.due = host.waits_since = None

    def first(self) -> Host | None:
        """The host whose time comes next."""
        while self._later and self._later[0][0] != self._later[0][2].due:
            heapq.heappop(self._later)
        return self._later[0][2] if self._later else None

    def next_at(self) -> float | None:
        host = self.first()
        return host.due if host else None

    def is_anybody_due(self, now: float) -> bool:
        when = self.next_at()
        return self.is_crowded or (when is not None and when <= now)

    def pop(self, now: float, *, may_be_new: bool) -> Host | None:
        """The host that goes first among those whose time has come; one that has not answered yet only where `may_be_new`."""
        while (host := self.first()) is not None and host.due is not None and host.due <= now:
            heapq.heappop(self._later)
            host.due, host.waits_since = None, now
            self._crowds[host.has_answered].join(host, now)
        crowds = self._crowds if may_be_new else self._crowds[1:]
        return next((host for crowd in crowds if (host := crowd.pop(now)) is not None), None)


class _Crowd:
    """Hosts that wait for room, in both orders, with late deletion."""

    def __init__(self) -> None:
        self._longest: list[tuple[float, int, float, Host]] = []  # by the least time that their images take
        self._oldest: list[tuple[float, int, Host]] = []  # by the time since when they wait
        self._n = 0
        self._n_popped = 0

    def __bool__(self) -> bool:
        return self._first_oldest() is not None

    def join(self, host: Host, since: float) -> None:
        self._n += 1
        heapq.heappush(self._longest, (-host.group.least_s(), self._n, since, host))
        heapq.heappush(self._oldest, (since, self._n, host))

    def pop(self, now: float) -> Host | None:
        oldest = self._first_oldest()
        if oldest is None:
            return None
        self._n_popped += 1
        assert oldest.waits_since is not None
        if self._n_popped % 2 and now - oldest.waits_since > PATIENCE_S:
            heapq.heappop(self._oldest)
            host = oldest
        else:
            while self._longest[0][2] != self._longest[0][3].waits_since:
                heapq.heappop(self._longest)
            host = heapq.heappop(self._longest)[3]
        host.waits_since = None
        return host

    def _first_oldest(self) -> Host | None:
        while self._oldest and self._oldest[0][0] != self._oldest[0][2].waits_since:
            heapq.heappop(self._oldest)
        return self._oldest[0][2] if self._oldest else None
