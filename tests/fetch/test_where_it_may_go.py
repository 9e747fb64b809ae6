"""Which addresses a URL from an archive may lead to. No packet is sent to a refused address: sockets are counted."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pycurl
import pytest

from d4c_images.fetch import Fetcher, Request, route
from d4c_images.fetch.addresses import why_not_public, why_not_public_host
from d4c_images.fetch.proxies import Proxies
from d4c_images.fetch.route import ConnectTo, Route, Routes
from d4c_images.fetch.urls import host_of, requestable
from d4c_images.model import ErrorType, FetchOptions, Limits, OwnCode, Reply, Status
from d4c_images.policy.judge import CodePolicy, judge
from tests.fetch.test_fetch import Memory, wait_for
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia, reach
from tests.support.scripted import Scripted, answer

NOT_PUBLIC = {
    "unspecified": ("0.0.0.0", "0.0.0.1", "0.255.255.255", "::"),
    "private": ("10.0.0.0", "10.1.2.3", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255",
                "fc00::", "fd12:3456::1", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::1"),
    "shared": ("100.64.0.0", "100.100.100.200", "100.127.255.255"),
    "loopback": ("127.0.0.0", "127.0.0.1", "127.1.2.3", "127.255.255.255", "::1"),
    "link-local": ("169.254.0.0", "169.254.169.254", "169.254.255.255", "fe80::1", "fe80::1%eth0", "febf::1"),
    "documentation": ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"),
    "benchmarking": ("198.18.0.1", "198.19.255.255"),
    "6to4 relay": ("192.88.99.1",),
    "multicast": ("224.0.0.1", "239.255.255.255", "ff02::1"),
    "reserved": ("192.0.0.1", "240.0.0.1", "255.255.255.255", "100::1", "4000::1", "5f00::1", "1::", "2001:2::1", "2001:20::1"),
    "IPv4-mapped": ("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:a01:203"),
    "IPv4-compatible": ("::2", "::127.0.0.1", "::8.8.8.8"),
    "IPv4-translated": ("::ffff:0:127.0.0.1", "64:ff9b:1::127.0.0.1", "64:ff9b:1:ffff::808:808"),
    "IPv4-translated, loopback": ("64:ff9b::127.0.0.1", "64:ff9b::7f00:1"),
    "IPv4-translated, link-local": ("64:ff9b::169.254.169.254",),
    "IPv4-translated, private": ("64:ff9b::10.1.2.3", "64:ff9b::c0a8:1"),
    "6to4": ("2002:7f00:1::", "2002:a01:203::1", "2002:808:808::1"),
    "Teredo": ("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    "unknown": ("", "localhost", "1.2.3", "/run/socket", "::1::"),
}  # fmt: skip
PUBLIC = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "131.130.131.9", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
    "191.255.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2000::1", "2001:200::1",
    "2001:4860:4860::8888", "2a00:1450:4001:81b::2003",
    "2003::1", "2606:2800:220:1:248:1893:25c8:1946", "3ffe::1",
    "64:ff9b::8.8.8.8",  # what DNS64 makes of every public IPv4 address
)  # fmt: skip


@pytest.mark.parametrize("kind", NOT_PUBLIC)
def test_addresses_that_are_not_public_are_named_by_kind(kind: str) -> None:
    assert {address: why_not_public(address) for address in NOT_PUBLIC[kind]} == dict.fromkeys(NOT_PUBLIC[kind], kind)


def test_public_addresses_may_be_asked() -> None:
    assert {address: why_not_public(address) for address in PUBLIC} == dict.fromkeys(PUBLIC)


SPELLINGS = {
    "loopback": (
        "127.0.0.1", "127.0.0.1.", "2130706433", "0x7f000001", "0X7F.1", "0x7f.0.0.1", "017700000001", "0177.0.0.01", "127.1",
        "127.0.1", "127.0x0.1", "127.0.0.1:8080", "me@127.0.0.1", "example.org@127.0.0.1", "example.org:80@127.0.0.1",
        "１２７.0.0.1", "127。0。0。1", "127．1", "①②⑦.1",
        "[::1]", "[0:0:0:0:0:0:0:1]", "[::1]:8080", "localhost", "LOCALHOST.", "a.localhost",
    ),
    "link-local": ("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.16689662", "[fe80::1]"),
    "private": ("10.1.2.3", "167838211", "012.1.2.3", "10.66051", "192.168.1.1", "3232235777", "172.16.0.1", "[fd00::1]"),
    "shared": ("100.64.0.1", "1681915905"),
    "unspecified": ("0", "0.0.0.0", "0x0", "[::]"),
    "IPv4-mapped": ("[::ffff:127.0.0.1]", "[::FFFF:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:8.8.8.8]"),
    "IPv4-translated, loopback": ("[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]"),
    "IPv4-translated": ("[64:ff9b::8.8.8.8]", "[64:ff9b:1::7f00:1]"),
    "multicast": ("224.0.0.1", "[ff02::1]"),
    "reserved": ("255.255.255.255", "4294967295"),
    None: (
        "example.org", "8.8.8.8", "134744072", "[2001:4860:4860::8888]", "1.2.3.4.5", "localhost.example.org", "mylocalhost",
        "[1:2]", "127.0.0.1.example.org", "10.example.org", "deadbeef.example.org", "face.org",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPELLINGS)
def test_any_spelling_of_an_address_in_a_url(kind: str | None) -> None:
    """As a URL gets there: by the same function that reads its host for the ledger."""
    hosts = {spelling: host_of(f"http://{spelling}/1.jpg") for spelling in SPELLINGS[kind]}
    assert None not in hosts.values()
    assert {one: why_not_public_host(host or "") for one, host in hosts.items()} == dict.fromkeys(hosts, kind)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://example.org\\@127.0.0.1/1.jpg", "http://example.org/%5C@127.0.0.1/1.jpg"),
        ("http://example.org&#47;@127.0.0.1/1.jpg", "http://example.org/@127.0.0.1/1.jpg"),
        ("//127.0.0.1/1.jpg", "https://127.0.0.1/1.jpg"),
        ("http://%31%32%37.0.0.1/1.jpg", None),
        ("http://127.0.0.1%00.example.org/1.jpg", None),
        ("HTTP://Example.org:80/a\\b?c=d&e=[1]", "HTTP://Example.org:80/a\\b?c=d&e=[1]"),
        ("https://me:pass@example.org?x", "https://me:pass@example.org?x"),
    ],
)
def test_libcurl_and_we_read_the_same_host(url: str, asked: str | None) -> None:
    assert requestable(url) == asked


# Routes ----------------------------------------------------------------------------------------------------------------------
HERE = Proxies.of({"http_proxy": "http://127.0.0.1:3128", "https_proxy": "http://127.0.0.1:3128", "no_proxy": "direct.example"})


@pytest.mark.parametrize(
    ("connect_to", "proxies", "url", "expected"),
    [
        ((), Proxies(), "http://example.org/", Route()),
        ((), HERE, "http://example.org/", Route(None, "http://127.0.0.1:3128", is_trusted=True)),
        ((), HERE, "http://a.direct.example/", Route()),
        (("::127.0.0.1:77",), Proxies(), "https://example.org/", Route("::127.0.0.1:77", is_trusted=True)),
        (("a.org:80:[::1]:77",), Proxies(), "http://A.org/", Route("::[::1]:77", is_trusted=True)),
        (("a.org:80:[::1]:77",), Proxies(), "https://a.org/", Route()),
        (("a.org:8080:localhost:",), Proxies(), "https://a.org:8080/", Route("::localhost:", is_trusted=True)),
        (("nonsense", "b.org::x:1", "a.org:80::77", "::y:1"), Proxies(), "http://a.org/", Route(":::77")),  # its own address
        (("10.1.2.3:80:127.0.0.1:77",), Proxies(), "http://10.1.2.3/", Route("::127.0.0.1:77", is_trusted=True)),
        (("[::1]:80:127.0.0.1:77",), Proxies(), "http://[::1]/", Route("::127.0.0.1:77", is_trusted=True)),
        ((":80:127.0.0.1:77",), HERE, "https://x.direct.example/", Route()),
    ],
)  # fmt: skip
def test_what_the_operator_has_set_is_trusted_and_nothing_else(
    connect_to: tuple[str, ...], proxies: Proxies, url: str, expected: Route
) -> None:
    assert Routes(FetchOptions(connect_to=connect_to), proxies).of(url) == expected


@pytest.mark.parametrize("url", ["http://10.1.2.3/", "https://localhost/", "http://[::1]:8080/", "http://0x7f.1/"])
def test_a_url_that_spells_such_an_address_is_refused_whatever_the_way(url: str) -> None:
    """A proxy, or a rule for all hosts, says nothing of this address."""
    for connect_to, proxies in (((), Proxies()), ((), HERE), (("::127.0.0.1:77",), Proxies()), ((":80::77",), HERE)):
        refusal = Routes(FetchOptions(connect_to=connect_to), proxies).of(url).refusal
        assert refusal is not None
        assert "--allow-private-hosts" in refusal
        allowed = Routes(FetchOptions(connect_to=connect_to, allow_private_hosts=True), proxies).of(url)
        assert (allowed.refusal, allowed.is_trusted) == (None, True)


def test_entries_that_curl_passes_over_are_passed_over() -> None:
    assert ConnectTo.read("foo") is None
    assert ConnectTo.read("a.org:80:b.org") == ("a.org", "80", "b.org", "")


PROXY, PROXY_PORT = "http://127.0.0.1:7777", 7777
PROXY_NAMES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")
SPARED = (
    "*", " *", "a.org,*", "*.a.org", "a.org", ".a.org", "a.org.", "A.ORG", "org", "x.a.org", "a.org:80",
    "b.org a.org", "b.org , a.org", ",a.org", ".", ",", "10.0.0.0/8", "10.2.3.4", "10.2.3.4/32",
    "10.2.3.5/8", "10.0.0.0/33", "0.0.0.0/0", "::1", "[::1]", "::/0", "::1/64",
)  # fmt: skip
ENVIRONMENTS = (
    *({name: PROXY} for name in PROXY_NAMES[:6]),
    {"http_proxy": "", "all_proxy": PROXY},
    {"all_proxy": PROXY, "no_proxy": "", "NO_PROXY": "a.org"},
    *({"all_proxy": PROXY, "no_proxy": spared} for spared in SPARED),
)


@pytest.mark.parametrize("variables", ENVIRONMENTS, ids=str)
def test_proxies_are_chosen_as_libcurl_does(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first socket that libcurl asks for, by the same variables, is one to the proxy or not. It gets none."""
    for name in PROXY_NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    hosts = [(scheme, host) for scheme in ("http", "https") for host in ("a.org", "x.a.org", "ba.org", "10.2.3.4", "[::1]")]
    ours = {(scheme, host): Proxies.of(variables).proxy(scheme, host) for scheme, host in hosts}
    assert ours == {(scheme, host): PROXY if first_port(scheme, host) == PROXY_PORT else "" for scheme, host in hosts}


