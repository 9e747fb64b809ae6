"""From rows to the ledger: the same as an obvious model makes of them, wherever blocks and transactions end."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_images.errors import SourceDamaged, SourceError
from d4c_images.ingest import ingest as ingest_module
from d4c_images.ingest.chunks import chunks
from d4c_images.ingest.ingest import IngestSummary, StreamProgress, ingest, ingest_labels
from d4c_images.ledger.admission import admit, records, recovery
from d4c_images.ledger.admission.archives import ArchiveCounts
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import Ledger, open_ledger
from d4c_images.ledger.queue import lending, settling
from d4c_images.ledger.rows import hashes, rollup
from d4c_images.model import Move, Outcome, Report, Status, Verdict
from d4c_images.sources import lines, open_source
from tests.rows import big
from tests.sources.test_sources import zip_that_ends_early
from tests.support.ingest_model import COLUMNS, Model, Row, table
from tests.support.ledger_dump import differences
from tests.support.program import check_lists
from tests.support.properties import examples

ROWS = Path(__file__).parents[1] / "rows"
NOW = 1_700_000_000.0


def quiet(progress: StreamProgress) -> None:
    """Nobody looks on."""


def write(path: Path, rows: Sequence[Row]) -> Path:
    path.write_bytes(table(rows))
    return path


def run(ledger: Path, source: Path, limit: int | None = None, *, in_process: bool = True) -> IngestSummary:
    """What `init` does, with a clock that stands still."""
    opened = open_ledger(ledger, create=True)
    owner.take(opened, "init", owner.this_process(), NOW)
    try:
        return ingest(opened, open_source(source), limit, quiet, lambda: NOW, in_process=in_process)
    finally:
        owner.give_back(opened, "ended", NOW)
        opened.close()


def query(ledger: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    db = sqlite3.connect(ledger)
    try:
        return db.execute(sql, values).fetchall()
    finally:
        db.close()


def agrees(ledger: Path, model: Model) -> None:
    """The ledger says what the model says, and its counters agree with its rows."""
    assert query(ledger, "SELECT image_id, image_key, urls FROM images ORDER BY image_id") == model.image_rows()
    links = query(
        ledger,
        """SELECT gbif_id, image_no, image_id, license, creator, rights_holder, references_url FROM occurrence_images
           ORDER BY gbif_id, image_no""",
    )
    assert links == model.link_rows()
    assert dict(query(ledger, "SELECT reason, sum(n) FROM reject_counts GROUP BY reason")) == model.rejects
    n_images: dict[object, int] = {}
    for gbif_id, *_ in links:
        n_images[gbif_id] = n_images.get(gbif_id, 0) + 1
    assert dict(query(ledger, "SELECT gbif_id, n_images FROM gbif_ids")) == n_images
    assert query(ledger, "SELECT sum(n) FROM record_tallies") == [(len(n_images) or None,)]
    tallied = query(ledger, "SELECT host_id, status, sum(n) FROM tallies GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1")
    assert tallied == query(ledger, "SELECT host_id, status, count(*) FROM image_rows GROUP BY 1, 2 ORDER BY 1")
    check_lists(lambda sql: query(ledger, sql))
    # The image that a record was first to show wears that record's number.
    assert not query(
        ledger,
        """SELECT * FROM image_rows AS i WHERE NOT EXISTS (
               SELECT 1 FROM links AS l WHERE l.gbif_id = i.gbif_id AND l.image_no = i.image_no AND l.image_id = i.image_id)""",
    )
    assert not query(ledger, "SELECT * FROM images WHERE host <> substr(urls, instr(urls, '//') + 2, length(host))")


URLS = (
    "https://inaturalist-open-data.s3.amazonaws.com/photos/1/original.jpg",
    "https://static.inaturalist.org/photos/1/medium.jpg",
    "https://static.inaturalist.org/photos/2/original.jpg",
    "https://iiif.example.org/iiif/2/a/full/300,/0/default.jpg",
    "https://iiif.example.org/iiif/2/a/full/full/0/default.jpg",
    "https://iiif.example.org/iiif/2/a/info.json",
    "https://a.example.org/1.jpg",
    "https://a.example.org/2.jpg",
    "https://b.example.org/3.jpg",
    "http://b.example.org/3.jpg",
    "https://b.example.org/4.jpg;https://b.example.org/5.jpg",
    "https://b.example.org/5.jpg|https://b.example.org/5.jpg",
    "file:///C:/6.jpg",
    "",
)
TEXTS = ("", "", "by", "by-nc")
row = st.builds(
    Row,
    gbif_id=st.integers(1, 6),
    identifier=st.sampled_from(URLS) | st.integers(1, 40).map(lambda n: f"https://a.example.org/{n}.jpg"),
    type=st.sampled_from(("StillImage",) * 8 + ("Sound",)),
    references=st.sampled_from(("", "https://a.example.org/page")),
    license=st.sampled_from(TEXTS),
    creator=st.sampled_from(TEXTS),
    rights_holder=st.sampled_from(TEXTS),
)


@contextmanager
def sizes(block_bytes: int, rows: int, held: int) -> Iterator[None]:
    """Small blocks, small transactions, and little held in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", block_bytes)
        patch.setattr(ingest_module, "ROWS_PER_TRANSACTION", rows)
        patch.setattr(admit, "MAX_HELD_ROWS", held)
        yield


