"""Rows that show a known image, from the same transaction or an earlier one. Writes no new image, record or link.

They are looked up together, and those that bring nothing new (all of them when the same rows come again) are skipped quickly. The
URLs that rows bring for one image are gathered over the whole transaction and written once: some images come in thousands of rows.
Of the images in the ledger, only one at a time has its URLs in memory: each may have many long ones.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from d4c_images.identity import parts
from d4c_images.identity.candidates import Candidates
from d4c_images.ledger.admission.bulk import Floats
from d4c_images.ledger.admission.chunk import Numbers, Stated
from d4c_images.ledger.admission.keys import KeyIndex
from d4c_images.ledger.admission.records import Effect
from d4c_images.ledger.admission.text_column import TextColumn
from d4c_images.ledger.queue import record_links, untried
from d4c_images.ledger.queue.requeue import REQUEUE
from d4c_images.ledger.rows import variants
from d4c_images.ledger.rows.lent import STATUS
from d4c_images.ledger.rows.names import host_id_of
from d4c_images.ledger.rows.rollup import RecordChanges
from d4c_images.ledger.rows.states import failed_for_good, is_final
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import Evidence, Status

STORED_IMAGES = f"""
SELECT i.image_id, i.gbif_id, i.host_id, {STATUS}, i.error_type, i.not_before, i.last_attempt_at,
       i.url_no, i.redirect_url, i.image_no, i.row_no IS NOT NULL,
       i.row_no IS NULL OR i.license_id IS NULL OR i.creator_id IS NULL OR i.rights_holder_id IS NULL OR i.references_url IS NULL,
       coalesce(i.image_key, i.urls), i.urls
FROM json_each(?) AS wanted CROSS JOIN image_rows AS i ON i.image_id = wanted.value
"""  # noqa: S608 - constants
KEY_AND_URLS = "SELECT coalesce(image_key, urls), urls FROM image_rows WHERE image_id = ?"
TWIN = "SELECT image_id FROM image_key_twins WHERE image_key = ?"
INSERT_TWIN = "INSERT INTO image_key_twins (image_key, image_id) VALUES (?, ?)"
KNOWN_LINKS = """
SELECT l.gbif_id, l.image_id, l.image_no
FROM json_each(?) AS wanted CROSS JOIN link_rows AS l ON l.gbif_id = wanted.value ->> 0 AND l.image_id = wanted.value ->> 1
"""
FILL_LINK = """
UPDATE link_rows SET license_id = coalesce(license_id, ?), creator_id = coalesce(creator_id, ?),
    rights_holder_id = coalesce(rights_holder_id, ?), references_url = coalesce(references_url, ?)
WHERE gbif_id = ? AND image_no = ?
  AND (license_id IS NULL OR creator_id IS NULL OR rights_holder_id IS NULL OR references_url IS NULL)
"""
FILL_IMAGE = """
UPDATE image_rows SET license_id = coalesce(license_id, ?), creator_id = coalesce(creator_id, ?),
    rights_holder_id = coalesce(rights_holder_id, ?), references_url = coalesce(references_url, ?)
WHERE image_id = ?
  AND (license_id IS NULL OR creator_id IS NULL OR rights_holder_id IS NULL OR references_url IS NULL)
"""
ARE_THERE_PICTURE_LINKS = "SELECT EXISTS (SELECT 1 FROM picture_links)"
INSERT_PICTURE_LINK = "INSERT OR IGNORE INTO picture_links (gbif_id, image_id) VALUES (?, ?)"
DROP_PICTURE_LINK = "DELETE FROM picture_links WHERE gbif_id = ? AND image_id = ?"
NEW_CANDIDATES = "UPDATE image_rows SET image_key = ?, urls = ?, url_no = ?, host_id = ? WHERE image_id = ?"


REPEATED_HASHES_TRACES = 1 << 16
SPREAD_FROM_ONE_OF = 8
"""If more than one row in so many is known, decoding all texts at once is faster."""

Flags = npt.NDArray[np.bool_]


@dataclass(slots=True)
class RowGroup:
    """The rows of one transaction, as columns of equal length, with the ledger's numbers of hosts, rules and texts."""

    row_nos: Numbers
    gbif_ids: Numbers
    key_hashes: Numbers
    maybe_known: Numbers
    record_starts: Numbers
    maybe_known_records: Numbers
    urls: TextColumn
    image_keys: TextColumn  # "" if the same as the candidates
    host_ids: Numbers
    rule_ids: Numbers
    references: TextColumn  # "" if none
    license_ids: Floats  # `NOTHING` if none
    creator_ids: Floats
    rights_holder_ids: Floats
    evidence: dict[int, dict[str, Evidence]] = field(default_factory=dict)  # by position
    stated: list[Stated] = field(default_factory=list)  # what rows declare about their pictures, by rising position
    chunk_starts: list[int] = field(default_factory=list)  # rows on either side of such a position were not compared

    def key(self, at: int) -> str:
        return self.image_keys[at] or self.urls[at]

    def gbif_id(self, at: int) -> int:
        return int(self.gbif_ids[at])

    def provenance(self, at: int) -> tuple[float, float, float, str | None]:
        """Licence, creator, rights holder and page to refer to, as values for SQLite."""
        texts = (self.license_ids[at], self.creator_ids[at], self.rights_holder_ids[at])
        return *map(float, texts), self.references[at] or None  # type: ignore[return-value]


