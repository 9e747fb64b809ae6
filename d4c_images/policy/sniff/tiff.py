"""TIFF, and the camera formats built on it: which one it is, and whether it is cut. Decodes no image."""

from __future__ import annotations

from dataclasses import replace

from d4c_images.policy.sniff.kinds import Kind, ReadAt, Sniffed

_NEW_SUBFILE_TYPE, _COMPRESSION, _PHOTOMETRIC, _MAKE, _SUB_IFDS, _DNG_VERSION = 254, 259, 262, 271, 330, 50706
_SPANS = ((273, 279), (324, 325))  # offsets and lengths of strips, of tiles
_SENSOR_DATA = (32803, 34892)  # photometric interpretations: colour filter array, linear raw
_SENSOR_COMPRESSIONS = (34713, 32767)  # Nikon's, Sony's
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 13: 4, 16: 8, 18: 8}
_MOST_ENTRIES, _MOST_VALUES, _MOST_SUB_IFDS = 1000, 100_000, 16

_MAKERS = {
    b"nikon": Sniffed(Kind.RAW, "image/x-nikon-nef", "nef"),
    b"sony": Sniffed(Kind.RAW, "image/x-sony-arw", "arw"),
}
_OTHER_MAKER = Sniffed(Kind.RAW, "image/x-raw", "raw")

_Entry = tuple[int, int, bytes]  # type, count, the value or its offset
_Directory = dict[int, _Entry]


def sniff_tiff(read_at: ReadAt, size_bytes: int) -> Sniffed:
    """TIFF or camera raw? The first is to be decoded, the second must not be: its preview would pass for the image.

    DNG is recognised by tag 50706 in its first directory (DNG specification), CR2 by its mark at byte 8, Nikon's and Sony's by
    sensor data in a directory. An image written by a Nikon film scanner or Sony software has none and is a TIFF.
    `needs_ifd` is set if a directory could not be read.
    """
    head = read_at(0, 16)
    if head[8:10] == b"CR" and head[2:4] in (b"*\x00", b"\x00*"):
        base = Sniffed(Kind.RAW, "image/x-canon-cr2", "cr2")
    else:
        base = Sniffed(Kind.IMAGE, "image/tiff", "tif")
    tiff = _Tiff(read_at, size_bytes, head)
    if tiff.first >= size_bytes or len(head) < 8:
        return replace(base, truncated=True)
    first = tiff.directory(tiff.first)
    if first is None:
        return replace(base, truncated=tiff.lacks_directory, needs_ifd=not tiff.lacks_directory)
    others = [tiff.directory(at) for at in tiff.numbers(first, _SUB_IFDS)[:_MOST_SUB_IFDS]]
    directories = [first, *(other for other in others if other is not None)]
    if _DNG_VERSION in first:
        base = Sniffed(Kind.RAW, "image/x-adobe-dng", "dng")
    elif base.kind is Kind.IMAGE and any(tiff.holds_sensor_data(one) for one in directories):
        maker = tiff.text(first, _MAKE).lower()
        base = next((sniffed for name, sniffed in _MAKERS.items() if maker.startswith(name)), _OTHER_MAKER)
    if base.kind is Kind.RAW:
        truncated = tiff.lacks_directory or any(tiff.is_cut(one, by_length=True) for one in directories)
    else:  # of further images: the decoder distinguishes a cut from a wrong offset
        truncated = tiff.is_cut(first, by_length=False)
    return replace(base, truncated=truncated, needs_ifd=None in others and not truncated)


def is_orf_cut(read_at: ReadAt, size_bytes: int, head: bytes) -> bool:
    """Whether an Olympus raw file, a TIFF except for its first bytes, is cut."""
    tiff = _Tiff(read_at, size_bytes, head)
    first = tiff.directory(tiff.first)
    return tiff.first >= size_bytes or tiff.lacks_directory or (first is not None and tiff.is_cut(first, by_length=True))


class _Tiff:
    """The directories of a TIFF, as far as its bytes are available. Trusts no number that it reads."""

    def __init__(self, read_at: ReadAt, size_bytes: int, head: bytes) -> None:
        self._read_at = read_at
        self._size_bytes = size_bytes
        self._order: str = "<" if head[:2] == b"II" else ">"
        self._is_big = head[2:4] in (b"+\x00", b"\x00+")
        self.lacks_directory = False  # one extends beyond the end, or is wholly there
        self.first = self._number(head[8:16] if self._is_big else head[4:8])

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self._order == "<" else "big")

    def directory(self, at: int) -> _Directory | None:
        """The entries of the directory at an offset; None if they are not available."""
        count_size, entry_size = (8, 20) if self._is_big else (2, 12)
        count_field = self._read_at(at, count_size)
        count = self._number(count_field) if len(count_field) == count_size else 0
        length = count * entry_size
        if at + count_size + length > self._size_bytes:
            self.lacks_directory = True
            return None
        data = self._read_at(at + count_size, length)
        if not 0 < count <= _MOST_ENTRIES or len(data) < length:
            return None
        found: _Directory = {}
        value_at = 12 if self._is_big else 8
        for start in range(0, length, entry_size):
            entry = data[start : start + entry_size]
            found[self._number(entry[:2])] = (self._number(entry[2:4]), self._number(entry[4:value_at]), entry[value_at:])
        return found

    def _value(self, directory: _Directory, tag: int) -> tuple[int, bytes]:
        """(size of one value, the values); empty if there is none or it is not available."""
        kind, count, field = directory.get(tag, (0, 0, b""))
        size = _TYPE_SIZES.get(kind, 0)
        if not size or not 0 < count <= _MOST_VALUES:
            return 1, b""
        data = field if size * count <= len(field) else self._read_at(self._number(field), size * count)
        return size, data[: size * count]

    def numbers(self, directory: _Directory, tag: int) -> list[int]:
        size, data = self._value(directory, tag)
        return [self._number(data[at : at + size]) for at in range(0, len(data) - size + 1, size)]

    def text(self, directory: _Directory, tag: int) -> bytes:
        return self._value(directory, tag)[1].strip(b"\x00 ")

    def holds_sensor_data(self, directory: _Directory) -> bool:
        photometric = self.numbers(directory, _PHOTOMETRIC)[:1]
        compression = self.numbers(directory, _COMPRESSION)[:1]
        return any(one in _SENSOR_DATA for one in photometric) or any(one in _SENSOR_COMPRESSIONS for one in compression)

    def is_cut(self, directory: _Directory, by_length: bool) -> bool:
        """Whether image data extends beyond the end; `by_length` trusts the lengths too (some writers get them wrong)."""
        for offsets_tag, lengths_tag in _SPANS:
            offsets, lengths = self.numbers(directory, offsets_tag), self.numbers(directory, lengths_tag)
            if any(offset >= self._size_bytes for offset in offsets):
                return True
            if by_length and any(at + length > self._size_bytes for at, length in zip(offsets, lengths, strict=False)):
                return True
        return False
