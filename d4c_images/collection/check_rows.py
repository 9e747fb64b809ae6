"""Checks every success row against its file: does it exist, with this size and these bytes? Does not see files without a row.

A row is read before its file is looked at; an apparent mismatch is read and looked at again before it becomes a finding, since a
run may have changed both in between.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from d4c_images.collection.findings import CheckProgress, Finding, Findings, Reason
from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.questions import audit
from d4c_images.ledger.questions.audit import FileRow
from d4c_images.ledger.rows import extent
from d4c_images.stores import Place, reading


@dataclass(frozen=True, slots=True)
class RowsAgainstFiles:
    ledger: Reader
    root: Path
    sha256: bool  # read every file
    findings: Findings

    def steps(self, image_id: int) -> Iterator[tuple[CheckProgress, int]]:
        """Check the images with higher numbers. Yields after each step, with the number reached."""
        top = extent.top_image(self.ledger.rows)
        for low in range(image_id, top, audit.AUDIT_STEP_ROWS):
            upto = low + audit.AUDIT_STEP_ROWS
            self._check_some_rows(low, upto)
            yield CheckProgress("images", min(top, upto), top), upto

    def _check_some_rows(self, low: int, upto: int) -> None:
        for image in audit.stored_images(self.ledger, low, upto):
            self.findings.n_images += 1
            if self._trouble(image) is None:
                continue
            now = audit.stored_image(self.ledger, image.image_id)
            trouble = None if now is None else self._trouble(now)
            if trouble is not None:
                self.findings.add(trouble)
        for image in audit.former_images(self.ledger, low, upto):
            self.findings.n_former += 1
            trouble = self._trouble(image)
            if trouble is not None:
                self.findings.add(trouble)

    def _trouble(self, image: FileRow) -> Finding | None:
        if image.path is None or image.size_bytes is None or image.sha256 is None:
            detail = f"image {image.image_id}: stored, but its row does not say where"
            return Finding(Reason.NO_FILE_NAME, "", detail, image.image_id)
        place = Place(image.path, image.offset)

        def finding(reason: Reason, detail: str) -> Finding:
            where = "" if place.offset is None else f" at {place.offset}"
            return Finding(reason, place.path, f"image {image.image_id}{where}: {detail}", image.image_id, place.offset)

        try:
            size_bytes = self._size(place)
            if size_bytes is None:
                return finding(Reason.FILE_MISSING, "is not a file" if image.offset is None else "is not an image")
            if size_bytes != image.size_bytes:
                return finding(Reason.SIZE_MISMATCH, f"{size_bytes} bytes, but {image.size_bytes} in the ledger")
            if self.sha256 and _sha256(reading.pieces(self.root, place, size_bytes)) != image.sha256:
                return finding(Reason.HASH_MISMATCH, f"SHA-256 is not {image.sha256.hex()}")
        except (FileNotFoundError, NotADirectoryError):
            return finding(Reason.FILE_MISSING, "there is no such file")
        except OSError as error:
            return finding(Reason.UNREADABLE, error.strerror or str(error))
        return None

    def _size(self, place: Place) -> int | None:
        """Size of an image on disk; None if something else is there. Raises `OSError`."""
        if place.offset is not None:
            sample = reading.sample_at(self.root, place.path, place.offset)
            return None if sample is None else sample.size_bytes
        found = (self.root / place.path).stat()
        return found.st_size if stat.S_ISREG(found.st_mode) else None


def _sha256(pieces: Iterator[bytes]) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