@dataclass(slots=True)
class KnownImage:
    """What admission needs of an image of the ledger; its key and URLs, which may be long, are not loaded."""

    image_id: int
    gbif_id: int
    host_id: int
    status: str
    error_type: str | None
    not_before: int | None
    last_attempt_at: int | None
    url_no: int
    redirect_url: str | None
    image_no: int
    is_linked: bool  # its row holds the link to its first record
    has_gaps: bool  # that link has an empty cell, judging by its row

    @property
    def is_final(self) -> bool:
        return is_final(self.status, self.not_before)

    @property
    def is_untouched(self) -> bool:
        """Nothing has been requested yet."""
        return self.status == Status.PENDING and self.url_no == 0 and self.redirect_url is None

    @property
    def has_failed(self) -> bool:
        return self.status in (Status.FAILED_PERMANENT, Status.FAILED_TRANSIENT)


@dataclass(slots=True)
class Matches:
    """Which rows of a group show a known image."""

    stored: dict[int, KnownImage] = field(default_factory=dict)  # by position: an image of the ledger
    by_own_key: set[int] = field(default_factory=set)  # positions whose key is the image's own, not a further one
    same_urls: set[int] = field(default_factory=set)  # positions with exactly the image's URLs
    no_new_url: set[int] = field(default_factory=set)  # positions with some of the image's URLs and no other
    earlier: dict[int, int] = field(default_factory=dict)  # by position: the position that introduces the image
    new_twins: dict[str, int] = field(default_factory=dict)  # by key: position of a new image with a colliding hash

    def positions(self) -> list[int]:
        return sorted([*self.stored, *self.earlier])

    def image_ids(self, is_new: Flags, next_image_id: int) -> Numbers:
        """The image of each row; new ones are numbered in their order."""
        ids: Numbers = np.cumsum(is_new) + (next_image_id - 1)
        for at, image in self.stored.items():
            ids[at] = image.image_id
        for at, first in self.earlier.items():
            ids[at] = ids[first]
        return ids


def match(db: sqlite3.Connection, group: RowGroup, keys: KeyIndex) -> Matches:
    """Find the images that are known already. The hash finds candidates, the key decides."""
    matches = Matches()
    if not len(group.maybe_known):
        return matches
    wanted, first_at = _first_positions(group)
    image_of = keys.find(wanted)
    doubtful = group.key_hashes[group.maybe_known]
    firsts = first_at[np.searchsorted(wanted, doubtful)]
    is_stored = np.isin(doubtful, np.fromiter(image_of, np.int64, len(image_of)))
    old = np.flatnonzero(is_stored | (firsts != group.maybe_known))
    rows = list(zip(group.maybe_known[old].tolist(), doubtful[old].tolist(), firsts[old].tolist(), strict=True))
    if len(rows) * SPREAD_FROM_ONE_OF > len(group.urls):
        for column in (group.urls, group.image_keys, group.references):
            column.spread()
    positions: dict[int, list[int]] = {}
    for at, key_hash, _ in rows:
        if key_hash in image_of:
            positions.setdefault(image_of[key_hash], []).append(at)
    comparison = _Comparison(db, group, matches)
    comparison.with_images(positions, by_key=True)
    for at, key_hash, first in rows:
        if at in matches.stored:  # the image with this hash in the ledger also has this key
            continue
        key = group.key(at)
        if key_hash not in image_of and group.key(first) == key:  # an earlier row introduces it
            matches.earlier[at] = first
            continue
        if key in matches.new_twins:  # likewise, with a colliding hash
            matches.earlier[at] = matches.new_twins[key]
            continue
        twin = db.execute(TWIN, (key,)).fetchone()
        if twin is None:  # a new image with a colliding hash
            matches.new_twins[key] = at
        else:  # an image of the ledger
            comparison.with_images({twin[0]: [at]}, by_key=False)
    return matches


