"""Reads a source in a child process and passes its chunks on. Knows neither the ledger nor what chunks are for.

Chunks travel in an in-memory file; a pipe only carries their positions. Backpressure: the child is never more than `CHUNK_SLOTS`
chunks ahead. It exits when nobody reads any more.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
from collections.abc import Generator
from multiprocessing.connection import Connection, Pipe
from typing import IO, TYPE_CHECKING

from d4c_images.errors import D4CError
from d4c_images.system import child_process

if TYPE_CHECKING:
    from d4c_images.ingest.publisher_rows import Assignment
    from d4c_images.ledger.admission.chunk import Chunk, LedgerFilters

CHUNK_SLOTS = 32  # more than one transaction takes, so that neither side waits for the other
SLOT_BYTES = 1 << 20  # unused parts take no memory
READER_PROGRAM = f"""{child_process.WITH_OUR_PATH}
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's; they would only wait
from multiprocessing.connection import Connection
from d4c_images.system.child_process import settle_in
settle_in()
import d4c_images.ingest.chunks  # what takes time is loaded before there is something to read
from d4c_images.ingest.reader_process import read
told, freed, slots = map(int, sys.argv[1:])
read(sys.stdin.buffer, Connection(told, readable=False), Connection(freed, writable=False), slots)
"""


class ReaderProcess:
    """A child process that reads one source. Start it early, before the source is known: it needs 0.3 s to get ready."""

    def __init__(self) -> None:
        self._pipe, told = Pipe(duplex=False)
        freed, self._free = Pipe(duplex=False)
        self._slots = os.memfd_create("d4c-images reader")
        theirs = told.fileno(), freed.fileno(), self._slots
        self._child = child_process.start(["-c", READER_PROGRAM, *map(str, theirs)], *theirs)
        told.close()
        freed.close()
        self._tell(sys.path)

    def chunks(self, assignment: Assignment, seen: LedgerFilters | None) -> Generator[Chunk, None, None]:
        """Yields and raises what `chunks.chunks` does. Call it once."""
        try:
            self._tell((assignment, seen))
            while (message := self._next()) is not None:
                if isinstance(message, D4CError):
                    raise message
                yield message
        except EOFError:
            name, code = assignment.source.name, self._child.wait()
            raise D4CError(f"the process reading {name} died (exit code {code}): run the same command again") from None
        finally:
            self.close()

    def close(self) -> None:
        """End the child, whatever it is doing."""
        self._child.kill()
        self._pipe.close()
        self._free.close()
        if self._slots >= 0:
            os.close(self._slots)
            self._slots = -1
        self._child.communicate()

    def _next(self) -> Chunk | D4CError | None:
        """The next chunk, or what the child ended with. Raises `EOFError` if it died."""
        message = self._pipe.recv()
        if not isinstance(message, slice):
            return message  # type: ignore[no-any-return]
        chunk: Chunk = pickle.loads(os.pread(self._slots, message.stop - message.start, message.start))
        try:
            self._free.send_bytes(b"")
        except BrokenPipeError:
            pass  # it has exited; its last message is in the pipe
        return chunk

    def _tell(self, what: object) -> None:
        assert self._child.stdin is not None
        try:
            pickle.dump(what, self._child.stdin, pickle.HIGHEST_PROTOCOL)
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # it has died already; reading the pipe will show that


def read(stdin: IO[bytes], pipe: Connection, freed: Connection, slots: int) -> None:
    """The child: sends chunks, then None or the error that ended them. Exits when nobody reads any more."""
    from d4c_images.ingest.chunks import chunks

    gc.disable()
    n_sent = 0
    try:
        assignment, seen = pickle.load(stdin)
        try:
            for chunk in chunks(assignment, seen):
                pickled = pickle.dumps(chunk, pickle.HIGHEST_PROTOCOL)
                if len(pickled) > SLOT_BYTES:
                    pipe.send(chunk)  # through the pipe itself, which blocks until it is read
                    continue
                if n_sent >= CHUNK_SLOTS:
                    freed.recv_bytes()  # slots are freed in order
                start = n_sent % CHUNK_SLOTS * SLOT_BYTES
                os.pwrite(slots, pickled, start)
                pipe.send(slice(start, start + len(pickled)))
                n_sent += 1
            pipe.send(None)
        except D4CError as error:
            pipe.send(error)
    except (BrokenPipeError, EOFError):
        pass  # the parent is gone
