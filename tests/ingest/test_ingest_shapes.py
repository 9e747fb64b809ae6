"""`init` of rows of every shape: what it costs at two sizes. Counts SQLite's steps, calls of Python and bytes; times nothing."""

from __future__ import annotations

import io
import random
import sqlite3
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.identity.archive_variants import Statement, joined
from d4c_images.ingest import chunks, publisher_rows
from d4c_images.ingest import ingest as ingest_module
from d4c_images.ingest.ingest import ingest_labels
from d4c_images.ledger.admission import admit, labels
from d4c_images.ledger.admission.write_buffer import MAX_RUNS, SortedRuns
from d4c_images.ledger.file import owner, writing
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.ledger.rows.names import host_ids_of
from d4c_images.model import MAX_CANDIDATES
from d4c_images.sources import lines, open_media, open_source
from d4c_images.sources.media import MAX_CELL_BYTES, MAX_TEXT_BYTES
from tests.ingest.test_ingest import NOW, query, quiet, run, settle, write
from tests.support import counting
from tests.support.ingest_model import Row
from tests.support.ledger_dump import differences
from tests.support.sweep import thinned

GROWTH = 2.3
BASE_BYTES = 1 << 19


@dataclass
class Work:
    """What something has cost."""

    steps: int = 0  # of SQLite's machine, in thousands
    calls: int = 0  # of functions, C functions among them