class _Comparison:
    """Compares rows of a group with images of the ledger, and keeps no long texts of these images."""

    def __init__(self, db: sqlite3.Connection, group: RowGroup, matches: Matches) -> None:
        self._db, self._group, self._matches = db, group, matches
        self._images: dict[int, KnownImage] = {}

    def with_images(self, positions: Mapping[int, Sequence[int]], *, by_key: bool) -> None:
        """Match the rows at these positions, by image; with `by_key` only those that have the image's own key."""
        group, matches = self._group, self._matches
        for image_id, *facts, key, urls in self._db.execute(STORED_IMAGES, (json.dumps(list(positions)),)):
            image = self._images.get(image_id)
            if image is None:
                image = self._images[image_id] = KnownImage(image_id, *facts)
            ours: set[str] = set()
            for at in positions[image_id]:
                is_own = group.key(at) == key
                if by_key and not is_own:
                    continue
                matches.stored[at] = image
                if is_own:
                    matches.by_own_key.add(at)
                if group.urls[at] == urls:
                    matches.same_urls.add(at)
                    continue
                ours = ours or set(urls.split("\n"))
                if ours.issuperset(group.urls[at].split("\n")):
                    matches.no_new_url.add(at)


def _first_positions(group: RowGroup) -> tuple[Numbers, Numbers]:
    """The hashes that may be known, in order, and the first position of each in the group."""
    wanted = np.unique(group.key_hashes[group.maybe_known])
    is_wanted = np.zeros(REPEATED_HASHES_TRACES, bool)
    is_wanted[wanted % REPEATED_HASHES_TRACES] = True
    alike = np.flatnonzero(is_wanted[group.key_hashes % REPEATED_HASHES_TRACES])  # and a few others, harmless
    hashes, at = np.unique(group.key_hashes[alike], return_index=True)
    return wanted, alike[at[np.searchsorted(hashes, wanted)]]


def write_twins(db: sqlite3.Connection, matches: Matches, image_ids: Numbers) -> None:
    db.executemany(INSERT_TWIN, [(key, int(image_ids[at])) for key, at in matches.new_twins.items()])


def add_candidates(db: sqlite3.Connection, group: RowGroup, matches: Matches, tally: Tally) -> int:
    """Give each image the URLs that its later rows bring; returns how many rows exceeded the limit (`candidates.MAX_CANDIDATES`).

    A failed image that gains one is tried again.
    """
    coming: dict[int, list[tuple[int, dict[str, Evidence]]]] = {}  # by image of the ledger: positions, and what is declared there
    growing: dict[int, _Growing] = {}  # by position: an image of this group
    for at in matches.positions():
        image, said = matches.stored.get(at), group.evidence.pop(at, None) or {}
        if image is not None:
            if said or at not in matches.same_urls:
                coming.setdefault(image.image_id, []).append((at, said))
            continue
        first = matches.earlier[at]
        more, ours = group.urls[at], group.urls[first]
        if not said and more == ours:
            continue
        one = growing.get(first)
        if one is None:
            if not said and set(more.split("\n")) <= set(ours.split("\n")):
                continue
            one = growing[first] = _of_row(group, first)
        one.add(db, more.split("\n"), said)
    n_beyond = sum(one.n_beyond for one in growing.values())
    for first, grown in growing.items():
        _write_to_row(group, first, grown)
    records = RecordChanges()
    for rows in coming.values():
        stored = _grown(db, group, matches, rows)
        if stored is not None:
            n_beyond += stored.n_beyond
            _write_to_stored(db, stored, tally, records)
    records.write(db, tally, 0)
    return n_beyond


