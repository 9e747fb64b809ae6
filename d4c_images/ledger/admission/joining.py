"""Joins rows of one record that are one picture but not adjacent: in one table, or in tables of several inits. Writes no link.

Adjacent rows were joined earlier (`publisher_rows`). What each of them declares is remembered, so that a row that comes
later, wherever it is, gives the same image as if all had been adjacent: the joined rows take one common key, and an image that
exists for some of them takes it too, with the URLs of all.

An image is not renamed if another record shows it, or if it is stored, lent, or was a document: then the new rows are an image of
their own. Two existing images of one picture are left to `same_images`. What was joined stays joined.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from d4c_images.identity import parts
from d4c_images.identity.archive_variants import DEFAULT_EDGE, Statement, in_order, joined, picture_of, read
from d4c_images.ledger.admission.chunk import Numbers, Stated
from d4c_images.ledger.admission.duplicates import INSERT_TWIN, TWIN, RowGroup
from d4c_images.ledger.admission.keys import KeyIndex
from d4c_images.ledger.queue import same_images
from d4c_images.ledger.rows import variants
from d4c_images.ledger.rows.hashes import key_hash
from d4c_images.ledger.rows.lent import STATUS
from d4c_images.ledger.rows.names import host_id_of, rule_id_of
from d4c_images.model import MAX_CANDIDATES, Evidence, Image, Status

MAX_REMEMBERED = 1_000
"""Rows remembered per record. In a record with more, rows are joined only with their neighbours."""

ANY_PICTURE_ROW = "SELECT EXISTS (SELECT 1 FROM picture_rows)"
N_REMEMBERED = """
SELECT wanted.value, (SELECT count(*) FROM picture_rows AS p WHERE p.gbif_id = wanted.value) FROM json_each(?) AS wanted
"""
REMEMBERED_PICTURES = """
SELECT row_hash, key_hash, image_id, statement FROM picture_rows WHERE gbif_id = ? ORDER BY row_hash
"""
REMEMBER = """
INSERT INTO picture_rows (gbif_id, row_hash, key_hash, image_id, statement) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (gbif_id, row_hash) DO UPDATE SET image_id = excluded.image_id
"""
SHOWS = "UPDATE picture_rows SET image_id = ? WHERE gbif_id = ? AND row_hash = ?"
KEY = "SELECT coalesce(image_key, urls) FROM image_rows WHERE image_id = ?"
URLS = "SELECT urls FROM image_rows WHERE image_id = ?"
INSERT_NEW_KEY = "INSERT INTO image_keys (key_hash, image_id) VALUES (?, ?)"
# Whether it may be renamed for this record.
IMAGE_TO_JOIN = f"""
SELECT i.gbif_id, {STATUS}, coalesce(i.image_key, i.urls),
       EXISTS (SELECT 1 FROM link_rows AS l INDEXED BY link_shared WHERE l.image_id = i.image_id AND l.gbif_id <> ?1),
       EXISTS (SELECT 1 FROM documents AS d WHERE d.image_id = i.image_id)
FROM image_rows AS i WHERE i.image_id = ?2
"""  # noqa: S608 - a constant
RENAME = "UPDATE image_rows SET image_key = ?, rule_id = ? WHERE image_id = ?"


@dataclass(slots=True)
class _Row:
    """What one row of a record declares, and its position in the group."""

    statement: Statement
    key_hash: int
    row_hash: int
    image_id: int | None  # None if it is new
    positions: list[int] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The key of the image that the row alone would be."""
        found = picture_of([self.statement])
        return "" if found is None else found[0].key


