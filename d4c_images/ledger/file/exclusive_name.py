"""Gives a file a name that only one process can win, on any file system. Knows nothing of what is in it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# What systems say that have no hard links: exFAT, many FUSE and SMB file systems, some gateways of parallel ones.
NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.EXDEV}


def place(new: Path, final: Path) -> None:
    """Let `final` hold what `new` holds, unless there is such a file. Raises `FileExistsError`: another process was quicker.

    By a hard link, which shows the whole file at once. If there are none, `final` is made for this process alone and then written:
    who looks in between sees a torn one and may take it over, and then the token in it says so to this process before it writes.
    """
    try:
        os.link(new, final)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _copy(new, final)


def _copy(new: Path, final: Path) -> None:
    body = new.read_bytes()
    fd = os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        final.unlink(missing_ok=True)
        raise
