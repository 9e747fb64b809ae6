"""The list of a collection: what is in it, as which files, and what becomes of a file that was there before."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import sqlite3
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_images.errors import UsageError
from d4c_images.export import files
from d4c_images.ledger.file import connect
from d4c_images.ledger.file.reader import Row as LedgerRow
from d4c_images.ledger.file.reader import open_reader
from d4c_images.ledger.questions import collection_list, tables
from tests.ingest.test_ingest import query, run, write
from tests.ingest.test_stable_numbers import VERDICTS, download, row
from tests.publishers.client import Publishers
from tests.support.ingest_model import Row
from tests.support.ledger import add_image, add_link, add_rule
from tests.support.program import Collection, multimedia, reach
from tests.support.sample_ledger import LICENCES, SAMPLES, make_ledger
from tests.support.sweep import thinned

BY_THE_VIEWS = """
SELECT o.gbif_id, o.image_no, o.image_id, i.file_path, i.sha256, o.license
FROM occurrence_images AS o JOIN images AS i ON i.image_id = o.image_id WHERE i.status = 'success'
"""


def listed(ledger: Path, step: int = 1000) -> list[LedgerRow]:
    with open_reader(ledger) as reader:
        return [one for rows in collection_list.steps(reader, lambda what, done, total: None, step) for one in rows]


def cells(rows: list[LedgerRow], *names: str) -> list[tuple[object, ...]]:
    places = [list(collection_list.COLLECTION.columns).index(name) for name in names]
    return [tuple(one[place] for place in places) for one in rows]


@settings(deadline=None)
@given(rows=st.lists(row, min_size=1, max_size=30), step=st.integers(1, 9))
def test_every_link_to_a_stored_image_is_listed_once(tmp_path_factory: pytest.TempPathFactory, rows: list[Row], step: int) -> None:
    folder = tmp_path_factory.mktemp("export")
    run(folder / "ledger", write(folder / "multimedia.txt", rows))
    download(folder / "ledger", list(VERDICTS))
    found = cells(listed(folder / "ledger", step), "gbif_id", "image_no", "image_id", "file_path", "sha256", "license")
    assert sorted(found, key=repr) == sorted(query(folder / "ledger", BY_THE_VIEWS), key=repr)


def test_what_a_row_says(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger").close()
    rows = listed(tmp_path / "ledger")
    stored = [sample for sample in SAMPLES if sample.body is not None]
    by_path = {str(path): rest for path, *rest in cells(rows, "file_path", "gbif_id", "sha256", "url", "flag", "license")}
    assert {path: rest[:3] for path, rest in by_path.items()} == {
        one.path: [
            one.gbif_id,
            hashlib.sha256(one.body or b"").hexdigest(),
            f"https://{one.host}/{one.gbif_id}/{one.image_no}",
        ]
        for one in stored
    }
    assert sorted(rest[3] for rest in by_path.values() if rest[3]) == ["partly_read", "raw_unprocessed"]
    assert {rest[4] for rest in by_path.values()} == {LICENCES[0], LICENCES[1], None}
    names = cells(rows, "gbif_id", "scientific_name", "family")
    assert ("Quercus robur L.", "Fagaceae") in {one[1:] for one in names if one[0] == 1000000001}


def test_the_url_is_the_one_that_the_image_came_from(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger").close()
    opened = sqlite3.connect(tmp_path / "ledger")
    opened.execute("UPDATE image_rows SET urls = 'https://a/best\nhttps://a/second', url_no = 1 WHERE image_id = 1")
    opened.commit()
    opened.close()
    assert dict(cells(listed(tmp_path / "ledger"), "image_id", "url"))[1] == "https://a/second"


def test_both_kinds_of_file_hold_the_same(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger.sqlite").close()
    collection = Collection(tmp_path)
    for name in ("list.csv", "deep/list.parquet"):
        assert "rows, one for each image" in collection.call("export", tmp_path / name)
    parquet = pq.read_table(tmp_path / "deep" / "list.parquet")
    with (tmp_path / "list.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == parquet.column_names == list(collection_list.COLLECTION.columns)
    assert lines == [["" if value is None else str(value) for value in one.values()] for one in parquet.to_pylist()]
    assert not list(tmp_path.rglob("*.part"))


def test_a_name_that_says_no_kind_of_file_ends_before_anything_is_read(tmp_path: Path) -> None:
    complaint = Collection(tmp_path).call("export", tmp_path / "list.xlsx", code=2)
    assert complaint.count("\n") == 1
    assert ".csv or .parquet" in complaint
    with pytest.raises(UsageError):
        files.check_name(Path("list"))


def test_the_size_of_a_short_list_is_shown_in_bytes_or_kilobytes(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger.sqlite").close()
    said = Collection(tmp_path).call("export", tmp_path / "list.csv", "--all-images")
    size = (tmp_path / "list.csv").stat().st_size
    assert 1000 < size < 50_000
    assert said == f"{tmp_path / 'list.csv'}: {len(SAMPLES)} rows, one for each image, stored or not ({size / 1000:.1f} kB)\n"


def test_a_list_that_cannot_be_finished_leaves_the_one_of_before(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("of before")

    def broken() -> list[list[LedgerRow]]:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        files.write(collection_list.COLLECTION, (step for step in broken()), [tmp_path / "list.csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]
    assert (tmp_path / "list.csv").read_text() == "of before"


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger.sqlite").close()
    (tmp_path / "file").write_text("")
    complaint = Collection(tmp_path).call("export", tmp_path / "file" / "list.csv", code=2)
    assert complaint.count("\n") == 1
    assert "cannot write" in complaint


@pytest.mark.slow
def test_the_list_leads_to_the_bytes(tmp_path: Path, publishers: Publishers) -> None:
    """The program itself, from rows to a list whose files have the hashes that it says."""
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", [(n, f"http://a.example.org/{n}.jpg") for n in range(1, 7)]))
    collection.run("download", *reach(publishers))
    summary = json.loads(collection.call("export", tmp_path / "list.parquet", "--json", "--no-progress"))
    rows = pq.read_table(tmp_path / "list.parquet").to_pylist()
    assert summary["n_rows"] == len(rows) == 6
    for one in rows:
        body = (collection.root / one["file_path"]).read_bytes()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (one["file_size"], one["sha256"])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_all_images_and_failed_ones(tmp_path: Path) -> None:
    """What `status --tables` once wrote as images.csv, and why images are not there."""
    make_ledger(tmp_path / "ledger.sqlite").close()
    collection = Collection(tmp_path)
    assert "one for each image, stored or not" in collection.call("export", tmp_path / "all.csv", "--all-images")
    collection.call("export", tmp_path / "failed.csv", "--failed")
    images = rows_of(tmp_path / "all.csv")
    assert [(int(one["gbif_id"]), one["file_path"]) for one in images] == [
        (one.gbif_id, one.path if one.body is not None else "") for one in SAMPLES
    ]
    assert images[0]["sha256"] == hashlib.sha256(b"first image").hexdigest()
    assert rows_of(tmp_path / "failed.csv") == [one for one in images if one["status"].startswith("failed_")]
    assert "not allowed with" in collection.call("export", tmp_path / "x.csv", "--failed", "--all-images", code=2)


def stored_ledger(path: Path, n: int, *, url: str = "https://example.org/x", n_urls: int = 1, one_record: bool = False) -> Path:
    """`n` stored images; of a record each, or all of them links of one record."""
    ledger = connect.open_ledger(path, create=True)
    with ledger.transaction() as db:
        db.execute("INSERT INTO host_rows (host) VALUES ('example.org')")
        add_rule(db)
        urls = "\n".join([url] * n_urls)
        stored = {"status": "success", "file_path": "000/000/1.jpg", "file_size": 9, "sha256": bytes(32), "archive_id": 1}
        for image_id in range(1, n + 1):
            row_no = None if one_record else image_id
            add_image(db, image_id, image_id, 0, host_id=1, urls=urls, row_no=row_no, **stored)
            if one_record:
                add_link(db, 77, image_id, image_id, row_no=image_id)
    ledger.close()
    return path


@pytest.mark.parametrize("one_record", [False, True])
def test_steps_are_bounded_and_cost_what_the_rows_cost(tmp_path: Path, one_record: bool) -> None:
    """Also where all links are of one record."""
    ticks = []
    for n in (4_000, 8_000):
        ledger = stored_ledger(tmp_path / str(n), n, one_record=one_record)
        with open_reader(ledger) as reader:
            n_ticks = 0

            def tick() -> int:
                nonlocal n_ticks
                n_ticks += 1
                return 0

            reader._connected().set_progress_handler(tick, 1000)
            sizes = [len(rows) for rows in collection_list.steps(reader, lambda what, done, total: None, 500)]
        assert (sum(sizes), max(sizes)) == (n, 500)
        ticks.append(n_ticks)
    assert ticks[1] <= 2.3 * ticks[0]


@pytest.mark.parametrize("one_record", [False, True])
@pytest.mark.parametrize("which", thinned(["collection", "images"], 2))
def test_memory_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, one_record: bool) -> None:
    """Images with a thousand URLs, and long ones, take no more than ordinary ones."""
    monkeypatch.setattr(tables, "STEP_CHARS", 100_000)
    shapes = {
        "ordinary": stored_ledger(tmp_path / "ordinary", 2_500, one_record=one_record),
        "many URLs": stored_ledger(tmp_path / "many", 200, n_urls=1_000, one_record=one_record),
        "long URLs": stored_ledger(tmp_path / "long", 200, url="https://example.org/" + "x" * 40_000, one_record=one_record),
    }
    peaks = {}
    for shape, ledger in shapes.items():
        with open_reader(ledger) as reader:
            tracemalloc.start()
            links = collection_list.steps(reader, lambda what, done, total: None)
            steps = tables.image_steps(reader) if which == "images" else links
            files.write(tables.IMAGES if which == "images" else collection_list.COLLECTION, steps, [tmp_path / "list.csv"])
            peaks[shape] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert max(peaks.values()) <= 1.1 * peaks["ordinary"], peaks


def test_row_groups_end_by_rows_and_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short steps make one group, and long cells make short groups."""
    monkeypatch.setattr(files, "GROUP_ROWS", 1_000)
    monkeypatch.setattr(files, "GROUP_BYTES", 1_000_000)
    two = tables.Table("two", "", {"n": "integer", "text": "text"})

    def groups(n: int, text: str, step: int) -> list[int]:
        files.write(two, ([(at, text)] * step for at in range(0, n, step)), [tmp_path / "x.parquet"])
        found = pq.ParquetFile(tmp_path / "x.parquet").metadata
        return [found.row_group(at).num_rows for at in range(found.num_row_groups)]

    assert groups(2_500, "short", 10) == [1_000, 1_000, 500]
    assert groups(30, "x" * 100_000, 2) == [10, 10, 10]


