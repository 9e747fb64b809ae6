"""The job scripts under a real Grid Engine and a real Slurm: what a data manager submits on Friday is done on Monday."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.schedulers import CLUSTERS, PROJECT, Cluster, await_end, await_true, running
from tests.publishers.client import Publishers
from tests.support.environment import bare_environment
from tests.support.program import Collection, multimedia, reach

pytestmark = pytest.mark.system

HOSTS = 4
N = 400


@pytest.fixture(scope="module", params=list(CLUSTERS))
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with running(request.param) as cluster:
        yield cluster


@dataclass
class Site:
    """A user's folder on a cluster, with the project's job scripts and what is special about the site."""

    cluster: Cluster
    collection: Collection
    publishers: Publishers

    def script(self, command: str) -> Path:
        return PROJECT / "jobs" / f"{command}.{self.cluster.kind}.sh"

    def submit(self, command: str, *arguments: object, limit_s: int = 3600, array: str = "") -> str:
        words = [str(argument) for argument in arguments]
        if command in ("download", "coordinator"):
            words += [*reach(self.publishers), "--retry-wait", "1s"]
        if command in ("download", "work"):
            words += ["--processes", "2"]
        return self.cluster.submit(self.script(command), self.collection.folder, words, limit_s, array)

    def log(self, job: str) -> str:
        return "".join(path.read_text() for path in sorted(self.collection.folder.glob(f"d4c-*.o{job}*")))

    def await_line(self, job: str, pattern: str) -> None:
        await_true(f"'{pattern}' in the log of job {job}", lambda: re.search(pattern, self.log(job)))

    def run(self, command: str, *arguments: object, limit_s: int = 3600) -> str:
        """Submit, wait for the end; the log, after the last exit code was 0."""
        job = self.submit(command, *arguments, limit_s=limit_s)
        await_end(self.cluster, job)
        assert self.cluster.exit_codes(job)[-1] == 0, self.log(job)
        return self.log(job)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.collection.call("status", "--json"))
        return found

    def is_complete(self) -> None:
        self.collection.check_invariants()
        assert self.collection.rows("SELECT status, attempts, count(*) FROM images GROUP BY 1, 2") == [("success", 1, N)]
        assert self.collection.rows("SELECT DISTINCT status FROM gbif_ids") == [("done",)]
        assert self.collection.files() == {str(path) for (path,) in self.collection.rows("SELECT file_path FROM images")}
        assert self.run("check", "--sha256").splitlines()


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path, publishers: Publishers) -> Site:
    """Nothing in the ledger yet. The program stands where jobs/site.sh says."""
    program = tmp_path / "bin" / "d4c-images"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(PROJECT))} exec {shlex.quote(sys.executable)} -m d4c_images "$@"\n')
    program.chmod(0o755)
    collection = Collection(tmp_path)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "site.sh").write_text(
        f'export PATH="{program.parent}:$PATH" D4C_LEDGER="{collection.ledger}" D4C_ROOT="{collection.root}"\n'
    )
    rows = [(6_000_000_000 + number, f"http://node{number % HOSTS}.example.org/photos/{number}.jpg") for number in range(N)]
    multimedia(tmp_path / "multimedia.txt", rows)
    return Site(cluster, collection, publishers)


def slowly(site: Site, total_s: float) -> None:
    """Have the servers take about so long for all images (two connections a host)."""
    site.publishers.behave(f"*.example.org=slow_first_byte:{total_s * HOSTS * 2 / N:.3f}")


def test_from_init_to_the_report(site: Site) -> None:
    site.run("init", "multimedia.txt")
    assert "nothing left to do" in site.run("download")
    site.is_complete()
    assert f"{N:,}" in site.run("status")


def test_an_environment_elsewhere_prints_a_script_that_needs_nothing_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `pip install` into a venv: no clone, no jobs/site.sh, nothing on the PATH, no variable of the submitting shell."""
    folder = site.collection.folder
    (folder / "jobs/site.sh").unlink()
    (folder / "bin/d4c-images").unlink()
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")  # Grid Engine passes nothing on unless asked to
    python = bare_environment(folder / "my env")
    scheduler = {"qsub": "sge", "sbatch": "slurm"}[site.cluster.kind]
    words: dict[str, list[object]] = {
        "init": ["multimedia.txt"],
        "download": [*reach(site.publishers), "--processes", "2"],
        "check": [],
    }
    for command in words:
        printed = subprocess.run(
            [python, "-m", "d4c_images", "job", scheduler, command], cwd=folder, capture_output=True, text=True, check=True
        )
        script = folder / f"{command}.sh"
        script.write_text(printed.stdout)
        job = site.cluster.submit(script, folder, [str(word) for word in words[command]])
        await_end(site.cluster, job)
        assert site.cluster.exit_codes(job)[-1] == 0, site.log(job)
    assert site.collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", N)]


