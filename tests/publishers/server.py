"""The server: one port for HTTP and HTTPS (told apart by a connection's first byte), any host name, one process, no framework.

Speaks just enough HTTP/1.1 for clients that speak it properly: keep-alive, pipelining, bodies with a Content-Length.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.publishers import pictures
from tests.publishers.registry import BEHAVIOURS
from tests.publishers.rules import RuleBook, parse_rules
from tests.publishers.tally import HostTally, Tally
from tests.publishers.tls import Certificates
from tests.publishers.wire import Ask, End, Pause, Steps, whole

CONTROL_HOST = "control.test"
CLOSED_BY_PEER = frozenset((6, 7, 8, 9, 11))  # of TCP's states in Linux: TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING
TLS_HANDSHAKE = 0x16  # first byte of a TLS record of that kind


@dataclass(frozen=True, slots=True)
class Options:
    port: int = 0
    latency_s: float = 0.0  # before each answer
    image_bytes: int = 40_000  # of the one image in fast mode
    fast: bool = False  # every URL holds that image, with a number of its own in a comment


class Server:
    def __init__(self, options: Options, rules: RuleBook) -> None:
        self.options = options
        self.rules = rules
        self.tally = Tally()
        self.open: defaultdict[str, set[Connection]] = defaultdict(set)  # by host
        self.certificates = Certificates(rules.tls_of)
        self.loop = asyncio.get_running_loop()
        self._fast_number = 0
        if options.fast:
            image = pictures.with_jpeg_comment(pictures.jpeg_of_about(options.image_bytes), "no. 00000000000000")
            start, self._fast_tail = image.split(b"00000000000000")
            lines = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
            self._fast_head = lines.encode() + start
        self._listener = socket.create_server(("127.0.0.1", options.port), backlog=4096, reuse_port=False)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._tasks: set[asyncio.Task[object]] = set()
        self.loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        self.loop.remove_reader(self._listener)
        self._listener.close()

    def fast_answer(self) -> bytes:
        self._fast_number += 1
        return b"%b%014d%b" % (self._fast_head, self._fast_number, self._fast_tail)

    def steps_for(self, ask: Ask) -> tuple[str, Steps]:
        """Name of the behaviour and what it does."""
        if ask.host == CONTROL_HOST or urlsplit(f"//{ask.host}").port == self.port:
            return "control", iter((self._control(ask),))
        name, arg = self.rules.behaviour_of(ask.host, ask.target)
        found = BEHAVIOURS.get(name)
        if found is None:
            return name, iter((whole(ask, f"no behaviour for {ask.host}\n".encode(), "text/plain", 599),))
        return name, found.answer(
            Ask(ask.method, ask.scheme, ask.host, ask.target, ask.headers, ask.body, self.tally.urls[ask.url] + 1, arg)
        )

    def _control(self, ask: Ask) -> bytes:
        match ask.method, ask.path:
            case "GET", "/counters":
                return _json(ask, self.tally.as_json())
            case "GET", "/log":
                return _json(ask, [list(line) for line in self.tally.log])
            case "GET", "/behave":
                return _json(ask, [rule.text for rule in self.rules.rules])
            case "GET", "/behaviours":
                return _json(ask, {found.name: found.doc for found in BEHAVIOURS.values()})
            case "PUT", "/behave":
                try:
                    self.rules.put(parse_rules(ask.body.decode()))
                except ValueError as error:
                    return whole(ask, f"{error}\n".encode(), "text/plain", 400)
                return _json(ask, [rule.text for rule in self.rules.rules])
            case "DELETE", "/behave":
                self.rules.reset()
                return _json(ask, [rule.text for rule in self.rules.rules])
            case "POST", "/reset":
                self.rules.reset()
                self.tally.reset()
                return _json(ask, {})
        return whole(ask, b"see tests/publishers/README.md\n", "text/plain", 404)

    def _accept(self) -> None:
        for _ in range(64):
            try:
                client, _address = self._listener.accept()
            except BlockingIOError:
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.loop.add_reader(client, self._first_byte, client)

    def _first_byte(self, client: socket.socket) -> None:
        self.loop.remove_reader(client)
        try:
            first = client.recv(1, socket.MSG_PEEK)
        except OSError:
            first = b""
        if not first:
            client.close()
            return
        secure = self.certificates.context if first[0] == TLS_HANDSHAKE else None
        task: asyncio.Task[object] = self.loop.create_task(self._adopt(client, secure))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _adopt(self, client: socket.socket, secure: ssl.SSLContext | None) -> None:
        scheme = "https" if secure else "http"
        try:
            await self.loop.connect_accepted_socket(lambda: Connection(self, scheme), client, ssl=secure)
        except OSError:  # among them ssl.SSLError: a client that did not like the certificate
            client.close()


class Connection(asyncio.Protocol):
    def __init__(self, server: Server, scheme: str) -> None:
        self._server = server
        self._scheme = scheme
        self._unread = bytearray()
        self._home: HostTally | None = None  # of the first request: the connection counts there
        self._home_name = ""
        self._host: HostTally | None = None  # of the request being answered
        self._steps: Steps | None = None
        self._keep_alive = True
        self._choked = False
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._answered()
        if self._home:
            self._home.connections_now -= 1
            self._server.open[self._home_name].discard(self)

    @property
    def is_open(self) -> bool:
        """For the client as well. That it has closed its end is known to the kernel before a busy server reads it."""
        mine = self._transport.get_extra_info("socket")
        if mine is None:  # TLS has let go of it already, and connection_lost is still to come
            return False
        try:
            info = mine.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except OSError:
            return False
        return info[0] not in CLOSED_BY_PEER

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        if self._steps and not self._timer:
            self._play()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while self._host is None and self._unread and not self._transport.is_closing():
            if not self._begin():
                return

    def _begin(self) -> bool:
        """Take one request from what has been read; False where it is not whole yet."""
        end = self._unread.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = self._unread[:end].decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        target, _, protocol = rest.rpartition(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        size = int(headers.get("content-length", 0))
        if len(self._unread) < end + 4 + size:
            return False
        body = bytes(self._unread[end + 4 : end + 4 + size])
        del self._unread[: end + 4 + size]
        self._keep_alive = protocol != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
        host = headers.get("host", "").lower()
        server, tally = self._server, self._server.tally
        if server.options.fast and host != CONTROL_HOST:
            behaviour, self._steps = "fast", None
            url = f"{self._scheme}://{host}{target}"
        else:
            ask = Ask(method, self._scheme, host, target, headers, body)
            behaviour, self._steps = server.steps_for(ask)
            url = ask.url
            if behaviour != "control":
                tally.log.append((server.loop.time(), method, url, behaviour))
        self._host = tally.host(host) if behaviour != "control" else HostTally()
        if behaviour != "control":
            if self._home is None:
                self._home, self._home_name = self._host, host
                n_open = 1 + sum(other.is_open for other in server.open[host])
                server.open[host].add(self)
                secure: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
                self._home.connect(n_open, secure is not None and bool(secure.session_reused))
            tally.urls[url] += 1
        self._host.start(server.loop.time(), behaviour)
        if server.options.latency_s and behaviour != "control":
            self._timer = server.loop.call_later(server.options.latency_s, self._answer)
        else:
            self._answer()
        return True

    def _answer(self) -> None:
        self._timer = None
        if self._steps is None:
            self._transport.write(self._server.fast_answer())
            self._finish()
        else:
            self._play()

    def _play(self) -> None:
        self._timer = None
        assert self._steps is not None
        while not self._choked and not self._transport.is_closing():
            step = next(self._steps, None)
            match step:
                case None:
                    self._finish()
                    return
                case Pause(seconds):
                    self._timer = self._server.loop.call_later(seconds, self._play)
                    return
                case End.HANG:
                    return
                case End.CLOSE:
                    self._keep_alive = False
                    self._finish()
                    return
                case End.RESET:
                    self._answered()
                    linger = struct.pack("ii", 1, 0)
                    self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self._transport.abort()
                    return
                case bytes():
                    self._transport.write(step)

    def _finish(self) -> None:
        self._answered()
        if not self._keep_alive:
            self._transport.close()
        elif self._unread:
            self._server.loop.call_soon(self.data_received, b"")

    def _answered(self) -> None:
        self._steps = None
        if self._host:
            self._host.in_flight -= 1
            self._host = None


async def serve(options: Options, rules: RuleBook, cacert: Path, stop: asyncio.Event, ready: asyncio.Future[int]) -> None:
    """Serve until `stop` is set. `ready` gets the port once connections are taken; by then the CA stands in `cacert`."""
    server = Server(options, rules)
    server.certificates.write_ca(cacert)
    ready.set_result(server.port)
    await stop.wait()
    server.close()


def _json(ask: Ask, value: object) -> bytes:
    return whole(ask, json.dumps(value).encode(), "application/json")