@settings(max_examples=examples(60, fast=6), deadline=None)
@given(
    rows=st.lists(row, max_size=60),
    block_bytes=st.integers(50, 2000),
    per_transaction=st.integers(1, 20),
    held=st.integers(1, 30),
    bits=st.sampled_from((63, 2)),
    limits=st.lists(st.integers(0, 60), max_size=3),
)
def test_the_ledger_is_what_the_rows_say(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Row],
    block_bytes: int,
    per_transaction: int,
    held: int,
    bits: int,
    limits: list[int],
) -> None:
    """In one go or in pieces that end anywhere, even with hashes that say next to nothing: always the model's ledger."""
    folder = tmp_path_factory.mktemp("ingest")
    source = write(folder / "multimedia.txt", rows)
    model = Model()
    model.admit(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashes, "HASH_MASK", (1 << bits) - 1)
        run(folder / "whole", source)
        agrees(folder / "whole", model)
        with sizes(block_bytes, per_transaction, held):
            for limit in sorted(limits):
                run(folder / "pieces", source, limit)
            summary = run(folder / "pieces", source)
    assert differences(folder / "pieces", folder / "whole") == []
    assert (summary.rows, summary.images, summary.links) == (len(rows), len(model.images), len(model.links))


@settings(max_examples=examples(40), deadline=None)
@given(first=st.lists(row, max_size=30), second=st.lists(row, max_size=30))
def test_a_second_source_merges_in(tmp_path_factory: pytest.TempPathFactory, first: list[Row], second: list[Row]) -> None:
    folder = tmp_path_factory.mktemp("ingest")
    model = Model()
    for number, rows in enumerate((first, second)):
        run(folder / "ledger", write(folder / f"{number}.txt", rows))
        model.admit(rows if number == 0 or first != second else [])
    agrees(folder / "ledger", model)


