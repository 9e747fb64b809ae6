"""Turns reports into text: tables on a terminal, plain aligned lines in a log. Queries no ledger.

Text from servers and archives is shown without control characters, so a page cannot affect the reader's terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from d4c_images.collection.check_results import JoinedResults
from d4c_images.collection.findings import REMEDIES, CheckReport, Reason
from d4c_images.durations import counted, show_clock, show_moment, show_size, show_span
from d4c_images.ledger.questions.from_counters import ImageCounts
from d4c_images.report.layout import Column, Section, fitted, put, show, whole
from d4c_images.report.run_states import RunState
from d4c_images.report.status import StatusReport
from d4c_images.system.terminal import clean

PAUSED_SHOWN = 5
PAGE_TEXT = 100  # characters of a page's text
BRIEF = 6  # counts in one line
BRIEF_HOSTS = 2  # likewise


def show_status(report: StatusReport, console: Console, *, full: bool = True) -> None:
    """Print the report: coloured on a terminal, plain otherwise; there, without `full`, as much as its height allows."""
    put(status_lines(report, console, full=full), console)


def status_lines(report: StatusReport, console: Console, *, full: bool) -> list[Text]:
    title, facts, sections = f"d4c-images status of {report.ledger}", summary_lines(report), status_sections(report)
    if full:
        return whole(title, facts, sections, console)
    return fitted(title, facts, sections, console, "d4c-images status --full shows all tables")


def show_check(report: CheckReport, console: Console) -> None:
    """Print what was checked, and the number of findings for each reason."""
    former = f", {counted(report.n_former, 'former one')}" if report.n_former else ""
    n_rows = sum(report.images_by_status.values())
    checked = [
        (
            "checked",
            f"{counted(report.n_images, 'stored image')}{former}, {counted(report.n_files, 'file')}, "
            f"{counted(report.n_records, 'gbifID')}",
        ),
        *_read(report),
        *_packed(report),
        (
            "unsettled",
            f"{counted(report.n_in_work, 'file')} of a running download, {report.n_to_adopt:,} for the next download to adopt, "
            f"{counted(report.n_to_set_aside, 'placeholder')} to be quarantined",
        ),
    ]
    if report.root is None:
        checked = [("checked", f"the ledger alone: {counted(n_rows, 'image')}, {counted(report.n_records, 'gbifID')}")]
    lines = [
        *checked,
        ("findings", f"{sum(report.counts.values()):,}" if report.counts else "none"),
    ]
    rows: list[tuple[str, ...]] = [("images", status, f"{n:,}") for status, n in report.images_by_status.items()]
    rows += [("gbif_ids", status, f"{n:,}") for status, n in report.records_by_status.items()]
    by_status = Section("Rows by status", (Column("table"), Column("status"), Column("rows", right=True)), rows)
    sections = [section for section in (_by_reason(report.counts), by_status) if section.rows]
    files = "" if report.root is None else f" and {report.root}"
    part = "" if report.scope.parts == 1 else f", part {report.scope.part} of {report.scope.parts}"
    show(f"d4c-images check of {report.ledger}{files}{part}", lines, sections, console)


def show_joined(joined: JoinedResults, console: Console) -> None:
    """Print what the parts of a check add up to."""
    missing = ranges(joined.missing)
    n_done = len(joined.results)
    began_at, ended_at = (joined.as_dict()[name] for name in ("began_at", "ended_at"))
    lines = [
        ("parts", f"{n_done:,} of {joined.parts:,} are done{f'; missing: {missing}' if missing else ''}"),
        ("between", f"{show_moment(began_at)} and {show_moment(ended_at)}"),
        ("checked", f"{counted(joined.total('n_images'), 'stored image')}, {counted(joined.total('n_files'), 'file')}"),
        ("read", f"{counted(joined.total('n_read'), 'image')}, {show_size(joined.total('read_bytes'))}"),
        ("findings", f"{sum(joined.counts.values()):,}" if joined.counts else "none"),
    ]
    sections = [section for section in (_by_reason(joined.counts),) if section.rows]
    show("d4c-images check --summary", lines, sections, console)


def ranges(numbers: Sequence[int]) -> str:
    """`1-3, 7` of sorted numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _by_reason(counts: Mapping[Reason, int]) -> Section:
    return Section(
        "Findings",
        (Column("reason"), Column("number", right=True), Column("what mends it")),
        [(reason.value, f"{n:,}", REMEDIES[reason]) for reason, n in counts.items()],
    )


def _read(report: CheckReport) -> list[tuple[str, str]]:
    scope = report.scope
    if not scope.sha256 and not scope.decode:
        return []
    decoded = f", {report.n_decoded:,} decoded" if scope.decode else ""
    sample = "" if scope.sample is None else f" (sample {scope.sample_turn + 1:,} of {scope.sample:,})"
    return [("read", f"{counted(report.n_read, 'image')}, {show_size(report.read_bytes)}{decoded}{sample}")]


