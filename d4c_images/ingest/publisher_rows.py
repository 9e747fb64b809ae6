"""From the rows of a publisher's table to images: joins the rows of one picture, ranks its URLs. Never sees the ledger.

Rows are joined here within one record's consecutive rows, and beyond that by the ledger (`joining.py`). A span ends only between
two records, so the result does not depend on where an earlier run was killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np

from d4c_images.identity import Images, unusable_reason
from d4c_images.identity.archive_variants import joined, picture_of, written
from d4c_images.ledger.admission.chunk import JOINED_ROWS, TOO_MANY_URLS, Numbers
from d4c_images.model import MAX_CANDIDATES, Evidence, Image, RecordName, RejectReason
from d4c_images.sources import Source
from d4c_images.sources.media import BROKEN_UTF8, MediaRows, Rejects
from d4c_images.sources.media_table import MediaReader, MediaRow
from d4c_images.sources.rows import Record

SPAN_ROWS = 2_000
MAX_SPAN_ROWS = 10_000
SPAN_BYTES = 2 << 20  # of the rows as in the file, and of what is made of their URLs
MAX_SPAN_BYTES = 16 << 20
VARIANT_BYTES = 500  # memory for what is made of one URL ...
VARIANT_COPIES = 4  # ... in addition to copies of it, and guesses of about its length

SEVERAL_URLS = "several_urls"
UNUSABLE_URL_AMONG_SEVERAL = "unusable_url_among_several"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What to read; picklable."""

    source: Source
    offset: int = 0
    rows_done: int = 0
    limit: int | None = None  # total rows of the source
    sampled: dict[str, int] = field(default_factory=dict)  # rejected rows kept so far, by reason


@dataclass(frozen=True, slots=True)
class RowSpan:
    """Consecutive rows of a source, and the image of each; a row with several images is repeated."""

    end_row: int
    end_offset: int
    rows_admitted: int
    row_nos: Numbers
    rows: MediaRows
    images: Images
    record_names: list[RecordName] = field(default_factory=list)
    evidence: list[tuple[int, Evidence]] = field(default_factory=list)
    stated: list[tuple[int, str, str]] = field(default_factory=list)  # position; the row's own key; its statement as text


def spans(assignment: Assignment, rejects: Rejects) -> Iterator[RowSpan]:
    """The spans of a publisher's table, from the assignment's start to its end or limit."""
    source, limit = assignment.source, assignment.limit
    assert source.layout is not None
    reader = MediaReader(source.layout, source.kind, source.dataset)
    left = None if limit is None else limit - assignment.rows_done
    builder = _Builder(rejects)
    last: Record | None = None
    for record in islice(source.records(assignment.offset, assignment.rows_done + 1), left):
        row = reader.row(record)
        gbif_id = None if isinstance(row, str) else row.gbif_id
        if last is not None and builder.ends_before(gbif_id):
            yield builder.take(last.row_no, record.offset)
        if isinstance(row, str):
            rejects.add_row(record.row_no, record.offset, record.raw, row, reader.gbif_id(record))
        builder.add(row, record.end - record.offset)
        last = record
    if last is not None:
        yield builder.take(last.row_no, last.end)


class _Shown(NamedTuple):
    """An image of a row."""

    row: MediaRow
    image: Image
    said: list[Evidence]
    own_key: str | None  # of the image that the row alone would be; None if it lists several


def _own_key(row: MediaRow, image: Image) -> str:
    """The key that a row would have by itself, if several show this image."""
    alone = picture_of(row.statements)
    return image.key if alone is None else alone[0].key