def test_every_oddity_of_the_field_is_counted_or_admitted(tmp_path: Path) -> None:
    summary = run(tmp_path / "ledger", ROWS / "odd_rows.txt")
    assert (summary.rows, summary.admitted, summary.images, summary.links) == (28, 17, 18, 19)
    assert summary.rejects == {
        "bad_gbif_id": 2,
        "no_identifier": 2,
        "not_http": 2,
        "too_few_cells": 2,
        "too_many_cells": 1,
        "type_moving_image": 1,
        "type_sound": 1,
    }
    assert summary.admitted + sum(summary.rejects.values()) == summary.rows
    assert summary.notes == {"several_urls": 2, "broken_utf8": 1}
    data = (ROWS / "odd_rows.txt").read_bytes()
    for row_no, byte_offset, row_start in query(tmp_path / "ledger", "SELECT row_no, byte_offset, row_start FROM rejected_rows"):
        assert isinstance(row_no, int)
        assert isinstance(byte_offset, int)
        line = data.split(b"\n")[row_no]
        assert data[byte_offset : byte_offset + len(line)] == line
        assert line.decode().rstrip("\r")[:500] == row_start
    images = dict(query(tmp_path / "ledger", "SELECT image_key, gbif_id FROM images"))
    assert images["https://media.example.org/carriage-return.jpg"] == 9000000025
    assert images["https://media.example.org/no-newline-at-the-end.jpg"] == 9000000026
    assert query(tmp_path / "ledger", "SELECT creator FROM occurrence_images WHERE gbif_id = 9000000018") == [("M\ufffdller",)]
    came_back = query(tmp_path / "ledger", "SELECT image_no, image_id FROM occurrence_images WHERE gbif_id = 9000000001")
    assert came_back == [(0, 1), (1, 16)]


def test_real_rows_in_today_s_and_in_the_old_order(tmp_path: Path) -> None:
    summary = run(tmp_path / "ledger", ROWS / "multimedia.txt")
    assert (summary.rows, summary.admitted, summary.links) == (465, 437, 435)  # two photos stand in two rows of their record
    assert list(summary.rejects.items()) == [("no_identifier", 25), ("type_sound", 3)], "the most frequent first"
    old = run(tmp_path / "old", ROWS / "old_order.txt")
    assert old.rows == 30
    header, *lines_of_file = (ROWS / "old_order.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    cells = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines_of_file]
    assert query(tmp_path / "old", "SELECT license, creator, rights_holder FROM occurrence_images ORDER BY row_no") == [
        tuple(row[name] or None for name in ("license", "creator", "rightsHolder")) for row in cells if row["identifier"]
    ]


def test_the_same_source_again_changes_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", [Row(n, f"https://a.example.org/{n}.jpg") for n in range(1, 50)])
    first = run(tmp_path / "ledger", source)
    assert (first.finished, first.was_done, first.rows_before) == (True, False, 0)
    moved = source.rename(tmp_path / "b.txt")
    again = run(tmp_path / "ledger", moved)
    assert (again.finished, again.was_done, again.rows, again.images) == (True, True, 49, 49)
    assert query(tmp_path / "ledger", "SELECT count(*) FROM image_rows") == [(49,)]


def test_a_limit_leaves_the_rest_for_later(tmp_path: Path) -> None:
    source = write(tmp_path / "a.txt", [Row(n, f"https://a.example.org/{n}.jpg") for n in range(1, 50)])
    assert not run(tmp_path / "ledger", source, 10).finished
    limited = run(tmp_path / "ledger", source, 10)
    assert (limited.rows, limited.was_done, limited.finished) == (10, True, False)
    exact = run(tmp_path / "ledger", source, 49)
    assert (exact.rows, exact.rows_before, exact.finished) == (49, 10, True)


def test_progress_hears_of_every_committed_group(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "a.txt", [Row(n, f"https://a.example.org/{n}.jpg") for n in range(1, 50)]))
    ledger = open_ledger(tmp_path / "ledger", create=True)
    heard: list[StreamProgress] = []

    def hear(progress: StreamProgress) -> None:
        rows = query(tmp_path / "ledger", "SELECT rows_done, offset_bytes FROM archives")
        assert rows == [(progress.rows, progress.bytes_done)]
        heard.append(progress)

    with sizes(200, 10, 1000):
        ingest(ledger, source, None, hear, lambda: NOW, in_process=True)
    ledger.close()
    assert len(heard) >= 4
    assert heard[-1] == StreamProgress(49, source.size_bytes, source.size_bytes)


