"""Two reads of a ledger at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from d4c_images.collection.check import CheckOptions, check
from d4c_images.errors import LedgerError
from d4c_images.ledger.file.reader import Params, Reader, open_reader
from d4c_images.ledger.file.second_reader import SecondReader
from d4c_images.ledger.rows import recount
from tests.support.patience import PATIENCE_S
from tests.support.sample_ledger import make_ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    make_ledger(tmp_path / "ledger.sqlite").close()
    return tmp_path / "ledger.sqlite"


def test_it_reads_the_same_ledger_in_another_thread_and_is_gone_afterwards(ledger: Path) -> None:
    sql = "SELECT gbif_id FROM gbif_ids WHERE gbif_id > ? ORDER BY 1"
    with open_reader(ledger) as first, SecondReader(first) as second:
        in_line = second.begin(sql, (3,))
        assert in_line() == first.rows(sql, (3,)) != []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("second reader")]


def test_an_error_is_raised_where_the_rows_are_awaited(ledger: Path) -> None:
    with open_reader(ledger) as first, SecondReader(first) as second:
        rows = second.begin("SELECT x FROM nowhere")
        with pytest.raises(LedgerError, match="no such table: nowhere"):
            rows()


def test_a_check_compares_both_kinds_of_records_at_the_same_time(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    answer = Reader.rows

    def rows(self: Reader, sql: str, params: Params = ()) -> object:
        if sql == recount.SINGLES:
            asked.set()
        if sql == recount.LINES:
            assert asked.wait(PATIENCE_S)
        return answer(self, sql, params)

    monkeypatch.setattr(Reader, "rows", rows)
    with open_reader(ledger) as reader:
        assert check(reader, None, CheckOptions(ledger_only=True)).ok
