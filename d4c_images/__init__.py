"""d4c-images: a resumable bulk downloader for the images of a GBIF download. Holds the version and the Python API.

What `__all__` names is public: docs/reference/api.md describes it. It is loaded when it is first used, since every process of a run
loads this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from d4c_images.collection.reader import Collection
    from d4c_images.errors import (
        D4CError,
        LedgerAwaited,
        LedgerBusy,
        LedgerError,
        LedgerLocked,
        LedgerLost,
        LedgerUnusable,
        SourceDamaged,
        SourceError,
        Stopped,
        StoreError,
        UsageError,
    )
    from d4c_images.report.frames import LedgerFrames

__version__ = "0.1.0"
__all__ = [
    "Collection",
    "D4CError",
    "LedgerAwaited",
    "LedgerBusy",
    "LedgerError",
    "LedgerFrames",
    "LedgerLocked",
    "LedgerLost",
    "LedgerUnusable",
    "SourceDamaged",
    "SourceError",
    "Stopped",
    "StoreError",
    "UsageError",
    "__version__",
    "open_collection",
    "open_ledger",
]


def open_ledger(path: str | Path) -> LedgerFrames:
    """Open a ledger for reading, for queries that return pandas frames.

    `open_ledger("ledger.sqlite").frame("SELECT host, count(*) AS n FROM images GROUP BY host")`

    Raises `UsageError` if there is no ledger, `LedgerError` if the file is not one of ours.
    """
    from d4c_images.report.frames import open_frames

    return open_frames(path)


def open_collection(ledger: str | Path, root: str | Path) -> Collection:
    """Open a ledger and the folder of its images, to read images as bytes, whether they are files or in tar files.

    `open_collection("ledger.sqlite", "images").read(1234567890)`

    Raises `UsageError` if there is no ledger, `LedgerError` if the file is not one of ours.
    """
    from d4c_images.collection.reader import open_images

    return open_images(ledger, root)


if not TYPE_CHECKING:  # a type checker would believe that there is an attribute of every name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        elsewhere = {"Collection": "collection.reader", "LedgerFrames": "report.frames"}
        return getattr(import_module(f"{__name__}.{elsewhere.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
