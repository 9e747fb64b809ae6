"""`--watch` while the ledger cannot be read. How it looks on a terminal: `commands/test_screens.py`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from rich.text import Text

from d4c_images.errors import LedgerError
from d4c_images.report.watch import _reports


def test_a_ledger_that_cannot_be_read_for_a_moment_leaves_the_last_report_with_a_word() -> None:
    answers = iter(["one", LedgerError("the disk is away"), LedgerError("still"), "two"])

    def report() -> Sequence[Text]:
        answer = next(answers)
        if isinstance(answer, LedgerError):
            raise answer
        return [Text(answer)]

    shown = [[line.plain for line in lines] for lines in itertools.islice(_reports(report), 4)]
    assert shown == [["one"], ["one", "refresh failed: the disk is away"], ["one", "refresh failed: still"], ["two"]]


def test_a_ledger_that_cannot_be_read_at_first_ends_it() -> None:
    def report() -> Sequence[Text]:
        raise LedgerError("no ledger")

    with pytest.raises(LedgerError, match="no ledger"):
        next(_reports(report))