def test_what_a_killed_export_left_is_swept_by_the_next_one_of_that_name(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger.sqlite").close()
    left, other, held = (tmp_path / f".{name}.part" for name in ("list.csv.4711", "other.csv.4711", "list.csv.4712"))
    for path in (left, other, held):
        path.write_text("half")
    with held.open() as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        Collection(tmp_path).call("export", tmp_path / "list.csv")
    assert {path.name for path in tmp_path.glob(".*.part")} == {other.name, held.name}


def test_moments_are_iso_8601_in_csv_and_timestamps_in_parquet(tmp_path: Path) -> None:
    """Also fractional ones in the ledger, such as the end of a pause."""
    table = tables.Table("moments", "", {"host": "text", "paused_until": "moment", "n": "integer"})
    rows = [("a.org", 1_796_064_001, 1), ("b.org", 1_796_064_001.75, 2), ("c.org", None, 3)]
    files.write(table, [rows], [tmp_path / "x.csv", tmp_path / "x.parquet"])
    lines = (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [
        "host,paused_until,n", "a.org,2026-11-30T18:40:01+00:00,1", "b.org,2026-11-30T18:40:01+00:00,2", "c.org,,3",
    ]  # fmt: skip
    read = pq.read_table(tmp_path / "x.parquet")
    moment = datetime(2026, 11, 30, 18, 40, 1, tzinfo=UTC)
    assert pa.types.is_timestamp(read.schema.field("paused_until").type)
    assert read.schema.field("paused_until").type.tz == "UTC"
    assert read["paused_until"].to_pylist() == [moment, moment, None]


def test_columns_that_are_moments_say_so() -> None:
    """By their names: no table of a report or an export has a time as a mere number."""
    for table in (*tables.SMALL, tables.IMAGES, collection_list.COLLECTION):
        named = {name for name in table.columns if name.endswith(("_at", "_until", "_since", "not_before"))}
        assert {name for name, kind in table.columns.items() if kind == "moment"} == named, table.name
