"""The wall clock is set during a run: nothing stops, no request is early, no rate is absurd."""

from __future__ import annotations

import json
import math
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from d4c_images.ledger.file.connect import open_ledger
from d4c_images.ledger.queue import pacing, wishes
from d4c_images.policy import pace
from d4c_images.policy.limits import HostTable
from d4c_images.policy.reachability import Silence
from d4c_images.steward import feedback
from d4c_images.steward.hosts import Roster, Scope
from d4c_images.system import clocks
from d4c_images.system.clocks import SteadyClock
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT, Collection, multimedia, reach
from tests.support.simulation import ledger_of

HOUR, DAY = 3600.0, 86400.0

# Every process of the program whose environment leads here reads the wall clock as it was set by the file.
SETTABLE = """
import pathlib, time
_real, _step = time.time, pathlib.Path(__file__).with_name("step")
def _set():
    try:
        return _real() + float(_step.read_text())
    except OSError:
        return _real()
time.time = _set
"""


@pytest.mark.parametrize("step_s", [HOUR, -HOUR, DAY, -DAY])
def test_a_steady_clock_does_not_see_that_the_wall_clock_is_set(step_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real, clock = time.time, SteadyClock.set_by_wall()
    assert clock() == pytest.approx(real(), abs=60)
    assert (clock.from_wall(1000.0), clock.for_others(1000.0)) == (1000.0, 1000.0)
    monkeypatch.setattr(time, "time", lambda: real() + step_s)
    assert clock() == pytest.approx(real(), abs=60)
    assert clock.from_wall(time.time() + 600) == pytest.approx(clock() + 600, abs=60), "a moment that a person names"
    assert clock.for_others(1000.0) == pytest.approx(1000.0 + max(0.0, step_s), abs=60), "never earlier than was named"


def test_processes_of_a_machine_share_a_clock() -> None:
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)())"
    before = clocks.now()
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(clocks.now), capture_output=True, check=True, cwd=PROJECT
    )
    assert before < float(done.stdout) < clocks.now()


def test_a_machine_that_is_busy_between_two_readings_has_set_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SteadyClock(1000.0)
    readings = iter([10.0, 13.0, 20.0, 23.0, 30.0, 33.0])
    walls = iter([1012.0, 1020.5, 1093.0])
    monkeypatch.setattr(clocks, "elapsed", lambda: next(readings))
    monkeypatch.setattr(time, "time", lambda: next(walls))
    assert [clock.for_others(0.0) for _ in range(3)] == [0.0, 0.0, 60.0]


@pytest.mark.parametrize("step_s", [HOUR, -HOUR])
def test_a_pause_lasts_as_long_as_its_person_wants(step_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """They named its end by the wall clock as it is set now."""
    roster = Roster(HostTable(), Scope())
    roster.grow(2)
    roster.group_no[1] = -1
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step_s)
    ((_, until),) = roster.take_pauses([(1, time.time() + 600)])
    assert until == pytest.approx(clocks.now() + 600, abs=60)


def test_a_named_wait_is_no_longer_for_a_host_that_was_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run keeps it by the wall clock, which was set forward; this one does not."""
    with ledger_of({"a.org": 1}) as ledger:
        db, roster, now, real = ledger.connection, Roster(HostTable(), Scope()), clocks.now(), time.time
        roster.know(db, 1, now)
        monkeypatch.setattr(time, "time", lambda: real() + DAY)
        silence = Silence(pace.BlockPolicy(), None)
        for news in (pace.News(n_bad=1, retry_after_s=600.0), pace.News(n_ok=1)):  # the second one was under way
            feedback.draw(db, roster, silence, {1: news}, now)
            (until,) = db.execute("SELECT blocked_until FROM host_rows WHERE host_id = 1").fetchone()
            assert until == pytest.approx(now + 600 + DAY, abs=60)
        assert roster.waits_until(1, until) == pytest.approx(now + 600, abs=1)
        monkeypatch.setattr(time, "time", real)  # and set back
        roster.forget(roster.load(db, 1, now), now)
        assert not len(roster)
        assert roster.waits_until(1, until) == pytest.approx(now + 600, abs=1)
        assert [roster.n_open_again(now + after_s) for after_s in (0, 599, 601, HOUR)] == [0, 0, 1, 1]
        assert roster.load(db, 1, now).pace.blocked_until == pytest.approx(now + 600, abs=1)
        pacing.save_pace(db, 1, pace.HostPace(blocked_until=now + 900))  # by somebody else: this counts now
        roster.forget(roster.load(db, 1, now), now)
        assert roster.waits_until(1, math.ceil(now + 900)) == roster.load(db, 1, now).pace.blocked_until == math.ceil(now + 900)
        assert roster.n_open_again(now + 2 * DAY) == 0


def test_what_a_person_wants_last_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is set back between two words about one host, and nobody has taken up the first."""
    path, real = tmp_path / "ledger.sqlite", time.time_ns
    with closing(open_ledger(path, create=True)) as ledger:
        ledger.connection.execute("INSERT INTO host_rows (host) VALUES ('a.example.org')")
        wishes.leave(path, wishes.Wish(wishes.PAUSE, ("a.example.org",)))
        monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600_000_000_000)
        wishes.leave(path, wishes.Wish(wishes.RESUME, ("a.example.org",)))
        wishes.take_all(ledger, 1.0)
        assert ledger.connection.execute("SELECT paused_at FROM host_rows").fetchone() == (None,)


