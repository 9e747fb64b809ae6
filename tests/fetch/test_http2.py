"""The fetcher against a server that speaks HTTP/2: how many connections it takes, and what becomes of streams that go wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pycurl
import pytest

from d4c_images.fetch import Connections, Fetcher, Request
from d4c_images.model import FetchOptions, Limits, OwnCode, Reply
from tests.fetch.test_fetch import Memory, wait_for

PROJECT = Path(__file__).parents[2]
N = 12


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FetchOptions]:
    """How to reach the server, which lives as long as the module's tests."""
    cacert = tmp_path_factory.mktemp("http2") / "ca.pem"
    command = [sys.executable, "-m", "tests.publishers.http2", str(cacert)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        yield FetchOptions(Limits(connect_s=4.0, stall_s=5.0), connect_to=(f"::127.0.0.1:{port}",), cacert=cacert)
        server.terminate()


@pytest.fixture
def fetcher(options: FetchOptions) -> Iterator[Fetcher]:
    made = Fetcher(options)
    yield made
    made.close()


def get(fetcher: Fetcher, connections: Connections, *names: str, most: int = 4) -> list[Reply]:
    """Ask for all of them, never more than `most` at once."""
    replies: list[Reply] = []
    waiting = [Request(f"https://two.example/{name}/{number}.jpg", Memory()) for number, name in enumerate(names)]
    n_out = 0
    while len(replies) < len(names):
        while waiting and n_out < most:
            connections.start(waiting.pop(0))
            n_out += 1
        came = [reply for _, reply in wait_for(fetcher)]
        n_out -= len(came)
        replies += came
    return replies


def seen(options: FetchOptions) -> dict[str, int]:
    sink = Memory()
    fetcher = Fetcher(options)
    connections = fetcher.connections(1)
    connections.start(Request("https://two.example/counters", sink))
    wait_for(fetcher)
    fetcher.close()
    return dict(json.loads(sink.body))


def test_http2_is_spoken_where_it_is_offered(fetcher: Fetcher, options: FetchOptions) -> None:
    assert "nghttp2" in pycurl.version
    connections = fetcher.connections(4)
    before = seen(options)
    assert {reply.code for reply in get(fetcher, connections, *["slow"] * N)} == {200}
    after = seen(options)
    assert after["connections"] - before["connections"] - 1 <= 4, "what is not known yet may take a connection each"
    assert after["streams_max"] <= 4
    connections.close()


def test_requests_share_one_connection_once_it_is_known(fetcher: Fetcher, options: FetchOptions) -> None:
    """As many requests at once as a turn allows, however few connections they take."""
    first = fetcher.connections(1)
    get(fetcher, first, "ok", most=1)
    first.close()
    before = seen(options)
    connections = fetcher.connections(4)
    assert {reply.code for reply in get(fetcher, connections, *["slow"] * N)} == {200}
    after = seen(options)
    assert after["connections"] - before["connections"] - 1 == 1, "and the one that asks for the counters"
    assert after["streams_max"] == 4
    connections.close()


@pytest.mark.parametrize("evil", ["refused", "reset", "goaway", "gone"])
def test_what_goes_wrong_with_a_stream_is_a_broken_connection(fetcher: Fetcher, evil: str) -> None:
    connections = fetcher.connections(2)
    (reply,) = get(fetcher, connections, evil)
    assert (reply.code, bool(reply.path)) == (OwnCode.BROKEN, evil in ("reset", "goaway")), reply.error
    assert {reply.code for reply in get(fetcher, connections, "ok", "ok")} == {200}, "and the next ones are well"
    connections.close()
