"""docs/reference/sql.md: every query runs, finds something, and every column that the page names is there."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from d4c_images.ledger.file.reader import Reader, open_reader
from d4c_images.ledger.queue import verifications
from tests.ledger.test_verifications import ALL
from tests.support.ledger import add_link
from tests.support.sample_ledger import HOSTS, SAMPLES, Sample, make_files, make_ledger

PAGE = (Path(__file__).parents[2] / "docs/reference/sql.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"\n([^\n]+)\n\n```sql\n(.*?)```", PAGE, re.DOTALL)
TABLES = re.findall(r"^\| `(\w+)` \| [^|]* \| (.*) \|$", PAGE, re.MULTILINE)

TWINS = (Sample(1000000007, 0, HOSTS[0], "success", body=b"first image"),)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The sample ledger, with one photo that is linked to two records and has a twin, and a manifest that brought another one."""
    path = tmp_path_factory.mktemp("sql") / "ledger"
    writer = make_ledger(path, SAMPLES + TWINS)
    with writer.transaction() as db:
        add_link(db, 77, 1, 1, is_first=False, row_no=99)
        db.execute("UPDATE image_rows SET robots_tag = 'noindex, noai' WHERE image_id = 1")
        db.execute("INSERT INTO documents VALUES (1, 'https://example.org/manifest', 'manifest', 300, 200, 1800000000)")
        db.execute("INSERT INTO unfolded VALUES (1, 2, 1, 1, 1, 1)")
        db.execute("UPDATE image_rows SET file_path = 'packs/00c0ffee-000000.tar', file_offset = 1024 WHERE gbif_id = 77")
        db.execute("INSERT INTO refetch_failures VALUES (2, 1800000000, 'failed_permanent', 404, 'http_404', NULL)")
        db.execute("INSERT INTO former_rows (image_id, revision, replaced_at) VALUES (1, 0, 1800000000)")
        db.execute("INSERT INTO note_counts VALUES (1, 'decimal_latitude_unreadable', 3)")
        db.execute("INSERT INTO placeholders VALUES (1, ?, 'allowed', 3, 1800000000)", (bytes(32),))
    verifications.take_over(writer, [ALL], ALL.ended_at)
    writer.close()
    with open_reader(path) as reader:
        yield reader


def test_there_are_queries_and_tables() -> None:
    assert len(QUERIES) == PAGE.count("```sql") >= 20
    assert len(TABLES) == 36


@pytest.mark.parametrize(("question", "sql"), QUERIES, ids=[question for question, _ in QUERIES])
def test_each_documented_query_gives_rows(ledger: Reader, question: str, sql: str) -> None:
    names, rows = ledger.table(sql)
    assert rows, question
    assert len(names) == len(set(names)), names


def test_the_bytes_of_an_image_are_read_as_the_page_says(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    make_ledger(tmp_path / "ledger").close()
    make_files(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger")) as db:
        for _ in range(2):
            names: dict[str, object] = {"db": db, "root": tmp_path}
            exec(code, names)
            assert names["body"] == b"first image"
            (tmp_path / "packs").mkdir(exist_ok=True)
            (tmp_path / "packs/some.tar").write_bytes(b"a header.first image and the next")
            db.execute("UPDATE image_rows SET file_path = 'packs/some.tar', file_offset = 9 WHERE image_id = 1")


@pytest.mark.parametrize(("table", "cells"), TABLES, ids=[table for table, _ in TABLES])
def test_documented_columns_are_those_of_the_table(ledger: Reader, table: str, cells: str) -> None:
    there = ledger.table(f"SELECT * FROM {table} LIMIT 0")[0]
    named = [name for name in re.findall(r"`([a-z_0-9]+)`", cells) if name != "init"]
    assert set(named) <= set(there)
    if "..." not in cells and " to " not in cells:
        assert set(named) == set(there), "a column that the page does not tell of"
    else:
        assert len(named) >= 6
