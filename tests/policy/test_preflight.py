"""Verdicts of the preflight checks, as tables: what was measured, and the grade."""

from __future__ import annotations

import pytest

from d4c_images.model import OwnCode
from d4c_images.policy import preflight
from d4c_images.policy.preflight import Check, ConnectResult, Grade, ToCome

OK, WARNING, FAILED, NOT_CHECKED = Grade.OK, Grade.WARNING, Grade.FAILED, Grade.NOT_CHECKED
TB, NOW = 10**12, 1_800_000_000.0
FILES, PACKED = ToCome(1_000_000, 2e6, in_shards=False), ToCome(1_000_000, 2e6, in_shards=True)
NO_NAME = "Could not resolve host: a.org"


@pytest.mark.parametrize(
    ("free_bytes", "to_come", "grade", "found"),
    [
        (3 * TB, FILES, OK, "3.0 TB free, about 2.0 TB expected"),
        (1 * TB, FILES, WARNING, "1.0 TB free, about 2.0 TB expected"),
        (10**8, FILES, FAILED, "full: 100 MB free"),
        (10**8, None, FAILED, "full: 100 MB free"),
        (TB, ToCome(5, None, in_shards=False), OK, "1.0 TB free; no image is stored yet to estimate by"),
        (TB, ToCome(0, 2e6, in_shards=False), OK, "1.0 TB free; no images are left to store"),
        (TB, None, OK, "1.0 TB free"),
    ],
)
def test_a_disk_is_measured_by_what_is_left_to_come(free_bytes: int, to_come: ToCome | None, grade: Grade, found: str) -> None:
    check = preflight.disk("disk", free_bytes, to_come)
    assert (check.grade, check.found) == (grade, found)
    assert bool(check.advice) == check.is_trouble


@pytest.mark.parametrize(
    ("free_inodes", "to_come", "grade", "found"),
    [
        (None, FILES, OK, "the file system has no inode limit"),
        (2_000_000, FILES, OK, "2,000,000 free, up to 2,000,000 expected"),
        (1_999_999, FILES, WARNING, "1,999,999 free, up to 2,000,000 expected"),
        (30_000_000, ToCome(50_000_000, None, in_shards=False), WARNING, "30,000,000 free, up to 51,000,000 expected"),
        (5_000, PACKED, OK, "5,000 free; few are needed, since images are packed"),
        (999, PACKED, FAILED, "999 free"),
        (5_000, None, OK, "5,000 free"),
    ],
)
def test_files_are_counted_with_their_folders(free_inodes: int | None, to_come: ToCome | None, grade: Grade, found: str) -> None:
    check = preflight.inodes("inodes", free_inodes, to_come)
    assert (check.grade, check.found) == (grade, found)


def test_a_ledger_on_a_shared_disk_needs_room_for_its_copy() -> None:
    assert preflight.ledger_disk(10**9, 9 * 10**9, is_shared=False).grade is OK
    assert preflight.ledger_disk(9 * 10**9, 9 * 10**9, is_shared=True).grade is WARNING
    assert preflight.ledger_disk(10 * 10**9, 9 * 10**9, is_shared=True).grade is OK
    assert preflight.ledger_disk(10**8, 10**6, is_shared=False).grade is FAILED


@pytest.mark.parametrize(("available", "grade"), [(None, NOT_CHECKED), (949_999_999, WARNING), (950_000_000, OK)])
def test_memory_is_for_the_steward_and_each_worker(available: int | None, grade: Grade) -> None:
    assert preflight.memory(available, 8).grade is grade


def test_more_workers_than_cores_are_told() -> None:
    assert preflight.cores(4, 4) == Check("cores", OK, "4 cores granted, 4 worker processes")
    assert preflight.cores(1, 2).grade is WARNING


@pytest.mark.parametrize(
    ("now", "file_time", "ahead_s", "grade", "words"),
    [
        (NOW, NOW + 4, -100.0, OK, "agree"),
        (NOW, NOW - 4, 4.0, OK, "agree"),
        (NOW, NOW + 3600, 0.0, WARNING, "the file server is 1 h 00 min ahead of this machine"),
        (NOW, NOW - 60, 0.0, WARNING, "the file server is 1 min 00 s behind this machine"),
        (NOW, None, 0.0, NOT_CHECKED, "not writable"),
        (NOW, NOW, 7200.0, WARNING, "2 h 00 min in the future"),
        (0.0, 0.0, NOW, FAILED, "earlier than this program"),
    ],
)
def test_clocks_are_compared(now: float, file_time: float | None, ahead_s: float, grade: Grade, words: str) -> None:
    check = preflight.clock(now, file_time, ahead_s)
    assert check.grade is grade
    assert words in check.found


