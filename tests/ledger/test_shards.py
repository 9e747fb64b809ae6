"""How a ledger's images are stored, as it remembers it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from d4c_images.ledger.file.connect import open_ledger
from d4c_images.ledger.queue.shards import are_packed, store_kind


def test_a_kind_of_store_that_is_asked_for_stays_until_another_one_is(tmp_path: Path) -> None:
    """With one token throughout: it is in the names of shards that are there already."""
    with closing(open_ledger(tmp_path / "ledger.sqlite", create=True)) as ledger:
        wishes = (None, "pack", None, "pack", "files", None)
        kinds = [store_kind(ledger, wish) for wish in wishes]
        assert [one.kind for one in kinds] == ["files", "pack", "pack", "pack", "files", "files"]
        assert len({one.token for one in kinds}) == 1
        assert not are_packed(ledger.connection.execute)


def test_a_new_ledger_begins_with_the_kind_that_is_asked_for(tmp_path: Path) -> None:
    with closing(open_ledger(tmp_path / "ledger.sqlite", create=True)) as ledger:
        assert store_kind(ledger, "pack").kind == "pack"
        assert are_packed(ledger.connection.execute)