def test_the_time_limit_comes_and_the_job_comes_again(site: Site) -> None:
    """Without --for: the program finds the end of its job, stops before it, and has the job requeued."""
    site.run("init", "multimedia.txt")
    limit_s = 20 if site.cluster.kind == "qsub" else 60
    slowly(site, 1.5 * limit_s)
    job = site.submit("download", limit_s=limit_s)
    await_end(site.cluster, job)
    log = site.log(job)
    n_again = log.count("work is left: job requeued")  # more than once on a machine that is slow
    assert n_again >= 1, log
    assert "the time is up" in log
    assert log.count("exit code 0: nothing left to do") == 1
    assert site.cluster.exit_codes(job)[-1] == 0
    runs = site.collection.rows("SELECT job_id, ending, n_done > 0 FROM runs WHERE command = 'download' ORDER BY run_id")
    assert runs[:-1] == [(job, "the time is up", 1)] * n_again
    # The last images of all may be stored while a run winds up.
    assert runs[-1] in [(job, "nothing left to do", 1), (job, "the time is up", 1)]
    site.is_complete()


def test_deleted_in_the_middle_and_submitted_again(site: Site) -> None:
    """The scheduler's warning is enough to exit cleanly, and it may come twice."""
    site.run("init", "multimedia.txt")
    slowly(site, 30)
    job = site.submit("download")
    site.await_line(job, r" start: ")
    await_true("some images", lambda: site.collection.rows("SELECT 1 FROM images WHERE status = 'success'"))
    site.cluster.cancel(job)
    await_end(site.cluster, job)
    log = site.log(job)
    assert " end: SIG" in log
    assert "this job was ended by a signal: not requeued" in log
    assert "job requeued" not in log
    assert log.count(" start: ") == 1
    assert site.collection.rows("SELECT count(*) FROM images WHERE status = 'leased'") == [(0,)]
    site.publishers.behave_well()
    site.run("download")
    site.is_complete()


def test_of_three_tasks_one_works_and_two_say_who_does(site: Site) -> None:
    """Schedulers do start a job twice; here it is an array."""
    site.run("init", "multimedia.txt")
    slowly(site, 10)
    job = site.submit("download", array="1-3")
    await_end(site.cluster, job)
    log = site.log(job)
    assert log.count("is in use by 'download' on host") == 2, log
    assert log.count(" end: nothing left to do") == 1
    site.is_complete()


