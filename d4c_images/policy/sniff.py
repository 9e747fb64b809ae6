"""What do these bytes claim to be, and are they plainly cut off? Looks at first and last bytes; decodes no picture.

Content-Type, file name and GBIF's `format` say nothing here: over half of Kew's images arrive as `application/octet-stream`,
and error pages arrive as `image/jpeg`. `truncated` is set only if the first bytes prove it: a whole file may have anything behind
its end, so the last bytes prove nothing. The rest is for the decoder to find, which walks through the structure.
"""

from __future__ import annotations

import codecs
import itertools
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from mmap import mmap

ReadAt = Callable[[int, int], bytes]
"""(offset, length) -> the bytes there; fewer, or none, where they are not at hand."""


class Kind(StrEnum):
    IMAGE = "image"  # to be decoded
    RAW = "raw"  # a camera's own format: kept as it came
    HTML = "html"
    JSON = "json"
    XML = "xml"
    TEXT = "text"
    EMPTY = "empty"
    OTHER = "other"  # PDF, SVG, sound, film, archives, and what nobody knows


@dataclass(frozen=True, slots=True)
class Sniffed:
    kind: Kind
    media_type: str
    extension: str = ""  # without a dot; only of what may be kept
    truncated: bool = False  # surely
    needs_ifd: bool = False  # a TIFF whose directories lie elsewhere: `sniff_tiff` on the file has the last word


_MAGIC: tuple[tuple[bytes, Sniffed], ...] = (
    (b"\xff\xd8\xff", Sniffed(Kind.IMAGE, "image/jpeg", "jpg")),
    (b"\x89PNG\r\n\x1a\n", Sniffed(Kind.IMAGE, "image/png", "png")),
    (b"GIF87a", Sniffed(Kind.IMAGE, "image/gif", "gif")),
    (b"GIF89a", Sniffed(Kind.IMAGE, "image/gif", "gif")),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Sniffed(Kind.IMAGE, "image/jp2", "jp2")),
    (b"\xff\x4f\xff\x51", Sniffed(Kind.IMAGE, "image/jp2", "jp2")),
    (b"FUJIFILMCCD-RAW", Sniffed(Kind.RAW, "image/x-fuji-raf", "raf")),
    (b"IIRO", Sniffed(Kind.RAW, "image/x-olympus-orf", "orf")),
    (b"IIRS", Sniffed(Kind.RAW, "image/x-olympus-orf", "orf")),
    (b"MMOR", Sniffed(Kind.RAW, "image/x-olympus-orf", "orf")),
    (b"IIU\x00", Sniffed(Kind.RAW, "image/x-panasonic-rw2", "rw2")),
    (b"%PDF-", Sniffed(Kind.OTHER, "application/pdf")),
    (b"%!PS", Sniffed(Kind.OTHER, "application/postscript")),
    (b"8BPS", Sniffed(Kind.OTHER, "image/vnd.adobe.photoshop")),
    (b"II\xbc", Sniffed(Kind.OTHER, "image/jxr")),
    (b"\xff\x0a", Sniffed(Kind.OTHER, "image/jxl")),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", Sniffed(Kind.OTHER, "image/jxl")),
    (b"\x00\x00\x01\x00", Sniffed(Kind.OTHER, "image/vnd.microsoft.icon")),
    (b"AT&TFORM", Sniffed(Kind.OTHER, "image/vnd.djvu")),
    (b"PK\x03\x04", Sniffed(Kind.OTHER, "application/zip")),
    (b"\x1f\x8b", Sniffed(Kind.OTHER, "application/gzip")),
    (b"7z\xbc\xaf\x27\x1c", Sniffed(Kind.OTHER, "application/x-7z-compressed")),
    (b"Rar!", Sniffed(Kind.OTHER, "application/vnd.rar")),
    (b"ID3", Sniffed(Kind.OTHER, "audio/mpeg")),
    (b"\xff\xfb", Sniffed(Kind.OTHER, "audio/mpeg")),
    (b"\xff\xf3", Sniffed(Kind.OTHER, "audio/mpeg")),
    (b"\xff\xf2", Sniffed(Kind.OTHER, "audio/mpeg")),
    (b"OggS", Sniffed(Kind.OTHER, "application/ogg")),
    (b"fLaC", Sniffed(Kind.OTHER, "audio/flac")),
    (b"\x1aE\xdf\xa3", Sniffed(Kind.OTHER, "video/webm")),
    (b"FWS", Sniffed(Kind.OTHER, "application/x-shockwave-flash")),
    (b"CWS", Sniffed(Kind.OTHER, "application/x-shockwave-flash")),
    (b"FLV\x01", Sniffed(Kind.OTHER, "video/x-flv")),
)
_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_UNKNOWN = Sniffed(Kind.OTHER, "application/octet-stream")


