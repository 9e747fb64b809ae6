"""Disk faults: that the disturbance is real, what the program makes of single ones, and a sample of all of them for each command.

`make campaign-disk-faults` tries every call of every command.
"""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import sys
from contextlib import AbstractContextManager, closing
from multiprocessing.connection import Pipe
from pathlib import Path

import pytest

from d4c_images import errors
from d4c_images.commands import presets
from d4c_images.errors import EXIT_ERROR, EXIT_USAGE, D4CError, LedgerError, SourceError, StoreError, UsageError
from d4c_images.ledger.file import connect, owner
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.ledger.queue import wishes
from d4c_images.runners import pipe_worker
from d4c_images.runners.rendezvous import Invitation, MeetingPlace
from d4c_images.sources.container import reading
from d4c_images.stores import own_files, partial
from d4c_images.stores.local import LocalStore
from d4c_images.system import clocks
from tests.disk import campaign, disturbance
from tests.disk.calls import ERRORS, SHORT, Fault, Kind, faults_of, parse_fault
from tests.disk.jobs import NAMES, job_of
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import PROGRAM, PROJECT
from tests.support.sample_ledger import make_ledger

N_OF_A_SAMPLE = 2  # faults of each command
SEED = 15
PARENT_AND_CHILD = """
import os, subprocess, sys
os.chdir(sys.argv[1])
with open("a", "wb", 0) as file:
    print(file.write(b"x" * 100))
code = "print(len(open('a').read()))"
subprocess.run([sys.executable, "-S", "-c", code])
"""


def disturbed(folder: Path, fault: Fault | None) -> disturbance.Ran:
    """A program that writes 100 bytes, and another one, started by it, that reads them."""
    place = folder / "place"
    place.mkdir()
    command = [sys.executable, "-S", "-c", PARENT_AND_CHILD, str(place)]
    return disturbance.run(command, place, fault, os.environ, folder, PATIENCE_S)


def test_calls_are_counted_by_kind_over_all_processes_and_only_below_the_folder(tmp_path: Path) -> None:
    ran = disturbed(tmp_path, None)
    assert (ran.code, ran.output) == (0, "100\n100\n")
    assert [ran.heard.counts[kind] for kind in (Kind.CREATE, Kind.OPEN, Kind.WRITE, Kind.CLOSE)] == [1, 1, 1, 1]
    assert {place for kind, _, place in ran.heard.places if kind is not Kind.SOCKET} == {"a"}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_the_call_fails_with_the_errno_and_nothing_is_created(tmp_path: Path, error: int) -> None:
    ran = disturbed(tmp_path, Fault(Kind.CREATE, error, 1))
    assert ran.heard.fired == f"openat {tmp_path}/place/a"
    assert f"[Errno {error}]" in ran.output
    assert not list((tmp_path / "place").iterdir())


def test_a_fault_in_another_process_of_the_program_is_one_too(tmp_path: Path) -> None:
    ran = disturbed(tmp_path, Fault(Kind.OPEN, errno.ESTALE, 1))
    assert ran.output.startswith("100\nTraceback")
    assert f"OSError: [Errno {errno.ESTALE}]" in ran.output


def test_a_lasting_fault_also_meets_other_calls_and_a_single_one_does_not(tmp_path: Path) -> None:
    assert Fault(Kind.WRITE, errno.ENOSPC, 1, lasting=True).spreads_to(Kind.MKDIR)
    assert not Fault(Kind.WRITE, errno.ENOSPC, 1, lasting=True).spreads_to(Kind.UNLINK), "a full disk can be tidied up"
    assert Fault(Kind.WRITE, errno.EIO, 1, lasting=True).spreads_to(Kind.UNLINK)
    ran = disturbed(tmp_path, Fault(Kind.READ, errno.EIO, 1, lasting=True))
    assert ran.output.count("Traceback") == 1


def test_a_short_write_writes_half(tmp_path: Path) -> None:
    ran = disturbed(tmp_path, Fault(Kind.WRITE, SHORT, 1))
    assert (ran.code, ran.output) == (0, "50\n50\n")


def test_a_fault_beyond_the_last_call_does_not_fire(tmp_path: Path) -> None:
    ran = disturbed(tmp_path, Fault(Kind.WRITE, errno.EIO, 2))
    assert (ran.code, ran.heard.fired) == (0, None)


def test_faults_are_read_as_they_are_written() -> None:
    faults = [fault for kind in Kind for fault in faults_of(kind, 7)]
    assert [parse_fault(str(fault)) for fault in faults] == faults
    assert {error for errors in ERRORS.values() for error in errors} == {
        errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, SHORT,
    }  # fmt: skip


