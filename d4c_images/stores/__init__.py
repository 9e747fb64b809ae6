"""Where images are kept: the small interface that every store fulfils. Its comments are the contract; it does nothing itself.

`tests/stores/test_store_contract.py` is run on every implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from d4c_images.model import Blob


class Partial(Protocol):
    """A body on its way into the store, under a name that no reader takes for an image.

    The name tells image and lease, so the same image under two leases never meets itself. Nothing exists before the first
    `write`. Used by one thread at a time. Every method may raise `StoreError`, naming the path.
    """

    @property
    def path(self) -> Path:
        """A local file that holds what has been written, as of the last `flush`."""

    def write(self, body: bytes, /) -> None:
        """Append all of `body`. A small one may wait in memory: to make a file takes longer than a network loop should wait."""

    def flush(self) -> None:
        """Have all that was written in the file. Not durable: that is for `Store.put`, which needs no flush."""

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
    blob: Blob | None = None  # what is known of it, without its place: for stores that tell
    url: str | None = None  # where it came from: likewise


class Place(NamedTuple):
    """Where the bytes of an image are."""

    path: str  # relative to the root
    offset: int | None = None  # in that file, which then holds many images; None: the file is the image


class Store(Protocol):
    """Keeps the bytes of each (gbif_id, image_no). Safe to use from two threads, and by many processes at once.

    Bytes that come instead of others that are to stay are the image's next `revision`; the first ones are 0. To a store, each
    revision is an image of its own.
    """

    def begin(self, gbif_id: int, image_no: int, lease_id: int, revision: int = 0) -> Partial:
        """A partial for this image under this lease."""

    def put(self, keeps: Sequence[Keep]) -> list[Place | None]:
        """Make them images. Durable on return: bytes, then names, then the folders that hold the names, new folders included.

        Returns the place of each; None where the partial was taken away by somebody with a newer lease. A final name always
        shows a whole file, whatever happens on the way. Raises `StoreError` where the store cannot be written (full, over its
        quota, a stale handle); then some of them may be in the store and others not, and nothing may be said of any.
        """

    def path_of(self, relative: str) -> Path:
        """The local file of a path that `find` gave."""

    def holds(self, place: Place, size_bytes: int) -> bool:
        """Whether there is an image of this size."""

    def find(self, gbif_id: int, image_no: int, revision: int = 0) -> list[str]:
        """Relative paths of what dead leases have left as files under a final name of this image; mostly none, or one."""

    def confirm(self, relative: str, blob: Blob) -> Place:
        """Take over such a file, after it was found to be `blob`: durable as if `put`."""

    def remove(self, relative: str) -> None:
        """Take a stored file away; not an error where it is gone already."""

    def clear_partials(self, gbif_id: int, image_no: int, revision: int = 0) -> None:
        """Remove what dead leases left of this image. Only for who holds its lease."""

    def close(self) -> None:
        """Give up threads and handles; files stay as they are."""