class Joining:
    """Joins the rows of one transaction with each other and with earlier ones."""

    def __init__(self, db: sqlite3.Connection, keys: KeyIndex, group: RowGroup) -> None:
        self._db, self._keys, self._group = db, keys, group
        self._changed: list[int] = []  # positions whose image has changed
        self._shows: list[tuple[int, int, int]] = []  # position, record, row: an earlier row shows what this position shows
        self._same: list[tuple[int, int]] = []  # an image, and a position that shows its picture
        self._crowded: set[int] = set()  # records with too many rows
        self.n_joined = 0  # rows, beyond the first of each image

    def join(self) -> None:
        """Change the group so that rows of one picture have one key, and all URLs of it."""
        group = self._group
        if not group.stated and not self._db.execute(ANY_PICTURE_ROW).fetchone()[0]:  # no publisher's archive
            return
        stated: defaultdict[int, list[Stated]] = defaultdict(list)
        for one in group.stated:
            stated[group.gbif_id(one.at)].append(one)
        known = set(group.gbif_ids[group.maybe_known_records].tolist())
        counts = dict(self._db.execute(N_REMEMBERED, (json.dumps(sorted(known)),)))
        self._crowded = {gbif_id for gbif_id, n in counts.items() if n > MAX_REMEMBERED}
        apart = {gbif_id for gbif_id, rows in stated.items() if self._are_apart(rows)}
        joined_before = {group.gbif_id(one.at) for one in group.stated if one.key_hash != group.key_hashes[one.at]}
        remembered = {gbif_id for gbif_id, n in counts.items() if n}
        for gbif_id, positions in self._positions((remembered | apart | joined_before) - self._crowded).items():
            rows = stated.get(gbif_id, ())
            if gbif_id in apart or gbif_id in known or len(rows) < len(positions):
                self._join_record(gbif_id, rows, positions, is_known=gbif_id in remembered)
        if self._changed:
            alike = np.isin(group.key_hashes, group.key_hashes[self._changed])
            group.maybe_known = np.union1d(group.maybe_known, np.flatnonzero(alike))

    def write(self, image_ids: Numbers, now: int) -> None:
        """Remember the rows, with the images that they show now."""
        group = self._group
        rows = [
            (gbif_id, one.row_hash, one.key_hash, int(image_ids[one.at]), one.text)
            for one in group.stated
            if (gbif_id := group.gbif_id(one.at)) not in self._crowded
        ]
        self._db.executemany(REMEMBER, rows)
        self._db.executemany(SHOWS, [(int(image_ids[at]), gbif_id, row_hash) for at, gbif_id, row_hash in self._shows])
        same = sorted({(image_id, int(image_ids[at])) for image_id, at in self._same if image_id != image_ids[at]})
        same_images.leave(self._db, same, now)

    def _are_apart(self, rows: Sequence[Stated]) -> bool:
        """Whether not all of a record's rows have been looked at together."""
        first, last = rows[0].at, rows[-1].at
        return last - first + 1 != len(rows) or any(first < start <= last for start in self._group.chunk_starts)

    def _positions(self, gbif_ids: Iterable[int]) -> dict[int, list[int]]:
        """The position of each of the records in the group."""
        group = self._group
        wanted = np.fromiter(gbif_ids, np.int64)
        found: dict[int, list[int]] = {}
        for at in np.flatnonzero(np.isin(group.gbif_ids, wanted)).tolist() if len(wanted) else ():
            found.setdefault(group.gbif_id(at), []).append(at)
        return found

    def _join_record(self, gbif_id: int, stated: Sequence[Stated], positions: Sequence[int], *, is_known: bool) -> None:
        remembered = self._db.execute(REMEMBERED_PICTURES, (gbif_id,)).fetchall() if is_known else []
        if len({own_hash for _, own_hash, *_ in remembered} | {one.key_hash for one in stated}) < 2:
            return  # one photo, under one name
        rows: dict[int, _Row] = {}
        for row_hash, own_hash, image_id, text in remembered:
            rows[row_hash] = _Row(read(text), own_hash, row_hash, image_id)
        for one in stated:
            row = rows.setdefault(one.row_hash, _Row(read(one.text), one.key_hash, one.row_hash, None))
            row.positions.append(one.at)
        silent: defaultdict[str, list[int]] = defaultdict(list)  # rows that say nothing but a URL, by their key
        for at in sorted(set(positions).difference(one.at for one in stated)):
            silent[self._group.key(at)].append(at)
        for together, further in _pictures(list(rows.values()), silent):
            self._make_one(gbif_id, together, further)

    def _make_one(self, gbif_id: int, rows: Sequence[_Row], further: Sequence[int]) -> None:
        """Have all these rows, and those in `further` positions, show one image."""
        group = self._group
        positions = sorted([*further, *(at for row in rows for at in row.positions)])
        found = picture_of(row.statement for row in rows) if positions else None
        if found is None:
            return
        image, of_rows = found
        before = sorted({row.image_id for row in rows if row.image_id is not None})
        new = {int(group.key_hashes[row.positions[0]]) for row in rows if row.image_id is None}
        self.n_joined += max(0, len(new) - (not before))
        if before:
            self._rename_one(gbif_id, before, image, positions[0])
        urls, said = list(image.urls), {one.url: one for one in of_rows}
        for at in further:
            urls += group.urls[at].split("\n")
            said = variants.united(said, group.evidence.get(at, {}))
        for image_id in self._others({row.key for row in rows} - {image.key, ""}):
            self._same.append((image_id, positions[0]))
            if self._is_of_this_record_alone(image_id, gbif_id, positions[0]):
                urls += self._db.execute(URLS, (image_id,)).fetchone()[0].split("\n")
                said = variants.united(said, variants.of_image(self._db, image_id))
        self._set(positions, image, urls, said)
        self._shows += [(positions[0], gbif_id, row.row_hash) for row in rows if not row.positions]

    def _set(self, positions: Sequence[int], image: Image, urls: Iterable[str], said: Mapping[str, Evidence]) -> None:
        """Have the rows in these positions show this image, with these candidates."""
        group, edges = self._group, variants.edges(said)
        ordered = in_order({url: edges.get(url, DEFAULT_EDGE) for url in urls})[:MAX_CANDIDATES]
        candidates, hashed = "\n".join(ordered), key_hash(image.key)
        host_id, rule_id = host_id_of(self._db, parts(ordered[0]).host), rule_id_of(self._db, image.rule, image.version)
        for at in positions:
            group.key_hashes[at], group.host_ids[at], group.rule_ids[at] = hashed, host_id, rule_id
            group.urls[at], group.image_keys[at] = candidates, "" if image.key == candidates else image.key
            group.evidence.pop(at, None)
        group.evidence[positions[0]] = {url: said[url] for url in ordered if url in said}
        self._changed += positions

    def _others(self, image_keys: Iterable[str]) -> Iterator[int]:
        """The images that some rows of a picture have by themselves: another row, which says no more than a URL, has made them."""
        by_hash = {key_hash(key): key for key in image_keys}
        for hashed, image_id in self._keys.find(np.array(sorted(by_hash), np.int64)).items():
            if self._db.execute(KEY, (image_id,)).fetchone()[0] == by_hash[hashed]:
                yield image_id
            elif (twin := self._db.execute(TWIN, (by_hash[hashed],)).fetchone()) is not None:
                yield twin[0]

    def _rename_one(self, gbif_id: int, image_ids: Sequence[int], image: Image, at: int) -> None:
        """Give the first of these images that may have it the key of what they are together, unless an image has it already."""
        db, hashed = self._db, key_hash(image.key)
        holder = self._keys.find(np.array([hashed])).get(hashed)
        if holder is not None and db.execute(KEY, (holder,)).fetchone()[0] == image.key:
            return
        if holder is not None and db.execute(TWIN, (image.key,)).fetchone() is not None:
            return
        for image_id in image_ids:
            if self._is_of_this_record_alone(image_id, gbif_id, at):
                db.execute(RENAME, (image.key, rule_id_of(db, image.rule, image.version), image_id))
                if holder is None:
                    db.execute(INSERT_NEW_KEY, (hashed, image_id))
                else:
                    db.execute(INSERT_TWIN, (image.key, image_id))
                return

    def _is_of_this_record_alone(self, image_id: int, gbif_id: int, at: int) -> bool:
        """Whether no other record shows the image before the row `at`, and it has only failed so far."""
        group = self._group
        first_gbif_id, status, key, is_shared, is_document = self._db.execute(IMAGE_TO_JOIN, (gbif_id, image_id)).fetchone()
        if first_gbif_id != gbif_id or is_shared or is_document or status in (Status.SUCCESS, Status.LEASED):
            return False
        earlier = group.gbif_ids[:at][group.key_hashes[:at] == key_hash(key)]
        return bool(np.all(earlier == gbif_id))


