"""Placeholder pictures: detected by their number, quarantined, allowed again; duplicates shared by a few records are kept."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from d4c_images.errors import UsageError
from d4c_images.ledger.queue import mark_placeholders
from d4c_images.ledger.queue.placeholders import Watch, find
from d4c_images.ledger.rows.rollup import finalize
from d4c_images.policy.placeholder_list import PlaceholderEntry, parse_placeholders
from tests.publishers import pictures
from tests.publishers.client import Publishers
from tests.support.downloads import check_sound
from tests.support.program import Collection, multimedia, reach
from tests.support.sample_ledger import HOSTS, NOW, SAMPLES, Sample, make_ledger

PICTURE = pictures.jpeg("none")
SHA256 = hashlib.sha256(PICTURE).hexdigest()
FIRST_ID = 6_000_000_000
N_NONE, N_TWINS, N_GOOD = 30, 9, 12
MARKED = ("failed_permanent", "placeholder")
TWO_SUCCESSES = "SELECT image_id FROM image_rows WHERE status = 'success' AND error_type IS NULL ORDER BY 1 LIMIT 2"
COUNT = "SELECT status, error_type, count(*) FROM images WHERE host = ? GROUP BY 1, 2 ORDER BY 1, 2"


@pytest.fixture
def collection(tmp_path: Path, publishers: Publishers) -> Collection:
    """A host with one picture for 30 records among good ones, and another with the same for 9: a legitimate duplicate."""
    publishers.behave("none.example.org/none/*=one_picture", "twins.example.org/twin/*=one_picture")
    made = Collection(tmp_path)
    urls = [f"http://none.example.org/none/{n}.jpg" for n in range(N_NONE)]
    urls += [f"http://none.example.org/good/{n}.jpg" for n in range(N_GOOD)]
    urls += [f"http://twins.example.org/twin/{n}.jpg" for n in range(N_TWINS)]
    rows = [(FIRST_ID + n, url) for n, url in enumerate(urls)]
    rows.append((FIRST_ID + 999, urls[0]))  # another record that shows the first of them
    made.load(multimedia(tmp_path / "multimedia.txt", rows))
    return made


def check_all(collection: Collection) -> None:
    collection.check_invariants()
    check_sound(collection.ledger)
    collection.run("check", "--sha256")


def is_marked(collection: Collection) -> None:
    """The end of every story but one: no row, record, count or file says that there are 30 images."""
    check_all(collection)
    assert collection.rows(COUNT, "none.example.org") == [(*MARKED, N_NONE), ("success", None, N_GOOD)]
    assert collection.rows(COUNT, "twins.example.org") == [("success", None, N_TWINS)]
    assert {path for (path,) in collection.rows("SELECT file_path FROM images WHERE status = 'success'")} == {
        file for file in collection.files() if not file.startswith(".placeholders/")
    }
    assert (collection.root / f".placeholders/{SHA256}.jpg").read_bytes() == PICTURE
    assert collection.rows("SELECT * FROM set_aside") == []
    assert collection.rows("SELECT status FROM gbif_ids WHERE gbif_id IN (?, ?)", FIRST_ID, FIRST_ID + 999) == [("failed",)] * 2


def is_taken_back(collection: Collection) -> None:
    check_all(collection)
    assert collection.rows(COUNT, "none.example.org") == [("success", None, N_NONE + N_GOOD)]
    assert (collection.root / f"600/000/{FIRST_ID}-00.jpg").read_bytes() == PICTURE
    assert collection.rows("SELECT DISTINCT status FROM gbif_ids") == [("done",)]


@pytest.mark.slow
def test_a_run_finds_placeholders_and_allow_makes_them_successes_again(collection: Collection, publishers: Publishers) -> None:
    output = collection.run("download", *reach(publishers), "--placeholder-records", 20)
    assert f"{N_NONE} placeholder files moved to quarantine" in output
    is_marked(collection)
    asked = publishers.counters()["requests"]
    assert collection.run("download", *reach(publishers)).count("0 images stored") == 1
    assert publishers.counters()["requests"] == asked, "they are not asked for again by themselves"
    assert f"{N_NONE:,} images restored" in collection.run("placeholders", "--allow", SHA256)
    is_taken_back(collection)
    assert publishers.counters()["requests"] == asked
    assert "0 images marked" in collection.run("placeholders", "--records", 5), "what was allowed stays allowed"


@pytest.mark.slow
def test_below_the_threshold_nothing_happens(collection: Collection, publishers: Publishers) -> None:
    collection.run("download", *reach(publishers), "--placeholder-records", N_NONE + 1)
    is_taken_back(collection)


@pytest.mark.slow
def test_found_by_a_pass_when_they_came_in_several_runs(collection: Collection, publishers: Publishers) -> None:
    for _ in range(3):
        collection.run("download", *reach(publishers), "--placeholder-records", 20, "--limit", 17, code=(0, 75))
    collection.run("download", *reach(publishers), "--placeholder-records", 20)
    collection.run("placeholders", "--records", 20)
    is_marked(collection)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["sha256", "size"])
def test_a_listed_placeholder_is_marked_during_the_run(collection: Collection, publishers: Publishers, how: str) -> None:
    """By its bytes at its first sight; by its size as soon as a few records got the same."""
    entry = f'sha256 = "{SHA256}"' if how == "sha256" else f"size_bytes = {len(PICTURE)}\nrecords = 2"
    (collection.folder / "known.toml").write_text(f'[[placeholder]]\nhost = "none.example.org"\n{entry}\nsource = "a test"\n')
    collection.run("download", *reach(publishers), "--placeholders-file", collection.folder / "known.toml")
    is_marked(collection)


@pytest.mark.slow
def test_retry_failed_fetches_what_was_a_placeholder_for_a_while(collection: Collection, publishers: Publishers) -> None:
    collection.run("download", *reach(publishers), "--placeholder-records", 20)
    publishers.behave_well()
    collection.run("download", *reach(publishers), "--retry-failed")
    check_all(collection)
    assert collection.rows(COUNT, "none.example.org") == [("success", None, N_NONE + N_GOOD)]


@pytest.mark.slow
@pytest.mark.parametrize("point", ["placeholders.marked", "aside.kept", "aside.removed"])
def test_a_killed_search_for_placeholders_is_completed_by_the_next(
    collection: Collection, publishers: Publishers, point: str
) -> None:
    collection.run("download", *reach(publishers))
    collection.run("placeholders", "--records", 20, code=-9, crash_at=point)
    check_all(collection)
    collection.run("placeholders", "--records", 20)
    is_marked(collection)


@pytest.mark.slow
@pytest.mark.parametrize("status", ["failed_permanent", "pending", "success"])
def test_a_file_not_yet_set_aside_when_its_image_is_tried_again(
    collection: Collection, publishers: Publishers, status: str
) -> None:
    """As when `init` brings a better URL in between: the file goes unless a success names it."""
    collection.run("download", *reach(publishers))
    collection.run("placeholders", "--records", 20, code=-9, crash_at="placeholders.marked")
    file = f"600/000/{FIRST_ID}-00.jpg"
    photo = pictures.jpeg("a photo")
    values: tuple[object, ...] = (None, None, None)
    if status == "success":
        (collection.root / file).write_bytes(photo)
        values = (file, len(photo), hashlib.sha256(photo).digest())
    with closing(sqlite3.connect(collection.ledger)) as db, db:
        db.execute(
            "UPDATE image_rows SET status = ?, error_type = NULL, not_before = CASE WHEN ? = 'pending' THEN 0 END, file_path = ?, "
            "file_size = ?, sha256 = ? WHERE image_id = 1", (status, status, *values)
        )  # fmt: skip
    collection.run("init", "--finalize-only")
    collection.run("placeholders", "--records", 50)
    check_all(collection)
    assert (collection.root / file).exists() == (status == "success")


@pytest.mark.slow
@pytest.mark.parametrize("point", ["aside.kept", "aside.removed", "settle.committed"])
def test_placeholders_of_a_killed_download_are_marked_by_the_next(
    collection: Collection, publishers: Publishers, point: str
) -> None:
    collection.run("download", *reach(publishers), "--placeholder-records", 20, code=-9, crash_at=point)
    check_all(collection)
    collection.run("download", *reach(publishers), "--placeholder-records", 20)
    collection.run("placeholders", "--records", 20)
    is_marked(collection)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["put.synced", "put.named", "placeholders.restored"])
def test_a_killed_allow_is_completed_by_the_next(collection: Collection, publishers: Publishers, point: str) -> None:
    collection.run("download", *reach(publishers), "--placeholder-records", 20)
    collection.run("placeholders", "--allow", SHA256, code=-9, crash_at=point)
    collection.check_invariants()
    collection.run("placeholders", "--allow", SHA256)
    is_taken_back(collection)


def test_an_image_that_shows_anothers_file_goes_with_it(tmp_path: Path) -> None:
    """And only one file is listed to be set aside."""
    ledger = make_ledger(tmp_path / "ledger", SAMPLES)
    with ledger.transaction() as db:
        (one, other), sha256 = [row[0] for row in db.execute(TWO_SUCCESSES)], bytes(32)
        db.execute("UPDATE image_rows SET error_type = 'same_image', error_detail = ? WHERE image_id = ?", (f"image {one}", other))
        db.execute("INSERT INTO unfolded VALUES (?, ?, 1, 1, 1, ?)", (other, one, other))
    finalize(ledger, lambda progress: None)
    marked = mark_placeholders.Marked()
    with ledger.transaction() as db:
        mark_placeholders.mark(db, [one], mark_placeholders.placeholder(1, "a.example.org", sha256), NOW, marked)
    assert marked.n == 2
    assert ledger.connection.execute("SELECT image_id FROM set_aside").fetchall() == [(one,)]
    marks = ledger.connection.execute("SELECT image_id FROM image_rows WHERE error_type = 'placeholder' ORDER BY 1").fetchall()
    assert marks == [(one,), (other,)]
    assert finalize(ledger, lambda progress: None).corrected == 0
    ledger.close()


# Five images of one host, four of them of equal bytes that belong to three records; and the same bytes from another host.
LOGOS = tuple(
    Sample(gbif_id, image_no, HOSTS[host], "success", body=body)
    for gbif_id, image_no, host, body in (
        (11, 0, 0, b"logo"), (11, 1, 0, b"logo"), (12, 0, 0, b"oak"), (13, 0, 0, b"logo"), (14, 0, 1, b"logo"), (15, 0, 0, b"logo")
    )
)  # fmt: skip
PLACEHOLDERS = "SELECT image_id FROM image_rows WHERE error_type = 'placeholder' ORDER BY 1"


def test_bytes_that_come_for_a_third_record_are_marked_with_those_that_came_before(tmp_path: Path) -> None:
    """However many other images come in between. Another host's are its own business, and several images of a record count once."""
    with closing(make_ledger(tmp_path / "ledger", LOGOS)) as ledger, ledger.transaction() as db:
        watch = Watch(db, parse_placeholders(""), 3)
        assert [watch.look(db, [image_id], NOW).n for image_id in range(1, 7)] == [0, 0, 0, 0, 0, 4]
        assert db.execute(PLACEHOLDERS).fetchall() == [(1,), (2,), (4,), (6,)]


