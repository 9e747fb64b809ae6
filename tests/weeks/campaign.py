"""Runs the program for weeks of the compressed clock, job after job, through seeded troubles, and says which promises it broke.

The program is the real one: its steward, worker processes, ledger and folder of images, with the options and the environment that
the job scripts give it. The servers are real, too, and keep their own books.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT, Collection, multimedia
from tests.weeks import plan, troubles
from tests.weeks.clock import FILE, Clock
from tests.weeks.plan import FIRST_ID, Expected, Host, Kind
from tests.weeks.troubles import JUMPS_S, Disturbance, End, Job

SITE = Path(__file__).parent / "site"
LOOK_S = 0.02  # of the machine
UNSETTLED_S = 10.0  # likewise: what was answered so shortly before a kill need not have been written down
TERM_S = 1.0  # likewise: from a scheduler's SIGTERM to its SIGKILL
FULL_BYTES = 1_000  # that an image may have on a full disk
FULL_LEDGER_BYTES = 64 * 1024  # ... and each file of the ledger, and the log of the job
PAUSE_S = 7200.0
DOOR_ANSWERS = 200  # of a shut door, at most
MOST_RATE = 100_000.0  # images a second that nobody can have seen
SCONTROL = '#!/bin/sh\necho "$@" >> "$D4C_WEEKS_SCONTROL"\n'
DISKS = (End.DISK_FULL, End.LEDGER_DISK_FULL, End.DISK_DEAD)
ALLOWED = {
    Expected.STORED: {"success"},
    Expected.GONE: {"failed_permanent"},
    Expected.KEPT: {"success", "pending", "failed_transient"},
    Expected.AWAY: {"failed_transient", "failed_permanent"},
    Expected.SILENT: {"pending", "failed_transient"},
}


@dataclass(frozen=True, slots=True)
class Options:
    seed: int
    size: plan.Size
    speed: float = 60.0
    days: float = 14.0  # at least; at most twice as many
    job_s: float = 3600.0
    rest_s: float = 8 * 3600.0  # between jobs without troubles
    rounds: int = 1  # of all troubles
    requests: int = 40  # in a job, until its trouble comes
    quiet_s: float = 2.0  # of the machine: the trouble comes after so long if there are not so many requests
    trouble_s: float = 1.2  # likewise: a suspension, a wrong clock; an outage takes twice as long
    max_idle: str = "2m"
    processes: int = 2


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended."""

    number: int
    job: Job
    code: int
    n_requests: int
    log: str
    was_at_limit: bool
    is_queued_again: bool

    @property
    def last_line(self) -> str:
        lines = self.log.strip().splitlines()
        return lines[-1] if lines else "(it said nothing)"


@dataclass(slots=True)
class Figures:
    """What the table says."""

    n_jobs: int = 0
    n_resubmitted: int = 0  # by a person
    n_at_limit: int = 0  # ended by the scheduler, since they outlived their time
    troubles: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


