"""A server that speaks HTTP/2 (by ALPN, over TLS), in a process of its own: good answers, and ways in which HTTP/2 goes wrong.

The first part of a path names the behaviour: `ok`, `slow` (ok after 0.2 s), `refused` (REFUSED_STREAM), `reset` (RST_STREAM after
half of the body), `goaway` (GOAWAY after half of the body, then the end), `gone` (GOAWAY that says that this request was not
taken). `/counters` tells what has been seen.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events

from tests.publishers import pictures
from tests.publishers.tls import Authority


@dataclass
class Seen:
    connections: int = 0
    connections_now: int = 0
    connections_max: int = 0
    resumed: int = 0  # TLS sessions
    requests: int = 0
    streams_now: int = 0
    streams_max: int = 0


class Connection(asyncio.Protocol):
    def __init__(self, seen: Seen, body: bytes) -> None:
        self._seen, self._body = seen, body
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._waiting: dict[int, bytes] = {}  # stream -> what has not been sent for want of a window
        self._open: set[int] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        secure: ssl.SSLObject = transport.get_extra_info("ssl_object")
        seen = self._seen
        seen.connections += 1
        seen.connections_now += 1
        seen.connections_max = max(seen.connections_max, seen.connections_now)
        seen.resumed += bool(secure.session_reused)
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._seen.connections_now -= 1
        self._seen.streams_now -= len(self._open)

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if self._transport.is_closing():
                return
            if isinstance(event, h2.events.RequestReceived):
                self._ask(event.stream_id, dict(event.headers)[":path"])
            elif isinstance(event, h2.events.WindowUpdated):
                for stream in list(self._waiting) if event.stream_id == 0 else [event.stream_id]:
                    self._pour(stream)
            elif isinstance(event, h2.events.StreamReset):
                self._end(event.stream_id)
        self._flush()

    def _ask(self, stream: int, path: str) -> None:
        if path == "/counters":
            self._answer(stream, json.dumps(asdict(self._seen)).encode(), "application/json")
            return
        seen = self._seen
        seen.requests += 1
        self._open.add(stream)
        seen.streams_now += 1
        seen.streams_max = max(seen.streams_max, seen.streams_now)
        match path.split("/")[1]:
            case "slow":
                asyncio.get_running_loop().call_later(0.2, self._later, stream)
            case "refused":
                self._h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
                self._end(stream)
            case "reset":
                self._answer(stream, self._body[: len(self._body) // 2], whole=False)
                self._h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
                self._end(stream)
            case "goaway":
                self._answer(stream, self._body[: len(self._body) // 2], whole=False)
                self._h2.close_connection(last_stream_id=stream)
                self._flush()
                self._transport.close()
            case "gone":
                self._h2.close_connection(last_stream_id=0)
                self._flush()
                self._transport.close()
            case _:
                self._answer(stream, self._body)

    def _later(self, stream: int) -> None:
        if stream in self._open and not self._transport.is_closing():
            self._answer(stream, self._body)
            self._flush()

    def _answer(self, stream: int, body: bytes, media_type: str = "image/jpeg", *, whole: bool = True) -> None:
        headers = [(":status", "200"), ("content-type", media_type), ("content-length", str(len(self._body)))]
        self._h2.send_headers(stream, headers[:2] if media_type != "image/jpeg" else headers)
        self._waiting[stream] = body
        self._pour(stream, whole=whole)

    def _pour(self, stream: int, *, whole: bool = True) -> None:
        body = self._waiting.pop(stream, b"")
        while body:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                self._waiting[stream] = body
                return
            part, body = body[:room], body[room:]
            self._h2.send_data(stream, part, end_stream=whole and not body)
            if whole and not body:
                self._end(stream)

    def _end(self, stream: int) -> None:
        if stream in self._open:
            self._open.discard(stream)
            self._seen.streams_now -= 1

    def _flush(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._h2.data_to_send())


async def serve(cacert: Path) -> None:
    authority, seen = Authority(), Seen()
    cacert.write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    leaf = cacert.with_suffix(".leaf")
    leaf.write_bytes(authority.leaf("two.example"))
    context.load_cert_chain(leaf)
    body = pictures.jpeg_of_about(40_000)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(seen, body), "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
