"""`hosts`: what it lists and changes, with and without a running download."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from d4c_images.durations import show_moment
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.ledger.queue import wishes
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia, reach


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    """Three hosts: 30 images, 20 images, one image."""
    names = ["a.example.org"] * 30 + ["b.example.org"] * 20 + ["c.example.net"]
    made = Collection(tmp_path)
    made.load(multimedia(tmp_path / "multimedia.txt", [(10_000 + n, f"http://{host}/{n}.jpg") for n, host in enumerate(names)]))
    return made


def listed(collection: Collection, *arguments: object) -> dict[str, dict[str, Any]]:
    return {line["host"]: line for line in json.loads(collection.call("hosts", *arguments, "--json"))}


def test_the_list_of_hosts_has_the_one_that_ends_last_first(collection: Collection) -> None:
    with closing(sqlite3.connect(collection.ledger)) as db, db:
        db.execute("UPDATE host_rows SET images_per_s = 10 WHERE host LIKE 'a.%'")
        db.execute("UPDATE host_rows SET images_per_s = 0.1 WHERE host LIKE 'b.%'")
        until = int(time.time()) + 1000
        db.execute("UPDATE host_rows SET blocked_until = ?, blocked_why = 'a reason' WHERE host LIKE 'b.%'", (until,))
    output = collection.call("hosts")
    assert "the last to finish first" in output
    assert "a reason" in output
    lines = listed(collection, "list", "*.example.org")
    assert list(lines) == ["b.example.org", "a.example.org"], "the one that ends last first"
    assert lines["a.example.org"]["eta_s"] == 3
    assert 1150 < lines["b.example.org"]["eta_s"] <= 1200
    assert (lines["b.example.org"]["state"], lines["b.example.org"]["until"]) == ("blocked", show_moment(until))
    status = collection.call("status")
    assert "b.example.org finishes last: 20 images in about 19 min" in status or "20 min" in status
    with closing(sqlite3.connect(collection.ledger)) as db, db:
        db.execute("UPDATE host_rows SET blocked_until = ? WHERE host LIKE 'c.%'", (int(time.time()) + 91_800,))
    assert "c.example.net finishes last: 1 image in about 1 d 1 h" in collection.call("status"), "not before its block ends"


@pytest.mark.slow
def test_pause_and_resume_without_a_run(collection: Collection) -> None:
    assert collection.call("hosts", "pause", "*.example.org", "--for", "2h").startswith("pause until 2")
    lines = listed(collection)
    assert {host: line["state"] for host, line in lines.items()} == {
        "a.example.org": "paused", "b.example.org": "paused", "c.example.net": "waiting"
    }  # fmt: skip
    assert 7100 < datetime.fromisoformat(lines["a.example.org"]["until"]).timestamp() - time.time() <= 7201  # rounded up
    assert collection.call("hosts", "pause", "c.example.net") == "pause until resumed: c.example.net\n"
    assert listed(collection)["c.example.net"]["until"] is None
    assert "paused" in collection.call("status")
    output = collection.run("download", "--max-idle", "0s", "--processes", 1, code=75)
    assert "everything left is paused by hand: 'd4c-images hosts resume NAME' resumes it; 0 images stored" in output
    collection.call("hosts", "resume", "*")
    assert {line["state"] for line in listed(collection).values()} == {"waiting"}


@pytest.mark.slow
def test_what_is_set_beats_the_hosts_file_and_that_the_presets(collection: Collection) -> None:
    mine = collection.folder / "hosts.toml"
    mine.write_text('[hosts."*.example.org"]\nconnections = 5\nmin_interval_s = 1\nsource = "a test"\n')
    assert listed(collection, "--hosts-file", mine)["a.example.org"]["connections"] == 5
    collection.call("hosts", "set", "A.example.org", "connections=1", "bytes_per_day=24G", "bytes_per_s=100k")
    collection.call("hosts", "set", "a.example.org", "connections=3")
    line = listed(collection, "--hosts-file", mine)["a.example.org"]
    assert (line["connections"], line["min_interval_s"], line["bytes_per_s"], line["bytes_per_day"]) == (3, 1, 100_000, 24 * 10**9)
    assert listed(collection, "--hosts-file", mine)["b.example.org"]["connections"] == 5
    collection.call("hosts", "unset", "a.example.org", "bytes_per_s")
    line = listed(collection)["a.example.org"]
    assert (line["connections"], line["bytes_per_s"]) == (3, None)
    collection.call("hosts", "unset", "a.example.org")
    assert listed(collection)["a.example.org"]["connections"] == 2
    collection.call("hosts", "set", "*.example.org", "min_interval_s=0.5")
    assert listed(collection)["b.example.org"]["min_interval_s"] == 0.5
    assert collection.rows("SELECT host FROM wanted_limits") == [("*.example.org",)]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["pause"], "needs a host name"),
        (["pause", "nowhere.org"], "no host 'nowhere.org' in the ledger"),
        (["resume", "a.example.org", "--for", "1h"], "--for only applies to 'hosts pause'"),
        (["set", "a.example.org"], "needs a limit"),
        (["set", "a.example.org", "connections=0"], "must be a whole number from 1"),
        (["set", "a.example.org", "connections=many"], "must be a whole number"),
        (["set", "a.example.org", "min_interval_s=nan"], "must be a number"),
        (["set", "a.example.org", "group=mine"], "unknown limit 'group'"),
        (["set", "a.example.org", "conections=1"], "unknown limit 'conections'"),
        (["shut", "a.example.org"], "unknown value"),
    ],
)
def test_bad_arguments_of_hosts_are_refused_in_words(collection: Collection, arguments: list[str], line: str) -> None:
    output = collection.call("hosts", *arguments, code=2)
    assert line in output
    assert "Traceback" not in output
    assert not wishes.folder_of(collection.ledger).exists()


@pytest.mark.slow
def test_while_a_run_is_at_work(collection: Collection, publishers: Publishers) -> None:
    """Nobody but the run writes the ledger; it takes the pause up, and ends with the rest."""
    publishers.behave("*.example.org=slow_first_byte:0.3")
    process = collection.start("download", *reach(publishers), "--max-idle", "1s", "--no-progress")
    await_requests(publishers, 5)
    output = collection.run("hosts", "pause", "a.example.org", "b.example.org")
    assert "a running download applies it within seconds" in output
    assert "pid" in output
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75, output
    assert collection.rows("SELECT count(*) FROM hosts WHERE paused_at IS NOT NULL") == [(2,)]
    left = collection.rows("SELECT count(*) FROM images WHERE status <> 'success'")[0][0]
    assert isinstance(left, int)
    assert left > 5
    collection.check_invariants()
    publishers.behave_well()
    collection.run("hosts", "resume", "*")
    collection.run("download", *reach(publishers))
    assert collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", 51)]


def test_a_wish_that_was_left_behind_a_dead_run_is_taken_up_by_the_next(collection: Collection) -> None:
    ledger = open_ledger(collection.ledger)
    owner.take(ledger, "download", owner.this_process(), time.time())
    assert "a running download applies it" in collection.run("hosts", "pause", "c.example.net")
    ledger.close()
    with closing(sqlite3.connect(collection.ledger)) as db, db:
        db.execute("DELETE FROM owner")
    collection.call("hosts", "set", "a.example.org", "connections=1")
    assert listed(collection)["c.example.net"]["state"] == "paused"
    assert listed(collection)["a.example.org"]["connections"] == 1


def await_requests(publishers: Publishers, n: int) -> None:
    """Each question is an exchange with another process, so this is no busy loop."""
    end_at = time.monotonic() + PATIENCE_S
    while publishers.counters()["requests"] < n:
        assert time.monotonic() < end_at
