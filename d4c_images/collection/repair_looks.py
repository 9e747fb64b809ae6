"""What a repair looks at before it acts: the file of a row, bytes under another name, a sample in a shard. Changes nothing.

Memory is bounded: of stray files a limited number is remembered, of shards a few.
"""

from __future__ import annotations

import stat
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from d4c_images.collection.findings import Finding, Reason
from d4c_images.collection.repair_decisions import Bytes, FileRole
from d4c_images.ledger.queue import mending
from d4c_images.ledger.queue.mending import FormerImage, StoredImage
from d4c_images.ledger.rows.extent import Ask
from d4c_images.model import Blob
from d4c_images.stores import Place, reading, shard
from d4c_images.stores.moved_away import DAMAGED_FOLDER
from d4c_images.stores.partial import PARTS_FOLDER, FilePartial, Root, numbers_of
from d4c_images.stores.reading import sha256_at, size_at

MOST_STRAYS = 200_000
MOST_STRAYS_OF_A_SIZE = 16
MOST_SAMPLES = 200_000  # of all remembered shards; one that has more is remembered alone


class Examined(NamedTuple):
    """A file that was decoded to its end. Its blob has no path."""

    blob: Blob
    extension: str
    detail: str | None


Examine = Callable[[Path], Examined | None]
"""What a file is; None if it is no image, or a damaged one. Raises `OSError` if it cannot be read."""


@dataclass(frozen=True, slots=True)
class LostFile:
    """A finding about a row, with what the ledger says of it now."""

    finding: Finding
    role: FileRole
    image: StoredImage | None = None
    former: FormerImage | None = None

    @property
    def place(self) -> Place | None:
        one = self.former or self.image
        return None if one is None or one.path is None else Place(one.path, one.offset)

    @property
    def size_bytes(self) -> int | None:
        one = self.former or self.image
        return None if one is None else one.size_bytes

    @property
    def sha256(self) -> bytes | None:
        one = self.former or self.image
        return None if one is None else one.sha256


def lost_files(ask: Ask, findings: Iterable[Finding]) -> list[LostFile]:
    findings = list(findings)
    image_ids = sorted({finding.image_id for finding in findings if finding.image_id is not None})
    images = mending.stored_rows(ask, image_ids)
    former = {(one.image_id, one.path, one.offset): one for one in mending.former_files(ask, image_ids)}
    return [_lost_file(finding, images.get(finding.image_id or 0), former) for finding in findings]


def _lost_file(finding: Finding, image: StoredImage | None, former: dict[tuple[int, str, int | None], FormerImage]) -> LostFile:
    earlier = former.get((finding.image_id or 0, finding.subject, finding.offset))
    if finding.reason is Reason.NO_FILE_NAME:
        is_meant = image is not None and None in (image.path, image.size_bytes, image.sha256)
    else:
        is_meant = image is not None and (image.path, image.offset) == (finding.subject, finding.offset)
    if is_meant and image is not None:
        return LostFile(finding, FileRole.IMAGE if image.shows is None else FileRole.SHOWN, image)
    return LostFile(finding, FileRole.CHANGED) if earlier is None else LostFile(finding, FileRole.FORMER, former=earlier)


def look(root: Path, lost: LostFile, examine: Examine) -> Bytes:
    """What is there now, read to the end."""
    place = lost.place
    if place is None or lost.size_bytes is None or lost.sha256 is None:
        return Bytes.GONE
    try:
        size_bytes = size_at(root, place)
        if size_bytes is None:
            return Bytes.WRONG if place.offset is None else Bytes.GONE  # something else that has the name of a file
        if size_bytes != lost.size_bytes or sha256_at(root, place, size_bytes) != lost.sha256:
            return Bytes.WRONG
        if lost.finding.reason is Reason.UNDECODABLE and decoded(root, place, size_bytes, examine) is None:
            return Bytes.WRONG
    except (FileNotFoundError, NotADirectoryError):
        return Bytes.GONE
    except OSError:
        return Bytes.UNREADABLE
    return Bytes.SOUND


def decoded(root: Path, place: Place, size_bytes: int, examine: Examine) -> Examined | None:
    """What the bytes are, in a file or in a shard."""
    if place.offset is None:
        return examine(root / place.path)
    with _copied_out(root, place, size_bytes) as path:
        return examine(path)