@dataclass(slots=True)
class _Growing:
    """An image whose candidates change in this transaction."""

    candidates: Candidates
    known: dict[str, Evidence]  # what is declared about the candidates
    host_id: int  # of the best one
    image: KnownImage | None = None  # None if a row of this group introduces it
    key: str = ""  # of that image
    urls: str = ""  # ... as they were
    gains: bool = False  # a candidate that is new
    n_beyond: int = 0  # rows that had more URLs than are kept
    forgotten: set[str] = field(default_factory=set)  # candidates with evidence that are not kept

    def add(self, db: sqlite3.Connection, urls: list[str], said: dict[str, Evidence]) -> None:
        """Take what one row declares."""
        known = self.known
        if said:
            known = variants.united(known, said)
        best = self.candidates.best
        gains, dropped = self.candidates.add(urls, variants.edges(known))
        self.forgotten.update(url for url in dropped if known.pop(url, None))
        self.known = known
        if gains and self.image is not None and self.image.has_failed:
            self.gains = True
        if self.candidates.best != best:
            self.host_id = host_id_of(db, parts(self.candidates.best).host)
        self.n_beyond += bool(dropped)


def _of_row(group: RowGroup, first: int) -> _Growing:
    known = group.evidence.get(first, {})
    return _Growing(Candidates(group.urls[first].split("\n"), variants.edges(known)), known, int(group.host_ids[first]))


def _grown(
    db: sqlite3.Connection, group: RowGroup, matches: Matches, rows: Sequence[tuple[int, dict[str, Evidence]]]
) -> _Growing | None:
    """An image of the ledger with what these rows add to it; None if they add nothing."""
    grown = None
    for at, said in rows:
        if grown is None:
            if not said and at in matches.no_new_url:
                continue
            grown = _of_stored(db, matches.stored[at])
        grown.add(db, group.urls[at].split("\n"), said)
    return grown


def _of_stored(db: sqlite3.Connection, image: KnownImage) -> _Growing:
    known = variants.of_image(db, image.image_id)
    key, urls = db.execute(KEY_AND_URLS, (image.image_id,)).fetchone()
    candidates_before = urls.split("\n")
    # What was requested, or brought the file, is stored as its place in the list.
    is_free = image.is_untouched or image.has_failed
    candidates = Candidates(candidates_before, variants.edges(known), None if is_free else candidates_before[image.url_no])
    return _Growing(candidates, known, host_id_of(db, parts(candidates.best).host), image, key, urls)


def _write_to_row(group: RowGroup, first: int, one: _Growing) -> None:
    key = group.key(first)
    group.urls[first] = "\n".join(one.candidates.urls)
    group.image_keys[first] = "" if key == group.urls[first] else key
    group.host_ids[first] = one.host_id
    if one.known:
        group.evidence[first] = one.known


def _write_to_stored(db: sqlite3.Connection, one: _Growing, tally: Tally, records: RecordChanges) -> None:
    image, merged = one.image, one.candidates.urls
    assert image is not None
    variants.write(db, image.image_id, one.known)
    variants.forget(db, image.image_id, one.forgotten - one.known.keys())
    ours = one.urls.split("\n")
    if merged == ours:
        return
    failed = one.gains
    restarts = image.is_untouched or failed
    url_no, host_id = (0, one.host_id) if restarts else (_place_of(merged, ours[image.url_no]), image.host_id)
    image.url_no = url_no
    db.execute(NEW_CANDIDATES, (one.key, "\n".join(merged), url_no, host_id, image.image_id))
    if failed:
        db.execute(REQUEUE, (host_id, image.image_id))
        if image.is_final:
            records.image(image.image_id, image.gbif_id, n_success=0, n_failed=-1)
    if host_id != image.host_id:
        untried.move(db, image.image_id, image.host_id, host_id)
    if failed or host_id != image.host_id:
        tally.image(-1, image.host_id, image.status, image.error_type, final=image.is_final)
        tally.image(1, host_id, Status.PENDING, None if failed else image.error_type, final=False)
        image.host_id = host_id
    if failed:
        image.status, image.error_type, image.not_before, image.redirect_url = Status.PENDING, None, 0, None


def _place_of(urls: list[str], url: str) -> int:
    """The new place of the candidate that decided; a failed image may have lost it, and starts over with the best one."""
    return urls.index(url) if url in urls else 0


