"""What is to be said before a download: a verdict on each thing that it needs of a node. Gets what was found; looks at nothing.

A check fails if a download could not work or would lose something, and warns of what a person should know. A check whose answer is
not to be had says so: it is neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from d4c_images.durations import show_size, show_span
from d4c_images.model import OwnCode

LEAST_FREE_BYTES = 200_000_000  # with less, a disk counts as full: the images under way and the ledger's log need as much
LEAST_FREE_INODES = 1_000
FOLDERS = 1_000_000  # the images of a collection stand in about as many folders at most (docs/adr/0011), or in one each
STEWARD_BYTES, WORKER_BYTES = 150_000_000, 100_000_000  # docs/adr/0033
MOST_SKEW_S = 5.0  # between two clocks
EARLIEST_S = 1_767_225_600.0  # 2026-01-01: a clock before that was never set
SHORT_JOB_S = 600.0
NAMES_SHOWN = 3

ASK_ADMIN = "ask which nodes have a way out, or set https_proxy and http_proxy"


class Grade(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    grade: Grade
    found: str
    advice: str = ""

    @property
    def is_trouble(self) -> bool:
        return self.grade in (Grade.WARNING, Grade.FAILED)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class ToCome(NamedTuple):
    """What a download still has to store, as far as is known."""

    n_images: int
    mean_bytes: float | None  # of the stored ones; None: there are none
    in_shards: bool


class Knock(NamedTuple):
    """What came of connecting to one host, without asking it for anything."""

    host: str
    code: OwnCode | None = None  # None: the connection stood, with TLS where the host has that
    detail: str = ""
    by_proxy: bool = False  # which looks the host's name up itself


def disk(name: str, free_bytes: int, to_come: ToCome | None) -> Check:
    """Space for the images; `to_come` is None without a ledger."""
    free = f"{show_size(free_bytes)} free"
    if free_bytes < LEAST_FREE_BYTES:
        return Check(name, Grade.FAILED, f"full: {free}", "make room, or name another folder with --root")
    if to_come is None:
        return Check(name, Grade.OK, free)
    if not to_come.n_images:
        return Check(name, Grade.OK, f"{free}, nothing is left to come")
    if to_come.mean_bytes is None:
        return Check(name, Grade.OK, f"{free}; what is to come is not known before some images are stored")
    need = to_come.n_images * to_come.mean_bytes
    found = f"{free}, about {show_size(need)} to come"
    if need > free_bytes:
        return Check(name, Grade.WARNING, found, "the download stops when the disk is full, and goes on where it stopped")
    return Check(name, Grade.OK, found)


def inodes(name: str, free_inodes: int | None, to_come: ToCome | None) -> Check:
    """Files that may still be made. Quotas are not to be seen here."""
    if free_inodes is None:
        return Check(name, Grade.OK, "the file system has no limit of files")
    free = f"{free_inodes:,} free"
    if free_inodes < LEAST_FREE_INODES:
        return Check(name, Grade.FAILED, free, "remove files, or name another folder with --root")
    if to_come is None:
        return Check(name, Grade.OK, free)
    if to_come.in_shards:
        return Check(name, Grade.OK, f"{free}; images are packed, so few are needed")
    need = to_come.n_images + min(to_come.n_images, FOLDERS)
    found = f"{free}, up to {need:,} to come"
    if need > free_inodes:
        return Check(name, Grade.WARNING, found, "--store pack keeps many images in one file")
    return Check(name, Grade.OK, found)


def ledger_disk(free_bytes: int, ledger_bytes: int, *, is_shared: bool) -> Check:
    """Space for the ledger to grow in; on a shared disk also for the copy that readers get."""
    need = LEAST_FREE_BYTES + (ledger_bytes if is_shared else 0)
    found = f"{show_size(free_bytes)} free, the ledger has {show_size(ledger_bytes)}"
    if free_bytes >= need:
        return Check("ledger disk", Grade.OK, found)
    why = "on a shared disk the ledger needs as much again, for its copy" if free_bytes >= LEAST_FREE_BYTES else "make room there"
    grade = Grade.WARNING if free_bytes >= LEAST_FREE_BYTES else Grade.FAILED
    return Check("ledger disk", grade, found, why)


def memory(available_bytes: int | None, processes: int) -> Check:
    need = STEWARD_BYTES + processes * WORKER_BYTES
    if available_bytes is None:
        return Check("memory", Grade.NOT_CHECKED, f"not known; up to {show_size(need)} will be used")
    found = f"{show_size(available_bytes)} available, up to {show_size(need)} used"
    if available_bytes < need:
        return Check("memory", Grade.WARNING, found, "ask for more memory, or use fewer worker processes (--processes)")
    return Check("memory", Grade.OK, found)


def cores(granted: int, processes: int) -> Check:
    found = f"{_n(granted, 'core')} granted, {_n(processes, 'worker process', 'worker processes')}"
    if processes > granted:
        return Check("cores", Grade.WARNING, found, "more workers than cores gain nothing: use fewer (--processes)")
    return Check("cores", Grade.OK, found)


def clock(now: float, file_time: float | None, ledger_ahead_s: float) -> Check:
    """This machine's clock, against that of the file system and the last sign of life in the ledger."""
    set_it = "have the clock set (NTP): waits and certificates depend on it"
    if now < EARLIEST_S:
        return Check("clock", Grade.FAILED, "it shows a time before this program was made", set_it)
    if ledger_ahead_s > MOST_SKEW_S:
        return Check("clock", Grade.WARNING, f"the ledger was last written {show_span(ledger_ahead_s)} in the future", set_it)
    if file_time is None:
        return Check("clock", Grade.NOT_CHECKED, "the ledger's folder cannot be written, so its times cannot be compared")
    skew_s = file_time - now
    if abs(skew_s) > MOST_SKEW_S:
        which = "ahead of" if skew_s > 0 else "behind"
        return Check("clock", Grade.WARNING, f"the file server is {show_span(abs(skew_s))} {which} this machine", set_it)
    return Check("clock", Grade.OK, "this machine and the ledger's file system agree")