def first_port(scheme: str, host: str) -> int:
    port: int = first_address(f"{scheme}://{host}", ())[1]
    return port


CONNECT_TO = (
    ("a.org:80:b.org:77",), ("A.org:80:b.org:77",), ("a.org:443:b.org:77",), ("a.org::b.org:",),
    ("a.org:80::77",), ("::b.org:",), (":::77",), ("[::1]::10.9.9.9:", ":80:b.org:6"),
    ("b.org:80:b.org:1", "a.org:80:b.org:2", "::b.org:3"), ("a.org:80::", "::b.org:3"), ("::[::1]:9",),
    ("[::1]:80:b.org:5",), ("a.org:80:b.org",), ("10.2.3.4:8080:b.org:7",),
)  # fmt: skip


@pytest.mark.parametrize("entries", CONNECT_TO, ids=" ".join)
def test_connect_to_leads_where_libcurl_would_be_led(entries: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_NAMES:
        monkeypatch.delenv(name, raising=False)
    for url in ("http://a.org", "https://a.org", "http://a.org:8080", "http://[::1]", "http://10.2.3.4:8080", "http://x.a.org:77"):
        own = Routes(FetchOptions(connect_to=entries, allow_private_hosts=True), Proxies()).of(url).connect_to
        assert first_address(url, () if own is None else (own,)) == first_address(url, entries)


def first_address(url: str, connect_to: tuple[str, ...]) -> tuple[Any, ...]:
    """Of the socket that libcurl asks for first. It gets none."""
    addresses: list[tuple[Any, ...]] = []

    def refuse(purpose: int, address: route.Address) -> int:
        addresses.append(address.addr)
        return int(pycurl.SOCKET_BAD)

    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.CONNECT_TO, list(connect_to))
    ports = (80, 443, 8080, *range(1, 8), 77)
    names = {"a.org": "127.0.0.1", "x.a.org": "127.0.0.2", "ba.org": "127.0.0.3", "b.org": "127.0.0.4"}
    curl.setopt(pycurl.RESOLVE, [f"{name}:{port}:{address}" for name, address in names.items() for port in ports])
    curl.setopt(pycurl.OPENSOCKETFUNCTION, refuse)
    with pytest.raises(pycurl.error):
        curl.perform()
    curl.close()
    return addresses[0]


