"""The `download` command as its users meet it: signals, deadlines, limits, other runs, hosts that ask for a wait."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from tests.notify.test_notify import FakeSlack
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia, reach
from tests.support.sweep import thinned

Make = Callable[..., Collection]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A collection with n images at each of the hosts."""

    def collection(n: int, *hosts: str) -> Collection:
        made = Collection(tmp_path)
        rows = [(8_000_000_000 + n * h + i, f"http://{host}/photos/{i}.jpg") for h, host in enumerate(hosts) for i in range(n)]
        made.load(multimedia(tmp_path / "multimedia.txt", rows))
        return made

    return collection


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


def counts(collection: Collection) -> dict[object, object]:
    return dict(collection.rows("SELECT status, count(*) FROM images GROUP BY 1"))


def test_a_run_stores_every_image_with_one_request_each(make: Make, publishers: Publishers) -> None:
    collection = make(20, "a.example.org", "b.example.org")
    output = collection.run("download", *reach(publishers), "--processes", 1)
    assert "nothing left to do; 40 images stored" in output
    collection.check_invariants()
    assert counts(collection) == {"success": 40}
    assert collection.rows("SELECT status, n_images, n_success, count(*) FROM gbif_ids GROUP BY 1, 2, 3") == [("done", 1, 1, 40)]
    assert (collection.root / "800/000/8000000000-00.jpg").is_file()
    assert "0 images stored" in collection.run("download", *reach(publishers), "--processes", 1), "a second run has nothing to do"
    assert publishers.counters()["requests"] == 40


@pytest.mark.slow
def test_what_is_left_at_the_end_are_the_images_that_a_host_cannot_give(make: Make, publishers: Publishers) -> None:
    """In the end most answers are trouble, by images that fail each time: the host works, and is not blocked for them."""
    publishers.behave("*.example.org=close_mid_body 25%")
    collection = make(100, "a.example.org")
    output = collection.run("download", *reach(publishers), "--retry-wait", "1s", "--max-attempts", 3)
    collection.check_invariants()
    counted = "SELECT sum(status = 'success'), sum(status <> 'success'), sum(attempts) FROM images"
    ((n_stored, n_failed, n_attempts),) = collection.rows(counted)
    assert isinstance(n_stored, int)
    assert isinstance(n_failed, int)
    assert (n_stored + n_failed, n_attempts) == (100, 100 + 2 * n_failed), "each has had its three attempts"
    assert n_failed > 20, "enough to be, with all their attempts, as much trouble as there are pictures"
    assert "is blocked" not in output


@pytest.mark.slow
@pytest.mark.parametrize("number", thinned([signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU], 5))
def test_a_signal_drains_the_run(make: Make, publishers: Publishers, number: int) -> None:
    """Sent to the whole group and twice, as schedulers do."""
    publishers.behave("*.example.org=slow_first_byte:0.2")
    collection = make(500, "a.example.org", "b.example.org")
    process = collection.start("download", *reach(publishers), "--processes", 2)
    assert process.stdout is not None
    for line in process.stdout:
        if " start: " in line:
            break
    wait_until(lambda: publishers.counters()["requests"] >= 8)
    for _ in range(2):
        os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75, output
    assert f" end: {signal.Signals(number).name}; " in output
    assert "press Ctrl-C again" not in output, "nobody is there who could"
    collection.check_invariants()
    found = counts(collection)
    assert set(found) == {"success", "pending"}
    assert found["success"] == publishers.counters()["requests"], "what was in flight ended and was kept"
    assert collection.rows("SELECT count(*) FROM leases") == [(0,)]
    assert collection.rows("SELECT count(*) FROM owner") == [(0,)]


@pytest.mark.slow
def test_a_run_whose_time_is_up_keeps_what_was_in_flight(make: Make, publishers: Publishers) -> None:
    publishers.behave("*.example.org=slow_first_byte:0.2")
    collection = make(200, "a.example.org")
    output = collection.run("download", *reach(publishers), "--for", "1s", code=75)
    assert "the time is up" in output
    assert counts(collection).get("success", 0) == publishers.counters()["requests"] < 200, "what was in flight ended"
    collection.check_invariants()


