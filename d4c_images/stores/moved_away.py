"""Moves files that are not images of the collection out of its way, within the root. Deletes nothing, overwrites nothing.

    <root>/.damaged/<path>      was an image's file, and does not hold its bytes
    <root>/.strangers/<path>    belongs to no image

Both folders are hidden, so tools that walk the collection skip them. A name that is taken gets a number: `<path>.2`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from d4c_images.stores.partial import Root, naming, sync_path

DAMAGED_FOLDER = ".damaged"
STRANGERS_FOLDER = ".strangers"


class Moves:
    """Moves of the owner of the ledger, while no worker of it has any work. Durable after `sync`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = Root(root)
        self._touched: set[Path] = set()

    def check_root(self) -> None:
        """Raise `StoreError` if the root is not the folder any more that it was: its disk may have been unmounted."""
        self._top.make(self._root)

    def away(self, relative: str, folder: str) -> str | None:
        """Move a file, a link or a folder to the same path below `folder`; returns where it is now, None if it was gone."""
        target = self._root / folder / relative
        self._make(target.parent)
        n = 1
        while os.path.lexists(target):
            n += 1
            target = self._root / folder / f"{relative}.{n}"
        return str(target.relative_to(self._root)) if self._rename(self._root / relative, target) else None

    def back(self, relative: str, to: str) -> None:
        """Give a file the name of the image that it holds. That name must be free."""
        self._make((self._root / to).parent)
        self._rename(self._root / relative, self._root / to)

    def sync(self) -> None:
        """Make all moves durable."""
        for folder in sorted(self._touched):
            with suppress(FileNotFoundError):
                sync_path(folder)
        self._touched.clear()

    def _make(self, folder: Path) -> None:
        """Create a folder with its parents; their names must become durable, too."""
        if folder.is_dir():
            return
        self._top.make(folder)
        self._touched.update(parent for parent in (folder, *folder.parents) if parent.is_relative_to(self._root))

    def _rename(self, source: Path, target: Path) -> bool:
        with naming(source):
            try:
                source.rename(target)
            except FileNotFoundError:
                return False
        self._touched.update((source.parent, target.parent))
        return True


def sweep(root: Path, relative: str) -> int:
    """Remove the temporary file of a dead worker; returns its size, 0 if it was gone."""
    path = root / relative
    with naming(path), suppress(FileNotFoundError):
        size_bytes = path.lstat().st_size
        path.unlink()
        return size_bytes
    return 0
