"""Processes that look at images side by side, and give their results in the order of the questions. Knows no ledger.

Each has a pipe, and gets every n-th group. At most `GROUPS_AHEAD` groups per process are under way, so memory is bounded whatever
the collection's size. A process that was killed ends the check; the next one resumes.
"""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Protocol, Self, TypeVar

from d4c_images.collection.image_looks import ImageLooks, ImageToSee, Seen
from d4c_images.errors import D4CError
from d4c_images.system import child_process

GROUPS_AHEAD = 2
LOOKER_PROGRAM = f"""{child_process.WITH_OUR_PATH}
from d4c_images.collection.look_pool import serve
serve()
"""


class Group(Protocol):
    """Images that are looked at together."""

    @property
    def images(self) -> list[ImageToSee]: ...


G = TypeVar("G", bound=Group)


class LookPool:
    """Use it in a `with` block. With one process, this one does all itself."""

    def __init__(self, root: str, n_processes: int) -> None:
        self._own = ImageLooks(root)
        self._seats = [_Seat(root) for _ in range(n_processes)] if n_processes > 1 else []

    @property
    def pids(self) -> list[int]:
        """Of its processes; empty if there is only this one."""
        return [seat.pid for seat in self._seats]

    def in_order(self, groups: Iterable[G]) -> Iterator[tuple[G, Seen]]:
        """What was seen of each group. `groups` is read a little ahead."""
        if not self._seats:
            yield from ((group, self._own.see(group.images)) for group in groups)
            return
        under_way: deque[tuple[G, _Seat]] = deque()
        for group, seat in zip(groups, itertools.cycle(self._seats)):
            if len(under_way) >= GROUPS_AHEAD * len(self._seats):
                first, its_seat = under_way.popleft()
                yield first, its_seat.receive()
            seat.send(group.images)
            under_way.append((group, seat))
        for group, seat in under_way:
            yield group, seat.receive()

    def again(self, image: ImageToSee) -> Seen:
        """Look at one image, here and now."""
        return self._own.see([image])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for seat in self._seats:
            seat.close()


class _Seat:
    """A process, seen from here."""

    def __init__(self, root: str) -> None:
        self._pipe, theirs = Pipe()
        self._process: subprocess.Popen[bytes] = child_process.start(["-c", LOOKER_PROGRAM, str(theirs.fileno())], theirs.fileno())
        theirs.close()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as stdin:  # it has died already: `receive` notices
            pickle.dump(sys.path, stdin)
            pickle.dump((os.getpid(), root), stdin)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, images: list[ImageToSee]) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send(images)

    def receive(self) -> Seen:
        try:
            message = self._pipe.recv()
        except (EOFError, OSError):
            ending = child_process.ending(self._process.wait())
            raise D4CError(f"a process of the check died ({ending}): run the same command again") from None
        if isinstance(message, D4CError):
            raise message
        assert isinstance(message, Seen)
        return message

    def close(self) -> None:
        """End it, whatever it is doing: it changes nothing."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()


def serve() -> None:
    """The whole life of a process: answers until nobody asks any more."""
    child_process.settle_in()
    pipe = Connection(int(sys.argv[1]))
    try:
        parent_pid, root = pickle.load(sys.stdin.buffer)
        looks = ImageLooks(root)
        while os.getppid() == parent_pid:
            pipe.send(looks.see(pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone
    except BaseException as error:
        traceback.print_exc()
        with suppress(OSError):
            pipe.send(D4CError(f"a process of the check failed: {type(error).__name__}: {error}"))
