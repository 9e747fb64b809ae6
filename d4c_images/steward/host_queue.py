"""When to look at which host, and which goes first if connections are scarce. Lends nothing, reads no clock, loads no host.

A run ends with its slowest host, so connections go to the hosts whose images take longest. Every other one goes to the one that has
waited longest, if for more than `PASSED_OVER_S`: so no host starves.

Hosts are numbers here (`host_rows.host_id`: they start at 1 and have no gaps), so that a million waiting hosts take some dozen
bytes each.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from d4c_images.steward.compact_heap import CompactHeap

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from d4c_images.steward.compact_heap import Keys, Numbers

PASSED_OVER_S = 30.0
MANY = 1000  # hosts that come due together: moved as arrays

NOWHERE, LATER, NEW, KNOWN = range(4)
"""State of a host: not queued; scheduled; due, without an answer yet; due, and it has answered."""


class Agenda:
    """Hosts that are scheduled, and hosts that are due."""

    def __init__(self) -> None:
        self._place = bytearray()  # by host: NOWHERE, ...
        self._when = array("d")  # by host: when it is due, or since when it waits
        self._least_s = array("d")  # by host: the minimum time for its images, or its group's
        self._answered = bytearray()  # by host: 1 if it has
        self._later = CompactHeap(lambda keys, numbers: self._stand(LATER, keys, numbers))
        self._crowds = (_Crowd(self, NEW), _Crowd(self, KNOWN))

    @property
    def is_crowded(self) -> bool:
        """Whether hosts are waiting for connections."""
        return bool(self._crowds[0].n or self._crowds[1].n)

    def add(self, host_id: int, when: float, least_s: float, *, has_answered: bool) -> None:
        """Schedule the host for `when`; an earlier date stands, and so does a place among the due ones."""
        if host_id >= len(self._place):
            self.grow(host_id + 1)
        place = self._place[host_id]
        if place == NOWHERE or (place == LATER and when < self._when[host_id]):
            self._place[host_id] = LATER
            self._when[host_id] = when
            self._least_s[host_id] = least_s
            self._answered[host_id] = has_answered
            self._later.push(when, host_id)

    def add_all(self, host_ids: array[int], whens: array[float], least_s: array[float]) -> None:
        """The same for many hosts at once, none of which has answered."""
        if len(host_ids) < MANY:
            for host_id, when, seconds in zip(host_ids, whens, least_s, strict=True):
                self.add(host_id, when, seconds, has_answered=False)
            return
        import numpy as np

        numbers, times = np.array(host_ids, np.int32), np.array(whens)
        self.grow(int(numbers.max()) + 1)
        np.frombuffer(self._place, np.uint8)[numbers] = LATER
        np.frombuffer(self._when)[numbers] = times
        np.frombuffer(self._least_s)[numbers] = least_s
        self._later.extend(times, numbers)

    def drop(self, host_id: int) -> None:
        """Remove the host: there is nothing to do, at least for a while."""
        if self.place(host_id) >= NEW:
            self._crowds[self._place[host_id] - NEW].n -= 1
        if host_id < len(self._place):
            self._place[host_id] = NOWHERE

    def place(self, host_id: int) -> int:
        return self._place[host_id] if host_id < len(self._place) else NOWHERE

    def is_known(self, host_id: int) -> bool:
        """Whether it had answered when it was added."""
        return host_id < len(self._answered) and bool(self._answered[host_id])

    def least_s_of(self, host_id: int) -> float:
        """The minimum time for its images when it was last added."""
        return self._least_s[host_id] if host_id < len(self._least_s) else 0.0

    def due(self, host_id: int) -> float | None:
        """When it is due; None if it is due already, or not queued."""
        return self._when[host_id] if self.place(host_id) == LATER else None

    @property
    def least_s(self) -> array[float]:
        """By host: the minimum time for its images when it was last added."""
        return self._least_s

    def first(self) -> tuple[float, int] | None:
        """When the next host is due, and which one it is."""
        while (entry := self._later.first()) is not None:
            if self._place[entry[1]] == LATER and self._when[entry[1]] == entry[0]:
                return entry
            self._later.drop_first()
        return None

    def next_at(self) -> float | None:
        first = self.first()
        return None if first is None else first[0]

    def is_anybody_due(self, now: float) -> bool:
        when = self.next_at()
        return self.is_crowded or (when is not None and when <= now)

    def pop(self, now: float, *, may_be_new: bool) -> int | None:
        """The first among the due hosts; one that has not answered yet only if `may_be_new`."""
        if (first := self._later.first()) is not None and first[0] <= now:
            self._gather(now)
        crowds = self._crowds if may_be_new else self._crowds[1:]
        return next((host_id for crowd in crowds if (host_id := crowd.pop(now)) is not None), None)

    def _gather(self, now: float) -> None:
        """Move hosts whose time has come to the waiting ones."""
        for keys, numbers in self._later.take_runs(now):
            self._join_all(numbers[self._stand(LATER, keys, numbers)], now)
        for key, host_id in self._later.take_new(now):
            if self._place[host_id] == LATER and self._when[host_id] == key:
                self._crowds[self._answered[host_id]].join(host_id, now)

    def _join_all(self, host_ids: Numbers, now: float) -> None:
        import numpy as np

        if len(host_ids) < MANY:
            for host_id in np.unique(host_ids).tolist():
                self._crowds[self._answered[host_id]].join(host_id, now)
            return
        host_ids = np.unique(host_ids)
        is_known = np.frombuffer(self._answered, np.uint8)[host_ids] == 1
        for crowd, ids in zip(self._crowds, (host_ids[~is_known], host_ids[is_known]), strict=True):
            crowd.join_all(ids, now)

    def _stand(self, place: int, whens: Keys, host_ids: Numbers) -> npt.NDArray[np.bool_]:
        """Which of the hosts have this state, with that date."""
        import numpy as np

        is_here = np.frombuffer(self._place, np.uint8)[host_ids] == place
        result: npt.NDArray[np.bool_] = is_here & (np.frombuffer(self._when)[host_ids] == whens)
        return result

    def grow(self, n: int) -> None:
        """Make space for hosts with numbers below `n`."""
        more = n - len(self._place)
        if more > 0:
            more = max(more, len(self._place) // 8)
            self._place.extend(bytes(more))
            self._answered.extend(bytes(more))
            self._when.frombytes(bytes(8 * more))
            self._least_s.frombytes(bytes(8 * more))


class _Crowd:
    """Hosts waiting for connections, in both orders, with lazy deletion."""

    def __init__(self, agenda: Agenda, place: int) -> None:
        self._agenda, self._place = agenda, place
        self._longest = CompactHeap(self._wait)  # by the minimum time for their images, negated
        self._oldest = CompactHeap(lambda keys, numbers: agenda._stand(place, keys, numbers))  # by the start of their wait
        self._n_popped = 0
        self.n = 0

    def join(self, host_id: int, since: float) -> None:
        agenda = self._agenda
        agenda._place[host_id] = self._place
        agenda._when[host_id] = since
        self.n += 1
        self._longest.push(-agenda._least_s[host_id], host_id)
        self._oldest.push(since, host_id)

    def join_all(self, host_ids: Numbers, since: float) -> None:
        import numpy as np

        agenda = self._agenda
        np.frombuffer(agenda._place, np.uint8)[host_ids] = self._place
        np.frombuffer(agenda._when)[host_ids] = since
        self.n += len(host_ids)
        self._longest.extend(-np.frombuffer(agenda._least_s)[host_ids], host_ids)
        self._oldest.extend(np.full(len(host_ids), since), host_ids)

    def pop(self, now: float) -> int | None:
        if not self.n:
            return None
        self._n_popped += 1
        host_id = None
        if self._n_popped % 2:
            since, oldest = self._first(self._oldest, self._agenda._when, 1.0)
            if now - since > PASSED_OVER_S:
                host_id = oldest
        if host_id is None:
            host_id = self._first(self._longest, self._agenda._least_s, -1.0)[1]
        self._agenda._place[host_id] = NOWHERE
        self.n -= 1
        return host_id

    def _first(self, heap: CompactHeap, keys: array[float], sign: float) -> tuple[float, int]:
        """The first entry that is still valid: its host waits, and has this key now."""
        while True:
            entry = heap.first()
            assert entry is not None
            if self._agenda._place[entry[1]] == self._place and sign * keys[entry[1]] == entry[0]:
                return entry
            heap.drop_first()

    def _wait(self, keys: Keys, numbers: Numbers) -> npt.NDArray[np.bool_]:
        import numpy as np

        agenda = self._agenda
        is_here = np.frombuffer(agenda._place, np.uint8)[numbers] == self._place
        result: npt.NDArray[np.bool_] = is_here & (-np.frombuffer(agenda._least_s)[numbers] == keys)
        return result