def sniff(head: bytes, tail: bytes, size_bytes: int) -> Sniffed:
    """What a body of `size_bytes` is, from its first bytes (the fetcher keeps 64 KiB) and its last ones (1 KiB)."""
    if not size_bytes or not head:
        return Sniffed(Kind.EMPTY, "application/x-empty")
    if head.startswith(_TIFF_MAGIC):
        return sniff_tiff(_reader(head, tail, size_bytes), size_bytes)
    for magic, sniffed in _MAGIC:
        if head.startswith(magic):
            return replace(sniffed, truncated=_is_truncated(sniffed.extension, head, tail, size_bytes))
    return _sniff_riff(head) or _sniff_boxes(head, size_bytes) or _sniff_bmp(head) or _sniff_text(head)


def _reader(head: bytes, tail: bytes, size_bytes: int) -> ReadAt:
    tail_at = size_bytes - len(tail)

    def read_at(offset: int, length: int) -> bytes:
        if offset >= tail_at and offset + length > len(head):
            return tail[offset - tail_at : offset - tail_at + length]
        return head[offset : offset + length]

    return read_at


def _is_truncated(extension: str, head: bytes, tail: bytes, size_bytes: int) -> bool:
    if extension == "jpg" and size_bytes <= len(head):
        return head.rfind(b"\xff\xd9", start_of_scan(head)) < 0  # from the end, where it mostly stands
    if extension == "jp2" and head.startswith(b"\x00"):
        return _boxes_are_cut(head, size_bytes)
    if extension == "raf" and len(head) >= 108:
        spans = struct.unpack(">6I", head[84:108])  # preview, header and raw data: offset and length of each
        return any(at + length > size_bytes for at, length in zip(spans[::2], spans[1::2], strict=True))
    if extension == "orf":
        tiff = _Tiff(_reader(head, tail, size_bytes), size_bytes, head)
        first = tiff.directory(tiff.first)
        return tiff.first >= size_bytes or tiff.lacks_directory or (first is not None and tiff.is_cut(first, by_length=True))
    return False


START_OF_SCAN = 0xDA


def start_of_scan(body: bytes | mmap) -> int:
    """Where a JPEG's picture data begins: behind its segments, one of which may hold a whole JPEG as a thumbnail."""
    at = 2
    for marker, start, end in segments(lambda at, length: body[at : at + length]):
        at = start if marker == START_OF_SCAN else end
    return at