@pytest.mark.slow
def test_no_longer_than_the_grace(make: Make, publishers: Publishers) -> None:
    """A request that hangs is dropped and costs its image nothing."""
    publishers.behave("*.example.org=hang_mid_body")
    collection = make(3, "a.example.org")
    process = collection.start("download", *reach(publishers), "--grace", "1s", "--timeout", "1h", "--stall-timeout", "1h")
    wait_until(lambda: publishers.counters()["requests"] == 1)  # a host that has not answered yet gets one
    process.terminate()
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75, output
    assert "SIGTERM: finishing 1 request in flight at a.example.org, for up to 1 s\n" in output
    assert "1 s are over: dropping 1 request in flight at a.example.org; the images stay pending, and no attempt is" in output
    assert collection.rows("SELECT status, attempts, count(*) FROM images GROUP BY 1, 2") == [("pending", 0, 3)]
    assert collection.files() == set()
    assert not list(collection.root.rglob(".*.part"))


@pytest.mark.parametrize("limit", ["--limit", "--limit-tries"])
def test_a_run_ends_at_its_limit_and_has_done_what_it_was_asked_for(make: Make, publishers: Publishers, limit: str) -> None:
    collection = make(50, "a.example.org")
    output = collection.run("download", *reach(publishers), limit, 7, "--processes", 1, code=0)
    assert "the limit is reached; 7 images stored" in output
    assert counts(collection) == {"success": 7, "pending": 43}
    assert publishers.counters()["requests"] == 7


@pytest.mark.slow
def test_a_limit_counts_stored_images_and_a_limit_of_tries_all(make: Make, publishers: Publishers) -> None:
    """Of the hosts that are asked, one has nothing."""
    publishers.behave("gone.example.org=http_404")
    collection = make(12, "a.example.org", "gone.example.org")
    output = collection.run("download", *reach(publishers), "--limit", 9, "--processes", 1)
    assert "the limit is reached; 9 images stored" in output
    assert counts(collection)["success"] == 9
    before = publishers.counters()["requests"]
    collection.run("download", *reach(publishers), "--limit-tries", 1, "--processes", 1)
    assert publishers.counters()["requests"] == before + 1


@pytest.mark.slow
def test_a_limit_that_is_not_reached_leaves_work(make: Make, publishers: Publishers) -> None:
    publishers.behave("*.example.org=http_503_seconds:3600")
    collection = make(20, "a.example.org")
    for limit in ("--limit", "--limit-tries"):
        output = collection.run("download", *reach(publishers), limit, 7, "--max-idle", "1s", "--processes", 1, code=75)
        assert "has to wait" in output


@pytest.mark.slow
def test_a_run_for_one_host_ends_in_its_own_scope(make: Make, publishers: Publishers) -> None:
    collection = make(5, "a.example.org", "b.example.org")
    arguments = ("download", *reach(publishers), "--host", "b.example.org", "--processes", 1)
    output = collection.run(*arguments, "--limit", 3, code=0)
    assert "start: 5 of 5 images of b.example.org left at 1 host," in output
    assert "3 of 5 images of b.example.org stored, 2 left" in output
    output = collection.run(*arguments, code=0)
    assert "nothing left to do; 2 images stored" in output
    assert "5 of 5 images of b.example.org stored, 0 left" in output
    assert counts(collection) == {"success": 5, "pending": 5}


@pytest.mark.slow
def test_a_run_for_one_host_asks_no_other(make: Make, publishers: Publishers) -> None:
    collection = make(5, "a.example.org", "b.example.org")
    collection.run("download", *reach(publishers), "--host", "b.example.org", "--processes", 1)
    assert collection.rows("SELECT host, status, count(*) FROM images GROUP BY 1, 2") == [
        ("a.example.org", "pending", 5), ("b.example.org", "success", 5),
    ]  # fmt: skip
    assert "no host 'c.example.org' in the ledger" in collection.call("download", "--host", "c.example.org", code=2)


@pytest.mark.slow
def test_one_run_at_a_time(make: Make, publishers: Publishers) -> None:
    publishers.behave("*.example.org=hang_before_headers")
    collection = make(3, "a.example.org")
    process = collection.start("download", *reach(publishers), "--grace", "1s", "--timeout", "1h", "--stall-timeout", "1h")
    wait_until(lambda: publishers.counters()["requests"] == 1)  # a host that has not answered yet gets one
    output = collection.run("download", *reach(publishers), code=1)
    assert re.search(rf"in use by 'download' on host \S+, pid {process.pid},", output)
    assert output.count("\n") == 1 + output.count("SLACK_WEBHOOK_URL"), "one clear line"
    assert "in use by 'download'" in collection.run("init", collection.folder / "multimedia.txt", code=1)
    process.terminate()
    process.communicate(timeout=PATIENCE_S)


