"""What a worker process needs, and how it is built in that process. Imports nothing before that: the steward does not need it."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from d4c_images.durations import counted
from d4c_images.errors import StoreError, UsageError
from d4c_images.model import FetchOptions
from d4c_images.system import clocks, open_files
from d4c_images.system.clocks import SteadyClock

if TYPE_CHECKING:
    from d4c_images.runners.pipe_worker import Work
    from d4c_images.stores.pack import PackSettings


SIGN_S = 10.0


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """All that a worker process needs to know; picklable."""

    root: Path
    fetch: FetchOptions
    max_edge: int | None
    packing: PackSettings | None = None  # None: files
    respects_robots_tag: bool = False
    clock: SteadyClock | None = None  # the coordinator's, on the same machine; None: its own
    connections: int = 1  # that it must be able to keep open at once
    sign: str | None = None  # a file that must exist in the root: on another node the root may be a different folder

    def __call__(self) -> Work:
        from d4c_images.fetch import Fetcher
        from d4c_images.policy.judge import CodePolicy
        from d4c_images.stores.pack import open_store
        from d4c_images.worker.loop import Clock, work
        from d4c_images.worker.verify import Examiner

        if self.sign is not None:
            await_sign(self.root / self.sign)
        room = open_files.budget(open_files.raise_limit())
        if room.connections < self.connections:
            raise UsageError(
                f"a worker on {socket.gethostname()} may open only {counted(room.n_files, 'file')}, enough for "
                f"{room.connections} of {counted(self.connections, 'connection')}: raise the limit (ulimit -n), or start download "
                "with a smaller --max-connections"
            )
        store, fetcher, examiner = open_store(self.root, self.packing), Fetcher(self.fetch), Examiner(self.max_edge)
        policy = CodePolicy(respects_robots_tag=self.respects_robots_tag)
        clock = Clock(steady=self.clock or clocks.now)
        return partial(work, store=store, fetcher=fetcher, examiner=examiner, policy=policy, clock=clock)


def await_sign(sign: Path) -> None:
    """A shared file system may show a new file late. Raises `StoreError` if it never appears."""
    end_at = time.monotonic() + SIGN_S
    while not _is_there(sign):
        if time.monotonic() > end_at:
            raise StoreError(f"the image root {sign.parent} on {socket.gethostname()} is not the folder that the coordinator uses")
        time.sleep(0.2)


def _is_there(sign: Path) -> bool:
    from d4c_images.stores.partial import naming

    with naming(sign):
        return sign.exists()