class Servers:
    """The hosts, as a process of its own that dies with this one."""

    def __init__(self, plan_path: Path, clock_path: Path) -> None:
        command = [sys.executable, "-m", "tests.weeks.server", str(plan_path)]
        environ = os.environ | {FILE: str(clock_path)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT, env=environ
        )
        assert self._process.stdout is not None
        ports = json.loads(self._process.stdout.readline())
        self.port: int = ports["port"]
        self._control = socket.create_connection(("127.0.0.1", ports["control"]), timeout=PATIENCE_S)
        self._lines: IO[str] = self._control.makefile("rw")

    def call(self, command: str, argument: object = None) -> Any:
        self._lines.write(json.dumps([command, argument]) + "\n")
        self._lines.flush()
        return json.loads(self._lines.readline())

    def close(self) -> None:
        self._lines.close()
        self._control.close()
        self._process.terminate()
        self._process.wait(timeout=PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


class Campaign:
    """One rehearsal. `run()` returns what was broken; nothing, if all is well."""

    def __init__(self, options: Options, folder: Path, say: Callable[[str], None]) -> None:
        self.options, self.folder, self._say = options, folder, say
        self._chance = random.Random(options.seed)
        self.hosts = plan.hosts(options.size, self._chance)
        self.clock = Clock.make(folder / "clock", options.speed)
        self.environ = os.environ | {FILE: str(folder / "clock"), "PYTHONPATH": f"{SITE}{os.pathsep}{PROJECT}"}
        self.collection = Collection(folder, self.environ)
        self.figures = Figures()
        self.books: dict[str, Any] = {}
        self._began_at = self.clock.monotonic()
        self._job_id = 4711
        self._expected: dict[str, tuple[Host, Expected]] = {}
        self._log_path = folder / "job-0.log"
        self._servers: Servers

    @property
    def days(self) -> float:
        return (self.clock.monotonic() - self._began_at) / 86400

    def run(self) -> list[str]:
        self._prepare()
        try:
            self._all_jobs()
            self.books = self._servers.call("books")
        finally:
            self._servers.close()
        self._judge()
        return self.figures.broken

    # -- before

    def _prepare(self) -> None:
        (self.folder / "plan.json").write_text(json.dumps([asdict(host) for host in self.hosts]))
        urls = [url for host in self.hosts for url in host.urls()]
        self._expected = {url: (host, host.expected(url)) for host in self.hosts for url in host.urls()}
        self._chance.shuffle(urls)
        rows = multimedia(self.folder / "multimedia.txt", enumerate(urls, FIRST_ID))
        self._write_hosts_file()
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / "scontrol").write_text(SCONTROL)
        (self.folder / "bin" / "scontrol").chmod(0o755)
        self._servers = Servers(self.folder / "plan.json", self.folder / "clock")
        speed = self.options.speed
        self.event(f"seed {self.options.seed}: {len(urls):,} images at {len(self.hosts)} hosts, {speed:g} times as fast")
        self.collection.run("init", rows)

    def _write_hosts_file(self) -> None:
        lines = ["[default]", "connections = 1", "source = 'a rehearsal'"]
        for host in self.hosts:
            lines += [f'[hosts."{host.name}"]', f"connections = {host.connections}", f"min_interval_s = {host.min_interval_s}"]
            lines += [f"group = '{host.group}'"] if host.group else []
        (self.folder / "hosts.toml").write_text("\n".join(lines) + "\n")

    # -- jobs

    def _all_jobs(self) -> None:
        options = self.options
        for _ in range(options.rounds):
            for job in troubles.jobs(self._chance, options.requests):
                self._job(job)
        while self.days < 2 * options.days:
            ended = self._job(troubles.plain(options.rest_s))
            has_done_all = ended.code == 0 and not ended.is_queued_again
            if has_done_all or (self.days >= options.days and not self._n_open()):
                return
        self.broken(f"{self._n_open()} images that can be had were not had within {self.days:.0f} days")

    def _n_open(self) -> int:
        """Images that have not come to the end that they must come to."""
        images = self.collection.rows("SELECT urls, status FROM images")
        return sum(status not in ALLOWED[self._expected[str(url)][1]] for url, status in images)

    def _job(self, job: Job) -> Ended:
        """From its start until the next one may begin."""
        self.figures.n_jobs += 1
        number, n_at_limit = self.figures.n_jobs, self.figures.n_at_limit
        self._servers.call("mark", f"job {number}")
        self._log_path = self.folder / f"job-{number}.log"
        before: int = self._servers.call("count")
        with self._disk(job), self._log_path.open("w") as log:
            process = self._start(job, log)
            try:
                code = self._watch(job, process, before)
            finally:
                _kill(process)
        self.clock.jump(0.0)
        ended = Ended(
            number,
            job,
            code,
            self._servers.call("count") - before,
            self._log_path.read_text(errors="replace"),
            self.figures.n_at_limit > n_at_limit,
            self._is_queued_again(),
        )
        queued = ", queued again" if ended.is_queued_again else ""
        self.event(f"job {number} ({job.end}) ended with {code}{queued} after {ended.n_requests} requests: {ended.last_line}")
        self._look_at(ended)
        if not ended.is_queued_again and code not in (0, -signal.SIGKILL):
            self._job_id += 1
            self.figures.n_resubmitted += job.end is End.BY_ITSELF
        self.clock.put_forward(job.rest_s)
        return ended

    def _start(self, job: Job, log: IO[str]) -> subprocess.Popen[str]:
        slurm = {
            "SLURM_JOB_ID": str(self._job_id),
            "SLURM_JOB_END_TIME": str(int(self.clock.time() + self.options.job_s)),
            "D4C_WEEKS_SCONTROL": str(self.folder / "scontrol"),
            "D4C_CONTACT": "rehearsal@example.org",
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        crash = {"D4C_CRASH_AT": job.crash_at} if job.crash_at else {}
        dead = [word for host in self.hosts if host.kind is Kind.DEAD for word in ("--connect-to", f"{host.name}:80:127.0.0.1:1")]
        command = self.collection.command(
            "download", "--requeue", "--no-progress", "--processes", self.options.processes, "--grace", "60s",
            "--hosts-file", self.folder / "hosts.toml", "--stall-timeout", "1s", "--connect-timeout", "2s", "--timeout", "10s",
            "--max-idle", self.options.max_idle,
            *dead, "--connect-to", f"::127.0.0.1:{self._servers.port}",
        )  # fmt: skip
        return subprocess.Popen(
            command, stdout=log, stderr=log, text=True, cwd=self.folder, env=self.environ | slurm | crash, start_new_session=True
        )

    def _is_queued_again(self) -> bool:
        """Whether the job has asked the scheduler for that."""
        try:
            asked = (self.folder / "scontrol").read_text()
            (self.folder / "scontrol").unlink()
        except FileNotFoundError:
            return False
        return "requeue" in asked

    def _watch(self, job: Job, process: subprocess.Popen[str], before: int) -> int:
        """Live through the job's disturbance, and see it to its end."""
        ends_at = self.clock.monotonic() + self.options.job_s
        if job.disturbance is not None and self._await(process, before + job.after_requests, ends_at):
            self._disturb(job.disturbance, process)
            before = self._servers.call("count")
        comes_in_time = job.end not in (End.BY_ITSELF, End.NOT_MOUNTED)
        if comes_in_time and self._await(process, before + job.after_requests, ends_at):
            began_at = self.clock.monotonic()
            self._end(job, process)
            if job.end in DISKS:  # what a worker has read since then may not have come to the ledger
                self._wait(process, PATIENCE_S)
                self._forget(self.clock.monotonic() - began_at)
        while process.poll() is None and self.clock.monotonic() < ends_at:
            time.sleep(LOOK_S)
        if process.poll() is None:  # as Slurm does it
            self.figures.n_at_limit += 1
            self.event("the job has outlived its time: SIGTERM, then SIGKILL")
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(TERM_S)
            except subprocess.TimeoutExpired:
                self._kill(process)
        return process.wait(PATIENCE_S)

    def _await(self, process: subprocess.Popen[str], n_requests: int, ends_at: float) -> bool:
        """Whether the job is still alive when its trouble comes: after a number of requests, or when little happens."""
        quiet_at = time.monotonic() + self.options.quiet_s
        while process.poll() is None and self.clock.monotonic() < ends_at:
            if self._servers.call("count") >= n_requests or time.monotonic() >= quiet_at:
                return process.poll() is None
            time.sleep(LOOK_S)
        return False

    # -- troubles

    def _disturb(self, disturbance: Disturbance, process: subprocess.Popen[str]) -> None:
        self.figures.troubles[disturbance] += 1
        self.event(disturbance)
        match disturbance:
            case Disturbance.OUTAGE:
                self._servers.call("down")
                self._wait(process, 2 * self.options.trouble_s)
                self._servers.call("up")
            case Disturbance.SUSPENDED:
                os.killpg(process.pid, signal.SIGSTOP)
                time.sleep(self.options.trouble_s)
                os.killpg(process.pid, signal.SIGCONT)
            case Disturbance.WORKER_KILLED:
                for worker in _workers(process.pid)[:1]:
                    worker.kill()
                    _await_gone([worker])
                self._forget()
            case Disturbance.PAUSED:
                self._pause()
            case _:
                self.clock.jump(JUMPS_S[disturbance])
                self._wait(process, self.options.trouble_s)
                self.clock.jump(0.0)

    def _pause(self) -> None:
        """As a person does it who was asked to."""
        chance = random.Random(f"{self.options.seed} {self.figures.n_jobs}")
        host = chance.choice([host for host in self.hosts if host.kind in (Kind.WELL, Kind.INTERVAL)])
        until = self.clock.monotonic() + PAUSE_S
        process = self.collection.start("hosts", "pause", host.name, "--for", f"{PAUSE_S:.0f}s")
        text, _ = process.communicate(timeout=PATIENCE_S)
        if process.returncode != 0:
            self.broken(f"hosts pause ended with {process.returncode}: {text}")
        self._servers.call("pause", [host.name, until])

    def _end(self, job: Job, process: subprocess.Popen[str]) -> None:
        self.figures.troubles[job.end] += 1
        match job.end:
            case End.KILLED:
                self._kill(process)
            case End.CRASH_STEWARD | End.CRASH_WORKER:
                self._await_crash(job, process)
            case End.SIGTERM | End.SIGUSR1 | End.SIGINT:
                self.event(job.end)
                process.send_signal(signal.Signals[job.end])
            case End.DISK_FULL:
                self.event("no file of the images can grow beyond a kilobyte (RLIMIT_FSIZE)")
                for worker in _workers(process.pid):
                    _limit_files(worker.pid, FULL_BYTES)
            case End.LEDGER_DISK_FULL:
                self.event("no file of the ledger can grow beyond some kilobytes (RLIMIT_FSIZE)")
                _limit_files(process.pid, FULL_LEDGER_BYTES + self._log_path.stat().st_size)
            case End.DISK_DEAD:
                self.event("the folder of images is gone, and a file is in its place")
                self.collection.root.rename(self._away)
                self.collection.root.write_text("no folder\n")

    def _await_crash(self, job: Job, process: subprocess.Popen[str]) -> None:
        """The steward has killed itself by now; when a worker has, all others follow, before a new one makes up for it."""
        first = {worker.pid for worker in _workers(process.pid)}
        end_at = time.monotonic() + self.options.quiet_s
        while process.poll() is None and time.monotonic() < end_at:
            if job.end is End.CRASH_WORKER and first - {worker.pid for worker in _workers(process.pid)}:
                break
            time.sleep(LOOK_S)
        self.event(f"killed at {job.crash_at}" if process.poll() is not None else f"killed ({job.crash_at})")
        self._kill(process)

    def _kill(self, process: subprocess.Popen[str]) -> None:
        _kill(process)
        self._forget()

    def _forget(self, seconds: float = 0.0) -> None:
        """What was answered within so long before now, and a bit more, counts only as far as it is in the ledger."""
        rows = self.collection.rows("SELECT host, max(coalesce(blocked_until, 0), coalesce(paused_until, 0)) FROM hosts")
        noted = {str(host): until for host, until in rows if until}
        self._servers.call("forget", [seconds + UNSETTLED_S * self.clock.speed, noted])

    @staticmethod
    def _wait(process: subprocess.Popen[str], seconds: float) -> None:
        """Of the machine, if the job does not end before."""
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    @property
    def _away(self) -> Path:
        return self.folder / "images.away"

    @contextmanager
    def _disk(self, job: Job) -> Iterator[None]:
        """The folder of images, as the job finds it; afterwards the disk is well again."""
        root = self.collection.root
        if job.end is End.NOT_MOUNTED and root.exists():
            self.figures.troubles[job.end] += 1
            self.event("an empty folder is where the images were")
            root.rename(self._away)
            root.mkdir()
        yield
        if self._away.exists():
            if root.is_dir():
                strangers = [path for path in root.rglob("*") if path.is_file()]
                if strangers:
                    self.broken(f"{len(strangers)} files were written where the disk of the images was not mounted")
                for path in strangers:
                    path.unlink()
                for path in sorted(root.rglob("*"), reverse=True):
                    path.rmdir()
                root.rmdir()
            else:
                root.unlink()
            self._away.rename(root)

    # -- what has come of it

    def _look_at(self, ended: Ended) -> None:
        number, codes = ended.number, {0, 75}
        match ended.job.end:
            case End.KILLED | End.CRASH_STEWARD | End.CRASH_WORKER:
                codes |= {-signal.SIGKILL}
            case End.DISK_FULL | End.LEDGER_DISK_FULL | End.DISK_DEAD:
                codes |= {1}
            case End.NOT_MOUNTED:
                codes = {1, 2}
                if ended.n_requests:
                    self.broken(f"job {number}: {ended.n_requests} requests, though the disk of the images was not mounted")
        if ended.was_at_limit:
            codes |= {-signal.SIGKILL}
        if ended.code not in codes:
            self.broken(f"job {number} ({ended.job.end}) ended with {ended.code}: {ended.last_line}")
        for bad in ("Traceback", "internal error"):
            if bad in ended.log:
                self.broken(f"job {number}: its log says '{bad}': {ended.last_line}")
        for rate in re.findall(r"(-?[\d,.]+) images/s", ended.log):
            if not 0 <= float(rate.replace(",", "")) < MOST_RATE:
                self.broken(f"job {number}: its log says {rate} images/s")

    def _judge(self) -> None:
        """All at the end: the servers' books, the ledger, the files."""
        for what, n in self.books["n_broken"].items():
            self.broken(f"{n} times, by the servers' books: {what}")
        for broken in self.books["broken"]:
            self._say(f"    {broken['what']}: {broken['text']}")
        self._judge_images()
        for host in self.hosts:
            n_door = self.books["hosts"][host.name]["door"]
            if n_door > DOOR_ANSWERS:
                self.broken(f"{host.name} was asked {n_door} times while its door was shut ({host.kind}, {host.page})")
        process = self.collection.start("check", "--sha256", "--no-progress")
        text, _ = process.communicate(timeout=10 * PATIENCE_S)
        self.event(f"check ended with {process.returncode}")
        if process.returncode != 0:
            self.broken(f"check ended with {process.returncode}:\n{text}")
        try:
            self.collection.check_invariants()
        except (AssertionError, OSError) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.broken(f"an invariant does not hold ({where.name}, line {where.lineno}): {where.line} {error}")

    def _judge_images(self) -> None:
        wrong: Counter[tuple[Kind, Expected, str, str]] = Counter()
        examples: dict[tuple[Kind, Expected, str, str], str] = {}
        n = 0
        for urls, status, error_type in self.collection.rows("SELECT urls, status, error_type FROM images"):
            n += 1
            host, expected = self._expected[str(urls)]
            if status not in ALLOWED[expected]:
                case = (host.kind, expected, str(status), str(error_type))
                wrong[case] += 1
                examples.setdefault(case, str(urls))
        if n != len(self._expected):
            self.broken(f"the ledger has {n:,} images, {len(self._expected):,} were brought in")
        for (kind, expected, status, error_type), n_wrong in sorted(wrong.items()):
            example = examples[kind, expected, status, error_type]
            self.broken(
                f"{n_wrong} images that should be {expected} are {status} ({error_type}), at hosts of kind {kind}: {example}"
            )

    def broken(self, text: str) -> None:
        self.figures.broken.append(text)
        self.event(f"BROKEN: {text}")

    def event(self, text: str) -> None:
        day, seconds = divmod(self.clock.monotonic() - self._began_at, 86400)
        self._say(f"day {day + 1:.0f} {seconds // 3600:02.0f}:{seconds % 3600 // 60:02.0f}  {text}")


def _workers(pid: int) -> list[psutil.Process]:
    try:
        children = psutil.Process(pid).children()
        return [child for child in children if "runners.pipe_worker" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def _await_gone(processes: list[psutil.Process]) -> None:
    """Until they have ended; in a container, nobody may ever ask what with."""
    end_at = time.monotonic() + PATIENCE_S
    while any(_lives(one) for one in processes):
        if time.monotonic() > end_at:
            raise TimeoutError(f"{processes} live on after SIGKILL")
        time.sleep(LOOK_S)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _limit_files(pid: int, size_bytes: int) -> None:
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
    except ProcessLookupError:
        pass  # it has just ended


def _kill(process: subprocess.Popen[str]) -> None:
    """The program with all its workers, at once. Returns when all of them, and their sockets, are gone."""
    members = [one for one in psutil.process_iter() if one.pid != process.pid and _session_of(one.pid) == process.pid]
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(PATIENCE_S)
    _await_gone(members)
