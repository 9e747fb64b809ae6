"""Names of the files next to a ledger, which begin with its own name. Opens none of them.

SQLite's log and journal, the reservation and the copy for readers on a shared disk, copies made by a migration, a ledger that a
restore has replaced, and what checks leave (`collection.check_state` says what that is); complete or partial.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

SQLITE_SUFFIXES = ("-wal", "-shm", "-journal")
CHECK_SUFFIX = ".check"
_BESIDE = rf"(?:\.(?:owner|snapshot|v\d+\.backup|replaced-[\w-]+|{CHECK_SUFFIX[1:]})(?:\.\w+)*)?(?:{'|'.join(SQLITE_SUFFIXES)})?"


def names_beside(ledger: Path) -> re.Pattern[str]:
    """Matches the ledger's own name and those of the files next to it, in whole."""
    return re.compile(re.escape(ledger.name) + _BESIDE)


def files_of_checks(ledger: Path, ending: str = "") -> list[Path]:
    """All files of checks next to a ledger, in order of names; with `ending`, those whose names end so."""
    start = f"{ledger.name}{CHECK_SUFFIX}"
    with suppress(OSError):
        names = [path.name for path in ledger.parent.iterdir()]
        ours = [name for name in names if name == start or name.startswith(f"{start}.")]
        return [ledger.with_name(name) for name in sorted(ours) if name.endswith(ending)]
    return []
