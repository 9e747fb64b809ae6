"""The state of the collection: one frozen report, assembled from counters in milliseconds. Renders nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.questions import from_counters, overview, run_list, verified
from d4c_images.ledger.questions.overview import (
    ArchiveState,
    FailureCount,
    HostCounts,
    LastHost,
    NonImageAnswer,
    NotAgain,
    Traffic,
)
from d4c_images.ledger.questions.verified import LastVerified
from d4c_images.model import RecordStatus, Verification
from d4c_images.policy.limits import HostLimits
from d4c_images.report.run_states import RunState, run_state, who_goes_on

PAUSED_LISTED = 1000
TOP = 15  # hosts in a list; `status --tables` has them all


@dataclass(frozen=True, slots=True)
class StatusReport:
    ledger: Path
    made_at: int  # unix time, as all times here
    copied_at: int | None  # when the copy that was read was made; None: the ledger itself was read
    ledger_bytes: int
    run: RunState | None  # the latest of all commands but `hosts`
    download: RunState | None  # the latest download, whatever ran since
    goes_on: str | None  # in words: who goes on with what that has left, and when; None: it runs, or nothing is left
    archives: tuple[ArchiveState, ...]
    records: dict[str, int]  # every status, with 0 where there is none
    images: from_counters.ImageCounts
    failures: tuple[FailureCount, ...]
    not_again: tuple[NotAgain, ...]  # of refetched images
    n_former: int  # what was stored before publishers changed it
    verified: LastVerified  # what checks have found of the stored images
    non_image_answers: tuple[NonImageAnswer, ...]
    traffic: Traffic
    worst_hosts: tuple[HostCounts, ...]
    blocked_hosts: tuple[HostCounts, ...]
    paused_hosts: tuple[str, ...]  # some of them
    n_paused_hosts: int
    ends_last: LastHost | None  # None: nothing is left, or its end cannot be estimated
    rejected_rows: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the names are those of the fields."""
        values = dataclasses.asdict(self)
        values["ledger"] = str(self.ledger)
        del values["images"]["to_refetch"]  # only a run knows them
        del values["images"]["failures"]  # `failures` says more about them
        values["images"]["left"] = self.images.left
        return values


def status_report(ledger: Reader, now: float, checked: Sequence[Verification] = ()) -> StatusReport:
    """The state of the ledger at one moment; `now` is unix time. `checked`: results of checks that no writer has taken over yet."""
    return ledger.at_one_moment(lambda: _ask(ledger, now, checked))


def _ask(ledger: Reader, now: float, checked: Sequence[Verification]) -> StatusReport:
    download, other = (
        None if row is None else run_state(row, ledger.copied_at or now)
        for row in (run_list.last_download(ledger), run_list.last_other_run(ledger))
    )
    images = from_counters.image_counts(ledger.rows)
    n_paused, paused = overview.paused_hosts(ledger, now, PAUSED_LISTED)
    return StatusReport(
        ledger=ledger.path,
        made_at=int(now),
        copied_at=ledger.copied_at,
        ledger_bytes=ledger.path.stat().st_size,
        run=max(filter(None, (download, other)), key=lambda run: run.run_id, default=None),
        download=download,
        goes_on=who_goes_on(download, now) if download is not None and images.left else None,
        archives=tuple(overview.archives(ledger)),
        records=dict.fromkeys([status.value for status in RecordStatus], 0) | overview.records_by_status(ledger),
        images=images,
        failures=tuple(overview.failures(ledger)),
        not_again=tuple(overview.not_again(ledger)),
        n_former=overview.n_former(ledger),
        verified=verified.last_verified(ledger, checked, now),
        non_image_answers=tuple(overview.non_image_answers(ledger, TOP)),
        traffic=overview.traffic(ledger, now),
        worst_hosts=tuple(overview.worst_hosts(ledger, TOP)),
        blocked_hosts=tuple(overview.blocked_hosts(ledger, now, TOP)),
        paused_hosts=paused,
        n_paused_hosts=n_paused,
        ends_last=overview.ends_last(ledger, HostLimits().connections, now),
        rejected_rows=overview.rejects(ledger),
    )
