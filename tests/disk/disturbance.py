"""Runs a program and has one of its system calls fail, in whichever of its processes; and counts them. Judges nothing.

The kernel reports the calls of interest (`seccomp_unotify(2)`) to a thread here, which has each go on, or fail. So nothing has to
be compiled or preloaded, and calls are seen that libraries make among themselves. It differs from a disk in one thing: a close
that fails leaves its descriptor open.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.disk.calls import CALLS, LOCK_COMMANDS, SHORT, Call, Fault, Kind, numbers_of, place_of

LAUNCHER = Path(__file__).with_name("under_filter.py")
NOTIFICATION, ANSWER = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI")
RECEIVE, SEND = 3 << 30 | NOTIFICATION.size << 16 | 0x2100, 3 << 30 | ANSWER.size << 16 | 0x2101
GO_ON = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
PIDFD_OPEN, PIDFD_GETFD = 434, 438
AT_FDCWD = -100
MOST_PATH_BYTES = 4096
PATIENCE_TO_END_S = 10.0


class Notice(NamedTuple):
    """A call that waits for an answer."""

    id: int
    pid: int
    call: Call
    arguments: tuple[int, ...]


@dataclass(slots=True)
class Heard:
    """What the program did."""

    counts: Counter[Kind] = field(default_factory=Counter)
    places: list[tuple[Kind, int, str]] = field(default_factory=list)  # of each call: its kind, its number in that, its place
    fired: str | None = None  # the call that failed


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    output: str
    heard: Heard


def run(command: Sequence[str], folder: Path, fault: Fault | None, environ: Mapping[str, str], cwd: Path, patience_s: float) -> Ran:
    """Run a command to its end, with calls about files below `folder` disturbed; without a fault they are only counted.

    Raises `TimeoutError` if it has not ended by then; nothing of it goes on in any case.
    """
    ours, theirs = socket.socketpair()
    numbers = numbers_of(set(Kind) if fault is None else fault.watched)
    launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(theirs.fileno()), ",".join(map(str, numbers)), *command]
    process = subprocess.Popen(
        launch, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd, env=dict(environ),
        pass_fds=[theirs.fileno()], start_new_session=True,
    )  # fmt: skip
    with ours, theirs:
        theirs.close()
        _, found, _, _ = socket.recv_fds(ours, 1, 1)
    if not found:
        raise RuntimeError(f"this kernel does not let system calls be disturbed: {process.communicate()[0]}")
    disturber = _Disturber(found[0], str(folder.resolve()), fault)
    try:
        output, _ = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"still running after {patience_s:.0f} s: {(error.output or b'').decode()}") from None
    finally:
        _end_all(process)
        disturber.close()
    return Ran(process.returncode, output, disturber.heard)


def _end_all(process: subprocess.Popen[str]) -> None:
    """Whatever has stayed in its process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class _Disturber:
    """Answers all calls in a thread, until no process is left that makes any."""

    def __init__(self, listener: int, folder: str, fault: Fault | None) -> None:
        self._listener, self._folder, self._fault = listener, folder, fault
        self.heard = Heard()
        self._thread = threading.Thread(target=self._answer_all, name="disturber", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No process is left. Before Linux 6.11 the thread may wait for a call of one that was killed: then it stays."""
        self._thread.join(PATIENCE_TO_END_S)
        if not self._thread.is_alive():
            os.close(self._listener)

    def _answer_all(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while not poll.poll()[0][1] & select.POLLHUP:
            raw = bytearray(NOTIFICATION.size)
            try:
                fcntl.ioctl(self._listener, RECEIVE, raw)
            except FileNotFoundError:
                continue  # killed, or a signal came, in the meantime
            number, pid, _, call, _, _, *arguments = NOTIFICATION.unpack(raw)
            notice = Notice(number, pid, CALLS[call], tuple(arguments))
            try:
                value, error, goes_on = self._verdict(notice)
            except OSError:
                value, error, goes_on = 0, 0, GO_ON  # it has gone
            try:
                fcntl.ioctl(self._listener, SEND, bytearray(ANSWER.pack(notice.id, value, -error, goes_on)))
            except FileNotFoundError:
                pass

    def _verdict(self, notice: Notice) -> tuple[int, int, int]:
        """The value that the call returns, its error, and whether it is made after all."""
        path, kind = self._path(notice), notice.call.kind
        if kind is Kind.LOCK and notice.call.name == "fcntl" and notice.arguments[1] not in LOCK_COMMANDS:
            return 0, 0, GO_ON
        if kind is not Kind.SOCKET and (path is None or not f"{path}/".startswith(self._folder + "/")):
            return 0, 0, GO_ON
        if kind is Kind.CLOSE and not _is_written(notice):
            return 0, 0, GO_ON  # only what was written can still fail
        if kind is Kind.OPEN and _creates(notice) and not os.path.lexists(str(path)):
            kind = Kind.CREATE
        heard, fault = self.heard, self._fault
        heard.counts[kind] += 1
        nth = heard.counts[kind]
        if fault is None:
            heard.places.append((kind, nth, "" if path is None else place_of(path, self._folder)))
            return 0, 0, GO_ON
        is_first = heard.fired is None and (kind, nth) == (fault.kind, fault.nth)
        if not is_first and not (heard.fired is not None and fault.lasting and fault.spreads_to(kind)):
            return 0, 0, GO_ON
        heard.fired = heard.fired or f"{notice.call.name} {path}"
        if fault.error == SHORT:
            return (_written_by_half(notice), 0, 0) if notice.call.name in ("write", "pwrite64") else (0, 0, GO_ON)
        return 0, fault.error, 0

    def _path(self, notice: Notice) -> str | None:
        """The absolute path that a call is about."""
        proc, way, arguments = f"/proc/{notice.pid}", notice.call.way, notice.arguments
        if way == "none":
            return None
        if way == "fd":
            return str(Path(f"{proc}/fd/{_int(arguments[notice.call.arguments[0]])}").readlink())
        named = _text(notice.pid, arguments[notice.call.arguments[-1]])
        if named.startswith("/"):
            return os.path.normpath(named)
        fd = AT_FDCWD if way == "path" else _int(arguments[notice.call.arguments[0]])
        base = str(Path(f"{proc}/cwd" if fd == AT_FDCWD else f"{proc}/fd/{fd}").readlink())
        return os.path.normpath(f"{base}/{named}") if named else base  # with AT_EMPTY_PATH it is the descriptor itself


def _int(argument: int) -> int:
    """A C `int`, of a register."""
    return (argument + (1 << 31)) % (1 << 32) - (1 << 31)


def _text(pid: int, address: int) -> str:
    if not address:
        return ""
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.fsdecode(os.pread(fd, MOST_PATH_BYTES, address).partition(b"\0")[0])
    finally:
        os.close(fd)


def _is_written(notice: Notice) -> bool:
    lines = Path(f"/proc/{notice.pid}/fdinfo/{_int(notice.arguments[0])}").read_text(encoding="ascii").splitlines()
    flags = int(next(line.split()[1] for line in lines if line.startswith("flags:")), 8)
    return flags & os.O_ACCMODE != os.O_RDONLY


def _creates(notice: Notice) -> bool:
    flags = {"open": 1, "openat": 2}.get(notice.call.name)
    return notice.call.name == "creat" or (flags is not None and bool(notice.arguments[flags] & os.O_CREAT))


def _written_by_half(notice: Notice) -> int:
    """Write the first half of what the call is to write, in its place, through its own descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd, address, size_bytes, offset = notice.arguments[:4]
    half = max(1, size_bytes // 2)
    memory = os.open(f"/proc/{notice.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    process = libc.syscall(PIDFD_OPEN, _process_of(notice.pid), 0)
    twin = libc.syscall(PIDFD_GETFD, process, fd, 0)
    try:
        piece = os.pread(memory, half, address)
        return os.pwrite(twin, piece, offset) if notice.call.name == "pwrite64" else os.write(twin, piece)
    finally:
        for one in (memory, process, twin):
            os.close(one)


def _process_of(thread: int) -> int:
    lines = Path(f"/proc/{thread}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Tgid:")))
