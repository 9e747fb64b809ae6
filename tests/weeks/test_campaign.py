"""The rehearsal of weeks: its books see what is broken, its clock is everybody's, and a small one of it ends well."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.program import PROJECT
from tests.weeks import plan
from tests.weeks.books import Book, Terms
from tests.weeks.campaign import SITE, Servers
from tests.weeks.clock import FILE, Clock
from tests.weeks.plan import Host, Kind

SEED = 11


def broken(book: Book) -> list[str]:
    return [one.what for one in book.reported]


@pytest.mark.parametrize(("at", "is_early"), [(100.001, True), (159.999, True), (160.0, False), (161.0, False)])
def test_a_wait_holds_to_its_end(at: float, is_early: bool) -> None:
    book = Book(Terms(connections=1, on_its_way_s=10.0))
    book.asked(99.0, "a")
    book.named(100.0, 160.0, "h", "503", n_open=1)
    book.asked(at, "b")
    assert broken(book) == ["wait"] * is_early


def test_what_was_on_its_way_is_no_breach() -> None:
    book = Book(Terms(connections=2, on_its_way_s=10.0))
    book.named(100.0, 160.0, "h", "503", n_open=2)
    book.asked(109.0, "sent before the answer was read")
    assert broken(book) == []
    book.asked(111.0, "sent after it")
    assert broken(book) == ["wait"]


def test_a_shorter_wait_does_not_end_a_longer_one() -> None:
    book = Book(Terms(connections=1))
    book.named(100.0, 160.0, "h", "503", n_open=1)
    book.named(101.0, 103.0, "h", "503", n_open=1)
    book.asked(104.0, "a")
    assert broken(book) == ["wait"]


def test_what_died_with_its_reader_is_forgotten() -> None:
    book = Book(Terms(connections=1))
    book.named(100.0, 160.0, "h", "long ago", n_open=1)
    book.named(140.0, 190.0, "i", "read by one who was killed at 141", n_open=1)
    book.forget(since=135.0, noted={"h": 160.0})
    book.asked(165.0, "a")
    assert broken(book) == []
    assert book.n_forgotten == 1


def test_what_is_written_down_outlives_its_reader() -> None:
    """Also if it was cut to whole seconds: then one who goes by it is early."""
    book = Book(Terms(connections=1))
    book.named(100.0, 160.7, "h", "503", n_open=1)
    book.forget(since=90.0, noted={"h": 160.0})
    book.asked(160.2, "a")
    assert broken(book) == ["wait"]
    assert "0.50 s early" in book.reported[0].text


def test_distances_are_looked_at_in_a_row() -> None:
    """One may be less by as much as arrivals differ, but that does not add up."""
    book = Book(Terms(connections=1, min_interval_s=20.0, jitter_s=5.0))
    for at in (0.0, 24.0, 40.0, 60.0, 84.0, 100.0):
        book.asked(at, "late by up to 4 s")
    assert broken(book) == []
    book = Book(Terms(connections=1, min_interval_s=20.0, jitter_s=5.0))
    for number in range(5):
        book.asked(18.0 * number, "too fast")
    assert broken(book) == ["interval"] * 2
    assert "4 requests in 54.00 s" in book.reported[0].text


def test_connections_are_counted() -> None:
    book = Book(Terms(connections=2))
    book.connected(1.0, 2, "a")
    assert broken(book) == []
    book.connected(2.0, 3, "b")
    assert broken(book) == ["connections"]
    assert book.most_connections == 3


def test_a_seed_makes_the_same_hosts() -> None:
    size = plan.Size(hosts=100, images=5_000, busy_s=3600.0, long_wait_s=300, work_s=60.0)
    hosts = plan.hosts(size, random.Random(SEED))
    assert hosts == plan.hosts(size, random.Random(SEED))
    assert hosts != plan.hosts(size, random.Random(SEED + 1))
    assert Counter(host.kind for host in hosts).keys() == set(Kind)
    assert any(host.group for host in hosts)


@pytest.mark.parametrize("seed", range(20))
def test_a_small_one_has_every_kind_of_host(seed: int) -> None:
    hosts = plan.hosts(plan.Size(hosts=20, images=500, busy_s=240.0, long_wait_s=200, work_s=15.0), random.Random(seed))
    assert {host.kind for host in hosts} == set(Kind)
    assert all(host.images > host.door_after for host in hosts if host.kind in (Kind.DOOR, Kind.NEVER))


def test_the_clock_is_put_forward_for_all_and_jumps_for_the_program_alone(tmp_path: Path) -> None:
    clock = Clock.make(tmp_path / "clock", speed=1000.0)
    other = Clock(tmp_path / "clock")
    began_at = time.monotonic()
    before = clock.monotonic()
    clock.put_forward(1e6)
    after = other.monotonic()
    assert before + 1e6 <= after <= before + 1e6 + 1000.0 * (time.monotonic() - began_at) + 0.01
    before = clock.true_time()
    clock.jump(3600.0)
    assert before + 3600.0 <= other.time() <= clock.true_time() + 3600.0
    before = clock.monotonic()
    assert before - 0.01 <= other.monotonic_at(other.true_time()) <= clock.monotonic() + 0.01


def test_the_program_goes_by_that_clock(tmp_path: Path) -> None:
    """In a process that is started as the program is; libcurl's timers go by the machine's."""
    clock = Clock.make(tmp_path / "clock", speed=1.0)
    clock.put_forward(1e6)
    clock.jump(1e5)
    code = (
        "import json, time; from datetime import datetime;"
        "own = eval('time.monotonic()', {'time': time, '__name__': 'd4c_images.fetch.loop'});"
        "print(json.dumps([time.monotonic(), time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), own]))"
    )
    environ = os.environ | {FILE: str(tmp_path / "clock"), "PYTHONPATH": f"{SITE}{os.pathsep}{PROJECT}"}
    before = clock.monotonic(), clock.time()
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    monotonic, unix, boottime, own = json.loads(done.stdout)
    assert before[0] <= monotonic <= boottime <= clock.monotonic()
    assert before[1] <= unix <= clock.time()
    assert own <= time.monotonic()


def test_the_servers_see_who_is_rude(tmp_path: Path) -> None:
    """Over real sockets: asked again too early, with a second connection, and after a reader's death."""
    host = Host("rude.example", Kind.SECONDS, images=10, latency_s=0.0, every=2, wait_s=600, first_wait_s=600)
    (tmp_path / "plan.json").write_text(json.dumps([asdict(host)]))
    Clock.make(tmp_path / "clock", speed=1.0)
    servers = Servers(tmp_path / "plan.json", tmp_path / "clock")
    with closing(servers), closing(HTTPConnection("127.0.0.1", servers.port)) as one:

        def ask(connection: HTTPConnection) -> int:
            connection.request("GET", "/images/1.jpg", headers={"Host": host.name})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        assert [ask(one), ask(one)] == [200, 503]
        assert servers.call("books")["n_broken"] == {}
        assert ask(one) == 200
        assert servers.call("books")["n_broken"] == {"wait": 1}
        servers.call("forget", [3600.0, {}])
        with closing(HTTPConnection("127.0.0.1", servers.port)) as other:
            ask(other)
        assert servers.call("books")["n_broken"] == {"wait": 1, "connections": 1}
        one.close()
        with closing(HTTPConnection("127.0.0.1", servers.port)) as other:
            servers.call("forget", [3600.0, {}])
            ask(other)
        assert servers.call("books")["n_broken"] == {"wait": 1, "connections": 1}


@pytest.mark.slow
def test_a_small_rehearsal_ends_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.weeks", "--quick", "--seed", str(SEED)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["campaign"], figures["waits_broken"], figures["limits_broken"]) == ("weeks", 0, 0)
