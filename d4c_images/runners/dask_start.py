"""The start of a cluster's worker process: with Dask, if it can be imported. Does no work itself; its parent reports failures."""

from __future__ import annotations

import sys

from d4c_images.errors import UsageError
from d4c_images.runners import dask_check
from d4c_images.runners.worker_pool import Exit
from d4c_images.system import child_process


def main() -> int:
    child_process.settle_in()
    try:
        dask_check.check()
    except UsageError:
        return Exit.NO_DASK
    from d4c_images.runners import dask_worker

    return dask_worker.main()


if __name__ == "__main__":
    sys.exit(main())