@pytest.mark.slow
def test_no_host_sees_more_than_its_limit(make: Make, publishers: Publishers) -> None:
    """I5, as the server counts it: connections at once, idle ones too, over all processes."""
    publishers.behave("*.example.org=slow_first_byte:0.01")
    collection = make(60, "one.example.org", "two.example.org", "many.example.org")
    hosts = collection.folder / "hosts.toml"
    hosts.write_text(
        """
        [hosts."one.example.org"]
        connections = 1
        source = "a test"
        [hosts."many.example.org"]
        connections = 10
        source = "a test"
        """
    )
    collection.run("download", *reach(publishers), "--processes", 3, "--hosts-file", hosts)
    seen = publishers.counters()["hosts"]
    assert seen["one.example.org"]["connections_max"] == 1
    assert seen["two.example.org"]["connections_max"] == 2
    assert 3 <= seen["many.example.org"]["connections_max"] <= 10


@pytest.mark.slow
def test_the_interval_between_requests(make: Make, publishers: Publishers) -> None:
    collection = make(12, "calm.example.org")
    hosts = collection.folder / "hosts.toml"
    hosts.write_text('[default]\nconnections = 2\nmin_interval_s = 0.15\nsource = "a test"\n')
    collection.run("download", *reach(publishers), "--processes", 2, "--hosts-file", hosts)
    starts = [at for at, _, url, _ in publishers.log() if "calm" in url]
    assert len(starts) == 12
    # The server sees each of them later than it was sent, on a busy machine by any time; yet none before its time has come.
    leads = [at - number * 0.15 for number, at in enumerate(starts)]
    assert max(leads[6:]) > min(leads[:6]) - 0.01


@pytest.mark.slow
def test_hosts_of_one_operator_share_their_limits(make: Make, publishers: Publishers) -> None:
    publishers.behave("*.example.org=slow_first_byte:0.02")
    collection = make(20, "b01.example.org", "b02.example.org", "b03.example.org")
    hosts = collection.folder / "hosts.toml"
    hosts.write_text('[hosts."*.example.org"]\nconnections = 1\ngroup = "deliver"\nsource = "a test"\n')
    collection.run("download", *reach(publishers), "--processes", 3, "--hosts-file", hosts)
    assert counts(collection) == {"success": 60}
    times = sorted((at, url.split("/")[2]) for at, _, url, _ in publishers.log())
    assert len(times) == 60
    changes = sum(a[1] != b[1] for a, b in pairwise(times))
    assert changes < 30, "one host after the other, never two at once"


@pytest.mark.slow
def test_a_group_is_one_server_to_ask(make: Make, publishers: Publishers) -> None:
    """Three names, two processes, two connections in all: never a third request before 60 ms have passed since the first."""
    publishers.behave("*.example.org=slow_first_byte:0.06")
    collection = make(12, "b01.example.org", "b02.example.org", "b03.example.org")
    hosts = collection.folder / "hosts.toml"
    hosts.write_text('[hosts."*.example.org"]\nconnections = 2\ngroup = "deliver"\nsource = "a test"\n')
    collection.run("download", *reach(publishers), "--processes", 2, "--hosts-file", hosts)
    assert counts(collection) == {"success": 36}
    starts = sorted(at for at, *_ in publishers.log())
    assert len(starts) == 36
    assert min(third - first for first, third in zip(starts, starts[2:], strict=False)) > 0.05
    assert collection.rows("SELECT DISTINCT politeness_group, connections FROM hosts") == [("deliver", 2)]


@pytest.mark.slow
def test_bytes_per_second_are_kept(make: Make, publishers: Publishers) -> None:
    """Of all processes together, from the first byte to the last but one's."""
    collection = make(6, "a.example.org", "b.example.org")
    hosts = collection.folder / "hosts.toml"
    hosts.write_text('[hosts."*.example.org"]\nconnections = 4\ngroup = "one"\nbytes_per_s = 40000\nsource = "a test"\n')
    collection.run("download", *reach(publishers), "--processes", 2, "--hosts-file", hosts)
    assert counts(collection) == {"success": 12}
    sizes = [size for (size,) in collection.rows("SELECT file_size FROM images ORDER BY last_attempt_at")]
    starts = sorted(at for at, *_ in publishers.log())
    at_least_s = (sum(map(int, sizes)) - 4 * max(map(int, sizes))) / 40_000  # type: ignore[arg-type, call-overload]
    assert starts[-1] - starts[0] >= at_least_s
    assert collection.rows("SELECT sum(n_bytes) >= ? FROM host_bytes", sum(map(int, sizes))) == [(1,)]  # type: ignore[arg-type, call-overload]