@contextmanager
def _copied_out(root: Path, place: Place, size_bytes: int) -> Iterator[Path]:
    """A sample as a file, for a decoder. A killed repair leaves it as the temporary file of a dead worker."""
    sample = reading.sample_at(root, place.path, place.offset or 0)
    part = FilePartial(Root(root), PARTS_FOLDER, "0-00" if sample is None else sample.stem, 0)
    try:
        for piece in reading.pieces(root, place, size_bytes):
            part.write(piece)
        part.flush()
        yield part.path
    finally:
        part.abort()


@dataclass(slots=True)
class Strays:
    """Files that may hold the bytes of others: those without a row, and those with wrong bytes."""

    root: Path
    _by_size: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    _size_of: dict[str, int] = field(default_factory=dict)
    _image_of: dict[str, int] = field(default_factory=dict)
    _sha256_of: dict[str, bytes] = field(default_factory=dict)

    def learn(self, findings: Iterable[Finding]) -> None:
        """Take in stray files, as long as they are few enough to be remembered: of more, none is."""
        for finding in findings:
            self._add(finding.subject, finding.image_id)
            if finding.image_id is not None:  # moved away by a repair that was killed
                self._add(f"{DAMAGED_FOLDER}/{finding.subject}", None)
            if len(self._size_of) > MOST_STRAYS:
                for remembered in (self._by_size, self._size_of, self._image_of):
                    remembered.clear()
                return

    def find(self, ask: Ask, size_bytes: int | None, sha256: bytes | None) -> str | None:
        """A stray file with these bytes, which no row needs."""
        for path in list(self._by_size.get(size_bytes or 0, ()))[:MOST_STRAYS_OF_A_SIZE]:
            if self._digest(path, size_bytes or 0) == sha256 and not self._is_needed(ask, path, sha256):
                return path
        return None

    def moved(self, path: str, to: str | None) -> None:
        """It has another name now; None: it is no stray any more."""
        size_bytes, digest = self._size_of.pop(path, None), self._sha256_of.pop(path, None)
        self._image_of.pop(path, None)
        if size_bytes is None:
            return
        self._by_size[size_bytes].remove(path)
        if to is not None:
            self._by_size[size_bytes].append(to)
            self._size_of[to] = size_bytes
            if digest is not None:
                self._sha256_of[to] = digest

    def _add(self, path: str, image_id: int | None) -> None:
        try:
            found = (self.root / path).lstat()
        except (OSError, ValueError):
            return
        if stat.S_ISREG(found.st_mode) and path not in self._size_of:
            self._by_size[found.st_size].append(path)
            self._size_of[path] = found.st_size
            if image_id is not None:
                self._image_of[path] = image_id

    def _digest(self, path: str, size_bytes: int) -> bytes | None:
        if path not in self._sha256_of:
            try:
                self._sha256_of[path] = sha256_at(self.root, Place(path), size_bytes)
            except OSError:
                return None
        return self._sha256_of[path]

    def _is_needed(self, ask: Ask, path: str, sha256: bytes | None) -> bool:
        """Whether it is the sound file of a row, after all."""
        image_id = self._image_of.get(path)
        if image_id is None:
            return False
        row = mending.stored_rows(ask, [image_id]).get(image_id)
        return row is not None and (row.path, row.sha256) == (path, sha256)


class ShardContents:
    """What is in shards, by their own headers: one pass over each, and some are remembered."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._n_samples: dict[str, int] = {}  # of the remembered shards
        self._shards: OrderedDict[str, dict[tuple[int, int], list[tuple[int, int]]]] = OrderedDict()

    def find(self, lost: LostFile) -> int | None:
        """The offset of a lost image's bytes in its shard."""
        image = lost.image
        if image is None or image.path is None or image.offset is None or image.size_bytes is None:
            return None
        try:
            for offset, size_bytes in self._samples(image.path).get((image.gbif_id, image.image_no), ()):
                is_other = size_bytes == image.size_bytes and offset != image.offset
                if is_other and sha256_at(self._root, Place(image.path, offset), size_bytes) == image.sha256:
                    return offset
        except OSError:
            pass  # then it is requested again
        return None

    def _samples(self, path: str) -> dict[tuple[int, int], list[tuple[int, int]]]:
        if path not in self._shards:
            found: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
            with (self._root / path).open("rb", buffering=0) as file:
                for sample in shard.samples(file.fileno(), 0, file.seek(0, 2)):
                    found[numbers_of(sample.stem)[:2]].append((sample.offset, sample.size_bytes))
            self._shards[path], self._n_samples[path] = dict(found), sum(map(len, found.values()))
            while len(self._shards) > 1 and sum(self._n_samples.values()) > MOST_SAMPLES:
                del self._n_samples[self._shards.popitem(last=False)[0]]
        return self._shards[path]
