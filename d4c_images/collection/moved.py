"""What moving stored bytes has done so far, how many move at once, and whether they are what their row says. Moves nothing."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from d4c_images.collection.findings import LEFT_SHOWN, Finding, Reason
from d4c_images.errors import StoreError
from d4c_images.ledger.queue.relocating import NamedBytes
from d4c_images.stores import Place, reading

MOVED_AT_ONCE = 200
MOVED_AT_ONCE_BYTES = 64 << 20
MOVING_THREADS = 4  # reading waits for the disk, and hashing leaves the interpreter to others
OF_THIS_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)

T = TypeVar("T")


@dataclass(slots=True)
class Moved:
    """The numbers of one pass over a collection."""

    n_images: int = 0  # moved, former images included
    moved_bytes: int = 0
    n_there: int = 0  # were there from an earlier run
    there_bytes: int = 0
    n_left: int = 0  # not what their row says, or not readable: left where they are
    left_bytes: int = 0
    left: list[Finding] = field(default_factory=list)  # why, of the first of them
    n_shards_removed: int = 0
    shards_kept: list[str] = field(default_factory=list)  # with images that no row names and that are nowhere else

    @property
    def seen_bytes(self) -> int:
        return self.moved_bytes + self.there_bytes + self.left_bytes

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def count(self, stored: NamedBytes) -> None:
        self.n_images += 1
        self.moved_bytes += stored.size_bytes or 0

    def found(self, stored: NamedBytes) -> None:
        self.n_there += 1
        self.there_bytes += stored.size_bytes or 0

    def leave(self, stored: NamedBytes, why: Finding) -> None:
        self.n_left += 1
        self.left_bytes += stored.size_bytes or 0
        if self.n_left <= LEFT_SHOWN:
            self.left.append(why)


MoveWatch = Callable[[Moved], None]
"""Called after each step, and more often in a long one. What it raises ends the pass; everything so far holds."""


def groups(rows: Iterable[NamedBytes]) -> Iterator[list[NamedBytes]]:
    """As many as are made durable together: bounded in number and bytes, and no image twice."""
    group: list[NamedBytes] = []
    n_bytes, images = 0, set[int]()
    for one in rows:
        size_bytes = one.size_bytes or 0
        is_full = len(group) == MOVED_AT_ONCE or n_bytes + size_bytes > MOVED_AT_ONCE_BYTES
        if group and (is_full or one.image_id in images):
            yield group
            group, n_bytes, images = [], 0, set()
        group.append(one)
        images.add(one.image_id)
        n_bytes += size_bytes
    if group:
        yield group


def problem_of(root: Path, stored: NamedBytes) -> Finding | None:
    """Why the bytes are not what their row says; None if they are. Reads all of them."""
    if stored.size_bytes is None or stored.sha256 is None:
        return finding(stored, Reason.NO_FILE_NAME, "no size or SHA-256 in the ledger")
    place = Place(stored.path, stored.offset)
    try:
        size_bytes = reading.size_at(root, place)
        if size_bytes != stored.size_bytes:
            return wrong_size(stored, size_bytes)
        if reading.sha256_at(root, place, size_bytes) != stored.sha256:
            return wrong_hash(stored)
    except OSError as error:
        return unreadable(root, stored, error)
    return None


def finding(stored: NamedBytes, reason: Reason, detail: str) -> Finding:
    return Finding(reason, stored.path, detail, stored.image_id, stored.offset)


def wrong_size(stored: NamedBytes, size_bytes: int | None) -> Finding:
    """`size_bytes`: what is there; None if no image is."""
    if size_bytes is None:
        return finding(stored, Reason.FILE_MISSING, "no image there")
    return finding(stored, Reason.SIZE_MISMATCH, f"{size_bytes} bytes, but {stored.size_bytes} in the ledger")


def wrong_hash(stored: NamedBytes) -> Finding:
    return finding(stored, Reason.HASH_MISMATCH, f"SHA-256 is not {(stored.sha256 or b'').hex()}")


def unreadable(root: Path, stored: NamedBytes, error: OSError) -> Finding:
    """Raises `StoreError` for an error that says nothing about these bytes: the next ones would be blamed as well."""
    check_process(root / stored.path, error)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return finding(stored, Reason.FILE_MISSING, "no such file")
    return finding(stored, Reason.UNREADABLE, error.strerror or str(error))


def check_process(path: Path, error: OSError) -> None:
    """Raise `StoreError` if the error is of this process or its file server: it says nothing about the file."""
    if error.errno in OF_THIS_PROCESS:
        raise StoreError(f"{path}: {error.strerror}") from error


def each(pool: Executor, act: Callable[[NamedBytes], T], group: Sequence[NamedBytes], undo: Callable[[T], None]) -> list[T]:
    """`act` on all of them, several at a time. If one raises, what the others have made is undone."""
    futures = [pool.submit(act, one) for one in group]
    wait(futures)
    if any(future.exception() for future in futures):
        for future in futures:
            if future.exception() is None:
                with suppress(Exception):
                    undo(future.result())
    return [future.result() for future in futures]