class _Builder:
    """Gathers the rows of one span."""

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects
        self._rows: list[MediaRow] = []
        self._n_seen = self._n_bytes = 0

    def ends_before(self, gbif_id: int | None) -> bool:
        """Whether the span ends before a row of this record: between two records, unless that is too far away.

        It depends only on the rows since the span began, so a run that resumes there cuts at the same places.
        """
        if self._n_seen < SPAN_ROWS and self._n_bytes < SPAN_BYTES:
            return False
        is_other = not self._rows or gbif_id not in (None, self._rows[-1].gbif_id)
        return is_other or self._n_seen >= MAX_SPAN_ROWS or self._n_bytes >= MAX_SPAN_BYTES

    def add(self, row: MediaRow | str, n_bytes: int) -> None:
        """Take a row of `n_bytes`; one that shows no picture is only counted."""
        self._n_seen += 1
        self._n_bytes += n_bytes
        if not isinstance(row, str):
            self._rows.append(row)
            variants = (variant for statement in row.statements for variant in statement.variants)
            self._n_bytes += sum(VARIANT_BYTES + VARIANT_COPIES * len(variant.url) for variant in variants)
            for note in row.cut:
                self._rejects.note(note)

    def take(self, end_row: int, end_offset: int) -> RowSpan:
        """Return the span up to a place and begin a new one."""
        rows: list[MediaRow] = []
        images = Images([], [], [])
        evidence: list[tuple[int, Evidence]] = []
        stated: list[tuple[int, str, str]] = []
        for _, together in groupby(self._rows, key=lambda row: row.gbif_id):
            for row, image, said, own_key in self._pictures(list(together)):
                evidence += [(len(rows), one) for one in said]
                if own_key is not None and (text := written(row.statements[0])) is not None:
                    stated.append((len(rows), own_key, text))
                rows.append(row)
                images.add(image)
        self._rows, self._n_seen, self._n_bytes = [], 0, 0
        names = dict.fromkeys(row.name for row in rows if row.name is not None)
        row_nos = [row.record.row_no for row in rows]
        broken = {row.record.row_no for row in rows if row.record.is_broken}
        self._rejects.note(BROKEN_UTF8, len(broken))
        columns = MediaRows(
            line_nos=np.array(row_nos, np.int64),
            gbif_ids=np.array([row.gbif_id for row in rows], np.int64),
            identifiers=[],
            references=[row.reference.encode(errors="surrogatepass") for row in rows],
            licenses=[row.license.encode(errors="surrogatepass") for row in rows],
            creators=[row.creator.encode(errors="surrogatepass") for row in rows],
            rights_holders=[row.rights_holder.encode(errors="surrogatepass") for row in rows],
        )
        return RowSpan(
            end_row,
            end_offset,
            len(set(row_nos)),
            np.array(row_nos, np.int64),
            columns,
            images,
            list(names),
            evidence,
            stated,
        )

    def _pictures(self, rows: list[MediaRow]) -> Iterator[_Shown]:
        """The images of one record's rows, in row order; evidence about an image comes with its first row."""
        single = [row for row in rows if len(row.statements) == 1]
        groups = joined([row.statements[0] for row in single]) if len(single) > 1 else [[at] for at in range(len(single))]
        group_of = {single[at].record.row_no: group for group in groups for at in group}
        made: dict[int, Image] = {}  # by the first row of its group
        for row in rows:
            if len(row.statements) > 1:
                yield from self._several(row)
                continue
            group = group_of[row.record.row_no]
            if group[0] in made:
                self._rejects.note(JOINED_ROWS)
                yield _Shown(row, made[group[0]], [], _own_key(row, made[group[0]]))
                continue
            found = picture_of(single[at].statements[0] for at in group)
            if found is None:
                reason = unusable_reason(row.statements[0].variants[0].url) or RejectReason.MALFORMED_URL
                self._reject(row, reason)
                continue
            image, said = self._kept(*found)
            made[group[0]] = image
            yield _Shown(row, image, said, image.key if len(group) == 1 else _own_key(row, image))

    def _kept(self, image: Image, said: list[Evidence]) -> tuple[Image, list[Evidence]]:
        """An image with no more candidates than the ledger keeps, and the evidence about those."""
        if len(image.urls) <= MAX_CANDIDATES:
            return image, said
        self._rejects.note(TOO_MANY_URLS)
        urls = image.urls[:MAX_CANDIDATES]
        return image._replace(urls=urls), [one for one in said if one.url in urls]

    def _several(self, row: MediaRow) -> Iterator[_Shown]:
        """The images of a row that lists several."""
        found = [one for statement in row.statements if (one := picture_of([statement])) is not None]
        if not found:
            self._reject(row, unusable_reason(row.statements[0].variants[0].url) or RejectReason.MALFORMED_URL)
            return
        self._rejects.note(SEVERAL_URLS)
        if len(found) < len(row.statements):
            self._rejects.note(UNUSABLE_URL_AMONG_SEVERAL)
        for image, said in found:
            yield _Shown(row, image, said, None)

    def _reject(self, row: MediaRow, reason: RejectReason) -> None:
        known = row.gbif_id if row.name is None else None
        self._rejects.add_row(row.record.row_no, row.record.offset, row.record.raw, reason, known)
