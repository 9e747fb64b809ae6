"""The bytes of a file, to be looked at as a whole: a large one is mapped, and takes no memory for long. Knows no format."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAPPED_BYTES = 4_000_000  # from there on a file is not read into memory, but mapped ...
GIVE_BACK_S = 0.02  # ... and what has been read of it is given back so often

FileBytes = bytes | mmap.mmap


@contextmanager
def opened(path: Path) -> Iterator[FileBytes]:
    """The bytes of a file. Of a large one, those that have been looked at do not stay in this process's memory."""
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
        body.madvise(mmap.MADV_DONTNEED)  # who looks again finds them in the page cache
