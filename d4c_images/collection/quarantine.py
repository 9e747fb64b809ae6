"""Quarantines the files of placeholders, and restores them. Decides nothing about an image.

The order of writes: the row says that there is no image, a copy of the bytes is made durable, the file is removed, the ledger drops
it from its list. After a kill in between, the next call resumes. Restoring: the bytes, durable; then the row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from d4c_images import crash
from d4c_images.errors import D4CError
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import placeholders
from d4c_images.ledger.queue.placeholders import Claimed, Restored
from d4c_images.stores import Keep, Place, Store
from d4c_images.stores.quarantine import Aside

FILES_PER_CHUNK = 200  # files are removed one by one, and a shared disk is slow
OPEN_FILES = 100


def set_aside(ledger: Ledger, store: Store, aside: Aside, stop: Callable[[], bool]) -> int:
    """Quarantine the files that the ledger has listed. Returns how many; stops between two chunks if `stop()` says so.

    Files that were stored at a second place before a conversion was killed are listed as well: they are only removed.
    """
    n = 0
    while not stop() and (files := placeholders.to_set_aside(ledger, FILES_PER_CHUNK)):
        for file in files:
            if file.is_placeholder:
                aside.keep(Place(file.path, file.offset), file.size_bytes, file.sha256)
        crash.point("aside.kept")
        for file in files:
            if not file.is_an_image:
                if file.offset is None:  # what is in a shard stays there, unused
                    store.remove(file.path)
                n += bool(file.is_placeholder)
        crash.point("aside.removed")
        placeholders.forget_files(ledger, [file.image_id for file in files])
    return n


def allow(ledger: Ledger, store: Store, aside: Aside, sha256: bytes, now: int, progress: placeholders.SearchProgress) -> int:
    """Make the images with these bytes successes again, without a request. Returns how many."""
    kept = aside.find(sha256)

    def restore(images: Sequence[Claimed]) -> list[Restored]:
        if kept is None:
            raise D4CError(f"the bytes of {sha256.hex()} are no longer in quarantine: download --retry-failed fetches them again")
        return _put(store, kept, images)

    return placeholders.allow(ledger, sha256, now, restore, progress)


def _put(store: Store, kept: Path, images: Sequence[Claimed]) -> list[Restored]:
    body = kept.read_bytes()
    places: list[Place | None] = []
    for at in range(0, len(images), OPEN_FILES):
        keeps = []
        for image in images[at : at + OPEN_FILES]:
            partial = store.begin(image.gbif_id, image.image_no, 0)
            partial.write(body)
            keeps.append(Keep(partial, kept.suffix.removeprefix("."), may_replace=True))
        places += store.put(keeps)
    if None in places:
        raise D4CError(f"another process is writing the images of {kept.name}")
    return [Restored(place.path, place.offset, len(body)) for place in places if place is not None]
