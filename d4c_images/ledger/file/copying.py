"""Copies a ledger into a file of its own, page by page and in one transaction. Gives the file no final name.

SQLite's backup API starts over when another process writes to the source between two steps, unless the connection that copies is
in a read transaction: that one keeps its pages as they were, in the write-ahead log. So a copy takes one pass, whoever writes.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from d4c_images.ledger.file.connect import sqlite_words

PAGES_PER_STEP = 2_000  # 16 MB
DIGEST_BYTES = 1 << 20
WATCHED_INSTRUCTIONS = 1_000_000  # of SQLite, between two calls of `show` while it verifies
FILE_FORMAT_AT, ROLLBACK_JOURNAL = 18, b"\1\1"  # https://www.sqlite.org/fileformat2.html: write and read version

END_OWNER_RUN = """
UPDATE runs SET ended_at = heartbeat_at, ending = 'was running when this copy of the ledger was made'
WHERE run_id IN (SELECT run_id FROM owner)
"""
FREE_OWNER = "DELETE FROM owner"

Show = Callable[[int, int], None]
"""Called with how much is done, and of how much. What it raises ends the work."""


def size_bytes(connection: sqlite3.Connection) -> int:
    """Of all pages, in the file or in its log."""
    n_pages = connection.execute("PRAGMA page_count").fetchone()[0]
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    return int(n_pages) * int(page_bytes)


def copy_pages(source: sqlite3.Connection, new: Path, show: Show) -> None:
    """Copy all pages of `source` into `new`, which is empty or missing; `show` gets pages.

    `source` is in a transaction, or no other connection can write. Raises `sqlite3.Error` and `OSError`.
    """
    with closing(alone(new)) as copy:
        source.backup(copy, pages=PAGES_PER_STEP, progress=lambda _, left, total: show(total - left, total))


def make_free(new: Path) -> None:
    """Make the copy a ledger that nobody owns, a single file without a log beside it, and durable.

    The one place for this rule: the run that owned the source has no part in the copy. What it had lent is taken back by the next
    run, as from one that died.
    """
    with new.open("rb+") as file:
        file.seek(FILE_FORMAT_AT)
        file.write(ROLLBACK_JOURNAL)  # whoever writes to it chooses anew
    with closing(alone(new)) as copy:
        copy.execute(END_OWNER_RUN)
        copy.execute(FREE_OWNER)
    make_durable(new)


def make_durable(path: Path) -> None:
    """Write the file to its disk, and drop it from memory, so that who reads it next reads the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        with suppress(OSError):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_folder(folder: Path) -> None:
    """Make names in it durable."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def looked_at(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing, to a file that nobody writes."""
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        yield connection


def damage_of(path: Path, show: Callable[[], None]) -> str | None:
    """What SQLite's quick check finds first in a file that nobody writes; None if nothing. `show` is called now and then."""
    raised: list[BaseException] = []

    def alive() -> int:
        try:
            show()
        except BaseException as error:  # SQLite would swallow it
            raised.append(error)
        return len(raised)

    try:
        with looked_at(path) as connection:
            connection.set_progress_handler(alive, WATCHED_INSTRUCTIONS)
            found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if raised:
            raise raised[0] from None
        return sqlite_words(error)
    return None if found == "ok" else " ".join(found.split())


def digest(path: Path, show: Show) -> str:
    """The SHA-256 of a file, in hexadecimal; `show` gets bytes. Raises `OSError`."""
    found, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        total = os.fstat(file.fileno()).st_size
        while piece := file.read(DIGEST_BYTES):
            found.update(piece)
            done += len(piece)
            show(done, max(done, total))
    return found.hexdigest()


def alone(path: Path) -> sqlite3.Connection:
    """A connection to a file that no other process knows: no locks, which some shared disks lack, and no journal."""
    connection = sqlite3.connect(f"file:{quote(os.fsencode(path.absolute()))}?nolock=1", uri=True, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection
