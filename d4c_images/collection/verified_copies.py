"""Copies of stored bytes on their way to a new place: verified while they are written, and made durable together.

A copy that cannot be put is removed again, with all others of its group. Changes no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from d4c_images.collection.findings import Finding, Reason
from d4c_images.collection.moved import each, finding, unreadable, wrong_hash
from d4c_images.ledger.queue.relocating import NamedBytes
from d4c_images.stores import Keep, Place, Store
from d4c_images.stores.verified import copy_if_right, leave_nothing

Copy = Keep | Place | Finding
"""A copy, as a partial; its place if it is there already; or why there is none."""


class PutCopy(NamedTuple):
    """What became of one image of a group."""

    stored: NamedBytes
    at: Place | Finding
    is_new: bool  # it was not there before


def put_copies(pool: Executor, store: Store, copy: Callable[[NamedBytes], Copy], group: Sequence[NamedBytes]) -> list[PutCopy]:
    """Copy a group, several at a time, and make the copies durable. If it raises, no copy is left of any of them."""
    copies = each(pool, copy, group, abort)
    with all_or_none(copies):
        places = iter(store.put([one for one in copies if isinstance(one, Keep)]))
    put = []
    for stored, one in zip(group, copies, strict=True):
        if not isinstance(one, Keep):
            put.append(PutCopy(stored, one, is_new=False))
        elif (place := next(places)) is not None:
            put.append(PutCopy(stored, place, is_new=True))
        else:
            put.append(PutCopy(stored, finding(stored, Reason.LEFTOVER, "another process has taken its copy"), is_new=False))
    return put


def copy_verified(root: Path, one: NamedBytes, keep: Keep) -> Finding | None:
    """Write the bytes to the partial, if they are what their row says; otherwise nothing is left of it, and why is returned."""
    try:
        is_right = copy_if_right(root, Place(one.path, one.offset), one.size_bytes or 0, one.sha256 or b"", keep.partial)
    except OSError as error:  # while reading: while writing it is a `StoreError`
        return unreadable(one, error)
    return None if is_right else wrong_hash(one)


@contextmanager
def all_or_none(copies: Iterable[Copy]) -> Iterator[None]:
    """Abort all of these copies if the block raises."""
    try:
        yield
    except BaseException:
        for copy in copies:
            abort(copy)
        raise


def abort(copy: Copy) -> None:
    if isinstance(copy, Keep):
        leave_nothing(copy.partial)
