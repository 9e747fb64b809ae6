"""`kill -9` between the pieces in which the records of a widely shared image follow: afterwards all counts are true."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.publishers.client import Publishers
from tests.support.downloads import check_sound
from tests.support.program import Collection, multimedia, reach

FIRST_ID = 5_000_000_000
N = 16_000  # more than three pieces

pytestmark = pytest.mark.slow


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """One image on very many records, and two images of single ones."""
    rows = [(FIRST_ID + number, "http://wide.example.org/shared.jpg") for number in range(N)]
    rows += [(FIRST_ID + number, f"http://wide.example.org/{number}.jpg") for number in (3, N - 1)]
    made = Collection(tmp_path)
    made.load(multimedia(tmp_path / "multimedia.txt", rows))
    return made


def finish(collection: Collection, publishers: Publishers) -> None:
    collection.run("download", *reach(publishers), "--processes", 1, "--no-progress")
    collection.check_invariants()
    check_sound(collection.ledger)
    assert collection.rows("SELECT status, count(*) FROM gbif_ids GROUP BY 1") == [("done", N)]
    assert collection.rows("SELECT * FROM record_changes") == []
    collection.run("check", "--sha256")


@pytest.mark.parametrize(
    "point", ["following.before_commit", "following.committed", "following.before_commit:2", "following.committed:3"]
)
def test_killed_between_the_pieces(collection: Collection, publishers: Publishers, point: str) -> None:
    collection.run("download", *reach(publishers), "--processes", 1, "--no-progress", code=-9, crash_at=point)
    collection.check_invariants()
    assert collection.rows("SELECT count(*) FROM record_changes") == [(1,)]
    # The next one is killed as well, before it has come to anything else; with --finalize-only all is done and nothing to mend.
    collection.run("download", *reach(publishers), "--processes", 1, "--no-progress", code=-9, crash_at="following.committed")
    collection.check_invariants()
    assert ", 0 corrected" in collection.run("init", "--finalize-only")
    finish(collection, publishers)


def test_records_that_came_while_others_wait(collection: Collection, publishers: Publishers, tmp_path: Path) -> None:
    options = [*reach(publishers), "--processes", 1, "--no-progress"]
    collection.run("download", *options, code=-9, crash_at="following.committed")
    more = [(gbif_id, "http://wide.example.org/shared.jpg") for gbif_id in (1, FIRST_ID + N)]
    collection.load(multimedia(tmp_path / "more.txt", more))
    assert collection.rows("SELECT status FROM gbif_ids WHERE gbif_id IN (1, ?)", FIRST_ID + N) == [("done",), ("done",)]
    collection.run("download", *options)
    check_sound(collection.ledger)


@pytest.mark.parametrize("point", ["take_back.piece", "take_back.piece:2"])
def test_killed_while_what_was_lent_comes_back(collection: Collection, publishers: Publishers, point: str) -> None:
    rows = [(FIRST_ID + 10 * N + number, f"http://wide.example.org/more/{number}.jpg") for number in range(3)]
    collection.load(multimedia(collection.folder / "more.txt", rows))
    options = [*reach(publishers), "--processes", 1, "--no-progress"]
    collection.run("download", *options, code=-9, crash_at="lend.committed")
    collection.run("download", *options, code=[-9, 0], crash_at=point)
    collection.check_invariants()
    collection.run("download", *options)
    check_sound(collection.ledger)
    assert collection.rows("SELECT DISTINCT status FROM images") == [("success",)]
