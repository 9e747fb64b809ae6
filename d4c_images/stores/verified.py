"""Copies the bytes of a stored image into a partial, if they are what they should be. Gives no copy its final name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from d4c_images.errors import StoreError
from d4c_images.stores import Partial, Place
from d4c_images.stores.reading import pieces, sha256_of


def copy_if_right(root: Path, place: Place, size_bytes: int, sha256: bytes, partial: Partial) -> bool:
    """Whether the image at `place` has this hash; only then is anything left in the partial.

    Raises `OSError` if the image cannot be read, and `StoreError` if the copy cannot be written.
    """

    def written() -> Iterator[bytes]:
        for piece in pieces(root, place, size_bytes):
            partial.write(piece)
            yield piece

    try:
        is_right = sha256_of(written()) == sha256
    except BaseException:
        leave_nothing(partial)
        raise
    if not is_right:
        leave_nothing(partial)
    return is_right


def leave_nothing(partial: Partial) -> None:
    """Remove a copy, also if `Store.put` has made its bytes durable, but failed before it had its name."""
    with suppress(StoreError, OSError):
        partial.abort()
        partial.path.unlink(missing_ok=True)
