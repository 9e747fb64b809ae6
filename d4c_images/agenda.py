"""When to look at which host, and whose turn it is when there is no room for all. Lends nothing, asks no clock."""

from __future__ import annotations

import heapq
from collections import deque

from d4c_images.roster import Host


class Agenda:
    """Hosts by the time of their next look, first come first served among equals."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Host]] = []  # with late deletion
        self._order = 0
        self._crowd: deque[Host] = deque()  # hosts whose time has come while no worker had room

    @property
    def is_crowded(self) -> bool:
        """Some hosts wait for room."""
        return bool(self._crowd)

    def add(self, host: Host, when: float) -> None:
        """Have the host looked at by `when`; an earlier date stands, and so does a place in the crowd."""
        if host not in self._crowd and (host.due is None or when < host.due):
            host.due = when
            self._order += 1
            heapq.heappush(self._heap, (when, self._order, host))

    def first(self) -> Host | None:
        while self._heap and self._heap[0][0] != self._heap[0][2].due:
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def next_at(self) -> float | None:
        host = self.first()
        return host.due if host else None

    def pop(self, now: float) -> Host | None:
        """The first host whose time has come, those before all others that found no room."""
        if self._crowd:
            return self._crowd.popleft()
        when = self.next_at()
        if when is None or when > now:
            return None
        host = heapq.heappop(self._heap)[2]
        host.due = None
        return host

    def found_no_room(self, host: Host) -> None:
        """It is looked at again as soon as there may be some."""
        self._crowd.appendleft(host)
