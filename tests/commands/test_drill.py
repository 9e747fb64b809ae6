"""The drill: the disk of the ledger is lost. Yesterday's backup and the files that are there give today's collection."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.publishers.client import Publishers
from tests.support.program import Collection, kill_all, multimedia, reach

pytestmark = pytest.mark.slow

N, N_YESTERDAY, N_IN_BACKUP = 40, 8, 14
FACTS = "SELECT gbif_id, image_no, status, file_path, file_size, sha256, media_type, width, height FROM images ORDER BY 1, 2"


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    made = Collection(tmp_path)
    rows = [(900_000 + n, f"http://{'abcd'[n % 4]}.example.org/{n}.jpg") for n in range(N)]
    made.load(multimedia(tmp_path / "multimedia.txt", rows))
    return made


def backup_beside(collection: Collection, download: subprocess.Popen[str], publishers: Publishers) -> Path:
    """Made while a download has images in hand: it is stopped in the middle, and continued afterwards."""
    while publishers.counters()["requests"] < N_IN_BACKUP:
        assert download.poll() is None
        os.sched_yield()
    os.killpg(download.pid, signal.SIGSTOP)
    try:
        done = json.loads(collection.run("backup", "backups/", "--json"))
    finally:
        os.killpg(download.pid, signal.SIGCONT)
    return collection.folder / done["backup"]


def lose_ledger(collection: Collection) -> None:
    for path in collection.folder.glob("ledger.sqlite*"):
        path.unlink()


@pytest.mark.parametrize("is_repaired", [True, False])
def test_a_lost_ledger_is_restored_and_the_collection_is_that_of_today(
    collection: Collection, publishers: Publishers, is_repaired: bool
) -> None:
    options = (*reach(publishers), "--processes", 1)
    collection.run("download", *options, "--limit", N_YESTERDAY)
    download = collection.start("download", *options)
    try:
        path = backup_beside(collection, download, publishers)
        assert download.wait() == 0
    finally:
        kill_all(download)
    today, files = collection.rows(FACTS), collection.files()
    assert {row[2] for row in today} == {"success"}

    lose_ledger(collection)
    output = collection.run("restore", path)
    assert "d4c-images check --repair" in output
    assert collection.rows("SELECT count(*) FROM owner") == [(0,)]
    stored = collection.rows("SELECT count(*) FROM image_rows WHERE status = 'success'")[0][0]
    assert isinstance(stored, int)
    assert N_YESTERDAY <= stored < N
    collection.check_invariants()
    assert "running when this copy of the ledger was made" in collection.run("runs")
    publishers.reset()

    if is_repaired:
        collection.run("check", "--repair", "--yes")
    collection.run("download", *options)
    collection.check_invariants()
    assert collection.rows(FACTS) == today
    assert collection.files() == files
    needed = 0 if is_repaired else N - stored
    assert publishers.counters()["requests"] <= needed, "what the backup or, after a repair, the root has is not asked for again"
    collection.run("check", "--sha256")
    assert collection.rows("SELECT count(*) FROM lent") == [(0,)]


def test_what_a_run_had_in_hand_when_it_was_backed_up_is_adopted_without_a_request(
    collection: Collection, publishers: Publishers
) -> None:
    """The backup says that these images are lent; their worker has stored them since."""
    options = (*reach(publishers), "--processes", 1)
    download = collection.start("download", *options)
    try:
        path = backup_beside(collection, download, publishers)
        assert download.wait() == 0
    finally:
        kill_all(download)
    lose_ledger(collection)
    collection.run("restore", path)
    lent = collection.rows("SELECT count(*) FROM lent")[0][0]
    stored = collection.rows("SELECT count(*) FROM image_rows WHERE status = 'success'")[0][0]
    assert isinstance(lent, int)
    assert isinstance(stored, int)
    assert lent > 0
    publishers.reset()
    collection.run("download", *options)
    assert publishers.counters()["requests"] <= N - stored - lent
    collection.check_invariants()


def test_a_backup_of_a_killed_run_s_ledger_is_one_too(collection: Collection, publishers: Publishers) -> None:
    options = (*reach(publishers), "--processes", 1)
    collection.run("download", *options, code=-signal.SIGKILL, crash_at="settle.committed")
    path = collection.folder / json.loads(collection.run("backup", "backups/", "--json"))["backup"]
    lose_ledger(collection)
    collection.run("restore", path)
    collection.run("download", *options)
    collection.check_invariants()
    assert collection.rows("SELECT DISTINCT status FROM images") == [("success",)]
