"""A column of texts as one piece of UTF-8: only texts that are read become Python objects. Knows no table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from d4c_images.ledger.admission.chunk import JoinedTexts, Numbers


class Stretch(NamedTuple):
    """Some texts of a column, as positions in a blob."""

    blob: memoryview
    starts: Numbers  # 1-based, as in substr()
    lengths: Numbers


class TextColumn:
    """A column of texts, of which few are read or replaced individually; otherwise call `spread` first."""

    def __init__(self, parts: Sequence[JoinedTexts]) -> None:
        self._joined = b"\t".join([part.joined for part in parts])
        self._lengths: Numbers = np.concatenate([part.lengths for part in parts]).astype(np.int64)
        self._texts: list[str] | None = None
        self._changed: dict[int, str] = {}
        self._measure()

    def _measure(self) -> None:
        self.starts: Numbers = np.cumsum(self._lengths + 1) - self._lengths - 1
        """Offset of each text, not counting changes since `settle`."""

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, at: int) -> str:
        if self._texts is not None:
            return self._texts[at]
        if at in self._changed:
            return self._changed[at]
        start = int(self.starts[at])
        return self._joined[start : start + int(self._lengths[at])].decode()

    def __setitem__(self, at: int, text: str) -> None:
        self._changed[at] = text
        if self._texts is not None:
            self._texts[at] = text

    def spread(self) -> None:
        """Decode all texts at once: faster if more than a few are read."""
        if self._texts is None:
            self._texts = self._joined.decode().split("\t")
            for at, text in self._changed.items():
                self._texts[at] = text

    def settle(self) -> None:
        """Merge the changed texts into the piece."""
        pieces: list[bytes | memoryview] = []
        joined, done = memoryview(self._joined), 0
        for at, text in sorted(self._changed.items()):
            start, changed = int(self.starts[at]), text.encode()
            pieces += (joined[done:start], changed)
            done = start + int(self._lengths[at])
            self._lengths[at] = len(changed)
        if pieces:
            self._joined = b"".join([*pieces, joined[done:]])
            self._changed.clear()
            self._measure()

    def stretch(self, positions: Numbers) -> Stretch:
        """The texts at these positions, which must be ascending. Call `settle` first."""
        first, last = int(positions[0]), int(positions[-1])
        start, end = int(self.starts[first]), int(self.starts[last] + self._lengths[last])
        return Stretch(memoryview(self._joined)[start:end], self.starts[positions] - (start - 1), self._lengths[positions])
