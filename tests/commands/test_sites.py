"""Conditions of a site: paths that are not UTF-8, file systems without hard links, full disks. It works, or one line says why."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import NoReturn

import pytest

from d4c_images import cli
from d4c_images.errors import D4CError, LedgerBusy, printable
from d4c_images.ledger.file import exclusive_name, filesystem
from d4c_images.ledger.file.filesystem import Reservation
from d4c_images.ledger.file.owner import this_process
from tests.support.program import multimedia

LATIN = os.fsdecode(b"Universit\xe4t")


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said
    assert "internal error" not in said
    return said


# -- paths that are no UTF-8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["all.csv", "all.parquet"])
def test_everything_lies_in_a_folder_whose_name_is_not_utf8(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / LATIN
    folder.mkdir()
    ledger = ["--ledger", str(folder / "ledger.sqlite")]
    root = ["--root", str(folder / "images")]
    table = multimedia(folder / "multimedia.txt", [(1_000_000_001, "http://a.example.org/1.jpg")])
    for arguments in (
        ["init", str(table), *ledger, "--no-progress"],
        ["placeholders", *ledger, *root],
        ["status", *ledger, "--tables", str(folder / "tables")],
        ["hosts", *ledger],
        ["hosts", "pause", "a.example.org", *ledger],
        ["check", *ledger, *root],
        ["export", str(folder / name), "--all-images", *ledger],
        ["unpack", "--to", str(folder / "files"), *ledger, *root],
    ):
        assert cli.main(arguments) == 0, (arguments, capsys.readouterr())
    assert r"Universit\xe4t" in capsys.readouterr().out
    assert (folder / name).stat().st_size > 0


def test_an_error_names_it_in_a_way_that_can_be_stored_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--ledger", str(tmp_path / LATIN / "ledger.sqlite")]) == 2
    assert r"Universit\xe4t" in one_line(capsys)
    assert str(D4CError(LATIN)) == printable(LATIN) == r"Universit\xe4t"
    assert printable("Universität \ud800") == r"Universität \ud800"


# -- file systems without hard links


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(src: object, dst: object, **_: object) -> NoReturn:
        raise PermissionError(errno.EPERM, "Operation not permitted", src, None, dst)

    monkeypatch.setattr(os, "link", link)


def reserve(path: Path) -> Reservation:
    return Reservation(path, "download", this_process(), time.time())


@pytest.mark.usefixtures("no_links")
def test_a_ledger_without_hard_links_is_reserved_by_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    first = reserve(path)
    first.check()
    with pytest.raises(LedgerBusy, match=f"pid {os.getpid()}"):
        reserve(path)
    first.beat(time.time())
    first.check()
    first.give_back()
    reserve(path).give_back()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_links")
def test_of_two_that_make_the_same_name_one_wins(tmp_path: Path) -> None:
    one, other, final = tmp_path / "one", tmp_path / "other", tmp_path / "final"
    one.write_text("one")
    other.write_text("other")
    exclusive_name.place(one, final)
    with pytest.raises(FileExistsError):
        exclusive_name.place(other, final)
    assert final.read_text() == "one"


# -- disks without locks


@pytest.mark.parametrize("disk", ["local", "shared", ""])
def test_a_disk_without_locks_is_named_at_once(
    disk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever somebody has said of it, or the kernel."""

    def lockf(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setenv("D4C_LEDGER_DISK", disk)
    monkeypatch.setattr(filesystem.fcntl, "lockf", lockf)
    table = multimedia(tmp_path / "multimedia.txt", [])
    assert cli.main(["init", str(table), "--ledger", str(tmp_path / "ledger.sqlite")]) == 1
    said = one_line(capsys)
    assert "file locks do not work" in said
    assert "No locks available" in said
    assert list(tmp_path.iterdir()) == [table]


# -- errors of the machine, wherever they come


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "/data/x: No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", b"/d\xe9"), r"/d\xe9: Read-only file system"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (MemoryError(), "this process may take no more memory"),
    ],
)
def test_an_error_of_the_machine_is_one_line(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr("d4c_images.ledger.file.reader.open_reader", fail)
    is_of_a_path = isinstance(error, OSError) and error.errno == errno.EROFS  # that the user has named
    assert cli.main(["status", "--ledger", str(tmp_path / "ledger.sqlite")]) == (2 if is_of_a_path else 1)
    assert one_line(capsys) == f"d4c-images: {words}\n"
