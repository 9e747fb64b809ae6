"""Writes images, records and links into a ledger row by row: the only tests' code that knows the columns of these tables.

`admit` leaves a ledger as an ingest does. Whoever wants rows that an ingest would not write takes `add_image`, `add_link` and
`add_record`, which leave lists and counts to `recount_all` (or to nobody, if they are to be wrong). No test asks here what a ledger
should hold: this only writes.
"""

from __future__ import annotations

import functools
import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from d4c_images.ledger.admission import new_untried
from d4c_images.ledger.rows import hashes
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import Status
from tests.support.program import RECOUNT_IMAGES

RULE_ID = 1
BLOCK = 512  # images of one row of `untried`


class New(NamedTuple):
    """An image that nobody has tried, with the first record that shows it."""

    image_id: int
    gbif_id: int
    image_no: int
    host_id: int
    url: str


def add_rule(db: sqlite3.Connection) -> None:
    """The rule that all images here have got their keys by."""
    _insert(db, "rules", rule_id=RULE_ID, name="exact", version=1)


def admit(db: sqlite3.Connection, images: Sequence[New], *, in_line: bool = True) -> None:
    """New images, those of one record next to each other. Their links stand with them (`in_line`), or in the table of links."""
    _insert_all(db, "image_rows", (*New._fields[:-1], "urls", "rule_id"), ((*image, RULE_ID) for image in images))
    _insert_all(db, "image_keys", ("key_hash", "image_id"), ((hashes.key_hash(image.url), image.image_id) for image in images))
    tally = Tally()
    for gbif_id, group in itertools.groupby(images, lambda image: image.gbif_id):
        shown = list(group)
        add_record(db, gbif_id, len(shown), shown[0].image_id, len(shown) if in_line else 0)
        tally.record(1, "pending")
    for image in images:
        tally.image(1, image.host_id, Status.PENDING, None, final=False)
        if not in_line:
            add_link(db, image.gbif_id, image.image_no, image.image_id)
    tally.write(db)
    new_untried.add(db, np.array([image.image_id for image in images]), np.array([image.host_id for image in images]))
    catch_up(db, images[-1].image_id)


def admit_record(db: sqlite3.Connection, gbif_id: int, image_id: int) -> None:
    """Another record that shows an image that is there."""
    add_link(db, gbif_id, 0, image_id, is_first=False)
    add_record(db, gbif_id, 1)
    tally = Tally()
    tally.record(1, "pending")
    tally.write(db)


def add_image(
    db: sqlite3.Connection, image_id: int, gbif_id: int, image_no: int, *, host_id: int, urls: str, **cells: object
) -> None:
    """The row alone; `cells` are further columns of it."""
    named = {"image_id": image_id, "gbif_id": gbif_id, "image_no": image_no, "host_id": host_id, "rule_id": RULE_ID, "urls": urls}
    _insert(db, "image_rows", **named, **cells)


def add_link(
    db: sqlite3.Connection,
    gbif_id: int,
    image_no: int,
    image_id: int,
    *,
    is_first: bool = True,
    archive_id: int = 1,
    row_no: int = 1,
    **cells: object,
) -> None:
    """A link in the table of links; `cells` are further columns of it."""
    named = {"gbif_id": gbif_id, "image_no": image_no, "image_id": image_id, "is_first": is_first}
    _insert(db, "link_rows", **named, archive_id=archive_id, row_no=row_no, **cells)


def add_record(db: sqlite3.Connection, gbif_id: int, n_images: int, first_image_id: int | None = None, n_in_line: int = 0) -> None:
    """A record none of whose images is decided, or whose counts are yet to be made."""
    _insert(db, "gbif_ids", gbif_id=gbif_id, n_images=n_images, first_image_id=first_image_id, n_in_line=n_in_line)


def catch_up(db: sqlite3.Connection, image_id: int) -> None:
    """Keys and records of all images up to this one stand in their tables."""
    db.execute("UPDATE caught_up SET keyed_image_id = ?1, recorded_image_id = ?1", (image_id,))


def recount_all(db: sqlite3.Connection) -> None:
    """Make the counts true to the rows, and the lists of a ledger whose images nobody has tried."""
    recount_images(db)
    db.execute("INSERT INTO record_tallies SELECT status, count(*) FROM gbif_ids GROUP BY 1")
    listed: dict[tuple[int, int], bytes] = {}
    for host_id, image_id in db.execute("SELECT host_id, image_id FROM image_rows ORDER BY 2"):
        key = (host_id, image_id // BLOCK)
        listed[key] = listed.get(key, b"") + (image_id % BLOCK).to_bytes(2, "little")
    db.executemany("INSERT INTO untried VALUES (?, ?, ?)", [(*key, places) for key, places in listed.items()])


def recount_images(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM tallies")
    db.execute(f"INSERT INTO tallies {RECOUNT_IMAGES.replace('ORDER BY 1, 2, 3', '')}")


def _insert(db: sqlite3.Connection, table: str, **cells: object) -> None:
    db.execute(_statement(table, tuple(cells)), tuple(cells.values()))


def _insert_all(db: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    db.executemany(_statement(table, columns), rows)


@functools.cache
def _statement(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
