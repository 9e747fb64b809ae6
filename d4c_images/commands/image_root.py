"""The image root, before anything is written to it: is it the one that the ledger used last? Stores no image."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from d4c_images.durations import counted
from d4c_images.errors import StoreError, UsageError, of_a_named_path, printable
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.questions.last_root import KnownRoot


def claim(ledger: Ledger, root: Path, confirmation: str | None = None) -> Path:
    """The root, created if missing, if it is the one that this ledger used last; says so if it has moved.

    Raises `UsageError` if it is another folder, or an empty one because a disk is not mounted, unless the confirmation is the one
    that the refusal asks for. It is valid once: a job requeued with it is refused like any other.
    """
    from d4c_images.ledger.questions import last_root
    from d4c_images.ledger.queue import shards

    known, path, inode = last_root.known(ledger.connection.execute), str(root.absolute()), _inode(root)
    if known is not None and (path, inode) == (known.path, known.inode) and not os.path.ismount(root):
        return writable(root)
    stored = last_root.sample(ledger)
    seen = _Seen(path, inode, known, len(stored), sum(os.path.lexists(root / image) for image in stored))
    code = shards.store_kind(ledger, None).token if known is None else known.code
    if not seen.is_the_same and confirmation != code:
        raise UsageError(
            f"{seen.refusal}. Is its disk mounted? Nothing was requested or written; to use this folder from now on: "
            f"download --new-root {code}"
        )
    if not seen.is_the_same:
        fresh = f"new images will be stored in {root}; images stored before are not moved"
        print(printable(fresh), flush=True)
    elif known is not None and known.path != path:
        moved = f"the image root moved from {known.path} to {root}, where the same images were found"
        print(printable(moved), flush=True)
    writable(root)
    left = () if known is None else known.left if seen.is_the_same else (*known.left, known.inode)
    inode = root.stat().st_ino
    last_root.note(ledger, KnownRoot(path, inode, secrets.token_hex(4), tuple(one for one in left if one != inode)))
    return root


def writable(root: Path) -> Path:
    """The root, created if missing, after a test write. Raises `StoreError`."""
    probe = root / f".d4c-images.{os.getpid()}.probe"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise of_a_named_path(StoreError, f"cannot write to the image root {root}: {error.strerror}", error) from None
    return root


def _inode(root: Path) -> int | None:
    try:
        return root.stat().st_ino
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class _Seen:
    """Evidence about a folder that, by path and inode, is not the last run's. (All mounted disks may have one inode.)"""

    path: str
    inode: int | None
    known: KnownRoot | None
    n_stored: int  # images that were looked for
    n_here: int

    @property
    def is_the_same(self) -> bool:
        """By its images; while there are none, by its path."""
        if self._was_left:
            return False
        if self.n_stored:
            return 2 * self.n_here > self.n_stored
        return self.known is None or self.path == self.known.path

    @property
    def _was_left(self) -> bool:
        """Whether the ledger was moved to another root on purpose."""
        return self.known is not None and self.inode in self.known.left

    @property
    def refusal(self) -> str:
        why = f"{self.n_stored - self.n_here} of {counted(self.n_stored, 'stored image')} missing there"
        if self._was_left:
            why = "it was replaced by that one"
        elif not self.n_stored:
            why = "it has not been used before"
        last = "" if self.known is None or self.known.path == self.path else f", which was {self.known.path} in the last run"
        return f"{self.path} is not the image root of this ledger{last}: {why}"