def job(name: str | None, left_s: float | None, error: str | None, may_come_again: bool | None) -> Check:
    """`name` as people know it ("Slurm job 12"); None: this is no job. `left_s`: None if the job has no limit."""
    if name is None:
        return Check("job", Grade.OK, "not in a job of a batch scheduler: no time limit is known")
    if error is not None:
        return Check("job", Grade.WARNING, f"{name}: its end is not known ({error})", "say it yourself: download --for 11h30m")
    again = {True: "; it may be queued again", False: "; it may not be queued again", None: ""}[may_come_again]
    if left_s is None:
        return Check("job", Grade.OK, f"{name} has no time limit{again}")
    found = f"{name} ends in {show_span(left_s)}{again}"
    if left_s < SHORT_JOB_S:
        return Check("job", Grade.WARNING, found, "ask for more time")
    if may_come_again is False:
        return Check("job", Grade.WARNING, found, "submit it with --requeue for download --requeue to work")
    return Check("job", Grade.OK, found)


def host_names(knocks: Sequence[Knock]) -> Check:
    """Whether the names of hosts can be looked up."""
    name = "host names"
    own = [knock for knock in knocks if not knock.by_proxy]
    if not own:
        found = "the proxy looks them up" if knocks else "no host was tried"
        return Check(name, Grade.NOT_CHECKED, found)
    bad = [knock for knock in own if knock.code == OwnCode.DNS]
    if not bad:
        return Check(name, Grade.OK, f"{_n(len(own), 'host')} found")
    if len(bad) == len(own):
        return Check(name, Grade.FAILED, f"none of {_n(len(own), 'host')} found ({_said(bad)})")  # `way_out` says what to do
    found = f"{len(own) - len(bad)} of {len(own)} hosts found; not {_listed(bad)} ({_said(bad)})"
    return Check(name, Grade.WARNING, found, "the host may be gone: see 'd4c-images hosts'")