@pytest.mark.slow
def test_retry_after_holds_the_whole_host(make: Make, publishers: Publishers) -> None:
    """The first answer asks for two seconds of peace: nobody asks that host before, others are not touched."""
    publishers.behave("busy.example.org=http_429_seconds:2 x1")
    collection = make(10, "busy.example.org", "free.example.org")
    hosts = collection.folder / "hosts.toml"
    hosts.write_text('[hosts."busy.example.org"]\nconnections = 1\nsource = "a test"\n')
    collection.run("download", *reach(publishers), "--retry-wait", "1s", "--hosts-file", hosts)
    assert counts(collection) == {"success": 20}
    busy = [at for at, _, url, _ in publishers.log() if "busy" in url]
    in_flight_then = [at for at in busy if at < busy[0] + 1.9]
    assert len(in_flight_then) == 1
    assert collection.rows("SELECT n_retries > 0 FROM hosts WHERE host = 'busy.example.org'") == [(1,)]


@pytest.mark.slow
def test_a_dead_host_holds_nobody_up(make: Make, publishers: Publishers) -> None:
    publishers.behave("dead.example.org=close_before_answer")
    collection = make(60, "dead.example.org", "well.example.org")
    output = collection.run("download", *reach(publishers), "--retry-wait", "1s", "--max-idle", "1s", code=75)
    assert "dead.example.org is blocked until" in output
    assert "all that is left has to wait" in output
    assert collection.rows("SELECT status, count(*) FROM images WHERE host LIKE 'well%' GROUP BY 1") == [("success", 60)]
    assert collection.rows("SELECT blocked_until > 0, blocked_why <> '' FROM hosts WHERE host LIKE 'dead%'") == [(1, 1)]
    assert publishers.host("dead.example.org")["requests"] < 30, "most of its images were left alone"


@pytest.mark.slow
def test_failures_that_pass_come_back(make: Make, publishers: Publishers) -> None:
    publishers.behave("shaky.example.org=http_500 x1/url")
    collection = make(5, "shaky.example.org")
    collection.run("download", *reach(publishers), "--retry-wait", "1s")
    assert collection.rows("SELECT status, attempts, count(*) FROM images GROUP BY 1, 2") == [("success", 2, 5)]


@pytest.mark.slow
def test_attempts_run_out_and_are_given_anew(make: Make, publishers: Publishers) -> None:
    publishers.behave("shaky.example.org=http_500")
    collection = make(2, "shaky.example.org")
    collection.run("download", *reach(publishers), "--retry-wait", "1s", "--max-attempts", 2)
    assert collection.rows("SELECT status, error_type, attempts, count(*) FROM images GROUP BY 1, 2, 3") == [
        ("failed_transient", "server_error", 2, 2)
    ]
    assert collection.rows("SELECT status, count(*) FROM gbif_ids GROUP BY 1") == [("failed", 2)]
    publishers.behave_well()
    collection.run("download", *reach(publishers))
    assert counts(collection) == {"failed_transient": 2}, "used up is used up"
    collection.run("download", *reach(publishers), "--retry-failed", "transient")
    assert counts(collection) == {"success": 2}
    assert collection.rows("SELECT status, count(*) FROM gbif_ids GROUP BY 1") == [("done", 2)]
    collection.check_invariants()


@pytest.mark.slow
def test_a_redirect_to_another_host_waits_in_its_queue(make: Make, publishers: Publishers) -> None:
    publishers.behave("short.example.org=redirect_to_host:store.example.org")
    collection = make(10, "short.example.org")
    collection.run("download", *reach(publishers))
    assert counts(collection) == {"success": 10}
    seen = publishers.counters()["hosts"]
    assert seen["store.example.org"]["requests"] == 10
    assert seen["store.example.org"]["connections_max"] <= 2
    collection.check_invariants()