def segments(read_at: ReadAt) -> Iterator[tuple[int, int, int]]:
    """The segments of a JPEG from its third byte on: marker, where that stands, and where the next one does.

    Ends with the start of the first scan, or with what is no segment. `decode.jpeg` looks for markers behind that, too, and passes
    over what stands between them.
    """
    at = 2
    while len(header := read_at(at, 4)) == 4 and header[0] == 0xFF:
        marker = header[1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(header[2:], "big")
        yield marker, at, end
        if marker == START_OF_SCAN:
            return
        at = end


def _sniff_riff(head: bytes) -> Sniffed | None:
    if head[:4] != b"RIFF" or len(head) < 12:
        return None
    if head[8:12] != b"WEBP":
        kinds = {b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
        return Sniffed(Kind.OTHER, kinds.get(head[8:12], "application/octet-stream"))
    return Sniffed(Kind.IMAGE, "image/webp", "webp")


def _sniff_bmp(head: bytes) -> Sniffed | None:
    if head[:2] != b"BM" or len(head) < 26 or int.from_bytes(head[14:18], "little") not in (12, 40, 52, 56, 64, 108, 124):
        return None
    return Sniffed(Kind.IMAGE, "image/bmp", "bmp")


def _sniff_boxes(head: bytes, size_bytes: int) -> Sniffed | None:
    """ISO base media files: AVIF, HEIC, CR3, films."""
    if head[4:8] != b"ftyp":
        return None
    length = min(int.from_bytes(head[:4], "big"), 512)
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, length, 4))}
    if b"crx " in brands:
        sniffed = Sniffed(Kind.RAW, "image/x-canon-cr3", "cr3")
    elif brands & {b"avif", b"avis"}:
        sniffed = Sniffed(Kind.IMAGE, "image/avif", "avif")
    elif brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        sniffed = Sniffed(Kind.IMAGE, "image/heic", "heic")
    else:
        sound = head[8:11] in (b"M4A", b"M4B")
        return Sniffed(Kind.OTHER, "audio/mp4" if sound else "video/quicktime" if head[8:10] == b"qt" else "video/mp4")
    return replace(sniffed, truncated=_boxes_are_cut(head, size_bytes))


@dataclass(frozen=True, slots=True)
class IsoBox:
    """Of an ISO base media file or a JP2."""

    kind: bytes
    start: int  # of what is in it
    end: int


_BOX_KIND = re.compile(rb"[A-Za-z0-9 ]{4}|\xa9[A-Za-z]{3}")
TOP_BOXES = frozenset(
    (
        *(b"ftyp", b"meta", b"mdat", b"moov", b"moof", b"mfra", b"free", b"skip", b"wide", b"uuid", b"pdin", b"styp", b"sidx"),
        *(b"jP  ", b"jp2h", b"jp2c", b"jp2i", b"xml ", b"asoc", b"res ", b"mpvd", b"sefd"),
    )
)


def boxes_of(read_at: ReadAt, at: int, end: int) -> Iterator[IsoBox]:
    """The boxes from `at` to `end`. The last one may end behind that, if the file is cut. Ends with what is no box."""
    while at + 8 <= end:
        header = read_at(at, 16)
        length, kind, start = int.from_bytes(header[:4], "big"), header[4:8], at + 8
        if length == 1:
            length, start = int.from_bytes(header[8:16], "big"), at + 16
        if not _BOX_KIND.fullmatch(kind) or (length and length < start - at):
            return
        box = IsoBox(kind, start, at + length if length else end)
        yield box
        at = box.end


def top_boxes(read_at: ReadAt, size_bytes: int) -> Iterator[IsoBox]:
    """The boxes of a file, up to the first of a kind that is not known: anything may stand behind the end."""
    return itertools.takewhile(lambda box: box.kind in TOP_BOXES, boxes_of(read_at, 0, size_bytes))


def _boxes_are_cut(head: bytes, size_bytes: int) -> bool:
    """Whether a box says that it goes on beyond the end."""
    return any(box.end > size_bytes for box in top_boxes(lambda at, length: head[at : at + length], size_bytes))


