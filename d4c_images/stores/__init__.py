"""Where images are stored: the small interface that every store implements. Its comments are the contract; it does nothing itself.

`tests/stores/test_store_contract.py` is run on every implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from d4c_images.model import Blob


class Partial(Protocol):
    """A body on its way into the store, under a name that no reader mistakes for an image.

    The name contains image and lease, so the same image under two leases never collides. Nothing exists before the first
    `write`. Used by one thread at a time. Every method may raise `StoreError`, naming the path.
    """

    @property
    def path(self) -> Path:
        """A local file with what has been written, as of the last `flush`."""

    def write(self, body: bytes, /) -> None:
        """Append all of `body`. A small one may stay in memory: creating a file takes longer than a network loop should wait."""

    def flush(self) -> None:
        """Write everything to the file. Not durable: that is up to `Store.put`, which needs no flush."""

    def rewrite(self, body: bytes, /) -> None:
        """Replace what was written before by `body`."""

    def abort(self) -> None:
        """Leave nothing behind. May be called at any time, also twice; after `put` it does nothing. `write` starts over."""


@dataclass(frozen=True, slots=True)
class Keep:
    """A partial that is to become an image."""

    partial: Partial
    extension: str  # of the final name, without a dot
    may_replace: bool = False  # replaces a file of this image, even one with another extension
    blob: Blob | None = None  # what is known of it, without its place: for stores that record it
    url: str | None = None  # its origin: likewise


class Place(NamedTuple):
    """Where the bytes of an image are."""

    path: str  # relative to the root
    offset: int | None = None  # in that file, which holds many images; None: the file is the image


class Store(Protocol):
    """Stores the bytes of each (gbif_id, image_no). Safe to use from two threads, and by many processes at once.

    Bytes that replace others which are to be preserved are the image's next `revision`, counted from 0. To a store, each revision
    is an image of its own.
    """

    def begin(self, gbif_id: int, image_no: int, lease_id: int, revision: int = 0) -> Partial:
        """A partial for this image under this lease."""

    def put(self, keeps: Sequence[Keep]) -> list[Place | None]:
        """Turn them into images. Durable on return: bytes, then names, then the folders with the names, including new folders.

        Returns the place of each; None if the partial was taken over under a newer lease. A final name always refers to a complete
        file, whatever happens. Raises `StoreError` if the store cannot be written (full, over its quota, a stale handle); then some
        of them may be stored and others not, and nothing may be claimed about any.
        """

    def path_of(self, relative: str) -> Path:
        """The local file for a path that `find` returned."""

    def holds(self, place: Place, size_bytes: int) -> bool:
        """Whether an image of this size is there."""

    def find(self, gbif_id: int, image_no: int, revision: int = 0) -> list[str]:
        """Relative paths of files that dead leases left under a final name of this image; usually none, or one."""

    def confirm(self, relative: str, blob: Blob) -> Place:
        """Adopt such a file, after it was found to be `blob`: durable as if by `put`."""

    def remove(self, relative: str) -> None:
        """Remove a stored file; no error if it is gone already."""

    def clear_partials(self, gbif_id: int, image_no: int, revision: int = 0) -> None:
        """Remove partials that dead leases left of this image. Only for the holder of its lease."""

    def close(self) -> None:
        """Release threads and handles; files stay as they are."""
