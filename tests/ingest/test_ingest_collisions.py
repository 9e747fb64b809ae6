"""Keys whose hashes collide are still different images, within one transaction and across imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_images.ledger.rows import hashes
from tests.support.downloads import ask, bare, check_sound, load, row

URLS = [f"https://media.example.org/{number}.jpg" for number in range(24)]


@pytest.mark.parametrize("bits", [0, 2])
def test_a_hash_is_no_identity(bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "HASH_MASK", (1 << bits) - 1)
    ledger = tmp_path / "ledger.sqlite"
    load(ledger, bare(tmp_path / "1.txt", [row(1 + number // 2, url) for number, url in enumerate(URLS[:12])]))
    load(ledger, bare(tmp_path / "2.txt", [row(50 + number // 2, url) for number, url in enumerate(URLS)]))
    load(ledger, bare(tmp_path / "3.txt", [row(50 + number // 2, url) for number, url in enumerate(reversed(URLS))]), limit=10)
    summary = load(ledger, bare(tmp_path / "4.txt", [row(90, url) for url in URLS]))
    assert (summary.images, summary.links) == (0, 24)
    check_sound(ledger)
    assert ask(ledger, "SELECT urls FROM image_rows ORDER BY image_id") == [(url,) for url in URLS]
    shown = ask(ledger, "SELECT i.urls FROM occurrence_images AS l JOIN image_rows AS i USING (image_id) WHERE l.gbif_id = 90")
    assert sorted(shown) == sorted((url,) for url in URLS)
