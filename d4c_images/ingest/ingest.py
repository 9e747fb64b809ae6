"""From a source to the ledger: chunks from a reader process, committed in groups. Decides nothing about images.

Two processes share the work: a child reads, identifies and hashes (`chunks`), this one writes (`ledger.admission`). The child is
never more than a few MiB ahead. The same call again resumes after the last committed group.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from d4c_images import crash
from d4c_images.errors import SourceDamaged
from d4c_images.ingest.chunks import chunks
from d4c_images.ingest.publisher_rows import Assignment
from d4c_images.ingest.reader_process import ReaderProcess
from d4c_images.ledger.admission import archives, labels
from d4c_images.ledger.admission.admit import Admission
from d4c_images.ledger.admission.chunk import Chunk
from d4c_images.ledger.file import background_checkpoint
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import deferred
from d4c_images.ledger.rows import extent
from d4c_images.sources import Source
from d4c_images.sources.occurrence import LabelReader

ROWS_PER_TRANSACTION = 20_000
BYTES_PER_TRANSACTION = 16 << 20  # of texts in memory: ordinary rows take a third of that
LABELS_VERSION = 2  # raise it when labels take more cells: then tables that were read before are read again


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """How much of a stream is in the ledger; all of it committed."""

    rows: int
    bytes_done: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What became of a source's rows, over all runs."""

    source: str
    kind: str  # of `Source`
    rows: int
    admitted: int  # rows that show an image
    images: int  # new ones
    links: int  # new ones
    rejects: Mapping[str, int]  # rows by reason, the most frequent first
    notes: Mapping[str, int]  # rows among the admitted
    finished: bool  # False: there is more beyond the limit
    rows_before: int  # of `rows`, those that earlier runs had done already

    @property
    def was_done(self) -> bool:
        """Whether nothing was left for this run."""
        return self.rows == self.rows_before


def ingest(
    ledger: Ledger,
    source: Source,
    limit: int | None,
    progress: Callable[[StreamProgress], None],
    clock: Callable[[], float],
    *,
    reader: ReaderProcess | None = None,
    in_process: bool = False,
) -> IngestSummary:
    """Ingest a source, from where an earlier call stopped to its end, or to its first `limit` rows.

    `progress` is called after each committed group, `clock` returns unix time. `reader` is an unused one that was started early;
    with `in_process` no other process is started.
    Raises `SourceError` if the stream ends too early, with everything committed up to there, `SourceDamaged` if it is damaged,
    which makes the ledger useless, and what `Ledger.transaction` raises.
    """
    with ledger.transaction() as db:
        archive = archives.find_or_begin(db, source.kind, source.name, source.fingerprint, source.size_bytes, limit)
    if not archive.finished and (limit is None or archive.rows_done < limit):
        admission = Admission(ledger, archive.archive_id)
        assignment = Assignment(
            source, archive.offset_bytes, archive.rows_done, limit, archives.sampled(ledger.connection, archive.archive_id)
        )
        seen = admission.seen(source.size_bytes - archive.offset_bytes)
        reading = chunks(assignment, seen) if in_process else (reader or ReaderProcess()).chunks(assignment, seen)
        reached_end, reached = True, StreamProgress(archive.rows_done, archive.offset_bytes, source.size_bytes)
        with background_checkpoint.in_background(ledger):
            with _spoiling(ledger, archive, clock), closing(reading), _no_collections():
                for group in _groups(reading):
                    admission.admit(group, clock())
                    last = group[-1]
                    reached = StreamProgress(last.end_row, last.end_offset, source.size_bytes)
                    progress(reached)
                    reached_end = limit is None or last.end_row < limit or last.end_offset >= source.size_bytes
            admission.flush()
        deferred.drain(ledger, lambda: progress(reached))
        crash.point("ingest.before_finish")
        if reached_end:
            with ledger.transaction() as db:
                archives.finish(db, archive.archive_id, clock())
    return _summary(ledger, source, archive)