def test_another_process_reads_and_the_ledger_is_the_same(tmp_path: Path) -> None:
    rows = [Row(n // 3, f"https://a.example.org/{n % 4000}.jpg", creator=f"c{n % 70}") for n in range(3, 9000)]
    source = write(tmp_path / "multimedia.txt", rows)
    run(tmp_path / "here", source)
    run(tmp_path / "there", source, in_process=False)
    assert differences(tmp_path / "there", tmp_path / "here") == []


def test_an_error_of_the_reading_process_arrives(tmp_path: Path) -> None:
    path = tmp_path / "download.zip"
    data = table(Row(n, f"https://a.example.org/{n}.jpg") for n in range(1, 5_000))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("multimedia.txt", data)
    zip_that_ends_early(path, "multimedia.txt", data, 0.7)
    with pytest.raises(SourceDamaged, match="the zip file is damaged"):
        run(tmp_path / "ledger", path, in_process=False)


def test_a_ledger_with_rows_of_a_damaged_zip_takes_no_more(tmp_path: Path) -> None:
    """A checksum stands at the end: nobody knows which of the rows before it are nonsense. Only a new ledger helps."""
    path = tmp_path / "download.zip"
    data = "".join(big.chunks(8_000)).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("multimedia.txt", data)
    whole = path.read_bytes()
    run(tmp_path / "whole", path)
    zip_that_ends_early(path, "multimedia.txt", data, 0.7)
    with sizes(1 << 16, 500, 2000), pytest.raises(SourceDamaged, match=r"the zip file is damaged .*init --reset"):
        run(tmp_path / "ledger", path)
    path.write_bytes(whole)
    with pytest.raises(SourceError, match=r"which was damaged: start over .*init --reset"):
        run(tmp_path / "ledger", path)
    other = tmp_path / "multimedia.txt"
    other.write_bytes(data)
    with pytest.raises(SourceError, match="which was damaged"):
        run(tmp_path / "ledger", other)
    (tmp_path / "ledger").unlink()
    run(tmp_path / "ledger", path)
    assert differences(tmp_path / "ledger", tmp_path / "whole") == []


# -- records and images that have been through something already


def settle(ledger: Path, verdicts: dict[int, Verdict]) -> None:
    """Lend the images and settle them so."""
    opened = open_ledger(ledger)
    run_id = owner.take(opened, "download", owner.this_process(), NOW)
    terms = lending.TurnTerms(0, 2, 0.0, 100, NOW + 60)
    with opened.transaction() as db:
        for host_id, host in db.execute("SELECT host_id, host FROM host_rows").fetchall():
            turn = lending.lend(db, run_id, host_id, host, terms, 4, NOW)
            if turn is not None:
                outcomes = tuple(Outcome(claim.image_id, verdicts.get(claim.image_id)) for claim in turn.claims)
                retry = settling.RetryTerms(1, lambda attempts: 60.0)
                settling.settle(db, [Report(turn.lease_id, outcomes, finished=True)], retry, NOW)
    owner.give_back(opened, "ended", NOW)
    opened.close()


def recounted(ledger: Path) -> None:
    """A recount finds nothing to correct."""
    opened = open_ledger(ledger)
    before = query(ledger, "SELECT * FROM gbif_ids"), query(ledger, "SELECT * FROM tallies WHERE n <> 0")
    assert rollup.finalize(opened, lambda progress: None).corrected == 0
    assert before == (query(ledger, "SELECT * FROM gbif_ids"), query(ledger, "SELECT * FROM tallies WHERE n <> 0"))
    opened.close()


SUCCESS = Verdict(Status.SUCCESS)
GONE = Verdict(Status.FAILED_PERMANENT, "http_404")


def test_a_done_record_that_gains_an_image_is_partial(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    run(ledger, write(tmp_path / "1.txt", [Row(1, URLS[6]), Row(2, URLS[7])]))
    settle(ledger, {1: SUCCESS, 2: GONE})
    assert query(ledger, "SELECT gbif_id, status FROM gbif_ids") == [(1, "done"), (2, "failed")]
    run(ledger, write(tmp_path / "2.txt", [Row(1, URLS[8]), Row(2, URLS[9])]))
    assert query(ledger, "SELECT gbif_id, n_images, n_success, n_failed, status, completed_at FROM gbif_ids") == [
        (1, 2, 1, 0, "partial", None),
        (2, 2, 0, 1, "partial", None),
    ]
    assert query(ledger, "SELECT gbif_id, image_no, image_id FROM occurrence_images ORDER BY 1, 2") == [
        (1, 0, 1),
        (1, 1, 3),
        (2, 0, 2),
        (2, 1, 4),
    ]
    recounted(ledger)


def test_a_new_record_of_old_images_is_what_they_are(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    run(ledger, write(tmp_path / "1.txt", [Row(1, URLS[6]), Row(1, URLS[7]), Row(1, URLS[8])]))
    settle(ledger, {1: SUCCESS, 2: GONE})
    more = [Row(2, URLS[6]), Row(3, URLS[7]), Row(4, URLS[6]), Row(4, URLS[8]), Row(5, URLS[8]), Row(6, URLS[9])]
    run(ledger, write(tmp_path / "2.txt", more))
    assert query(ledger, "SELECT gbif_id, status, n_success, n_failed FROM gbif_ids") == [
        (1, "partial", 1, 1),
        (2, "done", 1, 0),
        (3, "failed", 0, 1),
        (4, "partial", 1, 0),
        (5, "pending", 0, 0),
        (6, "pending", 0, 0),
    ]
    recounted(ledger)
    settle(ledger, {3: SUCCESS, 4: SUCCESS})
    assert dict(query(ledger, "SELECT gbif_id, status FROM gbif_ids")) == {
        1: "failed",
        2: "done",
        3: "failed",
        4: "done",
        5: "done",
        6: "done",
    }
    recounted(ledger)


def test_an_untried_image_that_gains_a_better_url_waits_at_its_host(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    run(ledger, write(tmp_path / "1.txt", [Row(1, URLS[1]), Row(2, URLS[2])]))
    run(ledger, write(tmp_path / "2.txt", [Row(3, URLS[0])]))
    assert query(ledger, "SELECT host, not_before FROM images WHERE image_id = 1") == [
        ("inaturalist-open-data.s3.amazonaws.com", None)
    ]
    check_lists(lambda sql: query(ledger, sql))
    assert len(query(ledger, "SELECT * FROM untried")) == 2


@pytest.mark.parametrize("failure", [GONE, Verdict(Status.FAILED_TRANSIENT, "timeout")])
def test_a_failed_image_that_gains_a_url_gets_a_new_chance(tmp_path: Path, failure: Verdict) -> None:
    ledger = tmp_path / "ledger"
    run(ledger, write(tmp_path / "1.txt", [Row(1, URLS[1]), Row(2, URLS[1]), Row(3, URLS[6])]))
    settle(ledger, {1: failure, 2: GONE})
    assert query(ledger, "SELECT gbif_id, status FROM gbif_ids") == [(1, "failed"), (2, "failed"), (3, "failed")]
    run(ledger, write(tmp_path / "2.txt", [Row(4, URLS[0]), Row(5, URLS[6])]))
    image = query(ledger, "SELECT status, error_type, attempts, url_no, not_before, urls, host FROM images WHERE image_id = 1")
    urls = "\n".join(
        (URLS[0], "https://static.inaturalist.org/photos/1/original.jpg", "https://static.inaturalist.org/photos/1/medium.jpg")
    )
    assert image == [("pending", None, 0, 0, 0, urls, "inaturalist-open-data.s3.amazonaws.com")]
    statuses = dict(query(ledger, "SELECT gbif_id, status FROM gbif_ids"))
    assert statuses == {1: "partial", 2: "partial", 3: "failed", 4: "partial", 5: "failed"}
    recounted(ledger)


def test_a_success_keeps_its_file_and_the_url_it_came_from(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    run(ledger, write(tmp_path / "1.txt", [Row(1, URLS[1])]))
    settle(ledger, {1: SUCCESS})
    run(ledger, write(tmp_path / "2.txt", [Row(2, URLS[0])]))
    ((status, urls, url_no),) = query(ledger, "SELECT status, urls, url_no FROM images")
    assert status == "success"
    assert str(urls).split("\n")[int(str(url_no))] == "https://static.inaturalist.org/photos/1/original.jpg"
    recounted(ledger)


# -- labels


def test_labels_of_records_that_have_images(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    run(ledger, ROWS / "multimedia.txt")
    opened = open_ledger(ledger)
    source = open_source(ROWS / "multimedia.txt", "occurrence")
    with sizes(100, 1, 1):  # five of the 28 records have no image
        assert ingest_labels(opened, source, quiet, lambda: NOW).admitted == 23
    assert ingest_labels(opened, source, quiet, lambda: NOW).admitted == 23
    opened.close()
    named = query(
        ledger, "SELECT count(*) FROM labels JOIN gbif_ids USING (gbif_id) WHERE scientific_name <> '' AND dataset_key <> ''"
    )
    assert named == [(23,)]


def test_labels_by_column_name_and_only_where_there_is_a_record(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    run(ledger, write(tmp_path / "multimedia.txt", [Row(7, URLS[6])]))
    (tmp_path / "occurrence.txt").write_text("family\ttaxonKey\tgbifID\nPoaceae\t12\t7\nFabaceae\t13\t8\nrubbish\n")
    opened = open_ledger(ledger)
    assert ingest_labels(opened, open_source(tmp_path, "occurrence"), quiet, lambda: NOW).admitted == 1
    opened.close()
    assert query(ledger, "SELECT gbif_id, family, taxon_key, scientific_name FROM labels") == [(7, "Poaceae", "12", None)]
    # Records that come later are labelled by the same table.
    run(ledger, write(tmp_path / "more.txt", [Row(8, URLS[7])]))
    opened = open_ledger(ledger)
    assert ingest_labels(opened, open_source(tmp_path, "occurrence"), quiet, lambda: NOW).admitted == 2
    opened.close()


def label(ledger: Path, folder: Path, limits: Mapping[str, int]) -> ArchiveCounts:
    """Take in the labels of an occurrence table, within these limits."""
    opened = open_ledger(ledger)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in limits.items():
            patch.setattr(f"d4c_images.{name}", value)
        counts = ingest_labels(opened, open_source(folder, "occurrence"), quiet, lambda: NOW)
    opened.close()
    return counts


def test_long_labels_are_cut_and_noted(tmp_path: Path) -> None:
    """Also in several pieces, and once for each cell however often the table is read from a checkpoint."""
    ledger = tmp_path / "ledger"
    run(ledger, write(tmp_path / "multimedia.txt", [Row(number, URLS[number]) for number in range(1, 7)]))
    rows = [(number, "x" * (3_000 if number % 2 else 5), "9" * (1_000_000 if number == 4 else 3)) for number in range(1, 9)]
    lines = [f"{number}\tBellis {name}\tC{catalog_number}" for number, name, catalog_number in rows]
    table = "gbifID\tscientificName\tcatalogNumber\n" + "\n".join(lines) + "\n"
    (tmp_path / "occurrence.txt").write_text(table)
    counts = label(ledger, tmp_path, {"ledger.admission.labels.HELD_LABEL_BYTES": 1, "sources.lines.BLOCK_BYTES": 4_000})
    assert counts.notes == {"scientific_name_cut": 3, "catalog_number_cut": 1}, "records 7 and 8 have no image"
    names = query(ledger, "SELECT scientific_name, catalog_number FROM labels ORDER BY gbif_id")
    assert names[0] == (f"Bellis {'x' * (2_000 - 7)}…", "C999")
    assert names[3] == ("Bellis xxxxx", f"C{'9' * (2_000 - 1)}…")


def test_a_row_of_labels_that_is_too_long_is_noted(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    run(ledger, write(tmp_path / "multimedia.txt", [Row(7, URLS[6]), Row(8, URLS[7])]))
    cells = "\t".join(["y" * 2_000] * 20)
    (tmp_path / "occurrence.txt").write_text(f"gbifID\tfamily\n7\t{cells}\n8\tPoaceae\n")
    counts = label(ledger, tmp_path, {"sources.lines.BLOCK_BYTES": 1_000, "sources.lines.MAX_LINE_BYTES": 10_000})
    assert (counts.admitted, counts.notes) == (1, {"row_too_long": 1})
    assert query(ledger, "SELECT gbif_id, family FROM labels") == [(8, "Poaceae")]


# -- the plans of what is asked of big tables


def test_chunks_end_where_they_say(tmp_path: Path) -> None:
    """A reader of chunks that begins where another one has ended sees the rest and nothing twice."""
    source = open_source(write(tmp_path / "a.txt", [Row(n, f"https://a.example.org/{n}.jpg") for n in range(1, 200)]))
    assert source.columns.width == len(COLUMNS)
    with sizes(1000, 1, 1):
        whole = list(chunks(ingest_module.Assignment(source), None))
        middle = whole[len(whole) // 2]
        rest = list(chunks(ingest_module.Assignment(source, middle.end_offset, middle.end_row), None))
    assert [at for one in rest for at in one.row_nos] == list(range(middle.end_row + 1, 200))
    assert rest[-1].end_offset == source.size_bytes == (tmp_path / "a.txt").stat().st_size


def test_a_ledger_of_a_process_that_died_is_caught_up_before_others_write(tmp_path: Path) -> None:
    """What was held in memory comes back from the images."""
    rows = [Row(n, f"https://a.example.org/{n}-{k}.jpg") for n in range(50, 1, -1) for k in range(n % 3 + 1)]
    source = write(tmp_path / "a.txt", rows)

    def die(self: records.Records, last_image_id: int, *, at_least: int = 0) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records.Records, "flush", die)
        with sizes(500, 20, 1000), pytest.raises(KeyboardInterrupt):
            run(tmp_path / "ledger", source)
    assert query(tmp_path / "ledger", "SELECT count(*) FROM gbif_ids") == [(0,)]
    opened: Ledger = open_ledger(tmp_path / "ledger")
    recovery.catch_up(opened)
    opened.close()
    counts = query(tmp_path / "ledger", "SELECT gbif_id, n_images FROM gbif_ids")
    assert counts == query(tmp_path / "ledger", "SELECT gbif_id, count(*) FROM image_rows GROUP BY gbif_id")
    assert query(tmp_path / "ledger", "SELECT status, n FROM record_tallies") == [("pending", len(counts))]
    run(tmp_path / "ledger", source)
    run(tmp_path / "whole", source)
    assert differences(tmp_path / "ledger", tmp_path / "whole") == []


# -- images that wait at their second candidate


def waiting_at(ledger: Path, url_no: int, redirect_url: str | None = None) -> None:
    """Image 1 has gone on to another candidate, or has been redirected, and waits there untried."""
    opened = open_ledger(ledger)
    run_id = owner.take(opened, "download", owner.this_process(), NOW)
    with opened.transaction() as db:
        (host_id, host) = db.execute("SELECT host_id, host FROM images JOIN host_rows USING (host) WHERE image_id = 1").fetchone()
        turn = lending.lend(db, run_id, host_id, host, lending.TurnTerms(0, 1, 0.0, 100, NOW + 60), 4, NOW)
        assert turn is not None
        urls = turn.claims[0].urls
        to = (redirect_url or urls[url_no]).split("/")[2]
        outcome = Outcome(turn.claims[0].image_id, move=Move(to, url_no, redirect_url, 1 if redirect_url else 0), requests=1)
        rest = [Outcome(claim.image_id) for claim in turn.claims[1:]]
        settling.settle(db, [Report(turn.lease_id, (outcome, *rest), finished=True)], settling.RetryTerms(1, float), NOW)
    owner.give_back(opened, "ended", NOW)
    opened.close()


def test_an_image_that_waits_at_its_second_candidate_stays_there_when_it_gains_a_url(tmp_path: Path) -> None:
    """The first one has been asked in vain: a later file changes the place of the second in the list, and not where it waits."""
    ledger = tmp_path / "ledger"
    run(ledger, write(tmp_path / "1.txt", [Row(1, URLS[1])]))
    [(urls,)] = query(ledger, "SELECT urls FROM images WHERE image_id = 1")
    second = str(urls).split("\n")[1]
    waiting_at(ledger, 1)
    [(host,)] = query(ledger, "SELECT host FROM images WHERE image_id = 1")
    run(ledger, write(tmp_path / "2.txt", [Row(2, URLS[0])]))
    [(after, url_no, host_after, status, not_before)] = query(
        ledger, "SELECT urls, url_no, host, status, not_before FROM images WHERE image_id = 1"
    )
    assert (host_after, status, not_before) == (host, "pending", 0)
    assert str(after).split("\n")[int(str(url_no))] == second
    assert len(str(after).split("\n")) > len(str(urls).split("\n")), "it has gained one"
    check_lists(lambda sql: query(ledger, sql))
    recounted(ledger)


def test_an_image_that_was_redirected_stays_where_it_was_led_when_it_gains_a_url(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    run(ledger, write(tmp_path / "1.txt", [Row(1, URLS[1])]))
    [(first,)] = query(ledger, "SELECT urls FROM images WHERE image_id = 1")
    waiting_at(ledger, 0, "http://mirror.example.org/1.jpg")
    run(ledger, write(tmp_path / "2.txt", [Row(2, URLS[0])]))
    [(urls, url_no, host, redirect_url)] = query(
        ledger,
        "SELECT urls, url_no, host, redirect_url FROM image_rows JOIN host_rows USING (host_id) WHERE image_id = 1",
    )
    assert (host, redirect_url) == ("mirror.example.org", "http://mirror.example.org/1.jpg")
    assert str(urls).split("\n")[int(str(url_no))] == str(first).split("\n")[0]
    recounted(ledger)


def test_each_group_of_rows_is_a_sign_of_life_of_its_own_run_and_of_no_other(tmp_path: Path) -> None:
    """Another node that waits for the ledger would else take it."""
    path = write(tmp_path / "1.txt", [Row(n, f"http://example.org/{n}.jpg") for n in range(1, 200)])
    opened = open_ledger(tmp_path / "ledger", create=True)
    owner.take(opened, "init", owner.this_process(), NOW)
    owner.give_back(opened, "ended", NOW)
    owner.take(opened, "init", owner.this_process(), NOW)
    beats, now = list[list[int]](), [NOW]

    def look(progress: StreamProgress) -> None:
        beats.append([row[0] for row in opened.connection.execute("SELECT heartbeat_at FROM runs ORDER BY run_id")])

    def clock() -> float:
        now[0] += 10.0
        return now[0]

    with sizes(300, 20, 50):
        ingest(opened, open_source(path), None, look, clock, in_process=True)
    opened.close()
    assert len(beats) > 3
    assert {first for first, _ in beats} == {int(NOW)}
    mine = [second for _, second in beats]
    assert all(later > earlier for earlier, later in pairwise(mine[:-1]))
    assert mine[0] > NOW
