"""The bytes of images by gbifID, for notebooks and data loaders. Reads only; knows files and tar files."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from d4c_images.ledger.file.reader import Reader, open_reader
from d4c_images.ledger.questions import locations
from d4c_images.stores import Place, reading


class Collection:
    """A ledger and its images, opened for reading. Use it in a `with` block."""

    def __init__(self, ledger: Reader, root: Path) -> None:
        self._ledger = ledger
        self._root = root

    def read(self, gbif_id: int, image_no: int = 0) -> bytes:
        """The image that a record shows under this number, as the bytes that are stored.

        Raises `KeyError` if the record shows no such image or it is not stored, `OSError` if it cannot be read.
        """
        found = locations.shown_as(self._ledger, gbif_id, image_no)
        if found is None:
            raise KeyError((gbif_id, image_no))
        return b"".join(reading.pieces(self._root, Place(found.path, found.offset), found.size_bytes))

    def close(self) -> None:
        """Close the ledger; the end of a `with` block does so, too."""
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_images(ledger: str | Path, root: str | Path) -> Collection:
    """Raises `UsageError` if there is no ledger, `LedgerError` if the file is not one of ours."""
    return Collection(open_reader(Path(ledger)), Path(root))