@pytest.mark.parametrize(
    ("left_s", "error", "again", "grade", "found"),
    [
        (43_200.0, None, True, OK, "Slurm job 7 ends in 12 h 00 min; it can be requeued"),
        (43_200.0, None, None, OK, "Slurm job 7 ends in 12 h 00 min"),
        (43_200.0, None, False, WARNING, "Slurm job 7 ends in 12 h 00 min; it cannot be requeued"),
        (300.0, None, True, WARNING, "Slurm job 7 ends in 5 min 00 s; it can be requeued"),
        (None, None, None, OK, "Slurm job 7 has no time limit"),
        (None, "no answer", None, WARNING, "Slurm job 7: its end is unknown (no answer)"),
    ],
)
def test_a_jobs_time_is_told(left_s: float | None, error: str | None, again: bool | None, grade: Grade, found: str) -> None:
    check = preflight.job("Slurm job 7", left_s, error, again)
    assert (check.grade, check.found) == (grade, found)


def test_without_a_job_there_is_no_limit() -> None:
    assert preflight.job(None, None, None, None).grade is OK


def lost(host: str, code: OwnCode = OwnCode.DNS, detail: str = NO_NAME) -> ConnectResult:
    return ConnectResult(host, code, detail)


@pytest.mark.parametrize(
    ("results", "names", "way", "roots"),
    [
        ([ConnectResult("a.org"), ConnectResult("b.org")], OK, OK, OK),
        ([lost("a.org"), lost("b.org")], FAILED, FAILED, OK),
        ([lost("a.org"), ConnectResult("b.org")], WARNING, WARNING, OK),
        ([lost("a.org", OwnCode.CONNECT, "refused"), lost("b.org", OwnCode.CONNECT, "refused")], OK, FAILED, OK),
        ([lost("a.org", OwnCode.CONNECT, "refused"), ConnectResult("b.org")], OK, WARNING, OK),
        ([lost("a.org", OwnCode.TLS, "self-signed"), lost("b.org", OwnCode.TLS, "self-signed")], OK, OK, FAILED),
        ([lost("a.org", OwnCode.TLS, "expired"), ConnectResult("b.org")], OK, OK, WARNING),
        ([lost("10.1.2.3", OwnCode.PRIVATE_ADDRESS, "private")], OK, NOT_CHECKED, OK),
        ([ConnectResult("a.org", by_proxy=True)], NOT_CHECKED, OK, OK),
        ([ConnectResult("a.org", OwnCode.CONNECT, "proxy?", by_proxy=True)], NOT_CHECKED, FAILED, OK),
        ([], NOT_CHECKED, NOT_CHECKED, OK),
    ],
)
def test_what_connecting_to_hosts_says_of_the_node(results: list[ConnectResult], names: Grade, way: Grade, roots: Grade) -> None:
    checks = preflight.dns(results), preflight.way_out(results), preflight.tls_roots("ca.pem", 1, None, results)
    assert tuple(check.grade for check in checks) == (names, way, roots)


def test_no_way_out_is_one_verdict() -> None:
    results = [lost(f"{letter}.org") for letter in "abcde"]
    assert preflight.dns(results).found == f"none of 5 host names resolved ({NO_NAME})"
    assert preflight.way_out(results).found == "none of 5 hosts could be reached: this node seems to have no way out"
    refused = [lost(f"{letter}.org", OwnCode.CONNECT, "No route to host") for letter in "abcde"]
    assert preflight.way_out(refused).found == (
        "none of 5 hosts could be reached (No route to host): this node seems to have no way out"
    )


def test_one_host_is_no_proof_of_a_node() -> None:
    assert preflight.way_out([lost("a.org", OwnCode.CONNECT, "refused")]).found == (
        "a.org could not be reached (refused), and no other host was tried"
    )


def test_few_of_many_lost_hosts_are_named() -> None:
    check = preflight.way_out([*(lost(f"{letter}.org") for letter in "abcd"), ConnectResult("e.org")])
    assert check.found == f"1 of 5 hosts reached; not a.org, b.org, c.org, ... ({NO_NAME})"


def test_the_last_line_names_what_failed() -> None:
    ok, bad, odd, open_ = Check("a", OK, ""), Check("b", FAILED, ""), Check("c", WARNING, ""), Check("d", NOT_CHECKED, "")
    assert (preflight.verdict([ok, open_]), preflight.conclusion([ok, open_])) == (OK, "ready to download")
    assert (preflight.verdict([ok, odd]), preflight.conclusion([ok, odd])) == (WARNING, "ready to download (1 warning)")
    assert (preflight.verdict([odd, bad]), preflight.conclusion([odd, bad, odd])) == (FAILED, "not ready: b (2 warnings)")
