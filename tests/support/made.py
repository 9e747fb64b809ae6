"""Tables of bodies that cost something to make: their names are known at once, each body is made when a test first asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping


class Made(Mapping[str, bytes]):
    """Bodies by their names. Every worker of the tests collects all tables and needs only some of the bodies."""

    def __init__(self, makers: Mapping[str, Callable[[], bytes]]) -> None:
        self._makers = makers
        self._made: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