def _packed(report: CheckReport) -> list[tuple[str, str]]:
    if not report.n_packed:
        return []
    unused = f"{report.n_unused:,} no longer referenced, {show_size(report.unused_bytes)}"
    return [("packed", f"{counted(report.n_packed, 'image')} in shards, of them {unused}")]


def summary_lines(report: StatusReport) -> list[tuple[str, str]]:
    images = report.images
    lines = [("as of", show_moment(report.made_at))]
    if report.copied_at is not None:
        age = show_span(report.made_at - report.copied_at)
        lines = [("as of", f"{show_moment(report.copied_at)}, {age} ago: a copy, while a run holds the ledger")]
    if report.download is not None:
        lines.append(("download", _run(report.download)))
    if report.goes_on is not None:
        lines.append(("goes on", report.goes_on))
    if report.run != report.download or report.run is None:
        lines.append(("run", _run(report.run) if report.run else "none so far"))
    for archive in report.archives:
        state = "read" if archive.finished_at else _part_read(archive.offset_bytes, archive.size_bytes)
        lines.append(("archive", f"{clean(archive.source)}: {counted(archive.rows_done, 'row')} of {archive.kind} {state}"))
    share = f" ({100 * images.success / images.total:.1f} %)" if images.total else ""
    lines.append(("stored", f"{images.success:,} of {counted(images.total, 'image')}{share}, {show_size(images.stored_bytes)}"))
    if report.n_former:
        lines.append(("changed", f"{counted(report.n_former, 'time')} by their publishers; the bytes before that are kept"))
    if images.success:
        lines.append(("verified", _verified(report)))
    lines.append(("left", f"{counted(images.left, 'image')}{_end(report)}"))
    if report.paused_hosts:
        names = ", ".join(map(clean, report.paused_hosts[:PAUSED_SHOWN]))
        more = report.n_paused_hosts - PAUSED_SHOWN
        lines.append(("paused", f"{names}{f' and {more:,} more' if more > 0 else ''} (hosts resume)"))
    traffic = report.traffic
    lines.append(
        (
            "requests",
            f"{traffic.n_requests:,} to {counted(traffic.n_hosts, 'host')}, {show_size(traffic.received_bytes)} received, "
            f"{counted(traffic.n_retries, 'retry', 'retries')}; blocked now: {counted(traffic.n_blocked, 'host')}",
        )
    )
    return lines


def _end(report: StatusReport) -> str:
    """The host that will finish last, and when."""
    last = report.ends_last
    if last is None:
        return ""
    end = show_moment(int(report.made_at + last.eta_s))
    return f"; {clean(last.host)} finishes last: {counted(last.n_left, 'image')} in about {show_span(last.eta_s)}, {end}"


def _verified(report: StatusReport) -> str:
    """How much of what is stored was recently compared with its files, how closely, and the command that goes on from there."""
    found, n_stored = report.verified, report.images.success
    depths = (("by SHA-256", found.n_sha256), ("decoded", found.n_decode), ("by size", found.n_size))
    (how, share), *others = [(how, _whole_share(n, n_stored)) for how, n in depths if n] or [("", "")]
    if how:
        more = ", ".join(f"{other} {also}" for also, other in others if other != share)
        text = f"{share} of the stored images within {found.within_days} days {how}{f' ({more})' if more else ''}"
    elif found.last_at is not None:
        text = f"nothing within {found.within_days} days, last on {show_moment(found.last_at)}"
    else:
        text = "never"
    if found.n_findings:
        return f"{text}; {counted(found.n_findings, 'finding')}: d4c-images check --repair"
    return text if how else f"{text}: d4c-images check --sha256"


def _whole_share(n: int, total: int) -> str:
    """Rounded down, so that only all of them are 100 %."""
    return f"{min(100, 100 * n // total)} %" if 100 * n >= total else "less than 1 %"


def _flags(images: ImageCounts) -> str:
    """What a researcher should know about some of the successes."""
    counts = {"camera raw, stored as received": images.raw_unprocessed, "not fully decoded (partly_read)": images.partly_read}
    told = "; ".join(f"{what}: {n:,}" for what, n in counts.items() if n)
    return f"of them {told}" if told else ""


def status_sections(report: StatusReport) -> list[Section]:
    """The tables of the report, those that need action first; empty ones are omitted."""
    sections = [
        _failures(report),
        _blocked(report),
        _worst_hosts(report),
        _non_image_answers(report),
        _images(report),
        _counts("gbifIDs", ("status", "gbifIDs", "share"), report.records, "gbifIDs"),
        Section(
            "Stored images that could not be fetched again (download --refetch)",
            (Column("type"), Column("images", right=True), Column.of_text("")),
            [
                (row.error_type or "?", f"{row.n_images:,}", "refused" if row.status == "failed_permanent" else "may pass")
                for row in report.not_again
            ],
            ("refetch", "failed: " + _list((row.error_type or "?", row.n_images) for row in report.not_again)),
        ),
        _counts("Rejected rows of the archive", ("reason", "rows", "share"), report.rejected_rows, "rejected"),
    ]
    return [section for section in sections if section.rows]


