"""A failure that an image takes along to another host, as stored in its row. Decides nothing."""

from __future__ import annotations

import json

from d4c_images.model import Failure, Status, Verdict


def packed(failure: Failure | None) -> str | None:
    """A failure as a row stores it. What it says about its host has been counted there."""
    if failure is None:
        return None
    verdict = failure.verdict
    return json.dumps([verdict.status, verdict.error_type, verdict.detail, failure.code, failure.url_no])


def unpacked(carried: str | None) -> Failure | None:
    if carried is None:
        return None
    status, error_type, detail, code, url_no = json.loads(carried)
    return Failure(Verdict(Status(status), error_type, detail), code, url_no)