def way_out(knocks: Sequence[Knock]) -> Check:
    """Whether connections to publishers' servers stand."""
    name, by = "way out", " by proxy" if any(knock.by_proxy for knock in knocks) else ""
    if not knocks:
        return Check(name, Grade.NOT_CHECKED, "no host was tried")
    refused = [knock for knock in knocks if knock.code == OwnCode.PRIVATE_ADDRESS]
    tried = [knock for knock in knocks if knock.code != OwnCode.PRIVATE_ADDRESS]
    if not tried:
        found = f"{_listed(refused)}: {_said(refused)}"
        return Check(name, Grade.NOT_CHECKED, found, "--allow-private-hosts, if you know that these are the hosts you want")
    lost = [knock for knock in tried if knock.code not in (None, OwnCode.TLS)]
    if len(lost) == len(tried):
        why = "" if all(knock.code == OwnCode.DNS for knock in lost) else f" ({_said(lost)})"  # `host_names` has said it
        found = f"none of {_n(len(tried), 'host')} could be reached{by}{why}: this node seems to have no way out"
        if len(tried) == 1:
            found = f"{_listed(tried)} could not be reached{by}{why}, and no other host was tried"
        return Check(name, Grade.FAILED, found, ASK_ADMIN)
    if lost:
        found = f"{len(tried) - len(lost)} of {len(tried)} hosts reached{by}; not {_listed(lost)} ({_said(lost)})"
        return Check(name, Grade.WARNING, found, "such hosts are tried again later, by the download itself")
    return Check(name, Grade.OK, f"{_n(len(tried), 'host')} reached{by}; nothing was asked for")


def tls_roots(path: str, n_roots: int, error: str | None, knocks: Sequence[Knock]) -> Check:
    """Whether there are certificates to trust, and whether those of hosts can be verified by them."""
    name = "TLS roots"
    if error is not None:
        return Check(name, Grade.FAILED, error, "name a bundle in PEM with --cacert, or install ca-certificates")
    bad = [knock for knock in knocks if knock.code == OwnCode.TLS]
    good = [knock for knock in knocks if knock.code is None]
    if bad and not good:
        found = f"no certificate could be verified: {_listed(bad)} ({_said(bad)})"
        return Check(name, Grade.FAILED, found, "if the site's proxy opens TLS, name its certificate with --cacert")
    if bad:
        found = f"not verified: {_listed(bad)} ({_said(bad)})"
        return Check(name, Grade.WARNING, found, "most likely that host's fault; see --insecure-host of download")
    return Check(name, Grade.OK, f"{n_roots:,} in {path}")


def reached_nobody(n_hosts: int, why: str) -> str:
    """The one line of a download that has not reached anybody since it began."""
    return f"none of {_n(n_hosts, 'host')} could be reached ({why}): this node seems to have no way out; see 'd4c-images preflight'"


def verdict(checks: Iterable[Check]) -> Grade:
    grades = {check.grade for check in checks}
    return next((grade for grade in (Grade.FAILED, Grade.WARNING) if grade in grades), Grade.OK)


def conclusion(checks: Sequence[Check]) -> str:
    """The last line."""
    failed = [check.name for check in checks if check.grade is Grade.FAILED]
    n_warnings = sum(check.grade is Grade.WARNING for check in checks)
    warnings = f" ({_n(n_warnings, 'warning')})" if n_warnings else ""
    return f"not ready: {', '.join(failed)}{warnings}" if failed else f"ready to download{warnings}"


def _n(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _listed(knocks: Sequence[Knock]) -> str:
    more = ", ..." if len(knocks) > NAMES_SHOWN else ""
    return ", ".join(knock.host for knock in knocks[:NAMES_SHOWN]) + more


def _said(knocks: Sequence[Knock]) -> str:
    return next((knock.detail for knock in knocks if knock.detail), "no word of why")
