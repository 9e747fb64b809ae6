"""What rows say of where stored bytes are, for a command that moves them, and the change of rows to another place. Moves no byte.

Bytes have one owner, the image or former image whose name they carry. Images that show another one's file (`same_image`) name the
same place. All rows of a place change in one transaction, so that none of them ever names a place that is about to go.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from d4c_images.errors import LedgerError
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import shards
from d4c_images.ledger.queue.mark_placeholders import list_file
from d4c_images.ledger.rows.extent import Ask, number, top_image
from d4c_images.ledger.rows.named import image_named

SURVEY_STEP_ROWS = 5_000
STORE_CONVERT = "store convert"
MOST_UNLINKED = 100_000

_NOW = """
image_id, NULL, file_path, file_offset, file_size, sha256, media_type, width, height, original_sha256,
coalesce(error_type, '') = 'same_image', CASE WHEN length(urls) <= 4096 THEN urls END, url_no
"""
_FORMERLY = """
image_id, revision, file_path, file_offset, file_size, sha256, media_type, width, height, original_sha256, 0, NULL, 0
"""
STORED_NOW = f"""
SELECT {_NOW} FROM image_rows WHERE image_id > ? AND image_id <= ? AND status = 'success' AND file_path IS NOT NULL
"""  # noqa: S608 - constants, as below
STORED_FORMERLY = f"SELECT {_FORMERLY} FROM former_rows WHERE image_id > ? AND image_id <= ? AND file_path IS NOT NULL"  # noqa: S608
STORED_NOW_OF = f"""
SELECT {_NOW} FROM json_each(?) AS wanted CROSS JOIN image_rows ON image_id = wanted.value
WHERE status = 'success' AND file_path IS NOT NULL
"""  # noqa: S608
STORED_FORMERLY_OF = f"""
SELECT {_FORMERLY} FROM json_each(?) AS wanted CROSS JOIN former_rows ON image_id = wanted.value WHERE file_path IS NOT NULL
"""  # noqa: S608
IMAGES_NAMED = f"""
SELECT {image_named("named.gbif_id", "named.image_no")}
FROM (SELECT key, value ->> 0 AS gbif_id, value ->> 1 AS image_no FROM json_each(?)) AS named ORDER BY named.key
"""  # noqa: S608
SURVEY_NOW = """
SELECT CASE WHEN file_offset IS NOT NULL THEN file_path END, coalesce(error_type, '') = 'same_image', count(*),
       coalesce(sum(file_size), 0), coalesce(max(file_size), 0)
