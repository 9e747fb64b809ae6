"""Walks through the fax codes of a TIFF's strips or tiles: whether each row fills its width. Keeps no picture.

Modified Huffman and Group 3 are defined in ITU-T T.4 (TIFF 6.0, sections 10 and 11), Group 4 in T.6. libtiff only prints errors.
"""

from __future__ import annotations

from dataclasses import dataclass

_TERMINATING = (
    "00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 101010 101011 0100111"
    " 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010 00000011 00011010 00011011 00010010"
    " 00010011 00010100 00010101 00010110 00010111 00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101"
    " 00001010 00001011 01010010 01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010"
    " 01001011 00110010 00110011 00110100",
    "0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 000011000 0000010111"
    " 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 00000010111 00000011000 000011001010"
    " 000011001011 000011001100 000011001101 000001101000 000001101001 000001101010 000001101011 000011010010 000011010011"
    " 000011010100 000011010101 000011010110 000011010111 000001101100 000001101101 000011011010 000011011011 000001010100"
    " 000001010101 000001010110 000001010111 000001100100 000001100101 000001010010 000001010011 000000100100 000000110111"
    " 000000111000 000000100111 000000101000 000001011000 000001011001 000000101011 000000101100 000001011010 000001100110"
    " 000001100111",
)  # white, black: for 0 to 63 pixels
_MAKE_UP = (
    "11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010 011010011"
    " 011010100 011010101 011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000"
    " 010011011",
    "0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 0000001101101"
    " 0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 0000001110100 0000001110101"
    " 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 0000001010101 0000001011010 0000001011011"
    " 0000001100100 0000001100101",
)  # for 64 pixels, 128 and so on
_LONG = (
    " 00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 000000010111"
    " 000000011100 000000011101 000000011110 000000011111"
)  # of either colour
_PASS, _HORIZONTAL = 100, 101
_MODES = {
    "0001": _PASS, "001": _HORIZONTAL, "1": 0, "011": 1, "000011": 2, "0000011": 3, "010": -1, "000010": -2, "0000010": -3,
}  # fmt: skip
_BITS = 13  # of the longest code
_MOST_LEFT = 39  # bits of padding after a picture without an end mark
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

CodeTable = list[tuple[int, int] | None]


def _table(codes: dict[str, int]) -> CodeTable:
    """By the next `_BITS` bits: the length of the code that they begin with, and its meaning."""
    table: CodeTable = [None] * (1 << _BITS)
    for code, meaning in codes.items():
        free = _BITS - len(code)
        first = int(code, 2) << free
        table[first : first + (1 << free)] = [(len(code), meaning)] * (1 << free)
    return table


_RUNS = [
    _table(
        {code: n for n, code in enumerate(_TERMINATING[colour].split())}
        | {code: 64 * n for n, code in enumerate((_MAKE_UP[colour] + _LONG).split(), 1)}
    )
    for colour in (0, 1)
]
_MODE = _table(_MODES)


class Wrong(ValueError):
    """Invalid codes, or codes that overfill a row, or end too early."""


class Unknown(ValueError):
    """Codes of a rarely used extension."""


@dataclass(frozen=True, slots=True)
class FaxPacking:
    """How rows are coded."""

    width: int
    is_group_4: bool = False
    has_lines: bool = False  # end-of-line codes before rows (Group 3); without them rows are byte-aligned, but not in Group 4
    is_mixed: bool = False  # two-dimensional Group 3: a bit after that code says which kind of row follows
    is_reversed: bool = False  # reversed bit order


def check(packed: bytes, kind: FaxPacking, least_rows: int, most_rows: int) -> None:
    """Raises `Wrong` unless the data have the right number of rows, each of full width; and `Unknown`."""
    reader = _Reader(packed.translate(_REVERSED) if kind.is_reversed else packed, kind)
    for n_rows in range(1, most_rows + 1):
        reader.row()
        if n_rows >= least_rows and reader.is_at_end():
            return
    raise Wrong


class _Reader:
    def __init__(self, data: bytes, kind: FaxPacking) -> None:
        self._data, self._kind = data + bytes(4), kind
        self._n_bits = 8 * len(data)
        self._at = 0
        self._above = [kind.width] * 4  # colour changes of the row above

    def _next(self) -> int:
        """The next `_BITS` bits."""
        at = self._at >> 3
        three = int.from_bytes(self._data[at : at + 3], "big")
        return three >> (24 - _BITS - (self._at & 7)) & (1 << _BITS) - 1

    def row(self) -> None:
        is_plain = not self._kind.is_group_4
        if self._kind.has_lines:
            self._pass_end_of_line()  # unless it was skipped already
            if self._kind.is_mixed:
                is_plain = self._next() >> (_BITS - 1) == 1
                self._at += 1
        elif not self._kind.is_group_4:
            self._at = (self._at + 7) & ~7
        self._above = [*(self._plain_row() if is_plain else self._row_by_above()), *[self._kind.width] * 4]
        if self._at > self._n_bits:
            raise Wrong

    def is_at_end(self) -> bool:
        """Only padding is left, or an end mark: two end-of-line codes."""
        if self._kind.has_lines:
            self._pass_end_of_line()
        return self._n_bits - self._at <= _MOST_LEFT or ((self._kind.has_lines or self._kind.is_group_4) and self._is_end_of_line())

    def _is_end_of_line(self) -> bool:
        return self._next() >> 2 == 0

    def _pass_end_of_line(self) -> None:
        """Zeros may precede it; and some writers omit it."""
        if not self._is_end_of_line():
            return
        while self._at < self._n_bits and not self._next() >> (_BITS - 1):
            self._at += 1
        self._at += 1

    def _plain_row(self) -> list[int]:
        at, colour, changes = 0, 0, []
        while at < self._kind.width:
            at += self._run(colour)
            colour ^= 1
            changes.append(at)
        if at > self._kind.width:
            raise Wrong
        return changes

    def _run(self, colour: int) -> int:
        table, total = _RUNS[colour], 0
        while True:
            found = table[self._next()]
            if found is None:
                raise Wrong
            self._at += found[0]
            total += found[1]
            if found[1] < 64:
                return total
            if total > self._kind.width:
                raise Wrong

    def _row_by_above(self) -> list[int]:
        width, above, changes = self._kind.width, self._above, []
        at, colour, n = -1, 0, 0
        while at < width:
            found = _MODE[self._next()]
            if found is None:
                raise Unknown if self._next() >> 6 == 1 else Wrong
            self._at += found[0]
            if n & 1 != colour:  # even ones start black runs
                n += -1 if n else 1
            while above[n] <= at and above[n] < width:
                n += 2
            if found[1] == _PASS:
                at = above[n + 1]
            elif found[1] == _HORIZONTAL:
                first = max(at, 0) + self._run(colour)
                at = first + self._run(colour ^ 1)
                changes += [first, at]
            else:
                to = above[n] + found[1]
                if to < max(at, 0):
                    raise Wrong
                at, colour = to, colour ^ 1
                changes.append(at)
        if at > width:
            raise Wrong
        return changes
