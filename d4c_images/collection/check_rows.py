"""Checks every success row against its file: does it exist, with this size and these bytes? Does not see files without a row.

A row is read before its file is looked at; an apparent mismatch is read and looked at again before it becomes a finding, since a
run may have changed both in between. If a copy of the ledger is read, what was changed on disk since then is no finding either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from d4c_images.collection.check_parts import ImageSample, Part
from d4c_images.collection.findings import CheckProgress, Finding, Findings, Reason
from d4c_images.collection.image_looks import ImageToSee, Seen, Trouble
from d4c_images.collection.look_pool import LookPool
from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.questions import audit
from d4c_images.ledger.questions.audit import FileRow
from d4c_images.ledger.rows import extent
from d4c_images.model import ErrorType

LOOKED_AT_ROWS = 200  # looked at by one process at a time: 20 to 40 KB in its pipe
LOOKED_AT_BYTES = 64_000_000  # likewise: a signal is obeyed after each group
ALONE_UPTO_IDS = 2_000  # further processes need longer to start than these images take
NOT_DECODED = (ErrorType.RAW_UNPROCESSED, ErrorType.PARTLY_READ)  # their flags say so
CLOCKS_S = 10.0  # tolerated difference between the clocks of two machines


@dataclass(frozen=True, slots=True)
class LookTerms:
    """What is done with each image, and by how many processes."""

    sha256: bool = False  # read every file
    decode: bool = False
    sample: ImageSample | None = None  # only these are read and decoded
    n_processes: int = 1


@dataclass(frozen=True, slots=True)
class _RowGroup:
    """Rows that are looked at together."""

    rows: list[FileRow]
    images: list[ImageToSee]  # of the same rows
    nameless: list[FileRow]  # rows without a file name
    upto: int | None  # the image up to which all is done after this group
    reached: int  # likewise, for progress


@dataclass(frozen=True, slots=True)
class RowsAgainstFiles:
    ledger: Reader
    root: Path
    terms: LookTerms
    part: Part
    findings: Findings
    progress: Callable[[CheckProgress], None]  # within a step

    def steps(self, image_id: int) -> Iterator[tuple[CheckProgress, int]]:
        """Check the images of the part with higher numbers. Yields after each step, with the number reached."""
        top = extent.top_image(self.ledger.rows)
        n_processes = self.terms.n_processes if self.part.n_upto(top) > ALONE_UPTO_IDS else 1
        with LookPool(str(self.root), n_processes) as pool:
            for group, seen in pool.in_order(self._groups(image_id, top)):
                self._note(group, seen, pool)
                reached, total = self.part.n_upto(min(top, group.reached)), self.part.n_upto(top)
                progress = CheckProgress("images", reached, total, n_bytes=self.findings.read_bytes)
                if group.upto is None:
                    self.progress(progress)
                else:
                    yield progress, group.upto

    def _groups(self, image_id: int, top: int) -> Iterator[_RowGroup]:
        for low, upto in self.part.blocks(image_id, top, audit.AUDIT_STEP_ROWS):
            rows = audit.stored_images(self.ledger, low, upto) + audit.former_images(self.ledger, low, upto)
            at = 0
            while at == 0 or at < len(rows):
                some = self._some(rows, at)
                at += max(len(some), 1)
                is_last = at >= len(rows)
                yield self._group(some, upto if is_last else None, upto if is_last else some[-1].image_id)

    def _some(self, rows: list[FileRow], at: int) -> list[FileRow]:
        """The next rows to be looked at together: fewer if many bytes are to be read."""
        some: list[FileRow] = []
        n_bytes = 0
        while at + len(some) < len(rows) and len(some) < LOOKED_AT_ROWS and n_bytes < LOOKED_AT_BYTES:
            row = rows[at + len(some)]
            some.append(row)
            n_bytes += (row.size_bytes or 0) if self._is_read(row) else 0
        return some

    def _group(self, rows: list[FileRow], upto: int | None, reached: int) -> _RowGroup:
        named, nameless = list[FileRow](), list[FileRow]()
        for row in rows:
            has_name = row.path is not None and row.size_bytes is not None and row.sha256 is not None
            (named if has_name else nameless).append(row)
        return _RowGroup(named, [self._to_see(row) for row in named], nameless, upto, reached)

    def _is_read(self, row: FileRow) -> bool:
        terms = self.terms
        return (terms.sha256 or terms.decode) and (terms.sample is None or terms.sample.has(row.image_id))

    def _to_see(self, row: FileRow) -> ImageToSee:
        is_read = self._is_read(row)
        decodes = self.terms.decode and is_read and row.error_type not in NOT_DECODED
        assert row.path is not None
        assert row.size_bytes is not None
        return ImageToSee(row.path, row.offset, row.size_bytes, row.sha256 if self.terms.sha256 and is_read else None, decodes)

    def _note(self, group: _RowGroup, seen: Seen, pool: LookPool) -> None:
        """Counts only now, so that a checkpoint has nothing of the groups after it."""
        self._count(seen)
        for row in group.rows + group.nameless:
            if row.is_former:
                self.findings.n_former += 1
            else:
                self.findings.n_images += 1
        for row in group.nameless:
            self._add_nameless(row)
        for trouble in seen.troubles:
            row, found = group.rows[trouble.number], trouble
            if not row.is_former:
                again = self._again(row, pool)
                if again is None:
                    continue
                row, found = again
            self._add(row, found)

    def _add_nameless(self, row: FileRow) -> None:
        now = row if row.is_former else audit.stored_image(self.ledger, row.image_id)
        if now is not None and None in (now.path, now.size_bytes, now.sha256):
            detail = f"image {row.image_id}: stored, but its row does not say where"
            self.findings.of_ledger(Reason.NO_FILE_NAME, detail, row.image_id)

    def _again(self, row: FileRow, pool: LookPool) -> tuple[FileRow, Trouble] | None:
        """The row and its file as they are now; None if they agree."""
        now = audit.stored_image(self.ledger, row.image_id)
        if now is None or now.path is None or now.size_bytes is None or now.sha256 is None:
            return None
        seen = pool.again(self._to_see(now))
        self._count(seen)
        return (now, seen.troubles[0]) if seen.troubles else None

    def _count(self, seen: Seen) -> None:
        self.findings.n_read += seen.n_read
        self.findings.n_decoded += seen.n_decoded
        self.findings.read_bytes += seen.read_bytes

    def _add(self, row: FileRow, trouble: Trouble) -> None:
        assert row.path is not None
        if is_newer_than_copy(self.ledger, self.root / row.path, (self.root / row.path).parent):
            self.findings.n_in_work += 1
            return
        where = "" if row.offset is None else f" at {row.offset}"
        detail = f"image {row.image_id}{where}: {trouble.detail}"
        self.findings.add(Finding(trouble.reason, row.path, detail, row.image_id, row.offset))


def is_newer_than_copy(ledger: Reader, *paths: Path) -> bool:
    """If a copy of the ledger is read: whether a running download has changed one of these since. A removal changes the folder."""
    if ledger.copied_at is not None:
        for path in paths:
            with suppress(OSError):
                if path.lstat().st_mtime > ledger.copied_at - CLOCKS_S:
                    return True
    return False
