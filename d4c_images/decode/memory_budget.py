"""How much memory concurrent decodes may take: a share per worker, and one that the workers of a node have in common.

A run may take 150 MB and 100 MB per worker, whatever it is sent (docs/adr/0033). Knows no picture.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

OWN_BYTES = 16_000_000  # per worker, for all its concurrent decodes
COMMON_BYTES = 90_000_000  # for one picture at a time on the whole node
MEMORY_POLL_S = 0.02  # polling interval for the common share if another worker has it
M_MMAP_THRESHOLD, MMAP_BYTES = -3, 1 << 20  # mallopt(3)


class MemoryBudget:
    """Memory to be reserved before a decode and released after it. Thread-safe."""

    def __init__(self, own_bytes: int = OWN_BYTES, common_bytes: int = COMMON_BYTES) -> None:
        self.own_bytes, self.common_bytes = own_bytes, common_bytes
        self._free_bytes = own_bytes
        self._changed = threading.Condition()
        # Allocations the size of a picture are returned to the system at once: glibc would otherwise keep more and more of them.
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)

    @contextmanager
    def taken(self, need_bytes: int) -> Iterator[None]:
        """Wait until that much is free. Never ask for more than `common_bytes`."""
        if need_bytes > self.common_bytes:
            raise ValueError(f"{need_bytes} bytes are more than there are")
        with self._common() if need_bytes > self.own_bytes else self._own(need_bytes):
            yield

    @contextmanager
    def _own(self, need_bytes: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: need_bytes <= self._free_bytes)
            self._free_bytes -= need_bytes
        try:
            yield
        finally:
            with self._changed:
                self._free_bytes += need_bytes
                self._changed.notify_all()

    @contextmanager
    def _common(self) -> Iterator[None]:
        """Locked by a name that one process of this user on this node can hold; it ends with the process (unix(7): abstract)."""
        with socket.socket(socket.AF_UNIX) as name:
            while True:
                try:
                    name.bind(f"\0d4c-images {os.getuid()} decodes a big picture")
                    break
                except OSError:
                    time.sleep(MEMORY_POLL_S)
            yield
