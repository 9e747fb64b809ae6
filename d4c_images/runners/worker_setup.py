"""What a worker process needs, and how it is built in that process. Loads nothing before: the steward has no use for it."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from d4c_images.model import FetchOptions

if TYPE_CHECKING:
    from d4c_images.runners.processes import Work


MAX_OPEN_FILES = 1 << 16


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """All that a worker process needs to know; pickles."""

    root: Path
    fetch: FetchOptions
    max_edge: int | None

    def __call__(self) -> Work:
        from d4c_images.examine import Examiner
        from d4c_images.fetch import Fetcher
        from d4c_images.judge import Policy
        from d4c_images.stores.local import LocalStore
        from d4c_images.worker import Clock, work

        # A connection and a file for each request: many systems grant 1,024 open files at first, and more to who asks.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        store, fetcher, examiner = LocalStore(self.root), Fetcher(self.fetch), Examiner(self.max_edge)
        return partial(work, store=store, fetcher=fetcher, examiner=examiner, policy=Policy(), clock=Clock())
