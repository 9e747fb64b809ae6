"""What a repair would do, according to the ledger and to names and sizes of files. Reads no image and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from d4c_images.collection.findings import CheckProgress, Finding, Reason
from d4c_images.collection.repair import FILE_REASONS, FINDINGS_AT_ONCE, SAMPLE_STEP, RepairCounts
from d4c_images.collection.repair_decisions import LEDGER_ACTS, ROW_REASONS, Act, Bytes, decide
from d4c_images.collection.repair_files import found_files, found_samples
from d4c_images.collection.repair_list import RepairList
from d4c_images.collection.repair_looks import lost_files
from d4c_images.ledger.rows.extent import Ask

NOT_THERE = frozenset((Reason.NO_FILE_NAME, Reason.FILE_MISSING))


def plan(
    ask: Ask, root: Path | None, found: RepairList, token: str | None, progress: Callable[[CheckProgress], None]
) -> RepairCounts:
    """An image that has its bytes under another name counts as one to be requested, and each file for an open row as an image."""
    counts, findings, n = RepairCounts(), found.findings(), 0
    while some := [finding for finding, _ in islice(findings, FINDINGS_AT_ONCE)]:
        for lost in lost_files(ask, [finding for finding in some if finding.reason in ROW_REASONS]):
            seen = Bytes.GONE if lost.finding.reason in NOT_THERE else Bytes.WRONG
            counts.add(decide(lost.finding.reason, lost.role, seen), lost.size_bytes)
        for finding in some:
            if finding.reason in LEDGER_ACTS:
                _add(counts, finding, LEDGER_ACTS[finding.reason], root)
        for file in found_files(ask, [finding for finding in some if finding.reason is Reason.UNTRACKED]):
            _add(counts, file.finding, decide(Reason.UNTRACKED, file.role, Bytes.SOUND), root)
        n += len(some)
        progress(CheckProgress("findings", n, None))
    if root is not None and token is not None:
        for _, _, samples in found_samples(ask, root, token):
            for sample in samples:
                counts.add(Act.ADOPT, sample.sample.size_bytes)
            progress(CheckProgress(SAMPLE_STEP, counts.n[Act.ADOPT], None))
    return counts


def _add(counts: RepairCounts, finding: Finding, act: Act, root: Path | None) -> None:
    if act is Act.LEAVE:
        counts.leave(finding)
        return
    size_bytes = 0
    if root is not None and finding.reason in FILE_REASONS:
        try:
            size_bytes = (root / finding.subject).lstat().st_size
        except OSError:
            pass  # it has gone, or cannot be looked at
    counts.add(act, size_bytes)
