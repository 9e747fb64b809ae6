"""Which system calls touch a disk, what each can fail with, and how to tell the file that one is about. Makes none itself."""

from __future__ import annotations

import errno
import os
import platform
import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    OPEN = "open"  # of what is there already
    CREATE = "create"
    READ = "read"
    WRITE = "write"
    SYNC = "sync"
    RENAME = "rename"
    LINK = "link"
    MKDIR = "mkdir"
    TRUNCATE = "truncate"
    ALLOCATE = "allocate"
    CLOSE = "close"  # of a file that may have been written
    UNLINK = "unlink"
    STAT = "stat"
    LIST = "list"
    LOCK = "lock"
    ROOM = "room"  # free space
    SOCKET = "socket"  # and pipes: needs a descriptor, but no disk


# Name, kind, where its file is (number of the argument: a descriptor, a path, or a folder's descriptor and a path), and its number
# on x86-64 and on arm64 (include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls/syscall_64.tbl).
_TABLE = """
open            open      path:0    2    -
creat           open      path:0    85   -
openat          open      at:0:1    257  56
openat2         open      at:0:1    437  437
read            read      fd:0      0    63
pread64         read      fd:0      17   67
readv           read      fd:0      19   65
preadv          read      fd:0      295  69
preadv2         read      fd:0      327  286
write           write     fd:0      1    64
pwrite64        write     fd:0      18   68
writev          write     fd:0      20   66
pwritev         write     fd:0      296  70
pwritev2        write     fd:0      328  287
sendfile        write     fd:0      40   71
copy_file_range write     fd:2      326  285
fsync           sync      fd:0      74   82
fdatasync       sync      fd:0      75   83
sync_file_range sync      fd:0      277  84
rename          rename    path:1    82   -
renameat        rename    at:2:3    264  38
renameat2       rename    at:2:3    316  276
link            link      path:1    86   -
linkat          link      at:2:3    265  37
symlink         link      path:1    88   -
symlinkat       link      at:1:2    266  36
mkdir           mkdir     path:0    83   -
mkdirat         mkdir     at:0:1    258  34
truncate        truncate  path:0    76   45
ftruncate       truncate  fd:0      77   46
fallocate       allocate  fd:0      285  47
close           close     fd:0      3    57
unlink          unlink    path:0    87   -
rmdir           unlink    path:0    84   -
unlinkat        unlink    at:0:1    263  35
stat            stat      path:0    4    -
lstat           stat      path:0    6    -
access          stat      path:0    21   -
fstat           stat      fd:0      5    80
newfstatat      stat      at:0:1    262  79
statx           stat      at:0:1    332  291
faccessat       stat      at:0:1    269  48
faccessat2      stat      at:0:1    439  439
getdents64      list      fd:0      217  61
fcntl           lock      fd:0      72   25
flock           lock      fd:0      73   32
statfs          room      path:0    137  43
fstatfs         room      fd:0      138  44
socket          socket    none      41   198
socketpair      socket    none      53   199
pipe2           socket    none      293  59
eventfd2        socket    none      290  19
epoll_create1   socket    none      291  20
"""
LOCK_COMMANDS = frozenset((6, 7, 37, 38))  # of fcntl: F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    kind: Kind
    way: str  # "fd", "path", "at" or "none"
    arguments: tuple[int, ...]


def _calls() -> dict[int, Call]:
    column = {"x86_64": 3, "aarch64": 4}[platform.machine()]
    found = {}
    for line in _TABLE.strip().splitlines():
        words = line.split()
        if words[column] != "-":
            way, *arguments = words[2].split(":")
            found[int(words[column])] = Call(words[0], Kind(words[1]), way, tuple(map(int, arguments)))
    return found


CALLS = _calls()

FULL = (errno.ENOSPC, errno.EDQUOT)
GONE = (errno.EIO, errno.ESTALE)
SHORT = 0  # no error: only half of the bytes are written
TAKES_ROOM = frozenset((Kind.CREATE, Kind.WRITE, Kind.LINK, Kind.MKDIR, Kind.ALLOCATE))
TAKES_DESCRIPTOR = frozenset((Kind.OPEN, Kind.CREATE, Kind.SOCKET))

# What each kind of call can fail with, according to its manual page; a network file system reports a write that failed later at
# fsync or close.
ERRORS: dict[Kind, tuple[int, ...]] = {
    Kind.OPEN: (*GONE, errno.EMFILE),
    Kind.CREATE: (*FULL, *GONE, errno.EMFILE),
    Kind.READ: GONE,
    Kind.WRITE: (*FULL, *GONE, SHORT),
    Kind.SYNC: (*FULL, *GONE),
    Kind.RENAME: (*FULL, *GONE),
    Kind.LINK: (*FULL, *GONE),
    Kind.MKDIR: (*FULL, *GONE),
    Kind.TRUNCATE: (*FULL, *GONE),
    Kind.ALLOCATE: (*FULL, *GONE),
    Kind.CLOSE: (*FULL, *GONE),
    Kind.UNLINK: GONE,
    Kind.STAT: GONE,
    Kind.LIST: GONE,
    Kind.LOCK: GONE,
    Kind.ROOM: GONE,
    Kind.SOCKET: (errno.EMFILE,),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """The `nth` call of a kind fails, counted over all processes; a `lasting` one all that a disk in this state refuses, too."""

    kind: Kind
    error: int
    nth: int
    lasting: bool = False

    @property
    def word(self) -> str:
        return "SHORT" if self.error == SHORT else errno.errorcode[self.error]

    def __str__(self) -> str:
        return f"{self.kind}:{self.nth}:{self.word}{':lasting' if self.lasting else ''}"

    def spreads_to(self, kind: Kind) -> bool:
        """Whether a call of this kind fails after it, if it is a lasting one."""
        if self.error in FULL:
            return kind in TAKES_ROOM
        return kind in TAKES_DESCRIPTOR if self.error == errno.EMFILE else kind is not Kind.SOCKET

    @property
    def watched(self) -> set[Kind]:
        """Kinds of calls that have to be looked at."""
        return {self.kind} | ({kind for kind in Kind if self.spreads_to(kind)} if self.lasting else set())


def parse_fault(text: str) -> Fault:
    """The reverse of `str`. Raises `ValueError`."""
    found = re.fullmatch(r"(\w+):(\d+):(\w+)(:lasting)?", text)
    if found is None:
        raise ValueError(f"{text!r} is not KIND:NUMBER:ERROR or KIND:NUMBER:ERROR:lasting")
    error = SHORT if found[3] == "SHORT" else getattr(errno, found[3])
    return Fault(Kind(found[1]), error, int(found[2]), bool(found[4]))


def faults_of(kind: Kind, nth: int) -> list[Fault]:
    """All that the nth call of a kind can fail with, once and lastingly."""
    once = [Fault(kind, error, nth) for error in ERRORS[kind]]
    return once + [Fault(kind, error, nth, True) for error in ERRORS[kind] if error != SHORT]


def numbers_of(kinds: set[Kind]) -> list[int]:
    """System calls of these kinds. Opening and creating are the same calls."""
    kinds = kinds | ({Kind.OPEN} if Kind.CREATE in kinds else set())
    return sorted(number for number, call in CALLS.items() if call.kind in kinds)


def place_of(path: str, folder: str) -> str:
    """A path below `folder` as a kind of place: numbers and random parts of names stand for any."""
    relative = os.path.relpath(path.removesuffix(" (deleted)"), folder)
    return re.sub(r"[0-9a-f]{8,}|\d+", "N", relative)