# TIFF and the camera formats built on it -------------------------------------------------------------------------------------
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
    """TIFF or a camera's raw file? The first is to be decoded, the second must not be: its preview would pass for the picture.

    DNG is told by tag 50706 in its first directory (DNG specification), CR2 by its mark at byte 8, Nikon's and Sony's files by
    sensor data in a directory. A picture that a Nikon film scanner or Sony software wrote holds none and is a TIFF.
    `needs_ifd` is set where a directory could not be read.
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
    else:  # of further pictures, a cut and a wrong offset are told apart by the decoder
        truncated = tiff.is_cut(first, by_length=False)
    return replace(base, truncated=truncated, needs_ifd=None in others and not truncated)


class _Tiff:
    """The directories of a TIFF, as far as its bytes are at hand. Trusts no number that it reads."""

    def __init__(self, read_at: ReadAt, size_bytes: int, head: bytes) -> None:
        self._read_at = read_at
        self._size_bytes = size_bytes
        self._order: str = "<" if head[:2] == b"II" else ">"
        self._is_big = head[2:4] in (b"+\x00", b"\x00+")
        self.lacks_directory = False  # one lies, in part or whole, beyond the end
        self.first = self._number(head[8:16] if self._is_big else head[4:8])

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self._order == "<" else "big")

    def directory(self, at: int) -> _Directory | None:
        """The entries of the directory at an offset; None where they are not at hand."""
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
        """(size of one value, the values); nothing where there is none or it is not at hand."""
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
        """Whether picture data lies beyond the end; `by_length` believes the lengths too (some writers get them wrong)."""
        for offsets_tag, lengths_tag in _SPANS:
            offsets, lengths = self.numbers(directory, offsets_tag), self.numbers(directory, lengths_tag)
            if any(offset >= self._size_bytes for offset in offsets):
                return True
            if by_length and any(at + length > self._size_bytes for at, length in zip(offsets, lengths, strict=False)):
                return True
        return False


# Text ------------------------------------------------------------------------------------------------------------------------
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: it begins with its mark
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PREAMBLE = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_DOCTYPE = re.compile(r"<!doctype\s+([a-z0-9:]+)[^>\[]*(?:\[.*?\]\s*)?>?", re.IGNORECASE | re.DOTALL)
_HTML_START = re.compile(
    r"<(?:html|head|body|script|style|title|meta|link|base|table|div|span|p|br|hr|h[1-6]|font|center|b|i|strong|em|a|img|pre|iframe"
    r"|form|frameset|ul|ol|section|main|noscript)\b",
    re.IGNORECASE,
)
_TAG_START = re.compile(r"<([A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)(?=[\s/>])")
_JSON_START = re.compile(r"\{\s*(?:\"|\}|\Z)|\[\s*(?:[\[{\"\]0-9-]|true|false|null|\Z)")
_NOT_IN_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def encoding_of_mark(body: bytes) -> str | None:
    """The encoding that a byte order mark names, or two plain markup characters in UTF-16 without one."""
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return encoding
    return {b"<\x00": "utf-16-le", b"\x00<": "utf-16-be"}.get(body[:2])


def _sniff_text(head: bytes) -> Sniffed:
    encoding = encoding_of_mark(head)
    is_text = encoding not in (None, "utf-8") or _reads_as_text(head[:1024])
    if not is_text and not head[:64].lstrip().startswith(b"<"):  # a page may hold a stray NUL
        return _UNKNOWN
    text = head[:16384].decode(encoding or "latin-1", "replace").removeprefix("\ufeff").removeprefix("\xef\xbb\xbf")
    start = _skip_preamble(text)
    markup = text[start : start + 2048]
    doctype = _DOCTYPE.match(markup)
    if doctype is not None:
        if doctype[1].lower() != "svg":
            return _HTML if doctype[1].lower() == "html" else _XML
        return _SVG
    if _HTML_START.match(markup):
        return _HTML
    tag = _TAG_START.match(markup)
    if tag is not None:
        return _SVG if tag[2].lower() == "svg" else _XML
    if text[:start].lstrip().startswith("<?xml"):
        return _XML
    if not is_text:
        return _UNKNOWN
    return _JSON if _JSON_START.match(markup) else _TEXT


_HTML = Sniffed(Kind.HTML, "text/html")
_XML = Sniffed(Kind.XML, "application/xml")
_SVG = Sniffed(Kind.OTHER, "image/svg+xml")
_JSON = Sniffed(Kind.JSON, "application/json")
_TEXT = Sniffed(Kind.TEXT, "text/plain")


def _skip_preamble(text: str) -> int:
    at = 0
    while found := _PREAMBLE.match(text, at):
        at = found.end()
    return at


def _reads_as_text(start: bytes) -> bool:
    if _NOT_IN_TEXT.search(start):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
        return True
    except UnicodeDecodeError:
        # Some older encoding: mostly ASCII, and no byte without a letter in any of them.
        return sum(byte < 0x80 for byte in start) >= 0.7 * len(start)
