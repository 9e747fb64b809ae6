"""d4c-images: a resumable bulk downloader for the images of a GBIF download. Holds the version and the API for notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from d4c_images.collection.reader import Collection
    from d4c_images.report.frames import LedgerFrames

__version__ = "0.1.0"
__all__ = ["__version__", "open_collection", "open_ledger"]


def open_ledger(path: str | Path) -> LedgerFrames:
    """Open a ledger for reading, for queries that return pandas frames.

    `open_ledger("ledger.sqlite").frame("SELECT host, count(*) AS n FROM images GROUP BY host")`
    """
    from d4c_images.report.frames import open_frames

    return open_frames(path)


def open_collection(ledger: str | Path, root: str | Path) -> Collection:
    """Open a ledger and the folder of its images, to read the images' bytes, whether they are files or in tar files.

    `open_collection("ledger.sqlite", "images").read(1234567890)`
    """
    from d4c_images.collection.reader import open_images

    return open_images(Path(ledger), Path(root))
