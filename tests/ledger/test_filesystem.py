"""A ledger on a disk that several machines share: whose locks are tried, who has it, and what readers see.

No kernel here has NFS, Lustre or GPFS. What is real: the locks of the local disk, the second process that tries them, the exclusive
SQLite file, the reservation, the copies. What stands in: the table of mounts, and locks that fail or lie (`make test-system` does
that to a whole process).
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import re
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from d4c_images.errors import LedgerBusy, LedgerError, LedgerLost
from d4c_images.ledger.file import disk_trial, exclusive_name, filesystem, owner
from d4c_images.ledger.file.connect import Ledger, open_ledger
from d4c_images.ledger.file.disk_trial import trial
from d4c_images.ledger.file.filesystem import Reservation, check_locks, disk_of, file_system, holder, reservation_of
from d4c_images.ledger.file.liveness import DEAD_AFTER_S, LedgerHolder
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.file.snapshot import snapshot_of
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.settings import Disk
from tests.publishers.client import Publishers
from tests.support.program import Collection, multimedia, reach
from tests.support.waiting import Waiting

ME = owner.this_process("77")
ELSEWHERE = owner.Process("node9", 4711, "boot/1", "812")

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw shared:2 - proc proc rw
30 22 0:40 / /scratch rw,relatime shared:9 - lustre 10.0.0.1@tcp:/scratch rw,flock
31 22 0:41 / /projectnb rw - gpfs projectnb rw
32 22 0:42 / /home rw - nfs4 server:/home rw
33 32 0:43 / /home/me/local rw - xfs /dev/vdb rw
34 22 0:44 / /data/with\040blank rw - beegfs beegfs_nodev rw
35 22 0:45 / /mnt/s3 rw - fuse.s3fs s3fs rw
36 22 0:46 / /mnt/new rw - newfs newfs rw
37 22 0:47 / /over rw - nfs old:/ rw
38 22 0:48 / /over rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "disk"),
    [
        ("/work/ledger.sqlite", "ext4", Disk.LOCAL),
        ("/scratch/me/ledger.sqlite", "lustre", Disk.SHARED),
        ("/scratchy/ledger.sqlite", "ext4", Disk.LOCAL),
        ("/projectnb", "gpfs", Disk.SHARED),
        ("/home/me/ledger.sqlite", "nfs4", Disk.SHARED),
        ("/home/me/local/ledger.sqlite", "xfs", Disk.LOCAL),
        ("/data/with blank/ledger.sqlite", "beegfs", Disk.SHARED),
        ("/mnt/s3/x", "fuse.s3fs", Disk.SHARED),
        ("/mnt/new/x", "newfs", Disk.SHARED),
        ("/over/x", "tmpfs", Disk.LOCAL),
    ],
)
def test_the_disk_is_known_by_its_file_system(path: str, kind: str, disk: Disk, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert file_system(Path(path), mounts) == kind
    assert disk_of(Path(path), mounts) is disk


def test_without_a_table_of_mounts_nothing_is_known(tmp_path: Path) -> None:
    assert disk_of(Path("/x"), tmp_path / "none") is Disk.SHARED
    assert file_system(tmp_path) in filesystem.LOCAL_TYPES, "and the disk of this test is a local one"


def test_locks_that_work(tmp_path: Path) -> None:
    check_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_locks_that_fail_or_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "lockf", fails)
    with pytest.raises(LedgerError, match=r"locks do not work .*Function not implemented.*mounted with working locks"):
        check_locks(tmp_path)
    monkeypatch.setattr(fcntl, "lockf", lambda *_: None)
    with pytest.raises(LedgerError, match=r"do not keep others out.*put the ledger on a local disk of the node"):
        check_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("disk", Disk)
def test_a_trial_leaves_nothing(disk: Disk, tmp_path: Path) -> None:
    trial(tmp_path, disk)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("disk", Disk)
def test_a_trial_finds_locks_that_lie_on_any_disk(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "lockf", lambda *_: None)
    with pytest.raises(LedgerError, match="do not keep others out"):
        trial(tmp_path, disk)


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("PRAGMA locking_mode = EXCLUSIVE", r"does not work .*database is locked.*D4C_LEDGER_DISK=shared"),  # no other gets in
        ("ATTACH ':memory:' AS main2", None),
    ],
)
def test_a_trial_of_the_log_takes_two_users(first: str, says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=0.01, isolation_level=None)
        connection.execute(first)
        return connection

    monkeypatch.setattr(disk_trial, "_opened", opened)
    trial(tmp_path, Disk.SHARED)
    if says is None:
        trial(tmp_path, Disk.LOCAL)
    else:
        with pytest.raises(LedgerError, match=says):
            trial(tmp_path, Disk.LOCAL)
    assert list(tmp_path.iterdir()) == []


# -- reservations


def reserve(path: Path, process: owner.Process = ME, each: Callable[[float], None] = lambda waited_s: None) -> Reservation:
    return Reservation(path, "download", process, 1000.0, Waiting(each).patience())


@pytest.mark.parametrize("their_clock", [0.0, 3600.0, -3600.0])
def test_a_reserved_ledger_names_its_holder(their_clock: float, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    theirs = reserve(ledger, ELSEWHERE)
    with pytest.raises(LedgerBusy, match=r"in use by 'download' on host node9, pid 4711, job 812, since "):
        reserve(ledger, each=lambda waited_s: theirs.beat(their_clock + waited_s))
    theirs.give_back()
    assert holder(ledger) is None
    mine = reserve(ledger)
    with pytest.raises(LedgerLost):
        theirs.check()
    mine.check()
    mine.give_back()
    assert list(tmp_path.iterdir()) == []


def test_a_dead_one_is_taken_over_and_stops_when_it_comes_back(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    elder = reserve(ledger, ELSEWHERE)
    mine = reserve(ledger)
    assert mine.dead == ELSEWHERE
    with pytest.raises(LedgerLost, match=f"taken over this ledger .'download' on host {re.escape(socket.gethostname())}"):
        elder.check()
    with pytest.raises(LedgerLost):
        elder.beat(2000.0)
    elder.give_back()
    mine.check()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token": 1}'])
def test_a_torn_reservation_is_nobodys(text: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    reservation_of(ledger).write_text(text)
    reserve(ledger).check()
    assert len(list(tmp_path.iterdir())) == 1


def test_two_that_see_the_same_dead_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one comes between the first one's look and its hand."""
    ledger = tmp_path / "ledger.sqlite"
    reserve(ledger, ELSEWHERE)
    looked = filesystem.await_end
    rivals: list[Reservation] = []

    def decides_slowly(*arguments: Any) -> LedgerHolder | None:
        found = looked(*arguments)
        if not rivals:
            monkeypatch.setattr(filesystem, "await_end", looked)
            rivals.append(reserve(ledger, owner.Process("node10", 1, None)))
        return found

    monkeypatch.setattr(filesystem, "await_end", decides_slowly)
    with pytest.raises(LedgerBusy, match="just now"):
        reserve(ledger)
    rivals[0].check()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite.owner"]


