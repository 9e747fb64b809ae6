"""The collection that is checked: which image stands at which URL, and the part of it that is stored before the campaign begins.

What is stored beforehand is written as a download leaves it, by the same bytes that the publishers' server sends for the same URLs.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from bench.scale import UNLIST
from tests.publishers import pictures
from tests.publishers.client import Publishers
from tests.publishers.site import thing_at
from tests.support.program import Collection, multimedia

FIRST_ID = 700_000_000
STEP = 20  # between two records: 50 of them in a folder
HOSTS = 12
KINDS = ("jpg", "png", "gif", "jpg", "webp", "jpg", "png", "jpg", "gif", "tif")
RARE = ("dng", "cr2", "nef", "jp2", "bmp", "heic", "avif", "jpeg")
EXTENSIONS = {"image/jpeg": "jpg", "image/tiff": "tif"}
CHANGING = 10  # one image of that many is another one each time that it is fetched again
GONE, SAME, RARELY = 50, 25, 12  # of the images that are to be downloaded, one of that many
RULES = ("*/gone/*=http_404", "same.example.org=one_picture")
CHANGES = ("*/changing/*=png_16bit", "*/changing/*=jpeg_progressive", "*/changing/*=gif_frames")
# Stored since 2020: all are fetched again in the first round that has time for it.
SET_STORED = """
UPDATE image_rows SET status = 'success', not_before = NULL, attempts = 1, last_attempt_at = 1577836800, http_status = 200,
    file_path = ?, file_size = ?, sha256 = ?, media_type = ?, width = ?, height = ?
WHERE image_id = ?
"""
STORE_STEP = 5_000


def stored_url(n: int) -> str:
    folder = "changing" if n % CHANGING == 0 else "photos"
    return f"http://h{n % HOSTS}.example.org/{folder}/{n}.{KINDS[n // HOSTS % len(KINDS)]}"


def new_rows(n_stored: int, n_new: int) -> Iterator[tuple[int, str]]:
    """Every other one is a further image of a record that has one already."""
    for n in range(n_new):
        gbif_id = FIRST_ID + n * max(1, n_stored // n_new) * STEP + (STEP // 2 if n % 2 else 0)
        if n % GONE == 7:
            yield gbif_id, f"http://h{n % HOSTS}.example.org/gone/new-{n}.jpg"
        elif n % SAME == SAME - 1:
            yield gbif_id, f"http://same.example.org/new-{n}.jpg"
        else:
            kind = RARE[n // RARELY % len(RARE)] if n % RARELY == 0 else KINDS[n // HOSTS % len(KINDS)]
            folder = "changing" if n % CHANGING == 1 else "photos"
            yield gbif_id, f"http://h{n % HOSTS}.example.org/{folder}/new-{n}.{kind}"


def make(collection: Collection, n_stored: int, n_new: int, publishers: Publishers) -> None:
    """`n_stored` images with their files, and the rows of `n_new` others."""
    publishers.behave(*RULES)
    folder = collection.folder
    rows = ((FIRST_ID + n * STEP, stored_url(n)) for n in range(n_stored))
    collection.load(multimedia(folder / "stored.txt", rows))
    _store(collection)
    collection.load(multimedia(folder / "new.txt", new_rows(n_stored, n_new)))
    collection.call("init", "--finalize-only", "--no-progress")


def _store(collection: Collection) -> None:
    with closing(sqlite3.connect(collection.ledger)) as db, db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute(UNLIST)
        last = 0
        while some := db.execute(
            "SELECT image_id, gbif_id, image_no FROM image_rows WHERE image_id > ? ORDER BY image_id LIMIT ?", (last, STORE_STEP)
        ).fetchall():
            db.executemany(SET_STORED, [_stored(collection, *row) for row in some])
            last = some[-1][0]


def _stored(collection: Collection, image_id: int, gbif_id: int, image_no: int) -> tuple[object, ...]:
    """Write the file; returns what its row says."""
    host, _, target = stored_url((gbif_id - FIRST_ID) // STEP).removeprefix("http://").partition("/")
    found = thing_at("http", host, f"/{target}")
    extension = EXTENSIONS.get(found.media_type, found.media_type.removeprefix("image/"))
    digits = str(gbif_id)
    name = f"{digits[:3]}/{digits[3:6]}/{digits}-{image_no:02d}.{extension}"
    path = collection.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(found.body)
    size = (640, 480) if extension == "jpg" else pictures.SMALL
    return name, len(found.body), hashlib.sha256(found.body).digest(), found.media_type, *size, image_id
