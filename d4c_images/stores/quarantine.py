"""Stores one copy of each placeholder below the root, out of the way of the images. Decides nothing.

    <root>/.placeholders/<sha256>.<ext>

The folder is hidden, so tools that walk the collection skip it.
"""

from __future__ import annotations

import os
from pathlib import Path

from d4c_images.stores import Place
from d4c_images.stores.partial import naming, sync_path
from d4c_images.stores.reading import extension_of, pieces

QUARANTINE_FOLDER = ".placeholders"


class Aside:
    def __init__(self, root: Path) -> None:
        self._root, self._folder = root, root / QUARANTINE_FOLDER

    def keep(self, place: Place, size_bytes: int, sha256: bytes) -> None:
        """Make a durable copy of a stored image. Does nothing if there is one already, or the file is gone."""
        if self.find(sha256) is not None or not (self._root / place.path).exists():
            return
        with naming(self._root / place.path):
            kept = self._folder / f"{sha256.hex()}.{extension_of(self._root, place)}"
        part = kept.with_name(f".{kept.name}.part")
        with naming(kept):
            self._folder.mkdir(exist_ok=True)
            with part.open("wb") as new:
                new.writelines(pieces(self._root, place, size_bytes))
                new.flush()
                os.fsync(new.fileno())
            part.replace(kept)
            sync_path(self._folder)
            sync_path(self._root)

    def find(self, sha256: bytes) -> Path | None:
        """The copy, if any."""
        return next(iter(sorted(self._folder.glob(f"{sha256.hex()}.*"))), None)
