"""What the server has seen, per host and per URL: the evidence for tests of politeness. Decides nothing."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

LOG_LENGTH = 200_000


@dataclass(slots=True)
class HostTally:
    requests: int = 0
    connections: int = 0  # opened so far (counted at a connection's first request)
    connections_now: int = 0
    connections_max: int = 0
    resumed: int = 0  # TLS sessions that a connection has taken up again
    in_flight: int = 0
    in_flight_max: int = 0
    min_spacing_s: float | None = None  # between the starts of two requests
    last_start_s: float | None = None
    behaviours: dict[str, int] = field(default_factory=dict)

    def start(self, now: float, behaviour: str) -> None:
        self.requests += 1
        self.in_flight += 1
        if self.in_flight > self.in_flight_max:
            self.in_flight_max = self.in_flight
        if self.last_start_s is not None:
            spacing = now - self.last_start_s
            if self.min_spacing_s is None or spacing < self.min_spacing_s:
                self.min_spacing_s = spacing
        self.last_start_s = now
        self.behaviours[behaviour] = self.behaviours.get(behaviour, 0) + 1

    def connect(self, n_open: int, resumed: bool) -> None:
        """One more connection; `n_open` are open now, with this one, without those that the client has closed already."""
        self.connections += 1
        self.resumed += resumed
        self.connections_now += 1
        self.connections_max = max(self.connections_max, n_open)

    def forget(self) -> None:
        """Zero, except for what is open now."""
        self.__init__(  # type: ignore[misc]
            connections_now=self.connections_now,
            connections_max=self.connections_now,
            in_flight=self.in_flight,
            in_flight_max=self.in_flight,
        )


class Tally:
    def __init__(self) -> None:
        self.hosts: dict[str, HostTally] = {}
        self.urls: Counter[str] = Counter()
        self.log: deque[tuple[float, str, str, str]] = deque(maxlen=LOG_LENGTH)  # seconds, method, URL, behaviour

    def host(self, host: str) -> HostTally:
        tally = self.hosts.get(host)
        if tally is None:
            tally = self.hosts[host] = HostTally()
        return tally

    def reset(self) -> None:
        self.urls.clear()
        self.log.clear()
        for host, tally in list(self.hosts.items()):
            if tally.connections_now or tally.in_flight:
                tally.forget()
            else:
                del self.hosts[host]

    def as_json(self) -> dict[str, Any]:
        hosts = {host: asdict(tally) for host, tally in sorted(self.hosts.items()) if tally.requests}
        return {"requests": sum(tally.requests for tally in self.hosts.values()), "hosts": hosts, "urls": dict(self.urls)}
