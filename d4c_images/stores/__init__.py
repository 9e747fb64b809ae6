"""Where images are kept: the small interface that every store fulfils. Its comments are the contract; it does nothing itself.

`tests/test_store_contract.py` is run on every implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Partial(Protocol):
    """A body on its way into the store, under a name that no reader takes for an image.

    The name tells image and lease, so the same image under two leases never meets itself. Nothing exists before the first
    `write`. Every method may raise `StoreError`, naming the path.
    """

    @property
    def path(self) -> Path:
        """A local file that holds what has been written so far."""

    def write(self, body: bytes, /) -> None:
        """Append all of `body`."""

    def rewrite(self, body: bytes, /) -> None:
        """Hold `body` instead of what was written before."""

    def abort(self) -> None:
        """Leave nothing behind. May be called at any time, also twice; after `put` it does nothing. `write` begins anew."""


@dataclass(frozen=True, slots=True)
class Keep:
    """A partial that shall become an image."""

    partial: Partial
    extension: str  # of the final name, without a dot
    may_replace: bool = False  # a file of this image may be there already, perhaps with another extension: it goes


class Store(Protocol):
    """Keeps one file per (gbif_id, image_no). Safe to use from two threads, and by many processes at once."""

    def begin(self, gbif_id: int, image_no: int, lease_id: int) -> Partial:
        """A partial for this image under this lease."""

    def put(self, keeps: Sequence[Keep]) -> list[str | None]:
        """Make them images. Durable on return: bytes, then names, then the folders that hold the names, new folders included.

        Returns the path of each, relative to the root; None where the partial was taken away by somebody with a newer
        lease. A final name always shows a whole file, whatever happens on the way. Raises `StoreError` where the store
        cannot be written; then some of them may be in the store and others not, and nothing may be said of any.
        """

    def path_of(self, relative: str) -> Path:
        """A local file with the bytes of a stored image."""

    def find(self, gbif_id: int, image_no: int) -> list[str]:
        """Relative paths of what stands there under a final name of this image; more than one only after an accident."""

    def confirm(self, relative: str) -> None:
        """Make durable what stands there already: bytes, name and folders, as `put` would have done."""

    def remove(self, relative: str) -> None:
        """Take a stored file away; not an error where it is gone already."""

    def clear_partials(self, gbif_id: int, image_no: int) -> None:
        """Remove what dead leases left of this image. Only for who holds its lease."""

    def close(self) -> None:
        """Give up threads and handles; files stay as they are."""
