"""Judges whether a node is ready for a download, one check per requirement. Pure: takes what was found, and looks at nothing.

A check fails if a download could not work or would lose something, and warns about what an operator should know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from d4c_images.durations import counted, show_size, show_span
from d4c_images.model import OwnCode

LEAST_FREE_BYTES = 200_000_000  # a disk with less counts as full: images in flight and the write-ahead log need this much
LEAST_FREE_INODES = 1_000
FOLDERS = 1_000_000  # of a collection, at most; a small one has nearly one per image
STEWARD_BYTES, WORKER_BYTES = 150_000_000, 100_000_000  # docs/adr/0033
MOST_SKEW_S = 5.0  # between two clocks
EARLIEST_S = 1_767_225_600.0  # 2026-01-01: an earlier clock was never set
SHORT_JOB_S = 600.0
NAMES_SHOWN = 3

ASK_ADMIN = "ask your site which nodes have internet access, or set https_proxy and http_proxy"


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
    """What a download still has to store."""

    n_images: int
    mean_bytes: float | None  # of the stored ones; None: there are none
    in_shards: bool


class ConnectResult(NamedTuple):
    """The result of connecting to one host without sending a request."""

    host: str
    code: OwnCode | None = None  # None: connected, with a verified certificate if the host has TLS
    detail: str = ""
    by_proxy: bool = False  # the proxy resolves the host's name


def disk(name: str, free_bytes: int, to_come: ToCome | None) -> Check:
    """Space for the images. `to_come` is None if there is no ledger."""
    free = f"{show_size(free_bytes)} free"
    if free_bytes < LEAST_FREE_BYTES:
        return Check(name, Grade.FAILED, f"full: {free}", "free some space, or use another folder with --root")
    if to_come is None:
        return Check(name, Grade.OK, free)
    if not to_come.n_images:
        return Check(name, Grade.OK, f"{free}; no images are left to store")
    if to_come.mean_bytes is None:
        return Check(name, Grade.OK, f"{free}; no image is stored yet to estimate by")
    need = to_come.n_images * to_come.mean_bytes
    found = f"{free}, about {show_size(need)} expected"
    if need > free_bytes:
        return Check(name, Grade.WARNING, found, "a download stops when the disk is full; run again, it continues")
    return Check(name, Grade.OK, found)


def inodes(name: str, free_inodes: int | None, to_come: ToCome | None) -> Check:
    """Files that can still be created. Quotas cannot be seen here."""
    if free_inodes is None:
        return Check(name, Grade.OK, "the file system has no inode limit")
    free = f"{free_inodes:,} free"
    if free_inodes < LEAST_FREE_INODES:
        return Check(name, Grade.FAILED, free, "delete files, or use another folder with --root")
    if to_come is None:
        return Check(name, Grade.OK, free)
    if to_come.in_shards:
        return Check(name, Grade.OK, f"{free}; few are needed, since images are packed")
    need = to_come.n_images + min(to_come.n_images, FOLDERS)
    found = f"{free}, up to {need:,} expected"
    if need > free_inodes:
        return Check(name, Grade.WARNING, found, "with --store pack many images share a file")
    return Check(name, Grade.OK, found)


def ledger_disk(free_bytes: int, ledger_bytes: int, *, is_shared: bool) -> Check:
    """Space for the ledger to grow, and on a shared disk for the snapshot that readers use."""
    need = LEAST_FREE_BYTES + (ledger_bytes if is_shared else 0)
    found = f"{show_size(free_bytes)} free, the ledger is {show_size(ledger_bytes)}"
    if free_bytes >= need:
        return Check("ledger disk", Grade.OK, found)
    if free_bytes < LEAST_FREE_BYTES:
        return Check("ledger disk", Grade.FAILED, found, "free some space")
    copy = "on a shared disk a running download keeps a copy for readers, as large as the ledger"
    return Check("ledger disk", Grade.WARNING, found, copy)


def memory(available_bytes: int | None, processes: int) -> Check:
    need = STEWARD_BYTES + processes * WORKER_BYTES
    if available_bytes is None:
        return Check("memory", Grade.NOT_CHECKED, f"unknown how much is available; a download uses up to {show_size(need)}")
    found = f"{show_size(available_bytes)} available; a download uses up to {show_size(need)}"
    if available_bytes < need:
        return Check("memory", Grade.WARNING, found, "request more memory, or use fewer --processes")
    return Check("memory", Grade.OK, found)


def cores(granted: int, processes: int) -> Check:
    found = f"{counted(granted, 'core')} granted, {counted(processes, 'worker process', 'worker processes')}"
    if processes > granted:
        return Check("cores", Grade.WARNING, found, "more processes than cores gain nothing: use fewer --processes")
    return Check("cores", Grade.OK, found)


def clock(now: float, file_time: float | None, ledger_ahead_s: float) -> Check:
    """This machine's clock, compared with the file system's and with the last entry in the ledger."""
    set_it = "have the clock set (NTP): waits and certificates depend on it"
    if now < EARLIEST_S:
        return Check("clock", Grade.FAILED, "it is earlier than this program", set_it)
    if ledger_ahead_s > MOST_SKEW_S:
        return Check("clock", Grade.WARNING, f"the ledger's last entry is {show_span(ledger_ahead_s)} in the future", set_it)
    if file_time is None:
        return Check("clock", Grade.NOT_CHECKED, "the ledger's folder is not writable, so its time cannot be compared")
    skew_s = file_time - now
    if abs(skew_s) > MOST_SKEW_S:
        which = "ahead of" if skew_s > 0 else "behind"
        return Check("clock", Grade.WARNING, f"the file server is {show_span(abs(skew_s))} {which} this machine", set_it)
    return Check("clock", Grade.OK, "this machine and the ledger's disk agree")


def job(name: str | None, left_s: float | None, error: str | None, may_be_requeued: bool | None) -> Check:
    """`name` is "Slurm job 12", or None outside of a job. `left_s` is None if the job has no time limit."""
    if name is None:
        return Check("job", Grade.OK, "not in a batch job: no time limit")
    if error is not None:
        return Check("job", Grade.WARNING, f"{name}: its end is unknown ({error})", "set it yourself: download --for 11h30m")
    again = {True: "; it can be requeued", False: "; it cannot be requeued", None: ""}[may_be_requeued]
    if left_s is None:
        return Check("job", Grade.OK, f"{name} has no time limit{again}")
    found = f"{name} ends in {show_span(left_s)}{again}"
    if left_s < SHORT_JOB_S:
        return Check("job", Grade.WARNING, found, "request more time")
    if may_be_requeued is False:
        return Check("job", Grade.WARNING, found, "submit it with sbatch --requeue, or download --requeue cannot work")
    return Check("job", Grade.OK, found)


def dns(results: Sequence[ConnectResult]) -> Check:
    """Whether host names resolve."""
    name = "DNS"
    own = [one for one in results if not one.by_proxy]
    if not own:
        found = "the proxy resolves host names" if results else "no host was tried"
        return Check(name, Grade.NOT_CHECKED, found)
    bad = [one for one in own if one.code == OwnCode.DNS]
    if not bad:
        return Check(name, Grade.OK, f"{counted(len(own), 'host name')} resolved")
    if len(bad) == len(own):
        found = f"none of {counted(len(own), 'host name')} resolved ({_said(bad)})"
        return Check(name, Grade.FAILED, found)  # `way_out` gives the advice
    found = f"{len(own) - len(bad)} of {len(own)} host names resolved; not {_listed(bad)} ({_said(bad)})"
    return Check(name, Grade.WARNING, found, "a host that is gone for good is given up by the download in the end")


def way_out(results: Sequence[ConnectResult]) -> Check:
    """Whether publishers' servers can be reached."""
    name, by = "way out", " by proxy" if any(one.by_proxy for one in results) else ""
    if not results:
        return Check(name, Grade.NOT_CHECKED, "no host was tried")
    refused = [one for one in results if one.code == OwnCode.PRIVATE_ADDRESS]
    tried = [one for one in results if one.code != OwnCode.PRIVATE_ADDRESS]
    if not tried:
        found = f"{_listed(refused)}: {_said(refused)}"
        return Check(name, Grade.NOT_CHECKED, found, "use --allow-private-hosts if you trust these hosts")
    lost = [one for one in tried if one.code not in (None, OwnCode.TLS)]
    if len(lost) == len(tried):
        why = "" if all(one.code == OwnCode.DNS for one in lost) else f" ({_said(lost)})"  # `dns` gives the reason
        found = f"none of {counted(len(tried), 'host')} could be reached{by}{why}: this node seems to have no way out"
        if len(tried) == 1:
            found = f"{_listed(tried)} could not be reached{by}{why}, and no other host was tried"
        return Check(name, Grade.FAILED, found, ASK_ADMIN)
    if lost:
        found = f"{len(tried) - len(lost)} of {len(tried)} hosts reached{by}; not {_listed(lost)} ({_said(lost)})"
        return Check(name, Grade.WARNING, found, "a download tries such hosts again later")
    return Check(name, Grade.OK, f"{counted(len(tried), 'host')} reached{by}; no request was sent")


