"""Gives a file a name that only one process can win, on any file system. Knows nothing of its content."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# Errors of systems without hard links: exFAT, many FUSE and SMB file systems, some gateways of parallel ones.
NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.EXDEV}


def place(new: Path, final: Path) -> None:
    """Make `final` a copy of `new`, unless it exists. Raises `FileExistsError`: another process was quicker.

    By a hard link, which shows the whole file at once. Without hard links, `final` is created exclusively and then written: a
    process that looks in between sees a torn file and may take it over; the token in it then tells this process, before it writes.
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
