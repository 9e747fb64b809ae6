"""Inserts new images column by column, without Python objects per row. Assigns no ids: SQLite numbers the images in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from d4c_images.ledger.admission import staged
from d4c_images.ledger.admission.chunk import Numbers
from d4c_images.ledger.admission.duplicates import Flags
from d4c_images.ledger.admission.staged import Staged, TableShape
from d4c_images.ledger.admission.text_column import TextColumn

PIECE_BYTES = 1 << 20  # of texts passed to SQLite at once

SHAPE = TableShape(
    "new_images",
    ("gbif_id", "image_no", "host_id", "rule_id", "key_length", "urls_length", "page_length"),
    ("license_id", "creator_id", "rights_holder_id", "row_no", "key_start", "urls_start", "page_start"),
)
# On a blob, substr() counts bytes. Where the start is NULL, so is the result.
INSERT_IMAGES = """
INSERT INTO image_rows (gbif_id, image_no, host_id, rule_id, image_key, urls, license_id, creator_id, rights_holder_id,
    references_url, row_no, archive_id)
SELECT gbif_id, image_no, host_id, rule_id, CAST(substr(?, key_start, key_length) AS TEXT),
    CAST(substr(?, urls_start, urls_length) AS TEXT), license_id, creator_id, rights_holder_id,
    CAST(substr(?, page_start, page_length) AS TEXT), row_no, ?
FROM staged.new_images WHERE place < ? ORDER BY place
"""


class NewImages:
    """Inserts the images of one archive."""

    def __init__(self, db: sqlite3.Connection, archive_id: int) -> None:
        self._db = db
        self._staged = Staged(db, SHAPE)
        self._archive_id = archive_id

    def write(self, columns: Sequence[staged.NumberColumn], texts: Sequence[TextColumn], is_new: Flags, is_linked: Flags) -> None:
        """Insert the rows with `is_new`. The links of those with `is_linked` are stored elsewhere.

        `columns`: GBIF id, image number, host, rule; then those of the link: licence, creator, rights holder, row number.
        `texts`: the key ("" if the same as the candidates), the candidates, and the link's page to refer to ("" if none).
        """
        for column in texts:
            column.settle()
        positions = np.flatnonzero(is_new)
        reached = np.sum([column.starts[positions] for column in texts], axis=0)
        start = 0
        while start < len(positions):
            most = int(np.searchsorted(reached, reached[start] + PIECE_BYTES))
            end = min(start + staged.STAGED_ROWS, max(start + 1, most))
            self._write(columns, texts, positions[start:end], is_linked)
            start = end

    def _write(
        self, columns: Sequence[staged.NumberColumn], texts: Sequence[TextColumn], positions: Numbers, is_linked: Flags
    ) -> None:
        keys, urls, pages = (column.stretch(positions) for column in texts)
        linked = is_linked[positions]
        gbif_ids, image_nos, host_ids, rule_ids, *link = (column[positions] for column in columns)
        for column in link:
            column[linked] = np.nan
        pages.lengths[linked] = 0
        lengths = (keys.lengths, urls.lengths, pages.lengths)
        starts = [np.where(some.lengths == 0, np.nan, some.starts) for some in (keys, urls, pages)]
        below = self._staged.load((gbif_ids, image_nos, host_ids, rule_ids, *lengths, *link, *starts))
        self._db.execute(INSERT_IMAGES, (keys.blob, urls.blob, pages.blob, self._archive_id, below))