def test_one_that_was_taken_for_dead_and_shows_itself_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "ledger.sqlite"
    theirs, looked = reserve(ledger, ELSEWHERE), filesystem.await_end

    def then_beats(*arguments: Any) -> LedgerHolder | None:
        found = looked(*arguments)
        theirs.beat(1100.0)
        return found

    monkeypatch.setattr(filesystem, "await_end", then_beats)
    with pytest.raises(LedgerBusy, match="just now"):
        reserve(ledger)
    theirs.check()


def test_one_that_is_taken_while_nobody_seemed_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "ledger.sqlite"
    theirs = [reserve(ledger, ELSEWHERE)]
    monkeypatch.setattr(filesystem, "await_end", lambda *_: None)
    with pytest.raises(LedgerBusy, match="just now"):
        reserve(ledger)
    theirs[0].check()


def test_a_third_takes_the_place_that_was_to_be_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = tmp_path / "ledger.sqlite"
    reserve(ledger, ELSEWHERE)
    place, thirds = exclusive_name.place, []

    def comes_too_late(new: Path, final: Path) -> None:
        monkeypatch.setattr(exclusive_name, "place", place)
        thirds.append(reserve(ledger, owner.Process("node11", 1, None)))
        place(new, final)

    monkeypatch.setattr(filesystem, "await_end", lambda *_: None)
    monkeypatch.setattr(exclusive_name, "place", comes_too_late)
    with pytest.raises(LedgerBusy, match="just now"):
        reserve(ledger)
    thirds[0].check()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite.owner"]


# -- a ledger on a shared disk


def own(path: Path) -> AbstractContextManager[Ledger]:
    return open_and_own(path, "download", ME, time.time, print, disk=Disk.SHARED, create=True)


def test_the_writer_holds_the_file_and_readers_have_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with own(path) as ledger:
        for pragma, wanted in {"journal_mode": "truncate", "locking_mode": "exclusive", "synchronous": 2, "mmap_size": 0}.items():
            assert ledger.connection.execute(f"PRAGMA {pragma}").fetchone() == (wanted,)
        with open_reader(path) as reader:
            assert reader.copied_at is not None
            assert reader.rows("SELECT command, ended_at FROM runs") == [("download", None)]
        snapshot_of(path).unlink()
        with pytest.raises(LedgerError, match="its read-only copy does not exist yet"):
            open_reader(path)
        assert not Path(f"{path}-wal").exists()
    assert not list(tmp_path.glob("ledger.sqlite.*"))
    with open_reader(path) as reader:
        assert reader.copied_at is None
        assert reader.rows("SELECT ending FROM runs") == [("ended",)]


