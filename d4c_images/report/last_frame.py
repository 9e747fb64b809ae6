"""What stays on the terminal when a download has ended: what it did, what is left, and at which hosts. Queries no ledger."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from d4c_images.durations import counted, show_size, show_span
from d4c_images.report.layout import Column, Section, whole
from d4c_images.report.meter import Pace
from d4c_images.report.progress import asked_again, end_words, reasons, waits_of
from d4c_images.steward.terms import Ending, Snapshot
from d4c_images.system.terminal import clean

HOSTS_LISTED = 5
REASONS_LISTED = 6


def last_frame(snapshot: Snapshot, pace: Pace, ending: Ending, console: Console) -> list[Text]:
    totals, images = snapshot.totals, snapshot.images
    lasted_s = max(snapshot.now - snapshot.started_at, 1e-9)
    adopted = f" ({totals.n_adopted:,} found on disk)" if totals.n_adopted else ""
    share = f", {images.success / images.total:.1%}" if images.total else ""
    facts = [
        (
            "stored",
            f"{counted(totals.n_success, 'image')}{adopted}, {show_size(totals.stored_bytes)}, "
            f"{totals.n_settled / lasted_s:.1f} images/s; {images.success:,} of {images.total:,}{snapshot.scope} in total{share}",
        ),
        (
            "failed",
            f"{counted(totals.n_failed, 'image')} for good, {counted(totals.n_retry, 'attempt')} to be retried"
            f"{f'; in total {reasons(images, REASONS_LISTED)}' if images.failed else ''}",
        ),
    ]
    if again := asked_again(totals):
        facts.append(("refetch", again.rstrip("; ")))
    waits = waits_of(snapshot)
    facts.append(("left", f"{counted(images.left, 'image')} at {counted(snapshot.n_hosts, 'host')}{f'; {waits}' if waits else ''}"))
    title = f"{clean(end_words(snapshot, ending))}, after {show_span(lasted_s)}"
    return whole(title, facts, [_hosts(snapshot, pace)] if images.left and pace.hosts else [], console)


def _hosts(snapshot: Snapshot, pace: Pace) -> Section:
    rows: list[tuple[str, ...]] = [
        (
            clean(one.host),
            f"{one.n_left:,}",
            "" if one.images_per_s is None else f"{one.images_per_s:.1f}",
            "paused" if one.host in snapshot.paused else "blocked" if one.host in snapshot.blocked else "",
        )
        for one in pace.hosts[:HOSTS_LISTED]
    ]
    columns = (Column("host"), Column("left", right=True), Column("images/s", right=True, fold=1), Column("state"))
    return Section("Slowest hosts", columns, rows)
