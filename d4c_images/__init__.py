"""d4c-images: a resumable bulk downloader for the images of a GBIF download. Holds the version and the way in for notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from d4c_images.report.frames import LedgerFrames

__version__ = "0.1.0"
__all__ = ["__version__", "open_ledger"]


def open_ledger(path: str | Path) -> LedgerFrames:
    """Open a ledger for reading, for questions that are answered with pandas frames.

    `open_ledger("ledger.sqlite").frame("SELECT host, count(*) AS n FROM images GROUP BY host")`
    """
    from d4c_images.report.frames import open_frames

    return open_frames(path)
