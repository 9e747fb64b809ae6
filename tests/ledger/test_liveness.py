"""Whether the process that holds a ledger is alive: looked up on the same machine, else inferred from its heartbeats."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from d4c_images.errors import LedgerAwaited, LedgerBusy
from d4c_images.ledger.file import liveness
from d4c_images.ledger.file.liveness import (
    DEAD_AFTER_S,
    HOLDER_POLL_S,
    MOST_STEP_S,
    LedgerHolder,
    Process,
    await_end,
    lives,
    this_process,
)
from tests.support.waiting import Waiting

ME = this_process("77")
PATH = Path("/scratch/ledger.sqlite")
HOUR, DAY = 3600.0, 86400.0


def started(boot: str | None = None, ticks: str | None = None, namespace: str | None = None) -> str:
    assert ME.started is not None
    mine = ME.started.split("/")
    return "/".join(other or own for other, own in zip((boot, ticks, namespace), mine, strict=True))


def held_by(process: Process, beat_at: float = 1000.0, token: str = "a") -> LedgerHolder:
    return LedgerHolder(token, "download", process.host, process.pid, process.started, process.job_id, 900.0, beat_at)


ELSEWHERE = Process("node9", 4711, "boot-9/1/1", "812")
CANNOT_BE_SEEN = {
    "another node": ELSEWHERE,
    "a node with the same name": Process(ME.host, ME.pid, started(boot="boot-9")),
    "a container of the same name, with the same process numbers": Process(ME.host, ME.pid, started(namespace="4026532999")),
    "written down by an older version": Process(ME.host, ME.pid, started().rpartition("/")[0]),
    "nothing known": Process(ME.host, ME.pid, None),
}


def test_what_can_be_looked_up() -> None:
    assert lives(ME, ME) is True
    assert lives(dataclasses.replace(ME, host="renamed"), ME) is True, "a machine may get another name"
    assert lives(Process(ME.host, ME.pid, started(ticks="1")), ME) is False, "the number is used again"
    assert lives(Process(ME.host, 2**22 + 1, started()), ME) is False
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = Process(ME.host, child.pid, liveness._started(child.pid))
        assert lives(process, ME) is True
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert lives(process, ME) is False, "a zombie"
    assert lives(process, ME) is False


@pytest.mark.parametrize("kind", CANNOT_BE_SEEN)
def test_what_cannot_be_looked_up(kind: str) -> None:
    assert lives(CANNOT_BE_SEEN[kind], ME) is None


def test_a_process_of_another_user_that_proc_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuses)
    assert lives(Process(ME.host, 2**22 + 1, started()), ME) is None


def test_too_few_open_files_make_nobody_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Path, *_: object, **__: object) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_text", refuses)
    assert lives(Process(ME.host, os.getppid(), started()), ME) is None
    assert this_process().started is None


@pytest.mark.parametrize("kind", CANNOT_BE_SEEN)
@pytest.mark.parametrize("clock", [0.0, HOUR, -HOUR, DAY, -DAY])
def test_a_living_one_is_respected_whatever_its_clock_says(kind: str, clock: float) -> None:
    beats = itertools.count(1000.0 + clock)
    holder = [held_by(CANNOT_BE_SEEN[kind], next(beats))]

    def each(waited_s: float) -> None:
        if waited_s >= DEAD_AFTER_S - HOLDER_POLL_S:
            holder[0] = held_by(CANNOT_BE_SEEN[kind], next(beats))

    waiting = Waiting(each)
    with pytest.raises(LedgerBusy, match="is in use by 'download' on host"):
        await_end(lambda: holder[0], ME, PATH, waiting.patience())
    assert waiting.now < DEAD_AFTER_S + HOLDER_POLL_S
    assert len(waiting.said) == 1, "and who waits says so"


@pytest.mark.parametrize("kind", CANNOT_BE_SEEN)
@pytest.mark.parametrize("clock", [0.0, HOUR, -HOUR, DAY, -DAY])
def test_a_dead_one_is_found_out_in_minutes_whatever_its_clock_said(kind: str, clock: float) -> None:
    waiting, dead = Waiting(), held_by(CANNOT_BE_SEEN[kind], 1000.0 + clock)
    assert await_end(lambda: dead, ME, PATH, waiting.patience()) == dead
    assert DEAD_AFTER_S <= waiting.now <= DEAD_AFTER_S + 2 * HOLDER_POLL_S
    assert len(waiting.said) == 1
    assert "was last held by 'download' on host" in waiting.said[0]


def test_nobody_and_the_visibly_dead_are_not_waited_for() -> None:
    waiting, dead = Waiting(), held_by(Process(ME.host, ME.pid, started(ticks="1")))
    assert await_end(lambda: None, ME, PATH, waiting.patience()) is None
    assert await_end(lambda: dead, ME, PATH, waiting.patience()) == dead
    with pytest.raises(LedgerBusy, match=rf"on host .*, pid {ME.pid}, job 77, since "):
        await_end(lambda: held_by(ME), ME, PATH, waiting.patience())
    assert (waiting.now, waiting.said) == (0.0, [])


def test_one_that_gives_it_back_meanwhile() -> None:
    holder: list[LedgerHolder | None] = [held_by(ELSEWHERE)]
    waiting = Waiting(lambda waited_s: holder.__setitem__(0, None))
    assert await_end(lambda: holder[0], ME, PATH, waiting.patience()) is None


def test_a_wait_ends_in_refusal_when_another_run_was_quicker() -> None:
    holder = [held_by(ELSEWHERE)]
    waiting = Waiting(lambda waited_s: holder.__setitem__(0, held_by(Process("node10", 1, "boot-10/1/1"), token="b")))
    with pytest.raises(LedgerBusy, match="host node10"):
        await_end(lambda: holder[0], ME, PATH, waiting.patience())


def test_time_in_which_nobody_looked_proves_nothing() -> None:
    """Both jobs were stopped together, or the disk hung: the holder had no chance to show itself."""
    waiting, holder = Waiting(), held_by(ELSEWHERE)
    waiting.sleep = lambda seconds: setattr(waiting, "now", waiting.now + 10 * HOUR)  # type: ignore[method-assign]
    n_looks = [0]

    def find() -> LedgerHolder:
        n_looks[0] += 1
        return holder

    assert await_end(find, ME, PATH, waiting.patience()) == holder
    assert n_looks[0] > DEAD_AFTER_S / MOST_STEP_S


def over_after(waiting: Waiting, seconds: float) -> Callable[[], str | None]:
    return lambda: "the time is up" if waiting.now >= seconds else None


def test_patience_that_is_over() -> None:
    waiting = Waiting()
    with pytest.raises(LedgerAwaited, match=r"may still be in use by 'download' on host node9.*\(the time is up\)") as awaited:
        await_end(lambda: held_by(ELSEWHERE), ME, PATH, waiting.patience(is_over=over_after(waiting, 60)))
    assert awaited.value.exit_code == 75
    assert 60 <= waiting.now <= 60 + HOLDER_POLL_S


def test_an_earlier_run_of_the_same_job_is_waited_for_while_it_lives() -> None:
    """Its node is cut off from the scheduler, which has started the job again elsewhere, and not from the disk."""
    holder = [held_by(dataclasses.replace(ELSEWHERE, job_id="77"))]

    def beats_for_an_hour(waited_s: float) -> None:
        if waited_s < HOUR:
            holder[0] = dataclasses.replace(holder[0], beat_at=waited_s)

    waiting = Waiting(beats_for_an_hour)
    with pytest.raises(LedgerAwaited):
        await_end(lambda: holder[0], ME, PATH, waiting.patience("77", over_after(waiting, HOUR / 2)))
    assert await_end(lambda: holder[0], ME, PATH, waiting.patience("77")) == holder[0]
    assert HOUR + DEAD_AFTER_S - HOLDER_POLL_S <= waiting.now <= HOUR + DEAD_AFTER_S + 2 * HOLDER_POLL_S
    assert len(waiting.said) == 2
    other = Waiting(lambda waited_s: holder.__setitem__(0, dataclasses.replace(holder[0], beat_at=-waited_s)))
    with pytest.raises(LedgerBusy):
        await_end(lambda: holder[0], ME, PATH, other.patience("78"))


@pytest.mark.parametrize("every_s", [14.0, 60.0, DEAD_AFTER_S - 2 * HOLDER_POLL_S])
def test_silences_of_one_that_lives_do_not_add_up(every_s: float) -> None:
    """It shows itself once in a while, for hours, and is never taken for dead."""
    holder = [held_by(dataclasses.replace(ELSEWHERE, job_id="77"))]

    def beats_now_and_then(waited_s: float) -> None:
        holder[0] = dataclasses.replace(holder[0], beat_at=waited_s // every_s)

    waiting = Waiting(beats_now_and_then)
    with pytest.raises(LedgerAwaited):
        await_end(lambda: holder[0], ME, PATH, waiting.patience("77", over_after(waiting, HOUR)))
    assert waiting.now >= HOUR


def test_without_a_job_nobody_is_of_ours() -> None:
    """Neither of two that were started by hand: who lives is respected at once."""
    nobody = dataclasses.replace(ELSEWHERE, job_id=None)
    beats = itertools.count(1000.0)
    waiting = Waiting(lambda waited_s: None if waited_s < HOUR else pytest.fail("it waits for one that lives"))
    with pytest.raises(LedgerBusy):
        await_end(lambda: held_by(nobody, next(beats)), ME, PATH, waiting.patience(None))


def test_a_silence_is_as_long_as_it_must_be_and_no_look_longer() -> None:
    waiting = Waiting()
    await_end(lambda: held_by(ELSEWHERE), ME, PATH, waiting.patience())
    assert waiting.now == DEAD_AFTER_S


def test_a_proc_of_other_processes_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the host in a container: the numbers there are not ours."""
    real = Path.read_text

    def of_the_host(self: Path, *args: object, **more: object) -> str:
        text = real(self, *args, **more)  # type: ignore[arg-type]
        return text.replace(str(os.getpid()), str(os.getpid() + 100_000), 1) if self == Path("/proc/self/stat") else text

    assert lives(ME, ME) is True
    monkeypatch.setattr(Path, "read_text", of_the_host)
    assert lives(ME, ME) is None
    assert this_process().started is None