# The hook --------------------------------------------------------------------------------------------------------------------
class Sink:
    path = Path("/sink")

    def __init__(self) -> None:
        self.body = bytearray()

    def write(self, body: bytes, /) -> None:
        self.body += body

    def abort(self) -> None:
        self.body.clear()


class Knowing:
    """A fetcher to which names lead where a test says, and the sockets that it has opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.opened: list[tuple[Any, ...]] = []
        self.fetcher = Fetcher(FetchOptions(Limits(connect_s=4.0), **options))
        opened, lent = self.opened, route._Lent

        class Counted(lent):
            def __init__(self, *how: Any) -> None:
                opened.append(how)
                super().__init__(*how)

        monkeypatch.setattr(route, "_Lent", Counted)

    def get(self, url: str, *addresses: str) -> Reply:
        """Over a connection of its own; `addresses` are what the URL's name leads to at this moment."""
        transfer = self.fetcher.transfer()
        host = host_of(url) or ""
        name = host if ":" in host else f"{host}:80"
        transfer.curl.setopt(pycurl.RESOLVE, [f"-{name}", f"{name}:{','.join(addresses)}"] if addresses else [])
        self.fetcher.spare(transfer)
        connections = self.fetcher.connections(1)
        connections.start(Request(url, Sink()))
        end_at, reply = time.monotonic() + PATIENCE_S, None
        while reply is None:
            assert time.monotonic() < end_at
            reply = next((reply for _, reply in self.fetcher.poll(0.2)), None)
        connections.close()
        return reply