def tls_roots(path: str, n_roots: int, error: str | None, results: Sequence[ConnectResult]) -> Check:
    """Whether CA certificates are installed, and verify the hosts' certificates."""
    name = "TLS roots"
    if error is not None:
        return Check(name, Grade.FAILED, error, "use --cacert with a PEM bundle, or install ca-certificates")
    bad = [one for one in results if one.code == OwnCode.TLS]
    good = [one for one in results if one.code is None]
    if bad and not good:
        found = f"no certificate could be verified: {_listed(bad)} ({_said(bad)})"
        return Check(name, Grade.FAILED, found, "if a proxy of your site intercepts TLS, use --cacert with its certificate")
    if bad:
        found = f"not verified: {_listed(bad)} ({_said(bad)})"
        return Check(name, Grade.WARNING, found, "probably a fault of the host; see --insecure-host of download")
    return Check(name, Grade.OK, f"{n_roots:,} in {path}")


def reached_nobody(n_hosts: int, why: str) -> str:
    """The line of a download that has reached nobody since its start."""
    hosts = counted(n_hosts, "host")
    return f"none of {hosts} could be reached ({why}): this node seems to have no way out; see 'd4c-images preflight'"


def verdict(checks: Iterable[Check]) -> Grade:
    grades = {check.grade for check in checks}
    return next((grade for grade in (Grade.FAILED, Grade.WARNING) if grade in grades), Grade.OK)


def conclusion(checks: Sequence[Check]) -> str:
    """The last line."""
    failed = [check.name for check in checks if check.grade is Grade.FAILED]
    n_warnings = sum(check.grade is Grade.WARNING for check in checks)
    warnings = f" ({counted(n_warnings, 'warning')})" if n_warnings else ""
    return f"not ready: {', '.join(failed)}{warnings}" if failed else f"ready to download{warnings}"


def _listed(results: Sequence[ConnectResult]) -> str:
    more = ", ..." if len(results) > NAMES_SHOWN else ""
    return ", ".join(one.host for one in results[:NAMES_SHOWN]) + more


def _said(results: Sequence[ConnectResult]) -> str:
    return next((one.detail for one in results if one.detail), "no reason given")
