"""The hosts of a rehearsal: one process on loopback, one port for all of them, each with its own book.

`python -m tests.weeks.server PLAN` reads the hosts from a JSON file, prints its two ports as one line of JSON, and answers until
its standard input ends. The second port is for the campaign: it goes on while the first one is down.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.weeks import pages
from tests.weeks.books import Book, Terms
from tests.weeks.clock import FILE, Clock
from tests.weeks.pages import Answer
from tests.weeks.plan import FLAKY_SHARE, Host, Kind, is_one_of

JITTER_S = 0.3  # of the machine: by which arrivals lie nearer to each other than what was sent, on a busy one
ON_ITS_WAY_S = 1.0  # likewise: until an answer that has gone out is read
NAMING = (Kind.SECONDS, Kind.DATE, Kind.BROKEN_BODY, Kind.QUOTA)
MOST_TROUBLE = 2  # answers that an image gets which cost it an attempt


@dataclass(slots=True)
class State:
    """One host."""

    host: Host
    book: Book
    connections: set[Connection]  # of all hosts of its group
    n_requests: int = 0
    n_pictures: int = 0
    n_door: int = 0  # answers of a shut door
    opens_at: float | None = None  # the door
    has_named: bool = False
    pictures: Counter[str] = field(default_factory=Counter)  # whole ones that were sent, by path
    troubles: Counter[str] = field(default_factory=Counter)


class Hosts:
    """All of them."""

    def __init__(self, plan: list[Host], clock: Clock) -> None:
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.open: set[Connection] = set()
        self.mark = "before the first job"
        self.n_requests = 0
        groups: dict[str, tuple[Book, set[Connection]]] = {}
        self.states: dict[str, State] = {}
        for host in plan:
            terms = Terms(host.connections, host.min_interval_s, JITTER_S * clock.speed, ON_ITS_WAY_S * clock.speed)
            book, connections = groups.setdefault(host.group or host.name, (Book(terms), set()))
            self.states[host.name] = State(host, book, connections)

    def answer(self, state: State, path: str) -> Answer | None:
        """What a request gets; None for nothing at all."""
        host, url = state.host, f"http://{state.host.name}{path}"
        match host.kind:
            case Kind.HANGING:
                return None
            case Kind.GONE:
                return pages.not_there()
            case Kind.MISSING_404 | Kind.MISSING_403 if host.expected(url) == "gone":
                return pages.not_there() if host.kind is Kind.MISSING_404 else pages.no_access()
            case Kind.DOOR | Kind.NEVER if self._is_shut(state):
                state.n_door += 1
                return pages.shut_door(host.page, state.n_door)
            case Kind.FLAKY if is_one_of(url, FLAKY_SHARE) and not state.troubles[path]:
                state.troubles[path] += 1
                return pages.inner_error() if state.n_requests % 2 else pages.half_a_picture(url)
        is_due = host.kind in NAMING and state.n_requests % host.every == 0
        if is_due and (host.kind is Kind.QUOTA or state.troubles[path] < MOST_TROUBLE):
            state.troubles[path] += host.kind is not Kind.QUOTA
            wait_s, state.has_named = host.wait_s if state.has_named else host.first_wait_s, True
            return pages.with_wait(host, url, wait_s, self.clock.true_time())
        return pages.picture(url)

    def _is_shut(self, state: State) -> bool:
        if state.opens_at is None:
            if state.n_pictures < state.host.door_after:
                return False
            state.opens_at = float("inf") if state.host.kind is Kind.NEVER else self.clock.monotonic() + state.host.door_s
        return self.clock.monotonic() < state.opens_at

    def as_json(self) -> dict[str, Any]:
        """What has been written down."""
        books = {id(state.book): state.book for state in self.states.values()}.values()
        return {
            "requests": self.n_requests,
            "waits": sum(book.n_waits for book in books),
            "forgotten": sum(book.n_forgotten for book in books),
            "n_broken": dict(sum((Counter(book.n_broken) for book in books), Counter())),
            "broken": [asdict(broken) for book in books for broken in book.reported],
            "hosts": {
                name: {
                    "requests": state.n_requests,
                    "pictures": state.n_pictures,
                    "again": sum(n - 1 for n in state.pictures.values()),
                    "images": len(state.pictures),
                    "door": state.n_door,
                    "most_connections": state.book.most_connections,
                }
                for name, state in self.states.items()
            },
        }


class Connection(asyncio.Protocol):
    """One connection; it counts for the host of its first request."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._unread = b""
        self._state: State | None = None
        self._is_busy = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._hosts.open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._hosts.open.discard(self)
        if self._state is not None:
            self._state.connections.discard(self)

    def cut(self) -> None:
        """As a cable does it."""
        linger = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._is_busy:
            self._begin()

    def _begin(self) -> None:
        head, end, rest = self._unread.partition(b"\r\n\r\n")
        if not end:
            return
        self._unread = rest
        line, *fields = head.decode("latin-1").split("\r\n")
        path = line.split(" ")[1]
        name = next(field[5:].strip() for field in fields if field.lower().startswith("host:")).lower()
        state, at = self._hosts.states[name], self._hosts.clock.monotonic()
        who = f"{self._hosts.mark}, {name}{path}"
        if self._state is None:
            self._state = state
            state.connections.add(self)
        state.book.connected(at, self._n_open(state), who)
        state.book.asked(at, who)
        state.n_requests += 1
        self._hosts.n_requests += 1
        self._is_busy = True
        self._hosts.loop.call_later(state.host.latency_s, self._answer, state, path)

    def _n_open(self, state: State) -> int:
        """Connections to the host; those that their client has closed are none any more, though nobody has read it yet."""
        return sum(1 for one in state.connections if one is self or not one.is_closed_by_client())

    def is_closed_by_client(self) -> bool:
        """Whether the client has closed its end."""
        fd = self._transport.get_extra_info("socket").fileno()
        if fd < 0:
            return True
        peeking = socket.socket(fileno=fd)
        try:
            return peeking.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            peeking.detach()

    def _answer(self, state: State, path: str) -> None:
        if self._transport.is_closing() or self.is_closed_by_client():
            return  # nobody reads what it would say
        answer = self._hosts.answer(state, path)
        if answer is None:
            return
        if answer.until_unix is not None:
            clock = self._hosts.clock
            why = f"'{answer.why}' ({self._hosts.mark})"
            state.book.named(clock.monotonic(), clock.monotonic_at(answer.until_unix), state.host.name, why, self._n_open(state))
        self._transport.write(answer.body)
        if answer.is_whole_picture:
            state.n_pictures += 1
            state.pictures[path] += 1
        self._is_busy = False
        if answer.closes:
            self._transport.close()
        elif self._unread:
            self._begin()


