"""The bytes of a file as a whole: a large one is memory-mapped, and occupies memory only briefly. Knows no format."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAPPED_BYTES = 4_000_000  # from this size on a file is mapped instead of read ...
GIVE_BACK_S = 0.02  # ... and pages that were read are released this often

FileBytes = bytes | mmap.mmap


@contextmanager
def opened(path: Path) -> Iterator[FileBytes]:
    """The bytes of a file. Pages of a large one do not stay in this process's memory."""
    size_bytes = path.stat().st_size
    if size_bytes <= MAPPED_BYTES:
        yield path.read_bytes()
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as body:
        done = threading.Event()
        keeper = threading.Thread(target=_give_back, args=(body, done), daemon=True)
        keeper.start()
        try:
            yield body
        finally:
            done.set()
            keeper.join()


def _give_back(body: mmap.mmap, done: threading.Event) -> None:
    while not done.wait(GIVE_BACK_S):
        body.madvise(mmap.MADV_DONTNEED)  # on another access they come from the page cache
