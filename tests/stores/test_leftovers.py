"""What killed processes leave beside the images: swept by the next who owns the ledger, never taken from somebody who lives."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from d4c_images import cli
from d4c_images.ledger.queue import wishes
from d4c_images.ledger.queue.shards import store_kind
from d4c_images.model import Report
from d4c_images.runners.crew_log import Notes
from d4c_images.runners.dask_worker import Leave
from d4c_images.runners.rendezvous import Invitation
from d4c_images.stores import own_files, partial
from d4c_images.stores.local import LocalStore
from d4c_images.stores.pack import PackSettings, PackStore
from tests.commands.test_download_kill import await_true
from tests.publishers.client import Publishers
from tests.support.program import Collection, kill_all, multimedia, reach
from tests.support.sample_ledger import make_files, make_ledger

TOKEN, OTHER = "0123abcd", "76543210"
OLD_SIGN = ".d4c-images.0123456789abcdef.sign"
KNOWN, UNKNOWN = "1000000003-00", "4000000000-00"  # of an image of the sample ledger, and of none


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a ledger and its images."""
    make_ledger(tmp_path / "ledger.sqlite").close()
    (tmp_path / "images").mkdir()
    make_files(tmp_path / "images")
    return tmp_path


@pytest.fixture
def token(place: Path) -> Iterator[str]:
    ledger = make_ledger(place / "other.sqlite")
    yield store_kind(ledger, None).token
    ledger.close()


def run(place: Path, *arguments: str) -> int:
    return cli.main([*arguments, "--ledger", str(place / "ledger.sqlite"), "--root", str(place / "images")])


def hidden(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob(".*") if path.is_file()}


def test_the_next_owner_sweeps_marks_and_parts(place: Path) -> None:
    root = place / "images"
    (root / "packs/parts").mkdir(parents=True)
    strangers = {f".d4c-images.{OTHER}.00000001.sign", f".{UNKNOWN}.5.part", ".htaccess"}
    for name in (OLD_SIGN, ".d4c-images.4711.probe", ".all.csv.4711.part", *strangers - {f".{UNKNOWN}.5.part"}):
        (root / name).touch()
    for name in (f".{KNOWN}.5.part", f".{UNKNOWN}.5.part"):
        (root / "packs/parts" / name).write_bytes(b"x")
    for name in (".failed.parquet.4711.part", ".d4c-images.4711.lock-probe"):
        (place / name).touch()
    assert run(place, "placeholders") == 0
    assert hidden(place) == strangers


def test_the_next_owner_sweeps_reservations_that_were_not_put_in_their_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_LEDGER_DISK", "shared")
    names = ("owner.0123456789abcdef.new", "owner.0123456789abcdef", "snapshot.new")
    left, other = ([place / f"{ledger}.sqlite.{name}" for name in names] for ledger in ("ledger", "other"))
    for path in (*left, *other):
        path.touch()
    assert run(place, "placeholders") == 0
    assert [path.name for path in (*left, *other) if path.exists()] == [path.name for path in other]


def test_an_unfinished_wish_goes_and_one_that_is_being_written_comes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = place / "ledger.sqlite"
    folder = wishes.folder_of(ledger)
    folder.mkdir()
    (folder / "01234567890123456789-7.new").write_text('{"what": "pau')
    assert run(place, "placeholders") == 0
    assert list(folder.iterdir()) == []

    rename, swept = Path.rename, []

    def rename_after_a_sweep(path: Path, target: Path) -> Path:
        if not swept:
            swept.append(path)
            wishes.sweep(ledger)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_after_a_sweep)
    wishes.leave(ledger, wishes.Wish(wishes.PAUSE, ("a.example.org",)))
    assert [path.suffix for path in folder.iterdir()] == [".json"]


def test_a_body_beside_the_files_goes_although_nobody_is_lent_its_image_again(place: Path) -> None:
    """By the lease under which it was begun; the file of another lease may be somebody's who lives."""
    with sqlite3.connect(place / "ledger.sqlite") as db:
        ((gbif_id, image_no, lease_id),) = db.execute(
            "SELECT gbif_id, image_no, lease_id FROM lent JOIN image_rows USING (image_id)"
        ).fetchall()
    db.close()
    folder = place / "images" / str(gbif_id)[:3] / str(gbif_id)[3:6]
    folder.mkdir(parents=True, exist_ok=True)
    mine, other = (folder / f".{gbif_id}-{image_no:02}.{lease}.part" for lease in (lease_id, lease_id + 1))
    mine.touch()
    other.touch()
    assert run(place, "placeholders") == 0
    assert (mine.exists(), other.exists()) == (False, True)


def test_only_the_marks_of_this_ledger_go(tmp_path: Path) -> None:
    with own_files.signed(tmp_path, TOKEN) as mine, own_files.signed(tmp_path, OTHER) as theirs:
        assert {mine, theirs} == hidden(tmp_path)
        own_files.sweep(tmp_path, TOKEN)
        assert hidden(tmp_path) == {theirs}
    assert hidden(tmp_path) == set()


def test_a_table_that_is_being_written_is_left_alone(place: Path) -> None:
    (place / ".dead.csv.4711.part").touch()
    living = place / ".living.parquet.4712.part"
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run(place, "placeholders") == 0
        assert {path.name for path in place.glob(".*.part")} == {living.name}