def repeated_links(
    db: sqlite3.Connection, group: RowGroup, matches: Matches, image_ids: Numbers
) -> tuple[set[int], dict[int, Effect]]:
    """The rows that repeat an existing link, and what the other rows' images change in their records.

    A repeated row fills the link's empty cells.
    """
    repeated: set[int] = set()
    effects: dict[int, Effect] = {}
    positions = matches.positions()
    gbif_ids: list[int] = group.gbif_ids[positions].tolist()
    ids: list[int] = image_ids[positions].tolist()
    has_texts = _has_texts(group, positions)
    others = [
        (gbif_id, image_id)
        for at, gbif_id, image_id in zip(positions, gbif_ids, ids, strict=True)
        if (image := matches.stored.get(at)) is not None and image.gbif_id != gbif_id
    ]
    in_ledger = _links(db, others)
    in_group = {(group.gbif_id(first), int(image_ids[first])): first for first in matches.earlier.values()}
    fills, own_fills = [], []
    behind = record_links.Behind(db, {image_id for _, image_id in others})
    for at, gbif_id, image_id, says_something in zip(positions, gbif_ids, ids, has_texts, strict=True):
        image = matches.stored.get(at)
        pair = (gbif_id, image_id)
        if image is not None and image.gbif_id == gbif_id:  # this record introduced the image
            repeated.add(at)
            if says_something and image.has_gaps and image.is_linked:
                own_fills.append((*group.provenance(at), image_id))
            elif says_something and image.has_gaps:
                fills.append((*group.provenance(at), gbif_id, image.image_no))
        elif pair in in_ledger:  # the record shows it already
            repeated.add(at)
            if says_something:
                fills.append((*group.provenance(at), gbif_id, in_ledger[pair]))
        elif pair in in_group:  # another row has the same link
            repeated.add(at)
            _fill(group, in_group[pair], at)
        else:  # the record shows an image that another one introduced
            in_group[pair] = at
            if image is not None:
                _add_effect(effects.setdefault(gbif_id, Effect()), image, behind.to_come(image.image_id, gbif_id))
    db.executemany(FILL_IMAGE, own_fills)
    db.executemany(FILL_LINK, fills)
    return repeated, effects


def _add_effect(effect: Effect, image: KnownImage, to_come: tuple[int, int]) -> None:
    """A record gains an image. Changes `to_come` (successes, failures) will be counted separately when they are applied."""
    n_success, n_failed = to_come
    effect.n_success += (image.status == Status.SUCCESS) - n_success
    effect.n_failed += failed_for_good(image.status, image.not_before) - n_failed
    effect.tried |= image.last_attempt_at is not None


def _links(db: sqlite3.Connection, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """The `image_no` of existing links between some records and images."""
    if not pairs:
        return {}
    return {(gbif_id, image_id): no for gbif_id, image_id, no in db.execute(KNOWN_LINKS, (json.dumps(sorted(set(pairs))),))}


def _has_texts(group: RowGroup, positions: Sequence[int]) -> list[bool]:
    """Whether each row has a licence, a creator, a rights holder or a page to refer to."""
    texts = np.stack((group.license_ids, group.creator_ids, group.rights_holder_ids))[:, positions]
    is_there: Flags = ~np.isnan(texts)
    has_any: list[bool] = np.logical_or.reduce(is_there).tolist()
    return [has or bool(group.references[at]) for has, at in zip(has_any, positions, strict=True)]


def note_picture_links(db: sqlite3.Connection, group: RowGroup, matches: Matches, linked: Sequence[int]) -> None:
    """Remember which links show the picture that a document's image became: those found by a further key (`expand_documents`).

    Records that now show a document are noted as well: they are to be linked with what it brought.
    """
    stored, by_own_key = matches.stored, matches.by_own_key
    by_picture = [at for at in linked if at in stored and at not in by_own_key]
    db.executemany(INSERT_PICTURE_LINK, [(group.gbif_id(at), stored[at].image_id) for at in by_picture])
    newcomers = [(group.gbif_id(at), stored[at].image_id) for at in linked if at in by_own_key]
    if stored and db.execute(ARE_THERE_PICTURE_LINKS).fetchone()[0]:
        by_itself = [(group.gbif_id(at), stored[at].image_id) for at in sorted(by_own_key)]
        newcomers += [pair for pair in by_itself if db.execute(DROP_PICTURE_LINK, pair).rowcount]
    record_links.note_newcomers(db, newcomers)


def _fill(group: RowGroup, first: int, at: int) -> None:
    for column in (group.license_ids, group.creator_ids, group.rights_holder_ids):
        if np.isnan(column[first]):
            column[first] = column[at]
    group.references[first] = group.references[first] or group.references[at]