def test_a_full_disk_ends_an_export_in_one_line_and_leaves_the_earlier_list(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger.sqlite").close()
    (tmp_path / "list.csv").write_text("of yesterday\n")
    command = [*PROGRAM, "export", str(tmp_path / "list.csv"), "--ledger", str(tmp_path / "ledger.sqlite")]
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    ran = disturbance.run(command, tmp_path, Fault(Kind.WRITE, errno.ENOSPC, 1, lasting=True), environ, PROJECT, PATIENCE_S)
    assert (ran.code, ran.output) == (1, f"d4c-images: cannot write {tmp_path}/list.csv: No space left on device\n")
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "list.csv").read_text() == "of yesterday\n"


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOSPC])
def test_a_disk_that_fails_is_no_usage_error(tmp_path: Path, error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise OSError(error, os.strerror(error), str(path))

    assert errors.of_a_named_path(SourceError, "a zip", OSError(error, "")).exit_code == EXIT_ERROR
    assert errors.of_a_named_path(SourceError, "a zip", OSError(errno.ENOENT, "")).exit_code == EXIT_USAGE
    monkeypatch.setattr(presets, "text_of", fail)
    with pytest.raises(UsageError, match=f"hosts.toml: {os.strerror(error)}") as refused:
        presets.host_table(tmp_path / "hosts.toml")
    assert refused.value.exit_code == EXIT_ERROR
    (tmp_path / "table.txt").write_text("gbifID\n")
    with pytest.raises(SourceError) as unread, reading(tmp_path / "table.txt", None, "table.txt"):
        fail(tmp_path / "table.txt")
    assert unread.value.exit_code == EXIT_ERROR


def test_a_ledger_that_does_not_open_for_want_of_anything_but_permission_is_no_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, refusal = tmp_path / "ledger.sqlite", sqlite3.OperationalError("unable to open database file")
    assert connect.explain(refusal, path).exit_code == EXIT_ERROR
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert connect.explain(refusal, path).exit_code == EXIT_USAGE


def test_a_ledger_that_cannot_be_read_while_it_is_owned_is_one_line_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with pytest.raises(LedgerError, match=f"{path}: disk I/O error"), owned(path):
        raise sqlite3.OperationalError("disk I/O error")
    with pytest.raises(sqlite3.IntegrityError), owned(path):  # a bug stays one
        raise sqlite3.IntegrityError("UNIQUE constraint failed")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT ending LIKE 'died: %' FROM runs").fetchall() == [(1,), (1,)]


def test_what_ended_a_run_is_said_even_if_its_end_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), "ledger.sqlite")

    with pytest.raises(StoreError, match="the reason"), owned(tmp_path / "ledger.sqlite"):  # noqa: PT012
        monkeypatch.setattr(owner, "give_back", stale)
        raise StoreError("the reason")


def owned(path: Path) -> AbstractContextManager[connect.Ledger]:
    return open_and_own(path, "test", owner.this_process(), clocks.now, lambda line: None, create=True)


def test_a_close_that_fails_is_a_store_error_and_leaves_no_partial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def close(fd: int) -> None:
        really(fd)
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    really = os.close
    with closing(LocalStore(tmp_path)) as store:
        part = store.begin(500, 0, 1)
        part.write(bytes(2 * partial.SMALL_BODY_BYTES))
        with monkeypatch.context() as patch:
            patch.setattr(os, "close", close)
            with pytest.raises(StoreError, match=r"500-00\.1\.part: Disk quota exceeded"):
                part.abort()
    assert not list(tmp_path.rglob("*.part"))


def test_an_image_root_that_cannot_be_looked_at_is_a_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: Path, **_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, "stat", gone)
    with pytest.raises(StoreError, match=f"{tmp_path}: Input/output error"):
        LocalStore(tmp_path)


def test_a_worker_without_descriptors_ends_the_run_in_the_words_of_the_system(capfd: pytest.CaptureFixture[str]) -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        pipe_worker._work(theirs, set_up_without_descriptors)
        assert str(ours.recv()) == "Too many open files"
    assert capfd.readouterr().err == ""


def set_up_without_descriptors() -> pipe_worker.Work:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_an_invitation_that_cannot_be_written_leaves_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place = MeetingPlace(tmp_path / "cluster")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(D4CError, match=r"scheduler\.json cannot be written: No space left on device"):
        place.invite(Invitation("run", "ledger", "0.1.0", "tls://[::1]:1", "certificate", "key"))
    assert not list(place.folder.iterdir())


def test_a_wish_that_cannot_be_read_waits_until_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    ledger = make_ledger(tmp_path / "ledger.sqlite")
    left = wishes.leave(ledger.path, wishes.Wish(wishes.PAUSE, ("good.example.org",)))
    with monkeypatch.context() as patch:
        patch.setattr(wishes, "json_of", stale)
        assert wishes.take_all(ledger, 1_800_000_000) == []
    assert left.exists()
    assert [wish.hosts for wish in wishes.take_all(ledger, 1_800_000_000)] == [("good.example.org",)]
    assert not left.exists()
    ledger.close()


def test_a_wish_that_cannot_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(LedgerError, match="No space left on device"):
        wishes.leave(tmp_path / "ledger.sqlite", wishes.Wish(wishes.PAUSE, ("good.example.org",)))
    assert not list((tmp_path / "ledger.sqlite.wishes").iterdir())


@pytest.mark.parametrize("kind", ["probe", "lock-probe", "clock-probe", "log-probe", "log-probe-wal", "log-probe-shm"])
def test_a_probe_that_could_not_be_removed_is_swept_and_is_no_stranger(tmp_path: Path, kind: str) -> None:
    left = tmp_path / f".d4c-images.4711.{kind}"
    left.touch()
    assert own_files.is_mark(left.name)
    own_files.sweep(tmp_path, "0123abcd")
    assert not left.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_command_whose_disk_fails_stops_cleanly_loses_nothing_and_goes_on(
    tmp_path: Path, publishers: Publishers, name: str
) -> None:
    stage = campaign.Stage(job_of(name), tmp_path, publishers)
    for fault in campaign.some_faults(stage.heard, N_OF_A_SAMPLE, random.Random(f"{SEED} {name}")):
        verdict = stage.judge(fault)
        assert verdict.wrong == [], f"python -m tests.disk --only {name} --fault {fault}\n{verdict.fired}\n{verdict.output}"