def test_parts_of_two_ledgers_in_one_root(tmp_path: Path) -> None:
    """Of the same image, under leases of the same number."""
    for token in (TOKEN, OTHER):
        part = PackStore(tmp_path, PackSettings(token)).begin(123456789, 0, 7)
        part.write(b"x")
        part.flush()
    (tmp_path / "packs/parts/.123456789-00.7.part").touch()  # as first commits wrote it
    (tmp_path / "packs/parts/.123456788-00.7.part").touch()
    own_files.sweep_parts(tmp_path, TOKEN, lambda names: [numbers.gbif_id == 123456789 for numbers in names])
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".*.part")}
    assert left == {f"packs/parts/{OTHER}/.123456789-00.7.part", "packs/parts/.123456788-00.7.part"}
    PackStore(tmp_path, PackSettings(OTHER)).clear_partials(123456789, 0)
    assert {path.name for path in tmp_path.rglob(".*.part")} == {".123456788-00.7.part"}


@pytest.mark.parametrize(
    "name",
    [
        OLD_SIGN,
        f".d4c-images.{TOKEN}.00000001.sign",
        ".d4c-images.4711.probe",
        ".d4c-images.4711.lock-probe",
        ".all.csv.4711.part",
        ".all.parquet.4711.part",
        "ledger.sqlite.owner.0123456789abcdef0123456789abcdef",
        "ledger.sqlite.owner.0123456789abcdef0123456789abcdef.new",
        "ledger.sqlite.snapshot.new",
        "ledger.sqlite.snapshot.new-journal",
        "ledger.sqlite.check.3of30.0123abcd.found",
        "ledger.sqlite.check.3of30.0123abcd.state",
        "ledger.sqlite.check.3of30.0123abcd.state.4711.new",
        "ledger.sqlite.check.3of30.0123abcd.jsonl",
        "ledger.sqlite.check.3of30.sample",
        "ledger.sqlite.check.4711.new",
        "ledger.sqlite.v1.backup",
        "ledger.sqlite.v1.backup.2.new-wal",
        "ledger.sqlite.wishes/00000001759400000000-4711.new",
    ],
)
def test_no_mark_of_ours_is_a_stranger(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The ledger lies in the image root, so that what stands beside it is seen as well."""
    make_ledger(tmp_path / "ledger.sqlite").close()
    make_files(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    arguments = ["check", "--json", "--ledger", str(tmp_path / "ledger.sqlite"), "--root", str(tmp_path)]
    assert cli.main(arguments) == 0, capsys.readouterr().out
    assert json.loads(capsys.readouterr().out)["n_files"] == 4


@pytest.mark.parametrize("name", ["ledger.sqlite2", "ledger.sqlite.old", ".d4c-images.x", "all.csv"])
def test_what_is_not_ours_is_still_found(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_ledger(tmp_path / "ledger.sqlite").close()
    make_files(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    assert cli.main(["check", "--json", "--ledger", str(tmp_path / "ledger.sqlite"), "--root", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["counts"] == {"untracked": 1}


def test_a_worker_that_was_stopped_makes_no_file_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its coordinator was heard of too long ago when it goes on in the middle of an answer: others have had its images since."""
    from d4c_images.runners import dask_worker, messages

    class Ended(BaseException):
        pass

    def end(why: str) -> NoReturn:
        raise Ended(why)

    monkeypatch.setattr(dask_worker, "end_at_once", end)
    monkeypatch.setattr(partial, "_guard", partial._guard)  # as it is, again after this
    invitation = Invitation("1", "ledger", "1", "tls://x:1", "", "")
    session = dask_worker.Session(invitation, dask_worker.Leave.__new__(Leave), 1.0, Notes(None))
    told: list[object] = []
    monkeypatch.setattr(session, "_tell", told.append)
    monkeypatch.setattr(session, "_part", lambda code: None)
    store, files = LocalStore(tmp_path), []

    def work(feed: object) -> Iterator[Report]:
        for number in range(2):
            part = store.begin(123456789, number, 7)
            part.write(b"x")
            part.flush()
            files.append(part.path)
            session._heard_at -= 60.0  # as if it had been stopped for a minute
        yield Report(7, ())

    session._work(messages.Setup(lambda: work, 30.0))
    assert "Ended: no message from the coordinator for 30 s" in str(told[-1])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == files
    assert len(files) == 1


# -- whole downloads


N = 12


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    collection = Collection(tmp_path)
    rows = [(8_000_000_000 + n, f"http://left{n % 2}.example.org/photos/{n}.jpg") for n in range(N)]
    collection.load(multimedia(tmp_path / "multimedia.txt", rows))
    return collection


def is_clean(collection: Collection) -> None:
    collection.check_invariants()
    collection.run("check")
    assert hidden(collection.root) == set()


@pytest.mark.slow
def test_the_sign_of_a_killed_coordinator(collection: Collection, publishers: Publishers) -> None:
    """It was killed while it waited for workers."""
    process = collection.start("download", *reach(publishers), "--cluster", collection.folder / "cluster")
    await_true(lambda: (collection.folder / "cluster/scheduler.json").exists(), process)
    kill_all(process)
    assert list(collection.root.glob(".*.sign"))
    collection.run("check")
    collection.run("download", *reach(publishers))
    is_clean(collection)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("pack", "files"), ("files", "pack")])
def test_killed_with_one_store_and_gone_on_with_the_other(
    first: str, then: str, collection: Collection, publishers: Publishers
) -> None:
    process = collection.start("download", *reach(publishers), "--store", first, "--processes", 1, crash_at="put.written")
    await_true(lambda: bool(list(collection.root.rglob(".*-*.*.part"))), process)
    kill_all(process)
    collection.run("download", *reach(publishers), "--store", then)
    is_clean(collection)
