"""Starts the server as a process of its own and talks to its control endpoint. For tests, the demo and the benchmarks."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.publishers.server import CONTROL_HOST
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


class Publishers:
    """A running server. `connect_to` and `cacert` are what a client needs: curl's `--connect-to` and `--cacert`."""

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        """Starts `python -m tests.publishers` and returns once it takes connections. It dies with this process."""
        command = [sys.executable, "-m", "tests.publishers", "--until-eof", *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the publishers' server ended with code {self._process.wait()}: {' '.join(command)}")
        self.ready: dict[str, Any] = json.loads(line)
        self.port: int = self.ready["port"]
        self.connect_to: str = self.ready["connect_to"]
        self.cacert = Path(self.ready["cacert"])
        self.pid: int = self.ready["pid"]

    def __enter__(self) -> Publishers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(timeout=PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def behave(self, *rules: str) -> None:
        """Put rules (see `rules.py`) before those that are there. Raises `ValueError` for a bad one."""
        self._ask("PUT", "/behave", "\n".join(rules))

    def behave_well(self) -> None:
        """Back to the rules of the start."""
        self._ask("DELETE", "/behave")

    def reset(self) -> None:
        """Back to the rules of the start, and all counters to zero."""
        self._ask("POST", "/reset")

    def counters(self) -> dict[str, Any]:
        """`{"requests": n, "hosts": {host: {...}}, "urls": {url: n}}`; a host's fields are those of `tally.HostTally`."""
        return dict(self._ask("GET", "/counters"))

    def host(self, host: str) -> dict[str, Any]:
        """The counters of one host; all zero where it was never asked."""
        return dict(self.counters()["hosts"].get(host, {"requests": 0, "connections_max": 0, "in_flight_max": 0}))

    def requests_of(self, url: str) -> int:
        return int(self.counters()["urls"].get(url, 0))

    def log(self) -> list[tuple[float, str, str, str]]:
        """Seconds (of a clock without meaning), method, URL and behaviour of each request, oldest first."""
        return [tuple(line) for line in self._ask("GET", "/log")]

    def behaviours(self) -> dict[str, str]:
        return dict(self._ask("GET", "/behaviours"))

    def _ask(self, method: str, path: str, body: str = "") -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body.encode(), {"Host": CONTROL_HOST})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(text.strip())
        return json.loads(text)
