"""What a repair does with each finding, as a table."""

from __future__ import annotations

import pytest

from d4c_images.collection.findings import REMEDIES, Reason
from d4c_images.collection.repair_decisions import (
    LEDGER_ACTS,
    ROW_REASONS,
    Act,
    Bytes,
    FileRole,
    decide,
    is_foreign_root,
    is_root_lost,
)

LOST = (Bytes.GONE, Bytes.WRONG)


@pytest.mark.parametrize("reason", sorted(ROW_REASONS))
@pytest.mark.parametrize(
    ("role", "found", "elsewhere", "act"),
    [
        *((FileRole.IMAGE, found, None, Act.REFETCH) for found in LOST),
        *((FileRole.IMAGE, found, Act.PUT_BACK, Act.PUT_BACK) for found in LOST),
        *((FileRole.IMAGE, found, Act.REPOINT, Act.REPOINT) for found in LOST),
        *((FileRole.SHOWN, found, None, Act.WAIT) for found in LOST),
        *((FileRole.FORMER, found, None, Act.DROP_FORMER) for found in LOST),
        (FileRole.FORMER, Bytes.GONE, Act.PUT_BACK, Act.PUT_BACK),
        *((role, Bytes.SOUND, None, Act.NOTHING) for role in (FileRole.IMAGE, FileRole.SHOWN, FileRole.FORMER)),
        *((role, Bytes.UNREADABLE, None, Act.LEAVE) for role in (FileRole.IMAGE, FileRole.SHOWN, FileRole.FORMER)),
        *((FileRole.CHANGED, found, None, Act.NOTHING) for found in (Bytes.GONE, Bytes.WRONG, Bytes.SOUND)),
    ],
)
def test_findings_about_rows(reason: Reason, role: FileRole, found: Bytes, elsewhere: Act | None, act: Act) -> None:
    assert decide(reason, role, found, elsewhere) is act


@pytest.mark.parametrize(
    ("role", "found", "act"),
    [
        (FileRole.OPEN, Bytes.SOUND, Act.ADOPT),
        (FileRole.OPEN, Bytes.WRONG, Act.SET_ASIDE),
        (FileRole.OPEN, Bytes.UNREADABLE, Act.LEAVE),
        (FileRole.OPEN, Bytes.GONE, Act.NOTHING),
        (FileRole.CLOSED, Bytes.SOUND, Act.SET_ASIDE),
        (FileRole.STORED, Bytes.SOUND, Act.SET_ASIDE),
        (FileRole.NOBODY, Bytes.SOUND, Act.SET_ASIDE),
        (FileRole.NOBODY, Bytes.UNREADABLE, Act.LEAVE),
        (FileRole.FOREIGN, Bytes.SOUND, Act.LEAVE),
        (FileRole.IMAGE, Bytes.SOUND, Act.NOTHING),
        (FileRole.FORMER, Bytes.SOUND, Act.NOTHING),
        (FileRole.CHANGED, Bytes.SOUND, Act.NOTHING),
    ],
)
def test_untracked_files(role: FileRole, found: Bytes, act: Act) -> None:
    assert decide(Reason.UNTRACKED, role, found) is act


@pytest.mark.parametrize(
    ("reason", "act"),
    [
        (Reason.DATABASE_DAMAGED, Act.REFUSE),
        (Reason.COUNTER_MISMATCH, Act.RECOUNT),
        (Reason.RECORD_MISMATCH, Act.RECOUNT),
        (Reason.ORPHANED_LEASE, Act.RELEASE),
        (Reason.DANGLING_REFERENCE, Act.LEAVE),
        (Reason.UNREADABLE, Act.LEAVE),
        (Reason.TORN_SHARD, Act.CUT),
        (Reason.LEFTOVER, Act.SWEEP),
    ],
)
def test_findings_whose_reason_says_all(reason: Reason, act: Act) -> None:
    assert {decide(reason, role, found) for role in FileRole for found in Bytes} == {act}


def test_every_reason_has_an_act_whatever_is_there() -> None:
    assert all(isinstance(decide(reason, role, found), Act) for reason in Reason for role in FileRole for found in Bytes)


@pytest.mark.parametrize(
    ("n_missing", "n_checked", "is_lost"),
    [
        (19, 19, False),
        (20, 20, True),
        (20, 399, True),
        (20, 401, False),
        (59_000, 59_000_000, False),
        (3_000_000, 59_000_000, True),
    ],
)
def test_when_so_much_is_missing_that_the_root_is_in_doubt(n_missing: int, n_checked: int, is_lost: bool) -> None:
    assert is_root_lost(n_missing, n_checked) is is_lost


@pytest.mark.parametrize(
    ("n_strangers", "n_files", "is_foreign"), [(19, 19, False), (20, 20, True), (20, 40, False), (5_000, 13_000_000, False)]
)
def test_when_so_many_files_are_strangers_that_the_ledger_is_in_doubt(n_strangers: int, n_files: int, is_foreign: bool) -> None:
    assert is_foreign_root(n_strangers, n_files) is is_foreign


def test_a_repair_is_no_remedy_for_what_it_only_reports() -> None:
    reported = {reason for reason, act in LEDGER_ACTS.items() if act in (Act.LEAVE, Act.REFUSE)}
    assert {Reason.UNREADABLE, Reason.DATABASE_DAMAGED} <= reported
    assert not [reason for reason in reported if "--repair" in REMEDIES[reason]]
