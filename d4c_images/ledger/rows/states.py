"""Which images are final, and which status a record has by its images: each rule in Python and in SQL. Reads no row."""

from __future__ import annotations

from d4c_images.model import RecordStatus, Status

# For the row `i` of `image_rows`.
FAILED_FOR_GOOD = "(i.status = 'failed_permanent' OR (i.status = 'failed_transient' AND i.not_before IS NULL))"
IS_FINAL = f"(i.status = 'success' OR {FAILED_FOR_GOOD})"

# For a record whose images add up to `links`, `success`, `failed` (for good) and `tried`.
RECORD_STATUS = """
CASE WHEN success = links THEN 'done' WHEN success + failed = links THEN 'failed' WHEN tried > 0 THEN 'partial'
     ELSE 'pending' END"""


def failed_for_good(status: str, not_before: int | None) -> bool:
    """Whether an image in this state has failed for good."""
    return status == Status.FAILED_PERMANENT or (status == Status.FAILED_TRANSIENT and not_before is None)


def is_final(status: str, not_before: int | None) -> bool:
    """Whether nothing more will be tried automatically for an image in this state."""
    return status == Status.SUCCESS or failed_for_good(status, not_before)


def record_status(n_images: int, n_success: int, n_failed: int, *, tried: bool) -> RecordStatus:
    """The status of a record with these counts (DESIGN: `gbif_ids.status`)."""
    if n_success == n_images:
        return RecordStatus.DONE
    if n_success + n_failed == n_images:
        return RecordStatus.FAILED
    return RecordStatus.PARTIAL if tried else RecordStatus.PENDING


def record_state(
    n_images: int, n_success: int, n_failed: int, completed_at: int | None, *, tried: bool
) -> tuple[RecordStatus, int | None]:
    """The status of a record with these counts, and its `completed_at`: the time passed, if nothing more will be tried for it."""
    status = record_status(n_images, n_success, n_failed, tried=tried)
    return status, completed_at if status in (RecordStatus.DONE, RecordStatus.FAILED) else None
