"""What a repair does with a finding: a table from facts to acts. Looks at nothing itself.

Each fact is established again immediately before the act: what somebody else has mended in the meantime is left as it is.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto

from d4c_images.collection.findings import Reason


class Act(StrEnum):
    """What is done."""

    NOTHING = auto()  # it is mended already
    REFETCH = auto()  # the image waits for its next request, a damaged file is moved to .damaged
    PUT_BACK = auto()  # its bytes are there under another name, and get their own
    REPOINT = auto()  # its bytes are in the same shard, at another offset
    DROP_FORMER = auto()  # bytes that the publisher has replaced are lost: nobody has them any more
    WAIT = auto()  # it shows another image's file, and waits for that image
    ADOPT = auto()  # a file for an image that nobody has stored: verified, it becomes that image
    SET_ASIDE = auto()  # a stranger: moved to .strangers
    SWEEP = auto()  # a temporary file of a dead worker: removed
    CUT = auto()  # what a killed worker left at the end of a shard
    RECOUNT = auto()  # counters and records, as `init --finalize-only`
    RELEASE = auto()  # images lent under a lease that does not exist wait again
    LEAVE = auto()  # for people: only reported
    REFUSE = auto()  # nothing at all is done


class FileRole(Enum):
    """What the ledger says of the file in question, or of the image that its name stands for."""

    NOBODY = auto()  # no row
    IMAGE = auto()  # the file of a success
    SHOWN = auto()  # likewise, but it belongs to another image that this one shows
    FORMER = auto()  # an earlier revision
    OPEN = auto()  # a row without bytes that may have some
    CLOSED = auto()  # a row without bytes that must not have these: a placeholder, a document, an opt-out
    STORED = auto()  # a row that has its bytes elsewhere
    CHANGED = auto()  # the row has changed since the finding
    FOREIGN = auto()  # a shard of another ledger


class Bytes(Enum):
    """What is there."""

    SOUND = auto()
    GONE = auto()
    WRONG = auto()
    UNREADABLE = auto()  # the disk or its permissions: says nothing about the bytes


LEDGER_ACTS = {
    Reason.DATABASE_DAMAGED: Act.REFUSE,
    Reason.COUNTER_MISMATCH: Act.RECOUNT,
    Reason.RECORD_MISMATCH: Act.RECOUNT,
    Reason.ORPHANED_LEASE: Act.RELEASE,
    Reason.DANGLING_REFERENCE: Act.LEAVE,
    Reason.UNREADABLE: Act.LEAVE,
    Reason.TORN_SHARD: Act.CUT,
    Reason.LEFTOVER: Act.SWEEP,
}
"""By reason alone."""
ROW_REASONS = frozenset((Reason.NO_FILE_NAME, Reason.FILE_MISSING, Reason.SIZE_MISMATCH, Reason.HASH_MISMATCH, Reason.UNDECODABLE))
LOST_ACTS = {FileRole.IMAGE: Act.REFETCH, FileRole.SHOWN: Act.WAIT, FileRole.FORMER: Act.DROP_FORMER}


def decide(reason: Reason, role: FileRole, found: Bytes, elsewhere: Act | None = None) -> Act:
    """`elsewhere`: how the right bytes can be had without a request, if they can."""
    if reason in LEDGER_ACTS:
        return LEDGER_ACTS[reason]
    if found is Bytes.UNREADABLE:
        return Act.LEAVE
    if reason is Reason.UNTRACKED:
        return _of_untracked(role, found)
    if reason not in ROW_REASONS:
        return Act.LEAVE
    if role not in LOST_ACTS or found is Bytes.SOUND:
        return Act.NOTHING
    return elsewhere or LOST_ACTS[role]


def _of_untracked(role: FileRole, found: Bytes) -> Act:
    if role is FileRole.FOREIGN:
        return Act.LEAVE
    if role in (FileRole.IMAGE, FileRole.FORMER, FileRole.CHANGED) or found is Bytes.GONE:
        return Act.NOTHING
    return Act.ADOPT if role is FileRole.OPEN and found is Bytes.SOUND else Act.SET_ASIDE


MISSING_AT_LEAST = 20
MISSING_SHARE = 0.05


def is_root_lost(n_missing: int, n_checked: int) -> bool:
    """Whether so many files are missing at once that the root itself is to be suspected: a disk that is not mounted, a wrong path.

    A lost folder of the layout is about a thousandth of a big collection.
    """
    return n_missing >= MISSING_AT_LEAST and n_missing > MISSING_SHARE * n_checked


def is_foreign_root(n_strangers: int, n_files: int) -> bool:
    """Whether so many files have no row that they are likely to be another ledger's, or of archives not imported yet."""
    return n_strangers >= MISSING_AT_LEAST and 2 * n_strangers > n_files
