"""Reads a source in a child process and hands its chunks over. Knows neither the ledger nor what chunks are for.

The child is never more than a few MiB ahead, and ends when nobody listens any more.
"""

from __future__ import annotations

import fcntl
import gc
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Generator
from multiprocessing.connection import Connection, Pipe
from typing import IO, TYPE_CHECKING

from d4c_images.errors import D4CError, SourceError

if TYPE_CHECKING:
    from d4c_images.ledger.chunk import Chunk, Seen
    from d4c_images.stating import Assignment

MAX_CHUNKS_AHEAD = 16
PIPE_BYTES = 1 << 20
CHILD = """
import os, pickle, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's; they would only wait
from multiprocessing.connection import Connection
sys.path = pickle.load(sys.stdin.buffer)
import d4c_images.prepare  # what takes time is loaded before there is something to read
from d4c_images.reading import read
read(sys.stdin.buffer, Connection(int(sys.argv[1]), readable=False))
"""


class Reader:
    """A child process that reads one source. Better begun before it is known which: it needs 0.3 s until it is ready."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe(duplex=False)
        # Not `multiprocessing.Process`: that starts a third process to keep watch, of 12 MB, and loads the whole program twice.
        self._child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(theirs.fileno())], stdin=subprocess.PIPE, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        _widen(self._pipe)
        self._backlog: _Backlog | None = None
        self._tell(sys.path)

    def chunks(self, assignment: Assignment, seen: Seen | None) -> Generator[Chunk, None, None]:
        """What `prepare.chunks` yields and raises. To be called once."""
        self._backlog = _Backlog(self._pipe)
        try:
            self._tell((assignment, seen))
            while (message := self._backlog.next()) is not None:
                chunk = pickle.loads(message)
                if isinstance(chunk, D4CError):
                    raise chunk
                if chunk is None:
                    return
                yield chunk
            name, code = assignment.source.name, self._child.wait()
            raise SourceError(f"the process that reads {name} has died (exit code {code}): run the same command again")
        finally:
            self.close()

    def close(self) -> None:
        """End the child, whatever it does."""
        self._child.kill()
        if self._backlog is not None:
            self._backlog.close()
        self._pipe.close()
        self._child.communicate()

    def _tell(self, what: object) -> None:
        assert self._child.stdin is not None
        try:
            pickle.dump(what, self._child.stdin, pickle.HIGHEST_PROTOCOL)
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # it has died already; the backlog will say so


def _widen(pipe: Connection) -> None:
    """Let more than 64 KiB be on the way, where the system can, so that the two processes wake each other less often."""
    try:
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (AttributeError, OSError):
        pass  # not Linux, or the user's pipes take too much already


def read(stdin: IO[bytes], pipe: Connection) -> None:
    """The child: sends chunks, then None or the error that ended them. Ends by itself when nobody listens any more."""
    from d4c_images.prepare import chunks

    gc.disable()
    try:
        assignment, seen = pickle.load(stdin)
        try:
            for chunk in chunks(assignment, seen):
                pipe.send_bytes(pickle.dumps(chunk, pickle.HIGHEST_PROTOCOL))
            pipe.send(None)
        except D4CError as error:
            pipe.send(error)
    except (BrokenPipeError, EOFError):
        pass  # the parent is gone


class _Backlog:
    """Takes messages from a pipe as they come, up to `MAX_CHUNKS_AHEAD`, so that the child works while this process writes."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._messages: queue.Queue[bytes | None] = queue.Queue(MAX_CHUNKS_AHEAD)
        self._thread = threading.Thread(target=self._take, daemon=True, name="d4c-images reader's pipe")
        self._thread.start()

    def next(self) -> bytes | None:
        """The next message; None once the child has ended and all messages are read."""
        return self._messages.get()

    def close(self) -> None:
        """Throw the rest away. The child has been killed."""
        while self._thread.is_alive():
            try:
                self._messages.get(timeout=0.05)
            except queue.Empty:
                pass

    def _take(self) -> None:
        try:
            while True:
                self._messages.put(self._pipe.recv_bytes())
        except (EOFError, OSError):
            self._messages.put(None)
