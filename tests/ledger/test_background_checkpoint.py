"""The write-ahead log is checkpointed in the background; without a writer nothing happens."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from d4c_images.ledger.file import background_checkpoint
from d4c_images.ledger.file.connect import open_ledger
from tests.support.patience import PATIENCE_S


def test_the_log_is_folded_while_the_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = open_ledger(path, create=True)
    before = path.stat().st_size
    with background_checkpoint.in_background(ledger):
        with ledger.transaction() as db:
            db.execute("INSERT INTO texts (text_id, text) VALUES (1, hex(zeroblob(1000000)))")
        deadline = time.monotonic() + PATIENCE_S
        while path.stat().st_size < before + 2_000_000 and time.monotonic() < deadline:
            with ledger.transaction() as db:
                db.execute("INSERT INTO rules (name, version) SELECT 'a', count(*) FROM rules")
        assert path.stat().st_size >= before + 2_000_000
    assert "d4c-images log" not in {thread.name for thread in threading.enumerate()}
    ledger.close()


def test_a_ledger_without_such_a_log_is_left_alone(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "ledger.sqlite", create=True, on_shared_disk=True)
    with background_checkpoint.in_background(ledger), ledger.transaction() as db:
        assert "d4c-images log" not in {thread.name for thread in threading.enumerate()}
        db.execute("INSERT INTO texts (text_id, text) VALUES (1, 'a')")
    ledger.close()