def test_hosts_that_are_away_over_two_rounds(site: Site) -> None:
    """The job gives its node back and begins when the first host is due. An hour stands for a weekend: its end is brought near."""
    site.run("init", "multimedia.txt")
    site.publishers.behave("*.example.org=http_429_seconds:3600")
    job = site.submit("download", "--max-idle", "1s")
    for n in (1, 2):
        site.await_line(job, f"(?s)(everything left has to wait: job requeued, to start at .*){{{n}}}")
        await_true(f"job {job} waits for its time", lambda: site.cluster.begins_at(job))
        begins_at, noted = site.cluster.begins_at(job), site.status()
        assert begins_at is not None
        assert abs(begins_at.timestamp() - datetime.fromisoformat(noted["download"]["due_at"]).timestamp()) <= 10
        assert begins_at.timestamp() > time.time() + 3000
        assert noted["goes_on"].startswith(f"job {job} starts again at ")
        site.collection.sql("UPDATE host_rows SET blocked_until = 1 WHERE blocked_until IS NOT NULL")
        site.collection.sql("UPDATE image_rows SET not_before = 1 WHERE not_before IS NOT NULL")
        if n == 2:
            site.publishers.behave_well()
        site.cluster.begin_now(job)
    await_end(site.cluster, job)
    log = site.log(job)
    assert log.count(" end: nothing left to do") == 1, log
    assert "no progress" not in log
    assert site.cluster.exit_codes(job)[-1] == 0
    endings = [ending for (ending,) in site.collection.rows("SELECT ending FROM runs WHERE command = 'download' ORDER BY run_id")]
    assert endings == [*["all that is left has to wait"] * 2, "nothing left to do"]
    site.collection.check_invariants()
    assert site.collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", N)]


def test_a_wait_is_as_long_as_the_host_wants_it(site: Site) -> None:
    """Nobody brings the end near: the scheduler begins the job by itself, when the host may be asked again and not before."""
    site.run("init", "multimedia.txt")
    site.publishers.behave("*.example.org=http_429_seconds:25 x4")
    job = site.submit("download", "--max-idle", "1s")
    await_end(site.cluster, job)
    log = site.log(job)
    assert "everything left has to wait: job requeued, to start at " in log
    assert site.cluster.exit_codes(job)[-1] == 0, log
    rows = site.collection.rows(
        """SELECT r.started_at, e.goes_on_at FROM runs AS r LEFT JOIN run_ends AS e USING (run_id)
           WHERE r.command = 'download' ORDER BY r.run_id"""
    )
    assert len(rows) >= 2, log
    for (_, goes_on_at), (started_at, _) in pairwise(rows):
        assert int(str(started_at)) >= int(str(goes_on_at)) - 1
    site.collection.check_invariants()
    assert site.collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", N)]


def test_rounds_that_get_nothing_done_come_to_an_end(site: Site) -> None:
    """There is work, and none of it gets done in the time of a job. A person has to look, not the scheduler for ever."""
    site.run("init", "multimedia.txt")
    slowly(site, 86_400)
    job = site.submit("download", "--for", "3s", "--grace", "1s")
    await_end(site.cluster, job)
    log = site.log(job)
    assert "rounds in a row: job not requeued" in log
    assert site.cluster.exit_codes(job)[-1] == 75


def test_workers_on_other_nodes_do_the_work_of_a_coordinator(site: Site) -> None:
    """Submitted in the wrong order, more jobs than needed, one deleted in the middle: a third waits for what it has given back."""
    site.run("init", "multimedia.txt")
    slowly(site, 20)
    work = site.submit("work", array="1-2")
    coordinator = site.submit("coordinator")
    site.await_line(coordinator, "workers: 4 on 1 node")
    await_true("some images", lambda: site.collection.rows("SELECT 1 FROM images WHERE status = 'success'"))
    site.cluster.cancel(work)
    await_end(site.cluster, work)
    assert site.log(work).count("2 workers end: stopped") == 2
    assert site.log(work).count("not requeued") == 2
    third = site.submit("work", array="1-1")
    await_end(site.cluster, coordinator)
    await_end(site.cluster, third)
    log = site.log(coordinator)
    assert log.count(" end: nothing left to do") == 1, log
    assert "lost contact with" not in log
    assert site.cluster.exit_codes(coordinator)[-1] == 0
    assert site.cluster.exit_codes(third)[-1] == 0
    assert "nothing left to do" in site.log(third)
    site.is_complete()
    assert site.publishers.counters()["requests"] == N, "no worker went without giving back what it had not begun"