class Settable:
    """A collection whose program reads a wall clock that the test sets."""

    def __init__(self, folder: Path, disk: str) -> None:
        modules = folder / "modules"
        modules.mkdir()
        (modules / "sitecustomize.py").write_text(SETTABLE)
        self._step = modules / "step"
        self.collection = Collection(folder, {"PYTHONPATH": f"{modules}:{PROJECT}", "D4C_LEDGER_DISK": disk})

    def set_clock(self, step_s: float) -> None:
        new = self._step.with_name("new")
        new.write_text(str(step_s))
        new.replace(self._step)


def lines_until(process: subprocess.Popen[str], word: str) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if word in line:
            return
    pytest.fail(f"it has ended without '{word}'")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("disk", "step_s"), [("local", HOUR), ("local", -DAY), ("shared", HOUR), ("shared", -HOUR), ("shared", DAY), ("shared", -DAY)]
)
def test_a_run_whose_wall_clock_is_set(disk: str, step_s: float, tmp_path: Path, publishers: Publishers) -> None:
    settable = Settable(tmp_path, disk)
    collection = settable.collection
    rows = [(5_000_000_000 + number, f"http://set{number % 3}.example.org/photos/{number}.jpg") for number in range(60)]
    collection.run("init", multimedia(tmp_path / "multimedia.txt", rows))
    publishers.behave("*.example.org=slow_first_byte:0.1")
    process = collection.start("download", *reach(publishers), "--processes", 1, "--no-progress", "--for", "30m")
    said = list(lines_until(process, " start: "))
    while publishers.host("set0.example.org")["requests"] < 3:
        assert process.poll() is None, said
        time.sleep(0.02)
    settable.set_clock(step_s)
    output, _ = process.communicate(timeout=PATIENCE_S)  # the old program waited for an hour, or ended before its time
    assert process.returncode == 0, output
    assert "nothing left to do; 60 images stored" in output
    ((lasted_s, rate),) = re.findall(r" in ([0-9.]+) s \(([0-9.]+) images/s\)", output)
    assert float(lasted_s) < 60
    assert 0.1 < float(rate) < 1000
    collection.check_invariants()
    run = json.loads(collection.run("status", "--json"))["run"]
    began_at, ended_at = (datetime.fromisoformat(run[name]) for name in ("started_at", "ended_at"))
    assert (ended_at - began_at).total_seconds() < 600


@pytest.mark.slow
@pytest.mark.parametrize("step_s", [HOUR, DAY])
def test_a_clock_that_is_set_back_between_two_runs(step_s: float, tmp_path: Path, publishers: Publishers) -> None:
    """What the first run has written down to be tried again in a second is not a day away for the next one."""
    settable = Settable(tmp_path, "local")
    collection = settable.collection
    rows = [(5_000_000_000 + number, f"http://shaky.example.org/photos/{number}.jpg") for number in range(5)]
    collection.run("init", multimedia(tmp_path / "multimedia.txt", rows))
    publishers.behave("shaky.example.org=http_500 x1/url")
    settable.set_clock(step_s)
    arguments = [*reach(publishers), "--processes", 1, "--no-progress", "--retry-wait", "2s"]
    collection.run("download", *arguments, "--max-idle", "0.1s", code=75)
    settable.set_clock(0.0)
    output = collection.run("download", *arguments, "--max-idle", "60s")
    assert "nothing left to do; 5 images stored" in output
    collection.check_invariants()