@contextmanager
def measured() -> Iterator[Work]:
    """Counts in all connections that are opened meanwhile."""
    work = Work()
    opened = sqlite3.connect

    def count_steps() -> None:
        work.steps += 1

    def counting(*arguments: object, **more: object) -> sqlite3.Connection:
        db: sqlite3.Connection = opened(*arguments, **more)  # type: ignore[call-overload]
        db.set_progress_handler(count_steps, 100)
        return db

    def count_calls(frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            work.calls += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", counting)
        sys.setprofile(count_calls)
        try:
            yield work
        finally:
            sys.setprofile(None)


def is_linear(small: Work, large: Work) -> None:
    print(small, large)
    assert large.steps <= GROWTH * small.steps + 20
    assert large.calls <= GROWTH * small.calls + 500


def sizes_of_one_image(n: int) -> list[Row]:
    return [Row(j, f"https://iiif.example.org/iiif/2/img1/full/{j},/0/default.jpg") for j in range(1, n + 1)]


def one_record(n: int) -> list[Row]:
    return [Row(7, f"https://a.example.org/{j}.jpg") for j in range(n)]


def one_image(n: int) -> list[Row]:
    return [Row(j * 7919 % 1_000_003 + 1, "https://a.example.org/1.jpg") for j in range(n)]


def one_record_of_shared_images(n: int) -> list[Row]:
    return [Row(gbif_id, f"https://a.example.org/{j}.jpg") for j in range(n // 2) for gbif_id in (j + 10, 7)]


def many_hosts(n: int) -> list[Row]:
    return [Row(j + 1, f"https://h{j}.of{n}.example.org/1.jpg") for j in range(n)]  # identity remembers hosts


def no_order(n: int) -> list[Row]:
    return [Row(j * 7919 % 1_000_003 + 1, f"https://a.example.org/{j}.jpg", creator=f"c{j}") for j in range(n)]


def twice(n: int) -> list[Row]:
    return [*no_order(n // 2), *no_order(n // 2)]


SHAPES = (sizes_of_one_image, one_record, one_image, one_record_of_shared_images, many_hosts, no_order, twice)


@pytest.mark.parametrize("shape", thinned(SHAPES, 2))
@pytest.mark.parametrize("times", thinned([2, 1], 2))
def test_twice_the_rows_cost_twice_as_much(tmp_path: Path, shape: Callable[[int], list[Row]], times: int) -> None:
    """In transactions of few rows, so that what each of them costs shows; the second time all rows are known."""
    works = []
    for n in (250, 500):
        source = write(tmp_path / f"{n}.txt", shape(n))
        again = write(tmp_path / f"{n}-again.txt", [*shape(n), Row(1, "https://z.example.org/z.jpg")])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ingest_module, "ROWS_PER_TRANSACTION", 12)
            patch.setattr("d4c_images.sources.lines.BLOCK_BYTES", 1_500)
            if times == 2:
                run(tmp_path / str(n), source)
            with measured() as work:
                run(tmp_path / str(n), source if times == 1 else again)
        works.append(work)
    is_linear(*works)


# -- one image under many URLs


def urls_of(ledger: Path) -> list[str]:
    ((urls,),) = query(ledger, "SELECT urls FROM image_rows WHERE image_id = 1")
    return str(urls).split("\n")


def test_the_best_urls_are_kept_and_the_rest_is_noted(tmp_path: Path) -> None:
    rows = sizes_of_one_image(300)
    random.Random(1).shuffle(rows)
    summary = run(tmp_path / "whole", write(tmp_path / "rows.txt", rows))
    assert (summary.images, summary.links) == (1, 300)
    urls = urls_of(tmp_path / "whole")
    assert len(urls) == MAX_CANDIDATES
    assert urls[0].endswith("/full/full/0/default.jpg")
    assert f"{rows[0].identifier.partition('/full/')[0]}/full/300,/0/default.jpg" in urls
    assert 200 < summary.notes["too_many_urls"] <= 300 - MAX_CANDIDATES + 5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_module, "ROWS_PER_TRANSACTION", 7)
        patch.setattr("d4c_images.sources.lines.BLOCK_BYTES", 500)
        run(tmp_path / "pieces", tmp_path / "rows.txt")
    assert differences(tmp_path / "pieces", tmp_path / "whole") == []
    # The image is still found by its key, with the URLs that were not kept, too.
    again = run(tmp_path / "whole", write(tmp_path / "again.txt", [Row(1000 + row.gbif_id, row.identifier) for row in rows]))
    assert (again.images, again.links) == (0, 300)
    assert urls_of(tmp_path / "whole") == urls


def test_the_url_that_brought_the_file_stays(tmp_path: Path) -> None:
    from d4c_images.model import Status, Verdict

    ledger = tmp_path / "ledger"
    tiny = "https://iiif.example.org/iiif/2/img1/full/1,/0/default.jpg"
    run(ledger, write(tmp_path / "1.txt", [Row(1, tiny)]))
    settle(ledger, {1: Verdict(Status.SUCCESS)})
    db = sqlite3.connect(ledger)
    db.execute("UPDATE image_rows SET url_no = ?", (urls_of(ledger).index(tiny),))
    db.commit()
    db.close()
    run(ledger, write(tmp_path / "2.txt", sizes_of_one_image(100)))
    ((url_no,),) = query(ledger, "SELECT url_no FROM image_rows WHERE image_id = 1")
    assert urls_of(ledger)[int(str(url_no))] == tiny
    assert len(urls_of(ledger)) == MAX_CANDIDATES


@pytest.mark.parametrize("brings", ["no URL that is new", "new URLs"])
def test_the_urls_of_many_images_are_not_in_memory_together(tmp_path: Path, brings: str) -> None:
    """The images have 30 long ones each, which one transaction comes across again."""
    n, ledger = 60, tmp_path / "ledger"
    iiif = "https://iiif.example.org/iiif/2/img{}/full/{},/0/default.jpg"
    run(ledger, write(tmp_path / "1.txt", [Row(j + 1, iiif.format(j, 100)) for j in range(n)]))
    long = [f"https://iiif.example.org/{number:02}.jpg?{'x' * 1_900}" for number in range(30)]  # each image is given these
    db = sqlite3.connect(ledger)
    db.execute("UPDATE image_rows SET image_key = coalesce(image_key, urls), urls = urls || char(10) || ?", ("\n".join(long),))
    db.commit()
    db.close()
    size = 100 if brings == "no URL that is new" else 200
    again = write(tmp_path / "2.txt", [Row(1000 + j, iiif.format(j, size)) for j in range(n)])
    peak_bytes, admit_rows = 0, admit.Admission.admit

    def admitting(*arguments: Any) -> admit.Admitted:
        nonlocal peak_bytes
        tracemalloc.start()
        try:
            return admit_rows(*arguments)
        finally:
            peak_bytes = max(peak_bytes, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admit.Admission, "admit", admitting)
        summary = run(ledger, again)
    assert (summary.images, summary.links) == (0, n)
    lists = [str(urls).split("\n") for (urls,) in query(ledger, "SELECT urls FROM image_rows ORDER BY image_id")]
    assert all(iiif.format(j, size) in urls and len(urls) > 30 for j, urls in enumerate(lists))
    n_bytes = n * len("\n".join(long))
    assert 0 < peak_bytes < BASE_BYTES + n_bytes // 4, (peak_bytes, n_bytes)


# -- a small source and a large ledger


def test_a_small_source_costs_the_same_in_a_large_ledger(tmp_path: Path) -> None:
    works = []
    for n in (4_000, 8_000):
        run(tmp_path / str(n), write(tmp_path / f"{n}.txt", no_order(n)))
        mixed = [*no_order(20), *(Row(10**7 + j, f"https://b.example.org/{j}.jpg") for j in range(20))]
        with measured() as work:
            summary = run(tmp_path / str(n), write(tmp_path / "small.txt", mixed))
        assert (summary.images, summary.links) == (20, 20)
        works.append(work)
    small, large = works
    print(small, large)
    assert large.steps <= 1.1 * small.steps + 5
    assert large.calls <= 1.1 * small.calls


def small_init(folder: Path, ledger: Path, number: int) -> counting.Work:
    """What the `number`-th of them costs, from opening the ledger to closing it. Some rows are known, some records grow."""
    known = [Row(j * 7919 % 1_000_003 + 1, f"https://a.example.org/{j}.jpg") for j in range(5 * number, 5 * number + 5)]
    grown = [Row(row.gbif_id, f"https://b.example.org/{number}/{row.gbif_id}.jpg") for row in known]
    new = [Row(10**7 + 10 * number + j, f"https://c{number}.example.org/{j}.jpg") for j in range(5)]
    source = write(folder / "small.txt", [*known, *grown, *new])
    counter = counting.Counter(python=False)
    counter.start()
    try:
        with writing.open_and_own(ledger, "init", owner.this_process(), lambda: NOW + number, print) as opened:
            summary = ingest_module.ingest(opened, open_source(source), None, quiet, lambda: NOW, in_process=True)
    finally:
        work = counter.stop()
    assert (summary.images, summary.links) == (10, 10)
    return work


@pytest.mark.slow
def test_thirty_small_sources_in_a_row_cost_the_same_each_in_a_ledger_of_any_size(tmp_path: Path) -> None:
    works = {}
    for n in (2_000, 4_000):
        ledger = tmp_path / str(n)
        run(ledger, write(tmp_path / f"{n}.txt", no_order(n)))
        works[n] = [small_init(tmp_path, ledger, number) for number in range(1, 31)]
    small, large = works.values()
    for one, other in zip(small, large, strict=True):
        assert other.steps <= 1.1 * one.steps + 500
        assert other.statements <= one.statements + 3
    for some in (small, large):
        assert some[29].steps <= 1.1 * some[1].steps + 500
        assert some[29].statements <= some[1].statements + 3


@pytest.mark.parametrize("worth", [0, 10**9])
def test_the_ledger_is_the_same_with_and_without_a_filter(tmp_path: Path, worth: int) -> None:
    rows = [Row(j % 50 + 1, f"https://a.example.org/{j % 70}.jpg", creator=f"c{j % 9}") for j in range(300)]
    more = [*rows[20:], *(Row(j % 90 + 1, f"https://b.example.org/{j % 80}.jpg") for j in range(200)), *rows[:30]]
    ledgers = []
    for name, value in (("one", worth), ("other", admit.ROWS_WORTH_A_FILTER)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(admit, "ROWS_WORTH_A_FILTER", value)
            patch.setattr(ingest_module, "ROWS_PER_TRANSACTION", 33)
            patch.setattr("d4c_images.sources.lines.BLOCK_BYTES", 1_000)
            run(tmp_path / name, write(tmp_path / "1.txt", rows))
            run(tmp_path / name, write(tmp_path / "2.txt", more))
        ledgers.append(tmp_path / name)
    assert differences(*ledgers) == []


def test_rows_that_are_there_already_cost_no_more_than_new_ones(tmp_path: Path) -> None:
    rows = no_order(3000)
    with measured() as first:
        run(tmp_path / "ledger", write(tmp_path / "1.txt", rows))
    with measured() as second:
        run(tmp_path / "ledger", write(tmp_path / "2.txt", [*rows, Row(1, "https://z.example.org/z.jpg")]))
    print(first, second)
    assert second.steps <= 1.5 * first.steps
    assert second.calls <= 3 * first.calls


# -- labels


def pages_of_log(folder: Path, ids: Sequence[int]) -> int:
    """Pages that the labels of these records, in this order, write to the log."""
    folder.mkdir()
    run(folder / "ledger", write(folder / "multimedia.txt", [Row(one, f"https://a.example.org/{one}.jpg") for one in sorted(ids)]))
    text = "".join(f"{one}\tName of some length {one % 50}\tC{one}\n" for one in ids)
    (folder / "occurrence.txt").write_text(f"gbifID\tscientificName\tcatalogNumber\n{text}")
    ledger = open_ledger(folder / "ledger")
    ledger.connection.execute("PRAGMA wal_autocheckpoint = 0")
    assert ingest_labels(ledger, open_source(folder, "occurrence"), quiet, lambda: NOW).admitted == len(ids)
    n_bytes = (folder / "ledger-wal").stat().st_size
    ledger.close()
    return n_bytes // 8192


def test_labels_in_no_order_write_what_ordered_ones_write(tmp_path: Path) -> None:
    ids = list(range(1, 4_001))
    shuffled = random.Random(1).sample(ids, len(ids))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("d4c_images.sources.lines.BLOCK_BYTES", 4_000)
        ordered, mixed = pages_of_log(tmp_path / "ordered", ids), pages_of_log(tmp_path / "mixed", shuffled)
    print(ordered, mixed)
    assert mixed <= 1.5 * ordered
    assert query(tmp_path / "ordered" / "ledger", "SELECT * FROM labels") == query(
        tmp_path / "mixed" / "ledger", "SELECT * FROM labels"
    )


def test_labels_that_were_held_are_read_again(tmp_path: Path) -> None:
    """Killed while a part of them is written: the checkpoint is behind all that was held, or before it."""
    ids = [j * 7919 % 10_007 + 1 for j in range(2_000)]
    run(tmp_path / "ledger", write(tmp_path / "multimedia.txt", [Row(one, f"https://a.example.org/{one}.jpg") for one in ids]))
    (tmp_path / "occurrence.txt").write_text("gbifID\tfamily\n" + "".join(f"{one}\tF{one}\n" for one in [*ids, *ids]))
    ledger = open_ledger(tmp_path / "ledger")
    passes = 0

    def die(name: str) -> None:
        nonlocal passes
        passes += name == "labels.before_commit"
        if passes == 7:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("d4c_images.sources.lines.BLOCK_BYTES", 2_000)
        patch.setattr(labels, "HELD_LABEL_BYTES", 60_000)
        patch.setattr(labels, "ROWS_PER_TRANSACTION", 100)
        patch.setattr("d4c_images.crash.point", die)
        with pytest.raises(KeyboardInterrupt):
            ingest_labels(ledger, open_source(tmp_path, "occurrence"), quiet, lambda: NOW)
        assert ingest_labels(ledger, open_source(tmp_path, "occurrence"), quiet, lambda: NOW).admitted == 4_000
    ledger.close()
    assert query(tmp_path / "ledger", "SELECT count(*), sum(family = 'F' || gbif_id) FROM labels") == [(2_000, 2_000)]


# -- what is kept in memory while rows come in


def test_runs_of_few_rows_are_joined() -> None:
    import numpy as np

    runs = SortedRuns()
    for start in range(2_000):
        runs.add(np.array([start % 700, start + 10_000]), np.array([start, start], np.uint32))
        assert len(runs._runs) <= MAX_RUNS
    found = runs.find(np.arange(700))
    assert {key: int(place.columns[1][place.at]) for key, place in found.items()} == {key: key for key in range(700)}


def test_hosts_are_numbered_in_their_order(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger", create=True)
    with ledger.transaction() as db:
        assert host_ids_of(db, ["b", "a", "b"]) == [1, 2, 1]
        assert host_ids_of(db, ["c", "a"]) == [3, 2]
    ledger.close()


def test_what_is_numbered_is_forgotten_in_time(tmp_path: Path) -> None:
    rows = [Row(j + 1, f"https://h{j % 90}.example.org/{j}.jpg", creator=f"c{j % 130}" * 20) for j in range(500)]
    source = write(tmp_path / "rows.txt", rows)
    run(tmp_path / "one", source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MAX_HOSTS", 20)
        patch.setattr(chunks, "NUMBERED_TEXT_BYTES", 5_000)
        patch.setattr("d4c_images.sources.lines.BLOCK_BYTES", 1_000)
        run(tmp_path / "other", source)
    assert differences(tmp_path / "one", tmp_path / "other") == []


def opcodes(call: Callable[[], object]) -> int:
    """What a call costs in Python's own steps."""
    n = 0

    def trace(frame: FrameType, event: str, argument: object) -> object:
        nonlocal n
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        n += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        call()
    finally:
        sys.settrace(before)
    return n


def test_rows_of_one_record_are_joined_in_linear_time() -> None:
    costs = []
    for n in (300, 600):
        rows = [Statement((), frozenset({f"guid {j}", f"more {j // 2}", "all of them"})) for j in range(n)]
        costs.append(opcodes(lambda rows=rows: joined(rows)))  # type: ignore[misc]
    assert costs[1] <= GROWTH * costs[0]


# -- cells and lines of any length


def test_long_texts_are_cut_and_noted(tmp_path: Path) -> None:
    rows = [
        Row(1, "https://a.example.org/1.jpg", license="l" * MAX_TEXT_BYTES, creator="é" * MAX_TEXT_BYTES),
        Row(2, "https://a.example.org/2.jpg", rights_holder="r" * 100_000, references="https://a.example.org/" + "p" * 100_000),
        Row(3, "https://a.example.org/3.jpg", type="x" * 100_000),
    ]
    summary = run(tmp_path / "ledger", write(tmp_path / "rows.txt", rows))
    assert summary.notes == {"creator_cut": 1, "references_cut": 1, "rights_holder_cut": 1}
    assert summary.rejects == {"type_other": 1}
    texts = dict(query(tmp_path / "ledger", "SELECT text_id, text FROM texts"))
    assert sorted(map(str, texts.values())) == ["l" * MAX_TEXT_BYTES, "r" * MAX_TEXT_BYTES + "…", "é" * (MAX_TEXT_BYTES // 2) + "…"]


def test_a_list_of_urls_is_cut_between_two_of_them(tmp_path: Path) -> None:
    urls = [f"https://a.example.org/{j}.jpg" for j in range(20_000)]
    summary = run(tmp_path / "ledger", write(tmp_path / "rows.txt", [Row(1, "|".join(urls)), Row(2, urls[0])]))
    assert summary.notes == {"identifier_cut": 1, "several_urls": 1}
    kept = [str(url) for (url,) in query(tmp_path / "ledger", "SELECT urls FROM image_rows ORDER BY image_id")]
    assert kept == urls[: len(kept)]
    assert len("|".join(kept)) < MAX_CELL_BYTES < len("|".join(urls[: len(kept) + 2]))


@pytest.mark.parametrize(("n_more", "notes"), [(0, {"several_urls": 1}), (1, {"several_urls": 1, "identifier_cut": 1})])
def test_a_cell_of_a_line_beyond_the_limit_is_cut_only_if_it_is_too_long_itself(
    tmp_path: Path, n_more: int, notes: dict[str, int]
) -> None:
    urls = "|".join(f"https://a.example.org/{number:05}.jpg" for number in range(9_000))[: MAX_CELL_BYTES - 200]
    cell = urls.rpartition("|")[0] + "|https://a.example.org/last"
    cell += "p" * (MAX_CELL_BYTES - len(cell) + n_more)
    line = f"1\t{cell}\t{'d' * lines.MAX_LINE_BYTES}\n"
    (tmp_path / "rows.txt").write_text("gbifID\tidentifier\tdescription\n" + line)
    assert run(tmp_path / "ledger", tmp_path / "rows.txt").notes == notes


@pytest.mark.parametrize("read_bytes", [1000, 4096])
def test_lines_of_any_length_keep_their_places(read_bytes: int) -> None:
    """Blocks and their offsets are those of the stream, whatever was left out."""
    long = [b"a" * 30_000 + b"\t" + b"b" * 20, b"\t" * 30_000, b"x" * 50_000]
    lines_of_file = [b"1\t2", long[0], b"3\t4", b"5\t6", long[1], long[0], b"7\t8", long[2]]
    stream = b"".join(line + b"\n" for line in lines_of_file)[:-1]
    starts = [0]
    for line in lines_of_file:
        starts.append(starts[-1] + len(line) + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", read_bytes)
        patch.setattr(lines, "MAX_LINE_BYTES", 10_000)
        patch.setattr(lines, "KEPT_CELL_BYTES", 500)
        found = list(lines.blocks(io.BytesIO(stream), 0, 1))
    assert found[-1].end == len(stream)
    for block in found:
        assert block.offset == starts[block.row_no - 1]
        assert len(block.data) <= 10_000 + 2 * read_bytes
        if block.n_lines == 1 and block.cut_bytes:
            line = lines_of_file[block.row_no - 1]
            assert block.is_too_long == (line == long[1])
            if not block.is_too_long:
                assert block.data == b"\t".join(cell[:500] for cell in line.split(b"\t")) + b"\n"
        else:
            assert block.data.rstrip(b"\n").split(b"\n") == lines_of_file[block.row_no - 1 : block.row_no - 1 + block.n_lines]
    assert sum(block.n_lines for block in found) == len(lines_of_file)


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 40))
def test_a_long_line_is_seen(lengths: list[int], limit: int) -> None:
    data = b"\n".join(b"x" * n for n in lengths)
    assert lines.has_long_line(data, limit) == any(n > limit for n in lengths)


def test_a_long_line_of_a_publisher_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "media.csv"
    first, long = "1,https://a.example.org/1.jpg,me\n", "2,https://a.example.org/2.jpg," + "x" * 5_000_000 + "\n"
    path.write_text("occurrenceID,identifier,creator\n" + first + long + '3,https://a.example.org/3.jpg,"quoted"\n')
    ledger = open_ledger(tmp_path / "ledger", create=True)
    owner.take(ledger, "init", owner.this_process(), NOW)
    summary = ingest_module.ingest(ledger, open_media(path)[0], None, quiet, lambda: NOW, in_process=True)
    ledger.close()
    assert (summary.rows, summary.images, summary.rejects) == (3, 2, {"row_too_long": 1})
    ((row_no, offset),) = query(tmp_path / "ledger", "SELECT row_no, byte_offset FROM rejected_rows")
    assert (row_no, offset) == (2, len("occurrenceID,identifier,creator\n" + first))
    assert query(tmp_path / "ledger", "SELECT rows_done, offset_bytes FROM archives") == [(3, path.stat().st_size)]


def test_transactions_and_spans_close_by_bytes(tmp_path: Path) -> None:
    rows = [Row(j + 1, f"https://a.example.org/{j}.jpg", creator=f"{j}" + "x" * 10_000) for j in range(100)]
    source = open_source(write(tmp_path / "rows.txt", rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_module, "BYTES_PER_TRANSACTION", 200_000)
        patch.setattr(lines, "BLOCK_BYTES", 30_000)
        groups = list(ingest_module._groups(chunks.chunks(ingest_module.Assignment(source), None)))
    assert len(groups) >= 4
    assert all(sum(chunk.size_bytes for chunk in group) < 300_000 for group in groups)


@pytest.mark.parametrize("span_bytes", [publisher_rows.SPAN_BYTES, 2_000])
def test_spans_of_bytes_end_between_records(tmp_path: Path, span_bytes: int) -> None:
    path = tmp_path / "media.csv"
    body = "".join(f"{j // 3},https://a.example.org/{j}.jpg,{'x' * 300}\n" for j in range(300))
    path.write_text("occurrenceID,identifier,title\n" + body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publisher_rows, "SPAN_BYTES", span_bytes)
        ends = [chunk.end_row for chunk in chunks.chunks(ingest_module.Assignment(open_media(path)[0]), None)]
    assert all(end % 3 == 0 for end in ends)
    assert len(ends) > 50 if span_bytes == 2_000 else len(ends) == 1