@pytest.fixture
def knowing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Knowing]:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Knowing(monkeypatch)
    yield made
    made.fetcher.close()


@pytest.mark.parametrize(
    "addresses",
    [
        ("10.1.2.3",), ("127.0.0.1",), ("169.254.169.254",), ("100.64.0.1",), ("0.0.0.0",), ("[::1]",), ("[::ffff:127.0.0.1]",),
        ("[64:ff9b::7f00:1]",), ("[2002:7f00:1::]",), ("[fd00::1]", "10.1.2.3"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_name_that_leads_there_is_refused_before_a_socket_is_opened(knowing: Knowing, addresses: tuple[str, ...]) -> None:
    reply = knowing.get("http://museum.test/1.jpg", *addresses)
    assert (reply.code, knowing.opened) == (OwnCode.PRIVATE_ADDRESS, [])
    assert reply.error
    assert all(address.strip("[]") in reply.error for address in addresses)
    assert "--allow-private-hosts" in reply.error
    verdict = judge(reply, CodePolicy(), 0.0)
    assert (verdict.status, verdict.error_type) == (Status.FAILED_PERMANENT, ErrorType.PRIVATE_ADDRESS)
    assert not verdict.host_trouble
    assert not verdict.unreachable


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://2130706433/", "http://[::1]/", "https://localhost/", "http://0177.1/"]
)
def test_an_address_in_a_url_is_refused_before_a_socket_is_opened(knowing: Knowing, url: str) -> None:
    assert (knowing.get(url).code, knowing.opened) == (OwnCode.PRIVATE_ADDRESS, [])


def test_each_connection_is_looked_at_and_not_the_name(
    knowing: Knowing, publishers: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that led to a public address a moment ago. For the test, 127.0.0.1 is taken for one."""
    monkeypatch.setattr(route, "why_not_public", lambda address: None if address == "127.0.0.1" else why_not_public(address))
    url = f"http://museum.test:{publishers.port}/counters"
    assert knowing.get(url, "127.0.0.1").code == 200
    assert len(knowing.opened) == 1
    assert knowing.get(url, "10.1.2.3").code == OwnCode.PRIVATE_ADDRESS
    assert len(knowing.opened) == 1
    assert knowing.get(url, "[::1]", "127.0.0.1").code == 200, "of its addresses those are asked that may be"
    assert len(knowing.opened) == 2


def test_a_public_address_that_does_not_answer_is_no_refusal(knowing: Knowing, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may answer tomorrow, whatever the other addresses are."""
    monkeypatch.setattr(route, "why_not_public", lambda address: None if address == "127.0.0.1" else why_not_public(address))
    assert knowing.get("http://museum.test:9/1.jpg", "127.0.0.1", "[::1]").code == OwnCode.CONNECT
    assert len(knowing.opened) == 1


def test_no_variable_of_the_environment_gets_past_the_route(
    monkeypatch: pytest.MonkeyPatch, publishers: Publishers, knowing: Knowing
) -> None:
    """libcurl would read these anew at each request, and connect to a proxy or directly without our knowing."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{publishers.port}")
    assert knowing.get("http://museum.test/1.jpg", "10.1.2.3").code == OwnCode.PRIVATE_ADDRESS
    proxied = Knowing(monkeypatch)
    monkeypatch.setenv("no_proxy", "*")
    assert proxied.get("http://museum.test/1.jpg", "10.1.2.3").code == 200
    proxied.fetcher.close()


def test_with_the_switch_it_is_asked(monkeypatch: pytest.MonkeyPatch, publishers: Publishers) -> None:
    allowing = Knowing(monkeypatch, allow_private_hosts=True)
    assert allowing.get(f"http://127.0.0.1:{publishers.port}/counters").code == 200
    allowing.fetcher.close()


def test_no_file_stays_open(monkeypatch: pytest.MonkeyPatch, publishers: Publishers) -> None:
    """libcurl takes a copy of the socket that it is given."""
    allowing = Knowing(monkeypatch, allow_private_hosts=True)
    url = f"http://127.0.0.1:{publishers.port}/counters"
    assert allowing.get(url).code == 200
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        assert allowing.get(url).code == 200
    assert len(allowing.opened) == 6
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    allowing.fetcher.close()


# The program -----------------------------------------------------------------------------------------------------------------
ROWS = [
    (1, "http://good.example.org/1.jpg"),
    (2, "http://redirect.example.org/2.jpg"),
    (3, "http://10.1.2.3/3.jpg"),
    (4, "http://2852039166/latest/meta-data/"),
    (5, "http://[::ffff:127.0.0.1]/5.jpg"),
]


@pytest.mark.slow
def test_what_would_lead_there_fails_for_good_and_nothing_of_an_answer_is_kept(tmp_path: Path, publishers: Publishers) -> None:
    """Also over a redirect, and with its own reason."""
    publishers.behave("redirect.example.org=redirect_to_host:10.1.2.3")
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", ROWS))
    collection.run("download", *reach(publishers))
    rows = collection.rows("SELECT gbif_id, status, error_type, http_status, file_path IS NULL FROM images ORDER BY 1")
    refused = [(gbif_id, "failed_permanent", "private_address", -14, 1) for gbif_id in (2, 3, 4, 5)]
    assert rows == [(1, "success", None, 200, 0), *refused]
    details = collection.rows("SELECT error_detail FROM images WHERE error_type = 'private_address'")
    assert all("--allow-private-hosts" in str(detail) for (detail,) in details)
    asked = collection.rows("SELECT host FROM hosts WHERE n_requests > 0 ORDER BY 1")
    assert asked == [("good.example.org",), ("redirect.example.org",)]
    hosts = publishers.counters()["hosts"]
    assert sorted(hosts) == ["good.example.org", "redirect.example.org"]
    collection.check_invariants()


@pytest.mark.slow
def test_many_images_of_a_host_that_nobody_asks_are_done_in_few_turns(tmp_path: Path) -> None:
    """It has not answered, and never will: two images a turn would take hours for a million."""
    collection = Collection(tmp_path)
    rows = [(7_100_000_000 + n, f"http://10.1.2.3/{n}.jpg") for n in range(2_000)]
    collection.load(multimedia(tmp_path / "multimedia.txt", rows))
    collection.run("download")
    assert collection.rows("SELECT error_type, count(*) FROM images GROUP BY 1") == [("private_address", 2_000)]
    assert collection.rows("SELECT seq FROM sqlite_sequence WHERE name = 'leases'")[0][0] < 100


@pytest.mark.slow
@pytest.mark.parametrize("word", ["option", "environment"])
def test_the_operator_may_open_it(tmp_path: Path, publishers: Publishers, word: str) -> None:
    """And `--retry-failed` brings back what was refused before. The server has no image of that name, but it was asked."""
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", [(1, f"http://127.0.0.1:{publishers.port}/1.jpg")]))
    collection.run("download")
    assert collection.rows("SELECT error_type FROM images") == [("private_address",)]
    if word == "environment":
        (tmp_path / ".env").write_text("D4C_ALLOW_PRIVATE_HOSTS=yes\n")
    options = ["--allow-private-hosts"] if word == "option" else []
    collection.run("download", "--retry-failed", *options)
    assert collection.rows("SELECT error_type FROM images") == [("http_404",)]


def test_a_proxy_need_not_be_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password, mostly."""
    for name in PROXY_NAMES:
        monkeypatch.delenv(name, raising=False)
    with Scripted(lambda asked: answer(404)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://jörg:geheim%C3%9F@{proxy.connect_to.removeprefix('::')}")
        fetcher = Fetcher(FetchOptions())
        connections = fetcher.connections(1)
        connections.start(Request("http://example.org/1.jpg", Memory()))
        ((_, reply),) = wait_for(fetcher)
        connections.close()
        fetcher.close()
    assert reply.code == 404
    assert proxy.asked[0].headers["proxy-authorization"] == f"Basic {b64encode('jörg:geheimß'.encode()).decode()}"
