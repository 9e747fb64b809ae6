"""A worker that fetches nothing and says at once what has become of every image. For `bench.steward_only`.

Every image is stored, each with bytes of its own; but the path of its URL may ask for something else: `/gone/` fails for good,
`/later/` fails for now, `/same/` is stored with the same bytes as all others of its host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from d4c_images.model import Blob, Claim, ErrorType, Outcome, Report, Status, Verdict
from d4c_images.runners.pipe_worker import Feed, Work

STORED = Verdict(Status.SUCCESS)
GONE = Verdict(Status.FAILED_PERMANENT, "http_404")
LATER = Verdict(Status.FAILED_TRANSIENT, ErrorType.TRUNCATED)
SIZE_BYTES = 40_000


def work(feed: Feed) -> Iterator[Report]:
    """As a worker reports: half of a turn, then the other half."""
    closed = False
    while not closed:
        orders = feed(1.0)
        closed = orders.closed
        for turn in orders.turns:
            outcomes = [outcome(claim) for claim in turn.claims]
            half = len(outcomes) // 2
            if half:
                yield Report(turn.lease_id, tuple(outcomes[:half]))
            yield Report(turn.lease_id, tuple(outcomes[half:]), finished=True)


def outcome(claim: Claim) -> Outcome:
    url = claim.urls[claim.url_no]
    if "/gone/" in url:
        return Outcome(claim.image_id, GONE, http_status=404, url_no=claim.url_no, requests=1, elapsed_s=0.1)
    if "/later/" in url:
        return Outcome(claim.image_id, LATER, http_status=200, url_no=claim.url_no, requests=1, elapsed_s=0.1)
    return stored(claim, "same" if "/same/" in url else None)


def stored(claim: Claim, content: str | None = None) -> Outcome:
    """Stored under its usual name, with bytes that follow from `content`, or else from the name."""
    digits = str(claim.gbif_id)
    path = f"{digits[:3]}/{digits[3:6]}/{digits}-{claim.image_no:02d}.jpg"
    blob = Blob(path, SIZE_BYTES, hashlib.sha256((content or path).encode()).digest(), "image/jpeg", 640, 480)
    etag = f'"{claim.image_id:08x}"'
    answer = {"http_status": 200, "requests": 1, "received_bytes": SIZE_BYTES, "elapsed_s": 0.1, "url_no": claim.url_no}
    return Outcome(claim.image_id, STORED, blob=blob, etag=etag, **answer)


def set_up() -> Work:
    return work
