"""What the results of checks next to a ledger say of its images, for reports and for the ledger itself. Reads no image.

A result's file stays for a week after it was recorded, since the parts of one check are joined from their files, and people read
the findings there.
"""

from __future__ import annotations

from pathlib import Path

from d4c_images.collection.check_results import CheckResult, check_results, forget
from d4c_images.collection.findings import Reason
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import verifications
from d4c_images.model import Verification

FILES_STAY_S = 7 * 86400
OF_LEDGER = (
    Reason.DATABASE_DAMAGED,
    Reason.COUNTER_MISMATCH,
    Reason.RECORD_MISMATCH,
    Reason.ORPHANED_LEASE,
    Reason.DANGLING_REFERENCE,
)
"""What is wrong with the ledger itself, whatever the files are."""


def found_by_checks(ledger: Path) -> list[Verification]:
    """The results next to this ledger, recorded or not."""
    return [_verification(ledger, result) for result in check_results(ledger)]


def record_checks(ledger: Ledger, now: float) -> None:
    """Record the results next to the ledger, and remove the files of those that are old. Raises what a transaction raises."""
    results = check_results(ledger.path)
    if not results:
        return
    verifications.take_over(ledger, [_verification(ledger.path, result) for result in results], now)
    forget(result for result in results if result.ended_at < now - FILES_STAY_S)


def _verification(ledger: Path, result: CheckResult) -> Verification:
    scope = result.scope
    return Verification(
        check_id=f"{result.ended_at:.6f} {result.path.name.removeprefix(f'{ledger.name}.')}",  # sorts results of one second, too
        began_at=int(result.began_at),
        ended_at=int(result.ended_at),
        root=result.root,
        last_image_id=scope.last_image_id,
        part=scope.part,
        n_parts=scope.parts,
        block_ids=scope.block_ids,
        with_sha256=scope.sha256,
        with_decode=scope.decode,
        sample=scope.sample,
        sample_turn=scope.sample_turn,
        n_images=result.n_images,
        n_read=result.n_read,
        n_decoded=result.n_decoded,
        n_findings=sum(result.counts.values()),
        n_ledger_findings=sum(result.counts.get(reason, 0) for reason in OF_LEDGER),
    )
