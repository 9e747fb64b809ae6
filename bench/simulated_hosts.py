"""A small GBIF on loopback for bench.makespan: many hosts on one port, each with latency and limit, that count who asks too much.

`python -m bench.simulated_hosts PLAN` reads a JSON list of hosts, prints its port as JSON, and answers until its standard input
ends; also as a proxy, for who cannot be told where the hosts are. `GET http://counts/` gives the counts.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

SLACK_S = 0.03  # by which two requests may seem nearer to each other than they were sent: scheduling on a busy machine
COUNTS = "counts"  # the host that tells them
TICK_S = 0.005  # how often the server notes that it is awake


@dataclass(frozen=True, slots=True)
class Host:
    """What a host bears. `kind` is well, throttling (429 above its limit), hanging or dead (nobody listens)."""

    name: str
    images: int
    latency_s: float
    connections: int
    min_interval_s: float
    kind: str = "well"

    @property
    def bound_s(self) -> float:
        """The least time for all its images at its full pace."""
        if self.kind in ("hanging", "dead"):
            return 0.0
        return max(self.images * self.latency_s / self.connections, (self.images - 1) * self.min_interval_s + self.latency_s)


@dataclass(slots=True)
class Counts:
    requests: int = 0
    above_limit: int = 0
    at_once: int = 0
    most_at_once: int = 0
    last_answer_at: float = 0.0
    last_start: float = -1e9  # when the last request came, at the earliest; monotonic


class SimulatedHosts:
    def __init__(self, hosts: list[Host]) -> None:
        self._hosts = {host.name: host for host in hosts}
        self._counts = {host.name: Counts() for host in hosts}
        self._body = _jpeg()
        self._awake_at = time.monotonic()

    async def stay_awake(self) -> None:
        """Notes when the server last looked at its sockets: what it reads after a pause may have come while that lasted."""
        while True:
            self._awake_at = time.monotonic()
            await asyncio.sleep(TICK_S)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head, reader))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        line, *fields = head.decode("latin-1").split("\r\n")
        name = next(field[5:].strip() for field in fields if field.lower().startswith("host:")).partition(":")[0].lower()
        if name == COUNTS:
            return _http("200 OK", "application/json", json.dumps({n: asdict(c) for n, c in self._counts.items()}).encode())
        host, counts = self._hosts[name], self._counts[name]
        if host.kind == "dead":  # asked by a proxy's client: others find nobody there
            raise ConnectionResetError
        counts.requests += 1
        counts.at_once += 1
        counts.most_at_once = max(counts.most_at_once, counts.at_once)
        try:
            now = time.monotonic()
            is_above = counts.at_once > host.connections or now < counts.last_start + host.min_interval_s - SLACK_S
            counts.last_start = self._awake_at
            counts.above_limit += is_above
            if host.kind == "hanging":
                await reader.read(1)  # until the client has had enough
                raise ConnectionResetError
            await asyncio.sleep(host.latency_s)
            counts.last_answer_at = time.time()
            if is_above and host.kind == "throttling":
                return _http("429 Too Many Requests", "text/plain", b"slow down", "Retry-After: 5\r\n")
            # A picture of its own for each URL: a comment behind the end of a JPEG would be damage, so it stands within.
            comment = line.split(" ")[1].encode()
            marked = self._body[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + self._body[2:]
            return _http("200 OK", "image/jpeg", marked)
        finally:
            counts.at_once -= 1


def _http(status: str, media_type: str, body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def _jpeg() -> bytes:
    noise = random.Random(1).randbytes(160 * 120 * 3)
    buffer = io.BytesIO()
    Image.frombytes("RGB", (160, 120), noise).save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


async def main() -> None:
    hosts = SimulatedHosts([Host(**one) for one in json.loads(Path(sys.argv[1]).read_text())])
    server = await asyncio.start_server(hosts.serve, "127.0.0.1", 0)
    awake = asyncio.ensure_future(hosts.stay_awake())
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    awake.cancel()


if __name__ == "__main__":
    asyncio.run(main())
