"""Files and samples that no row refers to: what each is to the ledger, and whether it may become an image. Moves nothing.

`found_files` asks the ledger only; `Adopter` reads the bytes.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from d4c_images.collection.check_files import FINAL_NAME
from d4c_images.collection.findings import Finding
from d4c_images.collection.repair_decisions import Bytes, FileRole
from d4c_images.collection.repair_looks import Examine, Examined, decoded
from d4c_images.identity import names_document
from d4c_images.ledger.queue import mending
from d4c_images.ledger.queue.mending import Adoption, NamedRow
from d4c_images.ledger.queue.placeholders import Judgement, StoredBytes
from d4c_images.ledger.rows.extent import Ask
from d4c_images.model import Blob, ErrorType, Status
from d4c_images.stores import Place, shard
from d4c_images.stores.local import folder_of
from d4c_images.stores.pack import PACKS_FOLDER, SHARD_NAME, shard_names
from d4c_images.stores.partial import ImageNumbers, numbers_of, stem_of
from d4c_images.stores.reading import sha256_at
from d4c_images.stores.shard import Sample
from d4c_images.system import clocks

SAMPLES_LOOKED_AT = 1_000
NEVER_ADOPTED = frozenset((ErrorType.PLACEHOLDER, ErrorType.SAME_IMAGE, ErrorType.ROBOTS_TAG, ErrorType.TOO_LARGE))


class FoundFile(NamedTuple):
    """An untracked file."""

    finding: Finding
    role: FileRole
    numbers: ImageNumbers | None = None
    row: NamedRow | None = None


class FoundSample(NamedTuple):
    """A sample of a shard for an image that nobody has stored, as far as its row knows."""

    place: Place
    sample: Sample
    row: NamedRow


def found_files(ask: Ask, findings: Iterable[Finding]) -> list[FoundFile]:
    findings = list(findings)
    named = [numbers_in(finding.subject) for finding in findings]
    wanted = [(numbers.gbif_id, numbers.image_no) for numbers in named if numbers is not None]
    rows = iter(mending.rows_by_name(ask, wanted))
    files = []
    for finding, numbers in zip(findings, named, strict=True):
        row = None if numbers is None else next(rows)
        files.append(FoundFile(finding, _role(finding.subject, numbers, row), numbers, row))
    former = {one.path for one in mending.former_files(ask, [file.row.image_id for file in files if file.row])}
    return [file._replace(role=FileRole.FORMER) if file.finding.subject in former else file for file in files]


def numbers_in(path: str) -> ImageNumbers | None:
    """What a path of the layout says; None for any other."""
    folder, _, name = path.rpartition("/")
    match = FINAL_NAME.fullmatch(name)
    if match is None:
        return None
    numbers = numbers_of(match[1])
    return numbers if folder == folder_of(numbers.gbif_id) else None


def _role(path: str, numbers: ImageNumbers | None, row: NamedRow | None) -> FileRole:
    if path.startswith(f"{PACKS_FOLDER}/") and SHARD_NAME.fullmatch(PurePosixPath(path).name):
        return FileRole.FOREIGN
    if numbers is None or row is None:
        return FileRole.NOBODY
    if row.is_lent or row.to_set_aside == path:
        return FileRole.CHANGED
    if row.status == Status.SUCCESS:
        return FileRole.IMAGE if (row.path, row.offset) == (path, None) else FileRole.STORED
    return role_of_unstored(row)


def role_of_unstored(row: NamedRow) -> FileRole:
    """A manifest's row may not take the bytes of one picture: the others would never be asked for."""
    is_document = names_document(row.url) and not row.url.endswith("/info.json")
    return FileRole.CLOSED if is_document or row.error_type in NEVER_ADOPTED else FileRole.OPEN


def found_samples(ask: Ask, root: Path, token: str) -> Iterator[tuple[str, int, list[FoundSample]]]:
    """The shards of a ledger in steps: name, offset reached, and the samples that an image could take."""
    for name in shard_names(root, token):
        path = f"{PACKS_FOLDER}/{name}"
        with (root / path).open("rb", buffering=0) as file:
            samples = shard.samples(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            while some := list(islice(samples, SAMPLES_LOOKED_AT)):
                yield name, some[-1].end, _found_samples(ask, path, some)


def _found_samples(ask: Ask, path: str, samples: Sequence[Sample]) -> list[FoundSample]:
    named = [(sample, numbers_of(sample.stem)) for sample in samples]
    firsts = [(sample, numbers) for sample, numbers in named if not numbers.revision]
    rows = mending.rows_by_name(ask, [(numbers.gbif_id, numbers.image_no) for _, numbers in firsts])
    return [
        FoundSample(Place(path, sample.offset), sample, row)
        for (sample, _), row in zip(firsts, rows, strict=True)
        if row is not None and row.status != Status.SUCCESS and not row.is_lent and role_of_unstored(row) is FileRole.OPEN
    ]


@dataclass(frozen=True, slots=True)
class Adopter:
    """Reads what may become an image. Thread-safe except for `is_placeholder`."""

    root: Path
    examine: Examine
    judgement: Judgement

    def look(self, file: FoundFile) -> tuple[Bytes, Examined | None]:
        path = self.root / file.finding.subject
        try:
            path.lstat()
            if file.role is not FileRole.OPEN:
                return Bytes.SOUND, None
            if not path.is_file():
                return Bytes.WRONG, None
            seen = self.examine(path)
        except (FileNotFoundError, NotADirectoryError):
            return Bytes.GONE, None
        except OSError:
            return Bytes.UNREADABLE, None
        return (Bytes.WRONG if seen is None else Bytes.SOUND), seen

    def look_into(self, found: FoundSample) -> Adoption | None:
        """A sample that its shard knows by its SHA-256, and that decodes."""
        place, size_bytes = found.place, found.sample.size_bytes
        try:
            with (self.root / place.path).open("rb", buffering=0) as file:
                told = shard.told_with(file.fileno(), found.sample)
            if told.get("sha256") != sha256_at(self.root, place, size_bytes).hex():
                return None
            seen = decoded(self.root, place, size_bytes, self.examine)
        except OSError:
            return None
        if seen is None:
            return None
        blob = replace(seen.blob, path=place.path, offset=place.offset)
        return Adoption(found.row, blob, seen.detail, int(clocks.now.to_wall(clocks.now())))

    def is_placeholder(self, db: sqlite3.Connection, row: NamedRow, blob: Blob) -> bool:
        """Whether the image's host is known to send these bytes for many images."""
        sha256 = blob.original_sha256 or blob.sha256
        return self.judgement.is_known(db, StoredBytes(row.image_id, row.gbif_id, row.host_id, sha256, blob.size_bytes))


def proper_path(numbers: ImageNumbers, extension: str) -> str:
    """The name of an image that has no earlier revision: its row knows none, whatever it was called in a later ledger."""
    return f"{folder_of(numbers.gbif_id)}/{stem_of(numbers.gbif_id, numbers.image_no)}.{extension}"