def test_a_run_that_dies_of_an_error_leaves_no_copy_behind(tmp_path: Path) -> None:
    def dies() -> None:
        with own(tmp_path / "ledger.sqlite"):
            assert snapshot_of(tmp_path / "ledger.sqlite").exists()
            raise LedgerError("the disk is full")

    with pytest.raises(LedgerError, match="the disk is full"):
        dies()
    assert not list(tmp_path.glob("ledger.sqlite.*"))


def test_a_ledger_may_move_from_a_local_disk_to_a_shared_one_and_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    for disk, mode in ((Disk.LOCAL, "wal"), (Disk.SHARED, "truncate"), (Disk.LOCAL, "wal")):
        with open_and_own(path, "init", ME, time.time, print, disk=disk, create=True) as ledger:
            assert ledger.connection.execute("PRAGMA journal_mode").fetchone() == (mode,)
    with open_reader(path) as reader:
        assert reader.rows("SELECT count(*) FROM runs") == [(3,)]


def test_a_copy_is_made_again_when_it_is_old_and_by_less_than_a_twentieth_of_the_time(tmp_path: Path) -> None:
    path, now = tmp_path / "ledger.sqlite", [1000.0]
    with open_and_own(path, "download", ME, lambda: now[0], print, disk=Disk.SHARED, create=True) as ledger:

        def copies_after(seconds: float) -> bool:
            before = snapshot_of(path).stat().st_ino
            keep = snapshot_of(path).open("rb")  # so that its number is not given to the next one
            now[0] += seconds
            owner.beat(ledger, now[0])
            keep.close()
            return snapshot_of(path).stat().st_ino != before

        assert [copies_after(30), copies_after(31), copies_after(30)] == [False, True, False]


def test_no_room_for_a_copy_ends_no_run(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.with_name("ledger.sqlite.snapshot.new").mkdir()
    said: list[str] = []
    with open_and_own(path, "download", ME, time.time, said.append, disk=Disk.SHARED, create=True) as ledger:
        owner.beat(ledger, time.time())
    assert len(said) == 1
    assert "read-only copy of" in said[0]


def test_a_run_that_died_on_another_node_is_waited_for_once(tmp_path: Path) -> None:
    """By its mark; the row in the ledger is of the same run."""
    path, waiting = tmp_path / "ledger.sqlite", Waiting()
    reserve(path, ELSEWHERE)
    died = open_ledger(path, create=True, on_shared_disk=True)
    owner.take(died, "download", ELSEWHERE, 1000.0)
    died.connection.close()  # the node is gone, and its locks with it
    with open_and_own(path, "download", ME, time.time, print, disk=Disk.SHARED, patience=waiting.patience()) as mine:
        assert mine.connection.execute("SELECT host, ending FROM runs ORDER BY run_id").fetchall() == [
            ("node9", "died"),
            (ME.host, None),
        ]
    assert DEAD_AFTER_S <= waiting.now < DEAD_AFTER_S + 10
    assert len(waiting.said) == 1


def test_who_has_lost_the_ledger_writes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    held = own(path)
    ledger = held.__enter__()
    mine = holder(path)
    assert mine is not None
    other = dataclasses.replace(mine, token="other", host="node10")
    reservation_of(path).write_text(json.dumps(dataclasses.asdict(other)))
    with pytest.raises(LedgerLost, match="host node10"), ledger.transaction():
        pytest.fail("this transaction must not begin")
    with pytest.raises(LedgerLost):
        held.__exit__(None, None, None)
    assert holder(path) == other, "it stays the other one's"


# -- the program


@pytest.mark.slow
def test_a_collection_on_a_shared_disk(tmp_path: Path, publishers: Publishers) -> None:
    collection = Collection(tmp_path, {"D4C_LEDGER_DISK": "shared"})
    rows = [(5_000_000_000 + number, f"http://shared{number % 3}.example.org/photos/{number}.jpg") for number in range(60)]
    collection.run("init", multimedia(tmp_path / "multimedia.txt", rows))
    publishers.behave("*.example.org=slow_first_byte:0.2")
    arguments = [*reach(publishers), "--processes", 1, "--no-progress"]
    process = collection.start("download", *arguments)
    assert process.stdout is not None
    for line in process.stdout:
        if " start: " in line:
            break
    status = collection.run("status")
    assert re.search(r"as of .* ago: a copy, while a run holds the ledger", status)
    assert json.loads(collection.run("status", "--json"))["run"]["state"] == "running"
    assert "none" in collection.run("check", "--sha256"), "what the run has begun since the copy is no finding"
    refused = collection.run("download", *arguments, code=1)
    assert f"is in use by 'download' on host {socket.gethostname()}, pid {process.pid}" in refused
    process.kill()
    process.communicate()
    publishers.behave_well()
    collection.run("download", *arguments)
    collection.check_invariants()
    assert collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", 60)]
    assert not [path for path in tmp_path.glob("ledger.sqlite.*") if ".check." not in path.name]
    assert "none" in collection.run("check")
