"""A server on loopback that sends the bytes that a test gives it, however wrong, and remembers what it was asked."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    host: str
    path: str
    headers: dict[str, str]  # names in lower case


Answer = Callable[[Asked], bytes | Iterator[bytes]]
"""An iterator's parts are sent one by one, each as soon as it is there."""


def answer(code: int, *headers: str, body: bytes = b"", length: int | None = None) -> bytes:
    """An answer as it stands on the wire; `length` is what it says of its body where that is wrong."""
    lines = [f"HTTP/1.1 {code} So", *headers, f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Scripted(socketserver.ThreadingTCPServer):
    """Answers each request by `answers` and closes the connection. A context manager; `connect_to` leads every host here."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def __init__(self, answers: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.asked: list[Asked] = []
        self.connect_to = f"::127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def paths(self) -> list[str]:
        return [one.path for one in self.asked]


class _Handler(socketserver.StreamRequestHandler):
    server: Scripted

    def handle(self) -> None:
        line = self.rfile.readline().decode("latin-1").split()
        headers = dict[str, str]()
        while field := self.rfile.readline().decode("latin-1").strip():
            name, _, value = field.partition(":")
            headers[name.lower()] = value.strip()
        if not line:
            return
        asked = Asked(headers["host"], line[1], headers)
        self.server.asked.append(asked)
        try:
            answer = self.server.answers(asked)
            for part in (answer,) if isinstance(answer, bytes) else answer:
                self.wfile.write(part)
        except ConnectionError:  # whoever asked has had enough
            pass
