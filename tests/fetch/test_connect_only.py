"""Connections without a request: by the route of a download, and never where it would not go."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from d4c_images.fetch.connect_only import connect
from d4c_images.model import FetchOptions, Limits, OwnCode
from tests.publishers.client import Publishers
from tests.support import no_network

SOON = Limits(connect_s=0.3)
LAST = b"nobody comes any more"


@contextmanager
def door() -> Iterator[tuple[int, list[bytes]]]:
    """A port that takes connections and says nothing, and what it was sent by each of them."""
    sent: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def take() -> None:
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(5)
                    said = connection.recv(1 << 16)
                if said == LAST:
                    return
                sent.append(said)

        thread = threading.Thread(target=take)
        thread.start()
        address = listening.getsockname()
        yield address[1], sent
        with socket.create_connection(address) as last:  # behind all that are still waiting to be taken
            last.sendall(LAST)
        thread.join()


def test_a_host_is_reached_and_verified_without_a_request(publishers: Publishers) -> None:
    options = FetchOptions(connect_to=(publishers.connect_to,), cacert=publishers.cacert)
    found = connect(["a.example.org", "b.example.org:8443"], options)
    assert [(one.host, one.code) for one in found] == [("a.example.org", None), ("b.example.org:8443", None)]
    assert publishers.counters()["hosts"] == {}


def test_a_certificate_that_cannot_be_verified_is_no_lost_host(publishers: Publishers) -> None:
    (found,) = connect(["a.example.org"], FetchOptions(connect_to=(publishers.connect_to,)))
    assert found.code == OwnCode.TLS
    assert "certificate" in found.detail


def test_a_host_without_tls_is_reached_by_its_other_port() -> None:
    with door() as (port, sent):
        (found,) = connect([f"a.example.org:{port}"], FetchOptions(SOON, connect_to=(f"::127.0.0.1:{port}",)))
    assert found.code is None
    assert [part[:1] for part in sent] == [b"\x16", b""], "the beginning of TLS, then nothing: no request"


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    (found,) = connect(["a.example.org"], FetchOptions(SOON, connect_to=(f"::127.0.0.1:{port}",)))
    assert found.code == OwnCode.CONNECT


def test_a_name_that_nobody_knows() -> None:
    found = connect(no_network.HOSTS[:2], FetchOptions())
    assert [one.code for one in found] == [OwnCode.DNS] * 2
    assert found[0].detail == "Could not resolve host: h0.invalid"


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "localhost"])
def test_no_address_that_is_not_public(host: str) -> None:
    with door() as (port, sent):
        (found,) = connect([f"{host}:{port}"], FetchOptions())
        assert found.code == OwnCode.PRIVATE_ADDRESS
        assert connect([f"{host}:{port}"], FetchOptions(SOON, allow_private_hosts=True))[0].code is None
    assert len(sent) == 2, "only those that were allowed"


def test_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with door() as (port, sent):
        monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{port}")
        (found,) = connect(["a.example.org"], FetchOptions(SOON))
    assert found.by_proxy
    assert found.code is not None, "that a proxy is there proves nothing"
    assert [line.split(b"\r\n")[0] for line in sent] == [b"CONNECT a.example.org:443 HTTP/1.1"]


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://proxy.invalid:3128")
    (found,) = connect(["a.example.org"], FetchOptions())
    assert (found.code, found.by_proxy) == (OwnCode.CONNECT, True)
    assert found.detail == "Could not resolve proxy: proxy.invalid"
