"""A host that shuts its door after 60 pictures, over real sockets and through the whole program: nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.publishers.pictures import jpeg
from tests.steward.test_shut_doors import BOT_CHECK, CHALLENGE, LOG_IN, MAINTENANCE, PLAIN, QUOTA, TERMS, Page
from tests.support.program import Collection, multimedia

HOST, GATE = "museum.example", "gate.example"
N, N_GIVEN = 400, 60


class Museum(ThreadingHTTPServer):
    """Gives a picture for each URL until it has given so many; then it has one page for everything, until it opens."""

    daemon_threads = True

    def __init__(self, page: Page) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.redirects = False  # to another host, which has the page
        self.page, self.is_open, self.n_given, self.n_refused = page, False, 0, 0
        self.lock = threading.Lock()

    @property
    def connect_to(self) -> str:
        return f"{HOST}:80:127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Museum

    def do_GET(self) -> None:
        if self.headers["host"] == GATE:
            self._say(*self.server.page)
            return
        with self.server.lock:
            gives = self.server.is_open or self.server.n_given < N_GIVEN
            self.server.n_given += gives
            self.server.n_refused += not gives
        code, headers, body = (200, {"content-type": "image/jpeg"}, jpeg(self.path, (64, 48))) if gives else self._refusal()
        self._say(code, headers, body)

    def _refusal(self) -> Page:
        return (302, {"location": f"http://{GATE}/?for={self.path}"}, b"") if self.server.redirects else self.server.page

    def _say(self, code: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(code)
        for name, value in {"content-type": "text/html", **headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def museum(page: Page) -> Iterator[Museum]:
    server = Museum(page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with closing(server.socket):
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "words"),
    [
        (CHALLENGE, "shows a bot check"),
        (BOT_CHECK, "shows a bot check"),
        (MAINTENANCE, "under maintenance"),
        (QUOTA, "a quota is exceeded"),
        (LOG_IN, "requires a login"),
        (PLAIN, "serves one page for different images"),
    ],
    ids=["challenge", "bot check", "maintenance", "quota", "log-in", "plain 403"],
)
def test_a_host_that_shuts_its_door_is_left_alone_and_loses_nothing(museum: Museum, words: str, tmp_path: Path) -> None:
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", [(n, f"http://{HOST}/{n}.jpg") for n in range(1, N + 1)]))
    download = ("download", "--connect-to", museum.connect_to, "--max-idle", "1s")
    output = collection.run(*download, code=75)
    assert museum.n_refused <= 100
    states = dict(collection.rows("SELECT status, count(*) FROM images GROUP BY 1"))
    assert states["success"] == N_GIVEN
    assert "failed_permanent" not in states
    assert collection.rows("SELECT max(attempts) FROM images WHERE status <> 'success'") == [(0,)]
    assert collection.rows("SELECT DISTINCT error_type FROM images WHERE status = 'failed_transient'") == [("shut_out",)]
    told = " ".join(collection.run("status").split())
    [(why,)] = collection.rows("SELECT blocked_why FROM hosts WHERE blocked_until IS NOT NULL")
    assert words in str(why)
    assert f"`hosts resume {HOST}`" in str(why)
    assert words in told
    assert words in " ".join(output.split())
    n_refused = museum.n_refused
    collection.run(*download, code=75)
    assert museum.n_refused == n_refused, "a new run asks no earlier"
    museum.is_open = True
    collection.run("hosts", "resume", HOST)
    collection.run(*download)
    assert collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", N)]
    collection.check_invariants()


@pytest.mark.slow
@pytest.mark.parametrize("page", [BOT_CHECK, LOG_IN, TERMS], ids=["bot check", "log-in", "terms"])
def test_a_host_that_redirects_to_a_page_at_another_host_is_left_alone(museum: Museum, tmp_path: Path) -> None:
    n, museum.redirects = 800, True
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", [(k, f"http://{HOST}/{k}.jpg") for k in range(1, n + 1)]))
    gate = museum.connect_to.replace(HOST, GATE)
    download = ("download", "--connect-to", museum.connect_to, "--connect-to", gate, "--max-idle", "1s")
    collection.run(*download, code=75)
    assert museum.n_refused <= 200
    states = dict(collection.rows("SELECT status, count(*) FROM images GROUP BY 1"))
    assert states["success"] == N_GIVEN
    assert "failed_permanent" not in states
    assert ("shut_out",) in collection.rows("SELECT DISTINCT error_type FROM images WHERE status = 'failed_transient'")
    [(why,)] = collection.rows("SELECT blocked_why FROM hosts WHERE host = ?", HOST)
    assert f"to {GATE}: " in str(why)
    assert f"`hosts resume {HOST} {GATE}`" in " ".join(collection.run("status").split())
    museum.redirects, museum.is_open = False, True
    collection.run("hosts", "resume", HOST, GATE)
    n_refused = museum.n_refused
    collection.run(*download, code=(0, 75))  # what was redirected before waits at the other host, whose page is still there
    assert museum.n_refused == n_refused
    left = sum(m for status, m in collection.rows("SELECT status, count(*) FROM images GROUP BY 1") if status != "success")
    assert left <= 200
    collection.check_invariants()
