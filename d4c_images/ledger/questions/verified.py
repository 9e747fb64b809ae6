"""What has been verified, and when: computed from the blocks of image numbers that checks have covered. Reads no image row.

A result counts for those of its blocks that no newer result of the same kind covers, as if its images were spread evenly over
them. There is one byte for each thousand image numbers, so it takes some milliseconds at any size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.rows.extent import number
from d4c_images.model import Verification

WITHIN_DAYS = 30
MOST_READ = 5_000  # results, the newest ones
BLOCK_IDS = 1_000  # results that were divided otherwise cover nothing
REPAIR_RUN = "check --repair"

HAS_VERIFICATIONS = "SELECT 1 FROM sqlite_schema WHERE name = 'verifications'"
VERIFICATIONS = """
SELECT check_id, began_at, ended_at, root, last_image_id, part, n_parts, block_ids, with_sha256, with_decode, sample, sample_turn,
       n_images, n_read, n_decoded, n_findings, n_ledger_findings
FROM verifications ORDER BY ended_at DESC, check_id DESC LIMIT ?
"""
REPAIRED_AT = f"""
SELECT coalesce(max(started_at), 0) FROM runs WHERE command = '{REPAIR_RUN}' AND ending GLOB 'ended*'
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class LastVerified:
    """What is known of the stored images. Numbers are estimates if a result is only in part the newest one of its blocks."""

    last_at: int | None  # when the latest check of images ended, unix time; None: never
    within_days: int
    n_size: int  # images whose file was there, with the right size, when looked at within these days
    n_sha256: int  # ... with the right SHA-256
    n_decode: int  # ... and could be decoded
    n_findings: int  # of the newest results, if nothing has repaired them since


def verifications(ledger: Reader) -> list[Verification]:
    """The newest first. Also reads a ledger of version 3, which has none."""
    if not ledger.rows(HAS_VERIFICATIONS):
        return []
    rows = ledger.rows(VERIFICATIONS, (MOST_READ,))
    return [Verification(*(*row[:8], *map(bool, row[8:10]), *row[10:])) for row in rows]


def last_verified(ledger: Reader, not_taken_over: Iterable[Verification], now: float) -> LastVerified:
    """`not_taken_over`: results that no writer has taken over yet; one that is in the ledger, too, counts once."""
    known = {one.check_id: one for one in [*not_taken_over, *verifications(ledger)]}
    newest_first = sorted(known.values(), key=lambda one: (one.ended_at, one.check_id), reverse=True)
    recent = [one for one in newest_first if one.ended_at >= now - WITHIN_DAYS * 86400]
    repaired_at = number(ledger.rows, REPAIRED_AT)
    return LastVerified(
        last_at=next((one.ended_at for one in newest_first if one.last_image_id), None),
        within_days=WITHIN_DAYS,
        n_size=_n_covered([_Look(one, one.n_images) for one in recent]),
        n_sha256=_n_covered([_Look(one, one.n_read, _sample(one)) for one in recent if one.with_sha256]),
        n_decode=_n_covered([_Look(one, one.n_decoded, _sample(one)) for one in recent if one.with_decode]),
        n_findings=n_open([one for one in newest_first if one.ended_at > repaired_at]),
    )


class _Look(NamedTuple):
    """How closely one result has looked at its blocks."""

    at: Verification
    n_images: int
    sample: tuple[int, int] | None = None  # one image of so many, and which; None: all


def _sample(one: Verification) -> tuple[int, int] | None:
    return None if one.sample is None else (one.sample, one.sample_turn)


def _n_covered(newest_first: Sequence[_Look]) -> int:
    """How many images these looks cover. Samples of one size have no image in common: they add up in blocks not covered."""
    covered, n = _Blocks(), 0.0
    for look in (look for look in newest_first if look.sample is None):
        n += look.n_images * covered.add(look.at)
    seen = set()
    for look in (look for look in newest_first if look.sample is not None):
        sample = (look.sample, look.at.part, look.at.n_parts)
        if sample not in seen:
            n += look.n_images * covered.share_of_new(look.at)
        seen.add(sample)
    return round(n)


def n_open(newest_first: Sequence[Verification]) -> int:
    """The findings that no newer result replaces: one that covers all the blocks, and looks at least as closely.

    What is wrong with the ledger itself is what the newest look at the ledger has found.
    """
    kinds = {(one.with_sha256, one.with_decode): _Blocks() for one in newest_first}
    n = next((one.n_ledger_findings for one in newest_first if one.part == 1), 0)
    for one in newest_first:
        if kinds[one.with_sha256, one.with_decode].share_of_new(one) > 0:
            n += one.n_findings - one.n_ledger_findings
        whole = (one.with_sha256, one.with_decode) if one.sample is None else (False, False)
        for kind in _included(whole, kinds):
            kinds[kind].add(one)
    return n


def _included(kind: tuple[bool, bool], kinds: Iterable[tuple[bool, bool]]) -> Iterator[tuple[bool, bool]]:
    """Kinds of looks that see no more than this one."""
    return (one for one in kinds if all(mine >= theirs for mine, theirs in zip(kind, one, strict=True)))


class _Blocks:
    """Blocks of image numbers, of which some are covered."""

    def __init__(self) -> None:
        self._covered = bytearray()

    def share_of_new(self, one: Verification) -> float:
        """The share of the result's blocks that are not covered; 0 if it has none."""
        blocks = self._covered[self._of(one)]
        return blocks.count(0) / len(blocks) if blocks else 0.0

    def add(self, one: Verification) -> float:
        """Cover the result's blocks; returns the share that was not covered before."""
        share = self.share_of_new(one)
        blocks = self._of(one)
        self._covered[blocks] = b"\x01" * len(range(*blocks.indices(len(self._covered))))
        return share

    def _of(self, one: Verification) -> slice:
        if one.n_parts > 1 and one.block_ids != BLOCK_IDS:
            return slice(0, 0)
        n = -(-one.last_image_id // BLOCK_IDS)
        self._covered.extend(bytes(max(0, n - len(self._covered))))
        return slice(one.part - 1, n, one.n_parts)