@pytest.mark.slow
def test_a_smaller_picture_is_kept(make: Make, publishers: Publishers) -> None:
    collection = make(6, "a.example.org")
    collection.run("download", *reach(publishers), "--max-edge", 64)
    for file_path, sha256, original_sha256, width, height in collection.rows(
        "SELECT file_path, sha256, original_sha256, width, height FROM images"
    ):
        path = collection.root / str(file_path)
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert max(image.size) <= 64
            assert image.size == (width, height)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        assert original_sha256 not in (None, sha256)


def test_a_root_that_cannot_be_written(make: Make, tmp_path: Path) -> None:
    collection = make(1, "a.example.org")
    collection.root.write_text("in the way")
    output = collection.run("download", code=2)
    assert "cannot write to the image root" in output
    assert "Traceback" not in output


def test_bad_options_are_refused_in_words_without_a_traceback(make: Make, tmp_path: Path) -> None:
    collection = make(1, "a.example.org")
    for arguments, line in (
        (["--until", "yesterday"], "invalid time 'yesterday'"),
        (["--for", "soon"], "invalid duration"),
        (["--processes", "0"], "less than 1"),
        (["--cacert", "nowhere.pem"], "no such file of CA certificates"),
        (["--hosts-file", "nowhere.toml"], "cannot read the hosts file"),
        (["--max-edge", "big"], "not a whole number"),
    ):
        output = collection.call("download", *arguments, code=2)
        assert line in output
        assert "Traceback" not in output
    (tmp_path / "hosts.toml").write_text("[default]\nconections = 3\n")
    assert "conections" in collection.call("download", "--hosts-file", tmp_path / "hosts.toml", code=2)
    other = Collection(tmp_path / "nowhere")
    other.folder.mkdir()
    assert "no ledger at" in other.call("download", code=2)


@pytest.mark.slow
def test_slack_hears_of_it(make: Make, publishers: Publishers, slack: FakeSlack) -> None:
    collection = Collection(make(5, "a.example.org").folder, {"SLACK_WEBHOOK_URL": slack.url})
    output = collection.run("download", *reach(publishers), "--notify-every", 2)
    assert "started, 5 of 5 images left" in slack.texts[0]
    assert "nothing left to do; 5 images stored" in slack.texts[-1]
    assert "s3cr3t" not in output
    assert b"s3cr3t" not in collection.ledger.read_bytes()


@pytest.mark.slow
def test_a_slack_that_hangs_disturbs_nothing(make: Make, publishers: Publishers, slack: FakeSlack) -> None:
    slack.release.clear()
    collection = Collection(make(5, "a.example.org").folder, {"SLACK_WEBHOOK_URL": slack.url})
    collection.run("download", *reach(publishers))
    slack.release.set()
    assert counts(collection) == {"success": 5}


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask until it holds; each question is an exchange with another process, so this is no busy loop."""
    end_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_at


@pytest.mark.slow
def test_what_the_publisher_says_to_robots(make: Make, publishers: Publishers) -> None:
    """It is written down either way; what is refused for it is given back by --retry-failed."""
    publishers.behave("a.example.org=robots:noindex,noai", "b.example.org=robots:noindex")
    collection = make(2, "a.example.org", "b.example.org")
    collection.run("download", *reach(publishers), "--respect-robots-tag")
    assert collection.rows("SELECT host, status, error_type, robots_tag, count(*) FROM images GROUP BY 1, 2, 3, 4 ORDER BY 1") == [
        ("a.example.org", "failed_permanent", "robots_tag", "noindex,noai", 2),
        ("b.example.org", "success", None, "noindex", 2),
    ]
    assert len(collection.files()) == 2
    collection.run("download", *reach(publishers), "--retry-failed")
    assert counts(collection) == {"success": 4}
    collection.check_invariants()


@pytest.mark.slow
def test_certificates_of_a_named_host_are_not_verified(make: Make, publishers: Publishers) -> None:
    publishers.behave("*=redirect_to_https", "*=tls_unknown_ca")
    collection = make(1, "lax.example.org", "strict.example.org")
    options = ("--insecure-host", "LAX.example.org", "--max-idle", "0s", "--max-attempts", 1)
    output = collection.run("download", *reach(publishers), *options, code=75)
    assert "warning: the TLS certificate of lax.example.org is not verified (--insecure-host)" in output
    assert collection.rows("SELECT host FROM images WHERE status = 'success'") == [("lax.example.org",)]
