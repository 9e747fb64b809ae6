"""The folder of images, before anything is written there: is it the one that the ledger used last? Stores no image."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from d4c_images.errors import StoreError, UsageError
from d4c_images.ledger.connect import Ledger
from d4c_images.ledger.roots import KnownRoot


def claim(ledger: Ledger, root: Path, confirmation: str | None = None) -> Path:
    """The root, made where it is missing, if it is the one that this ledger used last; says so if it has moved.

    Raises `UsageError` if it is another folder, or an empty one because a disk is not mounted, unless the confirmation is the one
    that the refusal asks for. It is good once: a job that is queued again with it is refused like any other.
    """
    from d4c_images.ledger import roots, shards
    from d4c_images.stores import marks

    token, known = shards.store_kind(ledger, None).token, roots.known(ledger)
    path, mark = str(root.absolute()), marks.mark_of(root, token)
    if known == KnownRoot(path, mark or ""):
        return writable(root)
    stored = roots.sample(ledger)
    seen = _Seen(path, mark, known, len(stored), sum(os.path.lexists(root / image) for image in stored))
    code = token if known is None else known.mark
    if not seen.is_the_same and confirmation != code:
        raise UsageError(
            f"{seen.refusal}. Is its disk mounted? Nothing was asked or written; to store images there from now on: "
            f"download --new-root {code}"
        )
    if not seen.is_the_same:
        print(f"images are stored in {root} from now on; those that are stored already are not moved there", flush=True)
    elif known is not None:
        print(f"the image root is {root} now; it was {known.path}, and the same images are there", flush=True)
    writable(root)
    now = KnownRoot(path, secrets.token_hex(4))
    marks.mark(root, token, now.mark)
    roots.note(ledger, now)
    return root


def writable(root: Path) -> Path:
    """The root, made where it is missing, after trying to write into it. Raises `StoreError`."""
    probe = root / f".d4c-images.{os.getpid()}.probe"
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"the image root {root} cannot be written: {error.strerror}") from None
    return root


@dataclass(frozen=True, slots=True)
class _Seen:
    """What speaks for a folder that is not, by path and mark, that of the last run."""

    path: str
    mark: str | None
    known: KnownRoot | None
    n_stored: int  # images that were looked for
    n_here: int

    @property
    def is_the_same(self) -> bool:
        """With the right mark it may still be an old copy; without any it may be one that was made without hidden files."""
        if self._was_left:
            return False
        if self.n_stored:
            return 2 * self.n_here > self.n_stored
        return self.known is None or self.mark == self.known.mark

    @property
    def _was_left(self) -> bool:
        """It has the mark of another time: the ledger went on in another one, or has come from a backup."""
        return self.known is not None and self.mark not in (None, self.known.mark)

    @property
    def refusal(self) -> str:
        why = f"of {self.n_stored} stored images {self.n_stored - self.n_here} are not there"
        if self._was_left:
            why = "it has the mark of another time"
        elif not self.n_stored:
            why = "it was not used before"
        last = "" if self.known is None or self.known.path == self.path else f", which was {self.known.path} in the last run"
        return f"{self.path} is not the image root of this ledger{last}: {why}"
