"""Copies images out of a collection, each as a file, verifying their hashes. Changes nothing in the collection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from d4c_images import crash
from d4c_images.ledger.questions.locations import Shelved
from d4c_images.stores import Keep, Place
from d4c_images.stores.local import LocalStore, folder_of
from d4c_images.stores.partial import stem_of
from d4c_images.stores.reading import extension_of, pieces

UNPACKED_AT_ONCE = 32  # made durable together
TOLD = 20  # problems reported in full; all are counted


@dataclass(slots=True)
class Unpacked:
    """What has been done so far."""

    n_written: int = 0
    n_there: int = 0  # from an earlier run
    written_bytes: int = 0
    n_troubles: int = 0
    troubles: list[str] = field(default_factory=list)

    @property
    def n_seen(self) -> int:
        return self.n_written + self.n_there + self.n_troubles

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def trouble(self, what: str) -> None:
        self.n_troubles += 1
        if self.n_troubles <= TOLD:
            self.troubles.append(what)


def unpack(images: Iterable[Shelved], root: Path, to: Path, progress: Callable[[Unpacked], None]) -> Unpacked:
    """Write each image as a file below `to`, in the layout of a collection of files; existing files are skipped.

    An image that cannot be read, or does not match the ledger, becomes a problem and no file. Raises `StoreError` if `to` cannot be
    written.
    """
    done, store = Unpacked(), LocalStore(to)
    try:
        for group in _groups(images):
            keeps = [keep for image in group if (keep := _copy(image, root, to, store, done)) is not None]
            store.put(keeps)
            crash.point("unpack.put")
            done.n_written += len(keeps)
            progress(done)
    finally:
        store.close()
    return done


def _groups(images: Iterable[Shelved]) -> Iterator[list[Shelved]]:
    """Groups with each image once: an image that two records show is copied by the first."""
    rest = iter(images)
    while group := list(islice(rest, UNPACKED_AT_ONCE)):
        yield list(dict.fromkeys(group))


def _copy(image: Shelved, root: Path, to: Path, store: LocalStore, done: Unpacked) -> Keep | None:
    """The copy as a partial; None if there is nothing to do, or the image is not sound."""
    place, partial = Place(image.path, image.offset), store.begin(image.gbif_id, image.image_no, 0)
    try:
        extension = extension_of(root, place)
        if _is_there(to / folder_of(image.gbif_id) / f"{stem_of(image.gbif_id, image.image_no)}.{extension}", image):
            done.n_there += 1
            return None
        digest = hashlib.sha256()
        for piece in pieces(root, place, image.size_bytes):
            digest.update(piece)
            partial.write(piece)
    except OSError as error:  # while reading: while writing it is a `StoreError`
        partial.abort()
        done.trouble(f"image {image.image_id}: {image.path}: {error.strerror}")
        return None
    if digest.digest() != image.sha256:
        partial.abort()
        done.trouble(f"image {image.image_id}: {image.path}: SHA-256 is not {image.sha256.hex()}")
        return None
    done.written_bytes += image.size_bytes
    return Keep(partial, extension)


def _is_there(path: Path, image: Shelved) -> bool:
    """A final name always refers to a complete file; one of another size is from an earlier state of the collection."""
    try:
        return path.stat().st_size == image.size_bytes
    except FileNotFoundError:
        return False