def ingest_labels(
    ledger: Ledger,
    source: Source,
    progress: Callable[[StreamProgress], None],
    clock: Callable[[], float],
    *,
    checklist_key: str | None = None,
) -> archives.ArchiveCounts:
    """Label the ledger's records from an occurrence table, from where an earlier call stopped; `admitted` rows have labels.

    `checklist_key` names the checklist of the taxon keys for rows that do not; by default the one passed to an earlier call.
    A table that was read to its end is read again only if records were added since, if the checklist differs, or if an earlier
    version took fewer cells from it. Raises as `ingest` does.
    earlier version took fewer cells from it. Raises as `ingest` does.
    """
    n_records = extent.n_records(ledger.connection.execute)
    if checklist_key is None:
        checklist_key = _checklist_of_before(ledger, source)
    # The number of records is part of the fingerprint: useless rows may become useful to records added later.
    fingerprint = f"{source.fingerprint}:{n_records}:{LABELS_VERSION}:{checklist_key or ''}"
    with ledger.transaction() as db:
        archive = archives.find_or_begin(db, source.kind, source.name, fingerprint, source.size_bytes, None)
    if not archive.finished:
        _gather_labels(ledger, LabelReader(source, checklist_key), source.size_bytes, archive, progress)
        with ledger.transaction() as db:
            archives.finish(db, archive.archive_id, clock())
    return archives.counts(ledger.connection, archive.archive_id)


def _checklist_of_before(ledger: Ledger, source: Source) -> str | None:
    """The checklist given for this table before: leaving it out later does not revoke it."""
    start = f"{source.fingerprint}:"
    former = archives.former_fingerprint(ledger.connection, source.kind, start)
    return None if former is None else ":".join(former.removeprefix(start).split(":")[2:]) or None


def _gather_labels(
    ledger: Ledger, reader: LabelReader, size_bytes: int, archive: archives.Archive, progress: Callable[[StreamProgress], None]
) -> None:
    held = labels.HeldLabels()
    done = StreamProgress(archive.rows_done, archive.offset_bytes, size_bytes)
    end_row, end = archive.rows_done, archive.offset_bytes
    for end_row, end, rows in reader.rows(archive.offset_bytes, archive.rows_done):
        known = labels.known_records(ledger.connection, [gbif_id for gbif_id, _ in rows])
        held.add((gbif_id, reader.labels(row)) for gbif_id, row in rows if gbif_id in known)
        if held.size_bytes >= labels.HELD_LABEL_BYTES:
            _write_labels(ledger, held, partial(progress, done))
            done = StreamProgress(end_row, end, size_bytes)
            _label_checkpoint(ledger, archive, held.take_count(), reader.take_notes(), done)
        progress(done)  # as a heartbeat, too
    _write_labels(ledger, held, partial(progress, done))
    done = StreamProgress(end_row, end, size_bytes)
    _label_checkpoint(ledger, archive, held.take_count(), reader.take_notes(), done)
    progress(done)


def _write_labels(ledger: Ledger, held: labels.HeldLabels, alive: Callable[[], None]) -> None:
    for some in held.take():
        with ledger.transaction() as db:
            labels.write_labels(db, some)
            crash.point("labels.before_commit")
        alive()


def _label_checkpoint(
    ledger: Ledger, archive: archives.Archive, n_rows: int, notes: Mapping[str, int], upto: StreamProgress
) -> None:
    """Note that the table is in the ledger up to here. Call it after the last of the held labels."""
    with ledger.transaction() as db:
        archives.checkpoint(db, archive.archive_id, upto.rows, upto.bytes_done, admitted=n_rows, images=0, links=0)
        archives.add_rejects(db, archive.archive_id, {}, notes, ())


def _summary(ledger: Ledger, source: Source, archive: archives.Archive) -> IngestSummary:
    counts = archives.counts(ledger.connection, archive.archive_id)
    return IngestSummary(
        source=source.name,
        kind=source.kind,
        rows=counts.rows,
        admitted=counts.admitted,
        images=counts.images,
        links=counts.links,
        rejects=counts.rejects,
        notes=counts.notes,
        finished=counts.finished,
        rows_before=archive.rows_done,
    )


def _groups(reading: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    """Chunks, grouped by transaction."""
    group: list[Chunk] = []
    n_rows = n_bytes = 0
    for chunk in reading:
        n_rows += len(chunk.row_nos) + sum(chunk.reject_counts.values())
        n_bytes += chunk.size_bytes
        group.append(chunk)
        del chunk  # do not hold it while the group is written
        if n_rows >= ROWS_PER_TRANSACTION or n_bytes >= BYTES_PER_TRANSACTION:
            yield group
            group, n_rows, n_bytes = [], 0, 0
    if group:
        yield group


@contextmanager
def _spoiling(ledger: Ledger, archive: archives.Archive, clock: Callable[[], float]) -> Iterator[None]:
    """If the stream turns out to be damaged, note in the ledger that what it has of it cannot be trusted."""
    try:
        yield
    except SourceDamaged:
        with ledger.transaction() as db:
            archives.spoil(db, archive.archive_id, clock())
        raise


@contextmanager
def _no_collections() -> Iterator[None]:
    """Turn the cyclic garbage collector off: millions of new strings form no cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