def _pictures(rows: Sequence[_Row], silent: Mapping[str, list[int]]) -> list[tuple[list[_Row], list[int]]]:
    """The rows of a record by picture, if it has several keys, each with positions of silent rows that show it too."""
    groups = [{rows[at].row_hash: rows[at] for at in some} for some in joined([row.statement for row in rows])]
    groups = _united(groups, [{row.image_id for row in some.values() if row.image_id is not None} for some in groups])
    several = [some for some in groups if len({row.key_hash for row in some.values()}) > 1]
    if not several:
        return []
    homes: defaultdict[str, set[int]] = defaultdict(set)
    for number, some in enumerate(several):
        for row in some.values():
            homes[row.key].add(number)
    only = {key: numbers.pop() for key, numbers in homes.items() if len(numbers) == 1}
    further: defaultdict[int, list[int]] = defaultdict(list)
    for some in groups:
        key = next(iter(some.values())).key
        if some not in several and key in only:
            several[only[key]].update(some)
    for key, positions in silent.items():
        if key in only:
            further[only[key]] += positions
    return [(list(some.values()), further[number]) for number, some in enumerate(several)]


def _united(groups: Sequence[dict[int, _Row]], marks: Sequence[set[int]]) -> list[dict[int, _Row]]:
    """The groups, those that share a mark as one."""
    made: list[tuple[dict[int, _Row], set[int]]] = []
    for some, mark in zip(groups, marks, strict=True):
        some, mark = dict(some), set(mark)
        for other in [one for one in made if one[1] & mark]:
            made.remove(other)
            some.update(other[0])
            mark |= other[1]
        made.append((some, mark))
    return [some for some, _ in made]
