"""Writes rows held in memory (`write_buffer`) part by part, and notes up to which image all are written. Knows no table."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from d4c_images import crash
from d4c_images.ledger.admission.write_buffer import RunColumn, SortedRuns
from d4c_images.ledger.file.connect import Ledger

WritePart = Callable[[sqlite3.Connection, tuple[RunColumn, ...]], None]
"""Writes some rows, given as columns in key order."""


class HeldRows:
    """Rows derived from images, held in memory until many can be written in key order.

    Each part is a transaction of its own. After the last one, `set_complete` notes up to which image everything is written: what a
    killed process had not noted is rebuilt from the images after that one.
    """

    def __init__(self, ledger: Ledger, write_part: WritePart, set_complete: str, crash_point: str) -> None:
        self._ledger, self._write_part, self._set_complete, self._crash_point = ledger, write_part, set_complete, crash_point
        self.rows = SortedRuns()
        self._frozen_image_id = 0  # the last image seen when they were frozen

    def pour(self, last_image_id: int, at_least: int) -> None:
        """Write a part of what is held, if there are `at_least` so many rows. `last_image_id` is the last image they come from."""
        if self.rows.n_rows >= at_least:
            self._pour_all()
            self._freeze(last_image_id)
        self._pour_part()

    def flush(self, last_image_id: int, beat: Callable[[], object] = lambda: None) -> None:
        """Write all that is held, calling `beat` after each transaction."""
        self._pour_all(beat)
        self._freeze(last_image_id)
        self._pour_all(beat)

    def _freeze(self, last_image_id: int) -> None:
        self.rows.freeze()
        self._frozen_image_id = last_image_id

    def _pour_all(self, beat: Callable[[], object] = lambda: None) -> None:
        while self.rows.is_frozen:
            self._pour_part()
            beat()

    def _pour_part(self) -> None:
        if not self.rows.is_frozen:
            return
        part = self.rows.part()
        with self._ledger.transaction() as db:
            if len(part[0]):
                self._write_part(db, part)
            else:
                db.execute(self._set_complete, (self._frozen_image_id,))
        self.rows.drop_part()
        crash.point(self._crash_point)
