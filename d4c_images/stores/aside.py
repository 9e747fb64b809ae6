"""Keeps one copy of each placeholder below the root, out of the way of the images. Decides nothing.

    <root>/.placeholders/<sha256>.<ext>

The folder is hidden: who walks the collection does not meet it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from d4c_images.errors import StoreError

FOLDER = ".placeholders"


class Aside:
    def __init__(self, root: Path) -> None:
        self._root, self._folder = root, root / FOLDER

    def keep(self, relative: str, sha256: bytes) -> None:
        """Have a durable copy of a stored file. Nothing happens where there is one already, or the file is gone."""
        kept = self._folder / f"{sha256.hex()}{Path(relative).suffix}"
        source = self._root / relative
        if self.find(sha256) is not None or not source.exists():
            return
        partial = kept.with_name(f".{kept.name}.part")
        try:
            self._folder.mkdir(exist_ok=True)
            with source.open("rb") as old, partial.open("wb") as new:
                shutil.copyfileobj(old, new)
                new.flush()
                os.fsync(new.fileno())
            partial.replace(kept)
            for folder in (self._folder, self._root):
                fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        except OSError as error:
            raise StoreError(f"{kept}: {error.strerror or error}") from error

    def find(self, sha256: bytes) -> Path | None:
        """The copy, if there is one."""
        return next(iter(sorted(self._folder.glob(f"{sha256.hex()}.*"))), None)
