"""`check --repair` with real hosts and real processes: what a download fetches afterwards, kills at every step, a terminal."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.collection import test_repair as damages
from tests.publishers.client import Publishers
from tests.support.ledger_dump import differences
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia, reach

pytestmark = pytest.mark.slow

FIRST_ID, N, HOSTS = 8_100_000_000, 36, 3


def url_of(n: int) -> str:
    return f"http://mend{n % HOSTS}.example.org/photos/{n}.{('jpg', 'png', 'gif')[n % 3]}"


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    made = Collection(tmp_path)
    made.load(multimedia(tmp_path / "multimedia.txt", [(FIRST_ID + n, url_of(n)) for n in range(N)]))
    return made


def download(collection: Collection, publishers: Publishers, *more: object) -> None:
    collection.run("download", *reach(publishers), "--processes", 1, "--no-progress", *more, code=0)


def repair(collection: Collection) -> str:
    output = collection.run("check", "--repair", "--yes", "--sha256", "--no-progress", code=0)
    collection.call("check", "--sha256", "--no-progress", code=0)
    collection.check_invariants()
    return output


def stored(collection: Collection) -> dict[object, object]:
    return dict(collection.rows("SELECT gbif_id, sha256 FROM images WHERE status = 'success'"))  # type: ignore[arg-type]


def path_of(collection: Collection, n: int) -> Path:
    ((path,),) = collection.rows("SELECT file_path FROM images WHERE gbif_id = ?", FIRST_ID + n)
    return collection.root / str(path)


def asked(publishers: Publishers) -> set[str]:
    return {url for url, n in publishers.counters()["urls"].items() if n and "/photos/" in url}


def test_the_next_download_fetches_what_is_lost_and_nothing_else(collection: Collection, publishers: Publishers) -> None:
    download(collection, publishers)
    before = stored(collection)
    assert len(before) == N
    lost = {0: b"flipped", 1: None, 2: b""}
    for n, body in lost.items():
        if body is None:
            path_of(collection, n).unlink()
        else:
            path_of(collection, n).write_bytes(body)
    one, other = path_of(collection, 3), path_of(collection, 6)  # both are JPEGs
    one.rename(collection.root / "x")
    other.rename(one)
    (collection.root / "x").rename(other)
    path_of(collection, 9).rename(path_of(collection, 9).with_suffix(".JPG"))
    (collection.root / "stranger.jpg").write_bytes(b"mine")
    assert "queued 3 images" in repair(collection)
    publishers.reset()
    download(collection, publishers)
    assert asked(publishers) == {url_of(n) for n in lost}
    assert stored(collection) == before
    collection.call("check", "--sha256", "--no-progress", code=0)
    collection.check_invariants()


@pytest.mark.parametrize("kind", ["files", "pack"])
def test_with_a_ledger_of_yesterday_nothing_is_fetched_again(collection: Collection, publishers: Publishers, kind: str) -> None:
    download(collection, publishers, "--store", kind, "--limit", N // 3)
    yesterday = collection.ledger.read_bytes()
    download(collection, publishers, "--store", kind)
    today = stored(collection)
    assert len(today) == N
    for suffix in ("", "-wal", "-shm"):
        collection.ledger.with_name(collection.ledger.name + suffix).unlink(missing_ok=True)
    collection.ledger.write_bytes(yesterday)
    repair(collection)
    assert stored(collection) == today
    publishers.reset()
    download(collection, publishers)
    assert asked(publishers) == set()
    assert collection.rows("SELECT count(*) > ? FROM images WHERE error_type = 'adopted'", N // 3) == [(1,)]


DAMAGES = (
    *(damages.zero_run, damages.rotated_others, damages.image_of_an_open_row, damages.image_of_a_failure, damages.stranger),
    *(damages.leftover, damages.wrong_counter, damages.lost_lease_of_another),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, Collection]:
    """A damaged collection, and the same one after a repair that nobody has interrupted."""
    made = damages.made(tmp_path_factory.mktemp("damaged"))
    for damage in DAMAGES:
        damage(made)
    mended = copied(made, tmp_path_factory.mktemp("mended"))
    repair(mended)
    return made, mended


def copied(collection: Collection, to: Path) -> Collection:
    copy = Collection(to / "copy")
    shutil.copytree(collection.folder, copy.folder)
    copy.sql(f"UPDATE checkpoints SET position = json_set(position, '$.path', '{copy.root}', '$.inode', {copy.root.stat().st_ino})")
    return copy


POINTS = (
    *(f"repair.moved:{n}" for n in range(1, 5)),
    *(f"repair.committed:{n}" for n in range(1, 5)),
    *(f"repair.put_back:{n}" for n in range(1, 4)),
    *("repair.confirmed:1", "repair.confirmed:2", "finalize.records_committed:1", "finalize.images_committed:1"),
)


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_the_same_command_ends_with_the_same_ledger_and_files(
    whole: tuple[Collection, Collection], tmp_path: Path, point: str
) -> None:
    damaged, mended = whole
    collection = copied(damaged, tmp_path)
    collection.run("check", "--repair", "--yes", "--sha256", "--no-progress", code=-signal.SIGKILL, crash_at=point)
    repair(collection)
    assert differences(collection.ledger, mended.ledger) == []
    assert files(collection) == files(mended)


def files(collection: Collection) -> dict[str, bytes]:
    return {str(path.relative_to(collection.root)): path.read_bytes() for path in collection.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_on_a_terminal_it_shows_the_counts_and_asks(
    whole: tuple[Collection, Collection], tmp_path: Path, answer: str, code: int
) -> None:
    collection = copied(whole[0], tmp_path)
    before = collection.ledger.read_bytes()
    ours, theirs = pty.openpty()
    command = collection.command("check", "--repair", "--sha256", "--no-progress")
    environ = {**os.environ, "TERM": "dumb"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True)
    os.close(theirs)
    output = b""
    while b"[y/N]" not in output:
        output += os.read(ours, 1 << 16)
    assert b"queue 4 images" in output
    os.write(ours, f"{answer}\n".encode())
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # the terminal has no other end any more
            break
        if not piece:
            break
        output += piece
    assert process.wait(PATIENCE_S) == code, output
    os.close(ours)
    assert (b"nothing was changed" in output) is (answer == "n")
    assert (collection.ledger.read_bytes() == before) is (answer == "n")