def _failures(report: StatusReport) -> Section:
    rows = report.failures
    n = sum(row.n_images for row in rows)
    return Section(
        "Failures by type",
        (Column("type"), Column("images", right=True), Column("for good", right=True), Column("hosts", right=True)),
        [(row.error_type or "?", f"{row.n_images:,}", f"{row.n_final:,}", f"{row.n_hosts:,}") for row in rows],
        ("failed", f"{counted(n, 'image')}: {_list((row.error_type or '?', row.n_images) for row in rows)}"),
    )


def _blocked(report: StatusReport) -> Section:
    hosts = [host for host in report.blocked_hosts if host.n_left]
    first = [f"{clean(host.host)} until {show_clock(host.blocked_until or 0, report.made_at)}" for host in hosts[:BRIEF_HOSTS]]
    more = f" and {len(hosts) - BRIEF_HOSTS:,} more" if len(hosts) > BRIEF_HOSTS else ""
    return Section(
        "Blocked hosts",
        (Column("host"), Column("left", right=True), Column("until"), Column.of_text("why")),
        [
            (clean(host.host), f"{host.n_left:,}", show_moment(host.blocked_until or 0), clean(host.blocked_why or ""))
            for host in hosts
        ],
        ("blocked", ", ".join(first) + more),
    )


def _worst_hosts(report: StatusReport) -> Section:
    names = ("images", "success", "failed", "left", "retries")
    return Section(
        "Hosts with most failures",
        (Column("host"), *(Column(name, right=True) for name in names)),
        [
            (clean(host.host), *(f"{n:,}" for n in (host.n_images, host.n_success, host.n_failed, host.n_left, host.n_retries)))
            for host in report.worst_hosts
        ],
        ("failed at", _list(((clean(host.host), host.n_failed) for host in report.worst_hosts), BRIEF_HOSTS)),
    )


def _non_image_answers(report: StatusReport) -> Section:
    rows = report.non_image_answers
    return Section(
        "Responses that are not images",
        (Column("host"), Column("type"), Column("images", right=True), Column.of_text("the page says")),
        [(clean(row.host), row.error_type, f"{row.n_images:,}", clean(row.sample or "")[:PAGE_TEXT]) for row in rows],
        ("no images", "from " + _list(((clean(row.host), row.n_images) for row in rows), BRIEF_HOSTS)),
    )


def _images(report: StatusReport) -> Section:
    images = report.images
    rows = [
        ("success", images.success, _flags(images)),
        ("pending", images.pending, "not tried yet"),
        ("leased", images.leased, "leased to a worker"),
        ("failed_transient", images.to_retry, "to be retried"),
        ("failed_transient", images.failed_exhausted, "no attempts left (download --retry-failed)"),
        ("failed_permanent", images.failed_permanent, ""),
    ]
    return Section(
        "Images",
        (Column("status"), Column("images", right=True), Column("share", right=True), Column.of_text("")),
        [(status, f"{n:,}", _share(n, images.total), note) for status, n, note in rows if n],
        (
            "images",
            f"{images.pending:,} not tried yet, {images.leased:,} leased to workers, {images.to_retry:,} to be retried, "
            f"{images.failed:,} failed for good",
        ),
    )


def _list(counts: Iterable[tuple[str, int]], most: int = BRIEF) -> str:
    """`12 http_404, 3 timeout and 2 more`."""
    parts = [f"{n:,} {name}" for name, n in counts]
    more = f" and {len(parts) - most:,} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more


def _counts(title: str, names: tuple[str, str, str], counts: dict[str, int], brief: str) -> Section:
    total = sum(counts.values())
    columns = (Column(names[0]), Column(names[1], right=True), Column(names[2], right=True))
    rows: list[tuple[str, ...]] = [(clean(name), f"{n:,}", _share(n, total)) for name, n in counts.items()]
    return Section(title, columns, rows, (brief, _list((clean(name), n) for name, n in counts.items())))


def _share(n: int, total: int) -> str:
    return f"{100 * n / total:.1f} %" if total else ""


def _part_read(offset_bytes: int, size_bytes: int | None) -> str:
    return f"read so far ({100 * offset_bytes / size_bytes:.0f} %)" if size_bytes else "read so far"


def _run(run: RunState) -> str:
    job = f", job {clean(run.job_id)}" if run.job_id else ""
    who = f"'{clean(run.command)}' on {clean(run.host)}, pid {run.pid}{job}"
    guess = "" if run.is_certain else "probably "
    if run.state == "running":
        return f"{guess}running: {who}, since {show_moment(run.started_at)}, last sign of life {run.heartbeat_age_s} s ago"
    if run.state == "dead":
        return f"{guess}dead: {who}, silent for {show_span(run.heartbeat_age_s)}; run the same command to resume"
    ended = show_moment(run.ended_at) if run.ended_at else "?"
    return f"{who}, {show_moment(run.started_at)} to {ended}: {clean(run.ending or '?')}"
