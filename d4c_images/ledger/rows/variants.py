"""What publishers declare besides links: names of records, and sizes and hashes of single URLs. Orders no candidates itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from d4c_images.errors import SourceError
from d4c_images.model import Evidence, PublishedHash, RecordName

OTHER_NAMES = """
SELECT n.gbif_id, n.dataset, n.record_id FROM json_each(?) AS wanted CROSS JOIN record_names AS n ON n.gbif_id = wanted.value
"""
INSERT_NAME = "INSERT OR IGNORE INTO record_names (gbif_id, dataset, record_id) VALUES (?, ?, ?)"
OF_IMAGE = "SELECT url, role, edge, width, height, hash_function, hash_value FROM variants WHERE image_id = ?"
PUT_VARIANT = """
INSERT INTO variants (image_id, url, role, edge, width, height, hash_function, hash_value) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (image_id, url) DO UPDATE SET role = excluded.role, edge = excluded.edge, width = excluded.width,
    height = excluded.height, hash_function = excluded.hash_function, hash_value = excluded.hash_value,
    hash_matches = CASE WHEN hash_value IS excluded.hash_value THEN hash_matches END
"""

FORGET_VARIANT = "DELETE FROM variants WHERE image_id = ? AND url = ?"
ANY_VARIANT = "SELECT 1 FROM variants LIMIT 1"
HASHES = """
SELECT v.image_id, v.url, v.hash_function, v.hash_value
FROM json_each(?) AS wanted CROSS JOIN variants AS v ON v.image_id = wanted.value
WHERE v.hash_value IS NOT NULL
"""

Said = Mapping[str, Evidence]
"""What is declared about an image's candidates, by URL."""


def write_names(db: sqlite3.Connection, names: Sequence[RecordName]) -> None:
    """Remember what publishers call these records. Raises `SourceError` if two records have one number."""
    wanted = {name.gbif_id: name for name in names}
    for row in db.execute(OTHER_NAMES, (json.dumps(list(wanted)),)).fetchall():
        known = RecordName(*row)
        if known != wanted[known.gbif_id]:
            raise SourceError(
                f"the records {known.record_id!r} (of {known.dataset!r}) and {wanted[known.gbif_id].record_id!r} get the same "
                f"number, {known.gbif_id}: import one of them into a separate ledger, or with another --dataset"
            )
    db.executemany(INSERT_NAME, names)


def of_image(db: sqlite3.Connection, image_id: int) -> dict[str, Evidence]:
    return {row[0]: Evidence(*row) for row in db.execute(OF_IMAGE, (image_id,))}


def write(db: sqlite3.Connection, image_id: int, said: Said) -> None:
    """Store all that is declared about an image."""
    db.executemany(PUT_VARIANT, [(image_id, *one) for one in said.values()])


def forget(db: sqlite3.Connection, image_id: int, urls: Iterable[str]) -> None:
    """Delete what was declared about URLs that are no longer candidates of an image."""
    db.executemany(FORGET_VARIANT, [(image_id, url) for url in sorted(urls)])


def hashes_of(db: sqlite3.Connection, urls: Mapping[int, Sequence[str]]) -> dict[int, tuple[PublishedHash, ...]]:
    """The hashes published for candidates of these images; `urls` are their candidates, by image."""
    if db.execute(ANY_VARIANT).fetchone() is None:  # as in every ledger without a publisher's archive
        return {}
    found: dict[int, tuple[PublishedHash, ...]] = {}
    for image_id, url, function, value in db.execute(HASHES, (json.dumps(list(urls)),)):
        if url in urls[image_id]:
            found[image_id] = (*found.get(image_id, ()), PublishedHash(urls[image_id].index(url), function, value))
    return found


def note_comparison(db: sqlite3.Connection, image_id: int, url: str, *, matches: bool) -> None:
    """Store whether the bytes from a candidate have the hash published for it."""
    db.execute("UPDATE variants SET hash_matches = ? WHERE image_id = ? AND url = ?", (matches, image_id, url))


def united(one: Said, other: Said) -> dict[str, Evidence]:
    """What two rows declare about one image; symmetric."""
    from d4c_images.identity.archive_variants import unite  # imports all publishers' rules, which a download does not need

    both = dict(one)
    for url, said in other.items():
        both[url] = unite(both[url], said) if url in both else said
    return both


def edges(said: Said) -> dict[str, int]:
    return {url: one.edge for url, one in said.items()}
