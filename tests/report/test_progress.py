"""Progress of a run: log lines, the live view, the last frame. Snapshots are written by hand."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from d4c_images.ledger.questions.from_counters import HostCount, ImageCounts
from d4c_images.model import Sign, Totals
from d4c_images.policy.shut_door import Door, in_words
from d4c_images.report.folding import FOLD_S, Folding
from d4c_images.report.last_frame import last_frame
from d4c_images.report.layout import put
from d4c_images.report.live import LiveProgress, view
from d4c_images.report.meter import Meter
from d4c_images.report.progress import LogProgress, end_words, given_up
from d4c_images.steward.terms import Drain, Ending, RunScope, Snapshot
from d4c_images.system import clocks

IMAGES = ImageCounts(
    total=1000, success=600, raw_unprocessed=0, partly_read=0, failed_permanent=90, failed_exhausted=10, to_retry=20, leased=30,
    pending=250, stored_bytes=9_000_000, failures=(("http_404", 60), ("timeout", 25), ("dns", 10), ("http_403", 5)),
)  # fmt: skip
START = clocks.now()
HOSTS = ("slow.example.org", "blocked.example.org", "quick.example.org")


def seen(after_s: float, *left: int, **values: object) -> Snapshot:
    """Three hosts with so many images left; the second one is blocked for 100 s."""
    start = START
    hosts = tuple(HostCount(n, host, n_left) for n, (host, n_left) in enumerate(zip(HOSTS, left, strict=False)) if n_left)
    totals = Totals(n_settled=300 - sum(left), n_success=250 - sum(left), received_bytes=1000 * (300 - sum(left)))
    plain = Snapshot(
        start + after_s, start, totals, replace(IMAGES, pending=sum(left), to_retry=0, leased=0), hosts, len(hosts),
        {HOSTS[1]: start + 100}, frozenset(), 1, 0, in_flight={HOSTS[0]: 2, HOSTS[2]: 1},
    )  # fmt: skip
    return replace(plain, **values)  # type: ignore[arg-type]


def text_of(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width, height=height, legacy_windows=False)


def logged(*snapshots: Snapshot) -> list[str]:
    """The lines of the log without their times; a snapshot a minute or more after the one before gets a line."""
    out = io.StringIO()
    log = LogProgress(out, "d4c-images 7 download")
    log.started(snapshots[0])
    for snapshot in snapshots:
        log.ticked(snapshot)
    return [line.partition(" ")[2] for line in out.getvalue().splitlines()]


def test_the_time_left_is_that_of_the_slowest_host_and_of_the_wait_for_a_blocked_one() -> None:
    meter = Meter()
    meter.add(seen(0, 100, 10, 90))
    pace = meter.add(seen(10, 90, 10, 10))
    assert pace.images_per_s == pytest.approx(9.0)
    assert {one.host: one.eta_s for one in pace.hosts} == {HOSTS[0]: 90.0, HOSTS[1]: None, HOSTS[2]: pytest.approx(1.25)}
    assert pace.eta_s == pytest.approx(90.0), "the blocked host is back after 90 s, too, for an unknown time"
    meter = Meter()
    meter.add(seen(0, 100, 10, 90))
    assert meter.add(seen(10, 10, 10, 10)).eta_s == pytest.approx(90.0), "no sooner than the blocked host may be asked again"


def test_the_time_left_is_without_what_a_person_has_paused() -> None:
    meter, paused = Meter(), {"paused": frozenset({HOSTS[1]}), "n_paused": 1, "blocked": {}}
    meter.add(seen(0, 100, 1000, 90, **paused))
    assert meter.add(seen(10, 50, 1000, 40, **paused)).eta_s == pytest.approx(10.0)


def test_a_log_begins_with_which_run_it_is_and_every_line_has_its_time_and_zone() -> None:
    out = io.StringIO()
    LogProgress(out, "d4c-images 7 download on node1, pid 5, job 42: ledger /l, images in /i").started(seen(0, 100, 10, 90))
    head, start = out.getvalue().splitlines()
    time_with_zone = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
    assert re.fullmatch(
        time_with_zone
        + r" d4c-images 7 download on node1, pid 5, job 42: ledger /l, images in /i; times are (UTC|\S+ \(UTC[+-]\d\d:\d\d\))",
        head,
    )
    assert re.fullmatch(time_with_zone + " start: 200 of 1,000 images left at 3 hosts, 600 stored, 100 failed for good", start)


def test_the_line_of_a_minute_names_failures_and_calls_no_blocked_host_slow() -> None:
    *_, line = logged(seen(0, 20, 90, 10), seen(60, 10, 90, 5))
    assert "100 failed (60 http_404, 25 timeout, 10 dns and 5 more)" in line
    assert "3 requests in flight; ETA 7 min 00 s, slowest slow.example.org (10 left, 1 min 00 s); 1 host blocked until " in line


def test_the_line_of_a_minute_in_which_all_hosts_are_blocked_says_until_when() -> None:
    *_, line = logged(seen(0, 0, 90, 0, in_flight={}), seen(60, 0, 90, 0, in_flight={}))
    assert re.search(r"0 requests in flight; nothing to do until \S+, when blocked.example.org is next; 1 host blocked", line)
    assert "slowest" not in line


def test_what_only_a_person_holds_back_is_said_as_such() -> None:
    paused = seen(60, 0, 90, 0, in_flight={}, paused=frozenset({HOSTS[1]}), n_paused=1, blocked={}, n_blocked=0)
    *_, line = logged(replace(paused, now=paused.started_at), paused)
    assert "nothing to do: everything left is paused by hand; 1 host paused by hand (hosts resume)" in line
    assert end_words(paused, Ending.WAITING) == "everything left is paused by hand: 'd4c-images hosts resume NAME' resumes it"
    done = replace(paused, hosts=(), paused=frozenset(), n_paused=0, n_hosts=0)
    assert not done.is_all_paused, "a run with nothing left does not wait for a person"
    some = seen(60, 9, 90, 0, paused=frozenset({HOSTS[1]}), n_paused=1, blocked={}, n_blocked=0)
    assert end_words(some, Ending.WAITING) == "all that is left has to wait: 1 host paused by hand (hosts resume)"


def test_lines_about_one_host_are_folded_for_an_hour() -> None:
    folding = Folding()
    assert folding.again("a", 0, 30) == ""
    assert [folding.again("a", 60 * n, 30) for n in range(1, 5)] == [None] * 4
    assert folding.again("b", 250, 30) == "", "of another host nothing was said"
    assert folding.again("a", 300, 120) == " (4 more times since 5 min ago)", "four times as long a wait is news"
    assert folding.again("a", 310, 120) is None
    assert folding.n_folded == 1
    assert folding.again("a", 300 + FOLD_S, 120) == " (1 more time since 60 min ago)"
    assert folding.n_folded == 0


def test_a_log_says_once_in_an_hour_that_a_host_is_blocked_and_at_the_end_how_often_it_did_not() -> None:
    out, until = io.StringIO(), clocks.now() + 30
    log = LogProgress(out)
    log.started(seen(0, 100, 10, 90))
    for _ in range(3):
        log.host_blocked(HOSTS[1], until, "asked for 30 s")
        log.idle(until, HOSTS[1], "")
    log.host_blocked(HOSTS[0], until, "asked for 30 s")
    log.ended(seen(10, 90, 10, 10), Ending.TIME)
    said = [line.partition(" ")[2] for line in out.getvalue().splitlines()]
    assert [line.partition(" until ")[0] for line in said[1:4]] == [
        f"{HOSTS[1]} is blocked", "nothing to do", f"{HOSTS[0]} is blocked",
    ]  # fmt: skip
    assert said[4] == "4 lines folded: hosts that were blocked again"
    assert said[5].startswith("end: ")


@pytest.mark.parametrize(
    ("scope", "bar", "line"),
    [
        (RunScope(), "890 of 1,000  89.0%", "890/1,000 (89.0%)"),
        (RunScope(max_stored=200), "140 of 200  70.0%", "140/200 (70.0%)"),
        (RunScope(max_tries=220), "190 of 220  86.4%", "190/220 (86.4%)"),
        (RunScope((HOSTS[0],), max_stored=200), f"140 of 200 of {HOSTS[0]}  70.0%", "140/200 (70.0%)"),
    ],
)
def test_bar_and_line_say_how_far_a_run_is_with_what_it_was_asked_for(scope: RunScope, bar: str, line: str) -> None:
    first, then = seen(0, 100, 10, 90, scope=scope), seen(60, 90, 10, 10, scope=scope)
    meter, console = Meter(), terminal()
    console.print(view(then, meter.add(then), {}, console))
    assert text_of(console).splitlines()[0].endswith(f" {bar}")
    assert logged(first, then)[-1].startswith(line)


@pytest.fixture
def frames() -> Iterator[dict[str, tuple[Snapshot, ...]]]:
    many = [HostCount(n, f"host-{n}.with-a-long-name.museum.example.org", 1000 - n) for n in range(100)]
    drain = Drain("Ctrl-C", START + 50, 60.0, is_attended=True)
    return {
        "at first": (seen(0, 100, 10, 90),),
        "later": (seen(0, 100, 10, 90), seen(10, 90, 10, 10)),
        "many hosts": (seen(10, 90, 10, 10, hosts=tuple(many), n_hosts=100),),
        "draining": (seen(10, 90, 10, 10, drain=drain),),
        "nothing left": (seen(10, hosts=(), blocked={}, n_blocked=0),),
    }  # type: ignore[return-value]


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (100, 8), (200, 50), (300, 100)])
def test_the_live_view_fits_every_terminal(frames: dict[str, tuple[Snapshot, ...]], size: tuple[int, int]) -> None:
    whys = {HOSTS[1]: "it says that we are blocked 我们被封锁了 " * 20}
    for name, snapshots in frames.items():
        meter, console = Meter(), terminal(*size)
        pace = [meter.add(snapshot) for snapshot in snapshots][-1]
        console.print(view(snapshots[-1], pace, whys, console))
        lines = text_of(console).splitlines()
        assert len(lines) < size[1], (name, lines)
        assert max(map(cell_len, lines)) <= size[0], (name, lines)


def test_the_live_view_shows_time_bytes_requests_and_failures_by_reason() -> None:
    meter, console = Meter(), terminal()
    meter.add(seen(0, 100, 10, 90))
    snapshot = seen(10, 90, 10, 10, drain=Drain("Ctrl-C", START + 40, 60.0, is_attended=True))
    console.print(view(snapshot, meter.add(snapshot), {}, console))
    text = text_of(console)
    for words in (
        "890 of 1,000  89.0%",
        "10 s elapsed   ETA 1 min 30 s   9.0 images/s   9.0 kB/s   190 kB received",
        "600 stored   100 failed: 60 http_404, 25 timeout, 10 dns, 5 http_403",
        "3 requests in flight   0 to retry   110 not tried yet   1 host blocked",
        "Ctrl-C: finishing 3 requests, 30 s left; Ctrl-C again drops them",
    ):
        assert words in text, text
    assert re.search(r"host +left +in flight +images/s +ETA\nslow.example.org +90 +2 +1.0 +1 min 30 s\nquick.example.org", text)
    assert "blocked.example.org" not in text, "nobody waits for it"
    console = terminal()
    console.print(view(replace(snapshot, drain=None), meter.add(snapshot), {}, console))
    assert re.search(r"blocked.example.org +10 +blocked for 1 min 30 s\nslow.example.org +90 +1.0 +1 min 30 s", text_of(console))


def test_the_live_view_uses_a_high_terminal_for_hosts_and_a_wide_one_for_reasons(frames: dict[str, tuple[Snapshot, ...]]) -> None:
    (snapshot,) = frames["many hosts"]
    high = terminal(100, 60)
    high.print(view(snapshot, Meter().add(snapshot), {}, high))
    assert text_of(high).count("museum.example.org") > 40
    wide = terminal(160, 24)
    wide.print(view(seen(0, 100, 10, 90), Meter().add(seen(0, 100, 10, 90)), {HOSTS[1]: "asked for 2 s"}, wide))
    assert "asked for 2 s" in text_of(wide)


def test_the_last_frame_says_what_was_done_and_what_is_left() -> None:
    meter, console = Meter(), terminal(100)
    meter.add(seen(0, 100, 10, 90))
    snapshot = seen(10, 90, 10, 10, drain=Drain("Ctrl-C", 0.0, 60.0))
    put(last_frame(snapshot, meter.add(snapshot), Ending.SIGNAL, console), console)
    text = text_of(console)
    assert text.startswith("Ctrl-C, after 10 s\nstored    140 images, 0 B, 19.0 images/s; 600 of 1,000 in total, 60.0%\n")
    assert "failed    0 images for good, 0 attempts to be retried; in total 60 http_404, 25 timeout," in text
    assert re.search(r"left +110 images at 3 hosts; 1 host blocked until \S+\n", text)
    assert re.search(r"blocked.example.org +10 +blocked\nslow.example.org +90 +1.0\n", text)


def test_the_last_frame_stays_and_the_view_goes() -> None:
    console = terminal(100)
    live = LiveProgress(console, "d4c-images 7 download")
    live.started(seen(0, 100, 10, 90))
    live.host_blocked(HOSTS[1], clocks.now() + 30, "asked for 30 s")
    live.host_blocked(HOSTS[1], clocks.now() + 31, "asked for 30 s")
    live.ended(seen(10, 90, 10, 10), Ending.TIME)
    live.close()
    shown = text_of(console)
    assert shown.count("is blocked until") == 1, "the second line is folded"
    assert shown.rindex("the time is up, after 10 s") > shown.rindex("elapsed")


def test_what_is_given_up_needs_new_attempts_and_not_to_be_resumed() -> None:
    shut = in_words(Door(has_given=False, code=403, sign=Sign.BLOCKED, text="No."), "a.org")
    assert "`hosts resume a.org`" in shut
    assert given_up("a.org", 3, shut) == (
        'gave up on a.org with 3 images left: it says that access is blocked (http 403: "No."); ask its operator to allow this '
        "User-Agent or IP address; 'download --retry-failed transient --host a.org' tries them again"
    )
    assert given_up("b.org", 1, "no").endswith("1 image left: no; 'download --retry-failed transient --host b.org' tries it again")