@pytest.mark.parametrize(("min_records", "marked"), [(3, [(1,), (2,), (4,), (6,)]), (4, [])])
def test_a_search_marks_bytes_of_as_many_records(min_records: int, marked: list[tuple[int]], tmp_path: Path) -> None:
    with closing(make_ledger(tmp_path / "ledger", LOGOS)) as ledger:
        assert find(ledger, parse_placeholders(""), min_records, NOW, lambda *_: None) == len(marked)
        assert ledger.connection.execute(PLACEHOLDERS).fetchall() == marked


def test_later_lists_of_placeholders_go_before_earlier_ones() -> None:
    text = f"[[placeholder]]\nsha256 = '{SHA256}'\nhost = '*.Example.org'\nnote = 'x'\n[[allowed]]\nsha256 = '{'0' * 64}'\n"
    listed = parse_placeholders(text)
    assert listed.is_known("a.example.org", bytes.fromhex(SHA256))
    assert not listed.is_known("example.net", bytes.fromhex(SHA256))
    assert listed.allowed == {bytes(32)}
    other = parse_placeholders("[[placeholder]]\nsize_bytes = 9\nhost = 'a.org'\nrecords = 5\n").over(listed)
    assert other.known[0] == PlaceholderEntry(None, 9, "a.org", 5)
    assert (other.suspected_from("a.org", 9), other.suspected_from("a.org", 8), other.suspected_from("b.org", 9)) == (5, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[placeholder]\n", "placeholders file"),
        ("[[other]]\n", "unknown table 'other'"),
        ("[[placeholder]]\nhost = 'a.org'\n", "either sha256 or size_bytes"),
        ("[[placeholder]]\nsize_bytes = 9\n", "needs a host"),
        ("[[placeholder]]\nsha256 = 'abc'\n", "not a SHA-256"),
        ("[[placeholder]]\nsha = 'abc'\n", "unknown name 'sha'"),
        ("[[allowed]]\n", "not a SHA-256"),
        ("[placeholder]\nsha256 = 'abc'\n", "two brackets"),
        ("[[placeholder]]\nsize_bytes = 9\nhost = 'a.org'\nrecords = 1\n", "2 or more"),
    ],
)
def test_bad_lists_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_placeholders(text)
