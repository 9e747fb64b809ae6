"""New images are stored as their columns say, in however many pieces."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from d4c_images.ledger.admission import new_images
from d4c_images.ledger.admission.chunk import JoinedTexts
from d4c_images.ledger.admission.new_images import NewImages
from d4c_images.ledger.admission.text_column import TextColumn
from d4c_images.ledger.file.connect import open_ledger

N = 40
STORED = """
SELECT image_id, gbif_id, image_no, host_id, rule_id, image_key, urls, license_id, creator_id, rights_holder_id, references_url,
    row_no, archive_id, status, not_before
FROM image_rows ORDER BY image_id
"""


def column(texts: list[str]) -> TextColumn:
    encoded = [text.encode() for text in texts]
    return TextColumn([JoinedTexts(b"\t".join(encoded), np.array(list(map(len, encoded)), np.int32))])


@pytest.mark.parametrize("piece_bytes", [1, 300, 1 << 20])
def test_new_rows_are_stored_and_a_link_only_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(new_images, "PIECE_BYTES", piece_bytes)
    at = np.arange(N, dtype=np.int64)
    keys = ["" if n % 3 else f"Schlüssel:{n}" for n in range(N)]
    urls = [f"http://a.example.org/{n}ü.jpg" for n in range(N)]
    pages = ["" if n % 4 else f"http://a.example.org/page/{n}" for n in range(N)]
    is_new, is_linked = at % 5 != 0, at % 7 == 0
    licenses, creators, holders, row_nos = (at.astype(np.float64) + 100 * n for n in range(4))
    licenses[::2] = np.nan
    columns = (at + 2**40, at % 2, at + 1, at + 2, licenses, creators, holders, row_nos)
    with closing(open_ledger(tmp_path / "ledger", create=True)) as ledger:
        with ledger.transaction():
            NewImages(ledger.connection, 9).write(columns, (column(keys), column(urls), column(pages)), is_new, is_linked)
        stored = ledger.connection.execute(STORED).fetchall()
    expected = []
    for n in np.flatnonzero(is_new).tolist():
        link = (n if n % 2 else None, n + 100, n + 200, pages[n] or None, n + 300) if n % 7 else (None,) * 5
        expected.append((n + 2**40, n % 2, n + 1, n + 2, keys[n] or None, urls[n], *link, 9, "pending", None))
    assert stored == [(number, *row) for number, row in enumerate(expected, 1)]