def test_coordinator_and_workers_give_their_nodes_back_while_all_hosts_are_away(site: Site) -> None:
    site.run("init", "multimedia.txt")
    site.publishers.behave("*.example.org=http_429_seconds:3600")
    work = site.submit("work", array="1-2")
    coordinator = site.submit("coordinator", "--max-idle", "1s")
    site.await_line(coordinator, "everything left has to wait: job requeued, to start at ")
    site.await_line(work, "(?s)(workers end: the coordinator is away until .*){2}")
    tasks = [f"{work}_1", f"{work}_2"] if site.cluster.kind == "sbatch" else [work]
    for job in (coordinator, *tasks):
        await_true(f"job {job} waits for its time", lambda job=job: site.cluster.begins_at(job))
    begin = {site.cluster.begins_at(job) for job in (coordinator, *tasks)}
    assert max(begin) - min(begin) <= timedelta(seconds=30)
    assert min(begin) > datetime.now() + timedelta(seconds=3000)
    site.collection.sql("UPDATE host_rows SET blocked_until = 1 WHERE blocked_until IS NOT NULL")
    site.collection.sql("UPDATE image_rows SET not_before = 1 WHERE not_before IS NOT NULL")
    site.publishers.behave_well()
    for job in (coordinator, *tasks):
        site.cluster.begin_now(job)
    await_end(site.cluster, coordinator)
    await_end(site.cluster, work)
    assert site.log(coordinator).count(" end: nothing left to do") == 1, site.log(coordinator)
    assert len(re.findall(r"workers \w+: nothing left to do", site.log(work))) == 2
    site.collection.check_invariants()
    assert site.collection.rows("SELECT status, count(*) FROM images GROUP BY 1") == [("success", N)]


def test_the_coordinators_limit_comes_and_workers_wait_for_its_next_round(site: Site) -> None:
    site.run("init", "multimedia.txt")
    limit_s = 20 if site.cluster.kind == "qsub" else 60
    slowly(site, 1.5 * limit_s)
    work = site.submit("work", array="1-2")
    coordinator = site.submit("coordinator", limit_s=limit_s)
    await_end(site.cluster, coordinator)
    await_end(site.cluster, work)
    log = site.log(coordinator)
    assert "work is left: job requeued" in log
    assert log.count("exit code 0: nothing left to do") == 1, log  # its last round, too, may have come to its limit
    assert site.log(work).count("nothing left to do") == 2
    site.is_complete()


@pytest.fixture(scope="module")
def bad_locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that gives one process the file locks of an ill-mounted network file system."""
    if shutil.which("gcc") is None:
        subprocess.run([PROJECT / "tests/cluster/install.sh", "gcc", "libc6-dev"], check=True, timeout=300)
    library = tmp_path_factory.mktemp("locks") / "bad_locks.so"
    source = PROJECT / "tests/cluster/bad_locks.c"
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("38", "locks do not work .*Function not implemented"),
        ("37", "locks do not work .*No locks available"),
        ("5", "locks do not work .*Input/output error"),
        ("lie", "do not keep others out, which would corrupt the ledger"),
        ("nomap", "1 new image,"),
    ],
)
def test_locks_of_a_shared_disk(how: str, wanted: str, bad_locks: Path, tmp_path: Path) -> None:
    """Bad ones are found before anything is written; without shared memory the ledger does all the same."""
    environ = {"LD_PRELOAD": str(bad_locks), "BAD_LOCKS": how, "D4C_LEDGER_DISK": "shared"}
    collection = Collection(tmp_path, environ)
    source = multimedia(tmp_path / "multimedia.txt", [(6_000_000_000, "http://node1.example.org/photos/1.jpg")])
    output = collection.run("init", source, code=0 if how == "nomap" else 1)
    assert re.search(wanted, output), output
    assert "Traceback" not in output
    assert how == "nomap" or [path.name for path in tmp_path.iterdir()] == ["multimedia.txt"]
