"""When to look at which host, and who goes first when there is no room for all. Lends nothing, asks no clock, loads no host.

A run ends with its slowest host, so room goes to the hosts whose images take longest. Every other place goes to the host that has
waited longest, once that is longer than `PASSED_OVER_S`: so each gets its turn, at the latest when those before it have had theirs.

Hosts are numbers here (`host_rows.host_id`: they begin with 1 and leave no gaps), so that a million of them that wait take some
dozen bytes each.
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
MANY = 1000  # that come due together: moved as arrays

NOWHERE, LATER, NEW, KNOWN = range(4)
"""Where a host stands: not in here; its time will come; it has come, and the host has not answered yet; ... and it has."""


class Agenda:
    """Hosts whose time will come, and those whose time has come."""

    def __init__(self) -> None:
        self._place = bytearray()  # by host: NOWHERE, ...
        self._when = array("d")  # by host: when its time comes, or since when it waits
        self._least_s = array("d")  # by host: the least time that its images take, or those of its group
        self._answered = bytearray()  # by host: 1 where it has
        self._later = CompactHeap(lambda keys, numbers: self._stand(LATER, keys, numbers))
        self._crowds = (_Crowd(self, NEW), _Crowd(self, KNOWN))

    @property
    def is_crowded(self) -> bool:
        """Some hosts wait for room."""
        return bool(self._crowds[0].n or self._crowds[1].n)

    def add(self, host_id: int, when: float, least_s: float, *, has_answered: bool) -> None:
        """Have the host looked at by `when`; an earlier date stands, and so does a place among those whose time has come."""
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
        """Nothing is to be done there any more, or for a while."""
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
        """How long its images took when it was last added."""
        return self._least_s[host_id] if host_id < len(self._least_s) else 0.0

    def due(self, host_id: int) -> float | None:
        """When its time comes; None where it has come, or nothing is to be done."""
        return self._when[host_id] if self.place(host_id) == LATER else None

    @property
    def least_s(self) -> array[float]:
        """By host: the least time that its images took when it was last added."""
        return self._least_s

    def first(self) -> tuple[float, int] | None:
        """When the next host's time comes, and which one it is."""
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
        """The host that goes first among those whose time has come; one that has not answered yet only if `may_be_new`."""
        if (first := self._later.first()) is not None and first[0] <= now:
            self._gather(now)
        crowds = self._crowds if may_be_new else self._crowds[1:]
        return next((host_id for crowd in crowds if (host_id := crowd.pop(now)) is not None), None)

    def _gather(self, now: float) -> None:
        """Those whose time has come wait for room from now on."""
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
        """Which of the hosts stand there, with that date."""
        import numpy as np

        is_here = np.frombuffer(self._place, np.uint8)[host_ids] == place
        result: npt.NDArray[np.bool_] = is_here & (np.frombuffer(self._when)[host_ids] == whens)
        return result

    def grow(self, n: int) -> None:
        """Have room for hosts with numbers below `n`."""
        more = n - len(self._place)
        if more > 0:
            more = max(more, len(self._place) // 8)
            self._place.extend(bytes(more))
            self._answered.extend(bytes(more))
            self._when.frombytes(bytes(8 * more))
            self._least_s.frombytes(bytes(8 * more))


class _Crowd:
    """Hosts that wait for room, in both orders, with late deletion."""

    def __init__(self, agenda: Agenda, place: int) -> None:
        self._agenda, self._place = agenda, place
        self._longest = CompactHeap(self._wait)  # by the least time that their images take, negative
        self._oldest = CompactHeap(lambda keys, numbers: agenda._stand(place, keys, numbers))  # by the time since when they wait
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
        """The first entry of a host that waits, with the key that it has now."""
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