class Front:
    """The port of all hosts."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._server: asyncio.Server | None = None
        self.port = 0

    async def up(self) -> None:
        if self._server is None:
            make: Callable[[], Connection] = lambda: Connection(self._hosts)  # noqa: E731
            self._server = await self._hosts.loop.create_server(make, "127.0.0.1", self.port, backlog=4096, reuse_address=True)
            self.port = self._server.sockets[0].getsockname()[1]

    def down(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._hosts.open):
            connection.cut()


async def control(hosts: Hosts, front: Front, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One line of JSON for each line: [command, argument]."""
    while line := await reader.readline():
        command, argument = json.loads(line)
        answer: Any = None
        match command:
            case "count":
                answer = hosts.n_requests
            case "books":
                answer = hosts.as_json()
            case "mark":
                hosts.mark = argument
            case "forget":
                seconds, noted = argument
                noted_until = {name: hosts.clock.monotonic_at(unix) for name, unix in noted.items()}
                for state in hosts.states.values():
                    state.book.forget(hosts.clock.monotonic() - seconds, noted_until)
            case "pause":
                name, until = argument
                book = hosts.states[name].book
                book.named(hosts.clock.monotonic(), until, name, "a person's pause", n_open=book.terms.connections + 1)
            case "up":
                await front.up()
            case "down":
                front.down()
            case _:
                raise ValueError(command)
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
    writer.close()


async def main() -> None:
    plan = [Host(**(one | {"kind": Kind(one["kind"])})) for one in json.loads(Path(sys.argv[1]).read_text())]
    hosts = Hosts(plan, Clock(Path(os.environ[FILE])))
    front = Front(hosts)
    await front.up()

    async def controlled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await control(hosts, front, reader, writer)

    controller = await asyncio.start_server(controlled, "127.0.0.1", 0)
    print(json.dumps({"port": front.port, "control": controller.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
