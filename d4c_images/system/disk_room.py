"""Free space and inodes of a file system, and its clock. Leaves no file behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class DiskRoom(NamedTuple):
    free_bytes: int  # without root's reserve
    free_inodes: int | None  # None: this file system has no limit of its own


def room(path: Path) -> DiskRoom:
    """For the file system of a folder, or of the one that it would be created on. Raises `OSError`."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    found = os.statvfs(place)
    return DiskRoom(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def time_of(folder: Path) -> float:
    """The timestamp of a file written now: the file server's time, if there is one. Raises `OSError`."""
    probe = folder / f".d4c-images.{os.getpid()}.clock-probe"
    try:
        probe.write_bytes(b"\0")
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