FROM image_rows WHERE image_id > ? AND image_id <= ? AND status = 'success' AND file_path IS NOT NULL GROUP BY 1, 2
"""
SURVEY_FORMERLY = """
SELECT CASE WHEN file_offset IS NOT NULL THEN file_path END, 0, count(*), coalesce(sum(file_size), 0), coalesce(max(file_size), 0)
FROM former_rows WHERE image_id > ? AND image_id <= ? AND file_path IS NOT NULL GROUP BY 1
"""
# Images that show another one's file without a link to it: nobody could find them from there.
UNLINKED = """
SELECT file_path FROM image_rows AS i
WHERE image_id > ? AND image_id <= ? AND status = 'success' AND error_type = 'same_image' AND file_path IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM unfolded AS u WHERE u.parent_id = i.image_id)
"""
RELOCATE_NOW = """
UPDATE image_rows SET file_path = ?, file_offset = ?
WHERE image_id = ? AND status = 'success' AND file_path = ? AND file_offset IS ?
"""
RELOCATE_FORMERLY = """
UPDATE former_rows SET file_path = ?, file_offset = ? WHERE image_id = ? AND revision = ? AND file_path = ? AND file_offset IS ?
"""
SHOWN_AS_SAME = """
SELECT i.image_id, i.file_path, i.file_offset
FROM json_each(?) AS named CROSS JOIN unfolded AS u INDEXED BY unfolded_image ON u.image_id = named.value
CROSS JOIN image_rows AS i ON i.image_id = u.parent_id
WHERE i.status = 'success' AND i.error_type = 'same_image'
"""
FORGET_SHARD = "DELETE FROM shards WHERE file_path = ?"
COMMIT_DURABLY = "PRAGMA synchronous = FULL"
COPIED_UPTO = "SELECT run_id, position FROM checkpoints WHERE name = 'move'"
NOTE_COPIED = """
INSERT INTO checkpoints (name, run_id, position) VALUES ('move', ?, ?)
ON CONFLICT (name) DO UPDATE SET run_id = excluded.run_id, position = excluded.position
"""
FORGET_COPIED = "DELETE FROM checkpoints WHERE name = 'move'"
N_OTHER_RUNS = "SELECT count(*) FROM runs WHERE run_id > ? AND run_id < ? AND command <> ?"


class NamedBytes(NamedTuple):
    """The bytes of an image or a former image, as a row describes them."""

    image_id: int
    revision: int | None  # of a former image; None: what the image is now
    path: str
    offset: int | None  # None: the file is the image
    size_bytes: int | None
    sha256: bytes | None
    media_type: str | None
    width: int | None
    height: int | None
    original_sha256: bytes | None
    is_same: bool  # it shows another image's file
    urls: str | None
    url_no: int

    @property
    def url(self) -> str | None:
        """The candidate that decided."""
        urls = (self.urls or "").split("\n")
        return (urls[self.url_no] if self.url_no < len(urls) else None) or None


class Relocation(NamedTuple):
    """Bytes that are durable at a second place, which their rows are to name from now on."""

    stored: NamedBytes
    path: str
    offset: int | None


@dataclass(slots=True)
class Survey:
    """What is stored, in which form."""

    n_files: int = 0  # former images included, as in all numbers here; without those that show another one's file
    file_bytes: int = 0
    n_packed: int = 0
    packed_bytes: int = 0
    n_same: int = 0
    biggest_bytes: int = 0
    users: Counter[str] = field(default_factory=Counter)  # rows by the shard that they name
    unlinked: set[str] = field(default_factory=set)  # files of images that show them without a link to their owner


def survey(ask: Ask, progress: Callable[[int, int], None] = lambda done, total: None) -> Survey:
    """Count everything that is stored, in steps. Raises `LedgerError` if too much is shown without links."""
    found, top = Survey(), top_image(ask)
    for low in range(0, top, SURVEY_STEP_ROWS):
        window = (low, low + SURVEY_STEP_ROWS)
        for sql in (SURVEY_NOW, SURVEY_FORMERLY):
            for shard, is_same, n, size_bytes, biggest_bytes in ask(sql, window):
                _count(found, shard, bool(is_same), n, size_bytes)
                found.biggest_bytes = max(found.biggest_bytes, biggest_bytes)
        found.unlinked.update(path for (path,) in ask(UNLINKED, window))
        if len(found.unlinked) > MOST_UNLINKED:
            raise LedgerError("too many images show the file of another one without a link to it")
        progress(min(top, low + SURVEY_STEP_ROWS), top)
    return found


def _count(found: Survey, shard: str | None, is_same: bool, n: int, size_bytes: int) -> None:
    if shard is not None:
        found.users[shard] += n
    if is_same:
        found.n_same += n
    elif shard is None:
        found.n_files += n
        found.file_bytes += size_bytes
    else:
        found.n_packed += n
        found.packed_bytes += size_bytes


def stored_in_steps(ask: Ask, after: int = 0) -> Iterator[tuple[int, list[NamedBytes]]]:
    """Everything that rows name, of images with higher numbers than `after`: the number reached, and the rows up to it."""
    top = top_image(ask)
    for low in range(after, top, SURVEY_STEP_ROWS):
        window = (low, low + SURVEY_STEP_ROWS)
        rows = [*ask(STORED_NOW, window), *ask(STORED_FORMERLY, window)]
        yield low + SURVEY_STEP_ROWS, list(map(_stored, rows))


def stored_of(ask: Ask, names: Sequence[tuple[int, int]]) -> list[list[NamedBytes]]:
    """For each (gbif_id, image_no), in order, what is stored of the image that it names."""
    numbers = [image_id for (image_id,) in ask(IMAGES_NAMED, (json.dumps(names),))]
    wanted = json.dumps(sorted({one for one in numbers if one is not None}))
    found: dict[int | None, list[NamedBytes]] = {}
    for sql in (STORED_NOW_OF, STORED_FORMERLY_OF):
        for one in map(_stored, ask(sql, (wanted,))):
            found.setdefault(one.image_id, []).append(one)
    return [found.get(number, []) for number in numbers]


def _stored(row: tuple[Any, ...]) -> NamedBytes:
    return NamedBytes._make(row)._replace(is_same=bool(row[10]))


def commit_durably(ledger: Ledger) -> None:
    """From now on a commit is on the disk when it returns: what a row no longer names may be removed then."""
    ledger.connection.execute(COMMIT_DURABLY)


def relocate(ledger: Ledger, moved: Sequence[Relocation], ends: Iterable[tuple[str, int]] = ()) -> Counter[str]:
    """Have all rows of these bytes name their new place; returns how many rows no longer name each old path.

    Files that are no longer named are listed for removal, like those of placeholders: whoever owns the ledger next removes them
    if this process is killed. `ends` as for `shards.note`. No image may come twice.
    """
    with ledger.transaction() as db:
        shards.note(db, ends)
        changed: Counter[str] = Counter()
        for stored, path, offset in moved:
            old = (stored.path, stored.offset)
            if stored.revision is None:
                n = db.execute(RELOCATE_NOW, (path, offset, stored.image_id, *old)).rowcount
            else:
                n = db.execute(RELOCATE_FORMERLY, (path, offset, stored.image_id, stored.revision, *old)).rowcount
            assert n == 1, "nobody else changes rows of a ledger that is owned"
            changed[stored.path] += 1
            if stored.offset is None:
                list_file(db, stored.image_id, (stored.path, None, stored.size_bytes or 0), stored.sha256 or b"")
        _take_along(db, moved, changed)
    return changed


def _take_along(db: sqlite3.Connection, moved: Sequence[Relocation], changed: Counter[str]) -> None:
    """The rows of images that show the same bytes, and of those that show them because these do."""
    places = {(one.stored.path, one.stored.offset): (one.path, one.offset) for one in moved}
    shown = {one.stored.image_id for one in moved}
    seen = set(shown)
    while shown:
        same = [row for row in db.execute(SHOWN_AS_SAME, (json.dumps(sorted(shown)),)) if row[0] not in seen]
        for image_id, path, offset in same:
            new = places.get((path, offset))
            if new is not None and image_id not in seen:
                changed[path] += db.execute(RELOCATE_NOW, (*new, image_id, path, offset)).rowcount
            seen.add(image_id)
        shown = {row[0] for row in same}


def forget_shard(ledger: Ledger, path: str) -> None:
    """Before a shard is removed: its name may come again, for another one."""
    with ledger.transaction() as db:
        db.execute(FORGET_SHARD, (path,))


def copied_upto(ledger: Ledger, to: str) -> int:
    """The image up to which an earlier run has copied everything to this root; 0 if others may have stored something since."""
    row = ledger.connection.execute(COPIED_UPTO).fetchone()
    if row is None:
        return 0
    run_id, position = row[0], json.loads(row[1])
    n_others = number(ledger.connection.execute, N_OTHER_RUNS, (run_id, ledger.run_id or 0, STORE_CONVERT))
    return int(position["image_id"]) if position["to"] == to and not n_others else 0


def note_copied(ledger: Ledger, to: str, image_id: int) -> None:
    with ledger.transaction() as db:
        db.execute(NOTE_COPIED, (ledger.run_id or 0, json.dumps({"to": to, "image_id": image_id})))


def forget_copied(ledger: Ledger) -> None:
    with ledger.transaction() as db:
        db.execute(FORGET_COPIED)
