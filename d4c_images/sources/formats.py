"""Recognises what is given instead of a Darwin Core Archive or a table, and says what to do about it. Reads no such format.

GBIF's download formats are documented at https://techdocs.gbif.org/en/data-use/download-formats; the signatures are those of
file(1). Every refusal is a `UsageError` of one line.
"""

from __future__ import annotations

import re
import shlex
import zlib
from pathlib import Path

from d4c_images.errors import UsageError
from d4c_images.sources.container import Container
from d4c_images.sources.encoding import decoded, encoding_of, first_line
from d4c_images.sources.header import MAX_HEADER_BYTES
from d4c_images.sources.layout import LINK_TERMS, term

ASK_FOR_DWCA = "ask GBIF for the format Darwin Core Archive (DWCA)"
_KEY = r"[0-9]{7}-[0-9]{15,18}"
_KEY_ALONE = re.compile(f"({_KEY})").fullmatch
_KEY_IN_URL = re.compile(rf"https?://(?:api|www)\.gbif\.org/.*?({_KEY})(?:\.zip)?/?(?:[?#].*)?", re.IGNORECASE).fullmatch
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,3}\S+").fullmatch
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?10\.[0-9]{4,9}/\S+", re.IGNORECASE).fullmatch
_NAMED_BY_KEY = re.compile(rf"(?:.*/)?{_KEY}\.(?:csv|tsv|txt)").fullmatch
_UNPACK_TAR = "unpack it (tar -xf {name}) and pass the folder"
_AS_CSV = "save the sheet as CSV (UTF-8) and pass that"
_AS_TABLE = "write it as CSV with a column of ids (gbifID) and one of URLs (identifier) and pass that"

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"BZh", "compressed with bzip2", "unpack it (bunzip2 --keep {name}) and pass the result"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it (unxz --keep {name}) and pass the result"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it (unzstd {name}) and pass the result"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it (7z x {name}) and pass the folder"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it (unrar x {name}) and pass the folder"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook or another Office document", _AS_CSV),
    (b"PAR1", "Parquet", _AS_TABLE),
    (b"Obj\x01", "AVRO", _AS_TABLE),
    (b"ORC", "ORC", _AS_TABLE),
    (b"ARROW1", "an Arrow (Feather) file", _AS_TABLE),
    (b"SQLite format 3\x00", "an SQLite database", "pass a ledger with --ledger; for any other database, " + _AS_TABLE),
    (b"%PDF", "a PDF", "pass a Darwin Core Archive or a media table"),
    (b"\xff\xd8\xff", "a JPEG", "pass a Darwin Core Archive or a media table"),
    (b"\x89PNG\r\n", "a PNG", "pass a Darwin Core Archive or a media table"),
)


def path_of(text: str) -> Path:
    """The file or folder that an argument names. Raises `UsageError` if it is a URL, a DOI or a download key."""
    path = Path(text)
    if path.exists() or not (_URL(text) or _DOI(text) or _KEY_ALONE(text)):
        return path
    if key := _KEY_IN_URL(text) or _KEY_ALONE(text):
        url = f"https://api.gbif.org/v1/occurrence/download/request/{key[1]}.zip"
        raise UsageError(f"{text} is a GBIF download: fetch it first (curl -fLO {url}), then pass {key[1]}.zip")
    if _DOI(text):
        raise UsageError(f"{text} is a DOI: open its page, download the Darwin Core Archive there, then pass that file")
    if text.lower().startswith("file:"):
        raise UsageError(f"{text} is a URL: pass the path of the file")
    raise UsageError(f"{text} is a URL, but init reads files: fetch it (curl -fLO {shlex.quote(text)}), then pass the file")


def refuse_other_formats(box: Container) -> None:
    """Raise `UsageError` if a file, a zip or the only file of a folder is clearly in another format."""
    if not box.is_file and any(box.has(name) for name in ("multimedia.txt", "meta.xml")):
        return
    if not box.is_file and not box.is_zip and len(box.names) == 1:
        box = Container(box.path / box.names[0])
    found = _of_file(box) if box.is_file else _of_names(box)
    if found is not None:
        what, todo = found
        raise UsageError(f"{box.path}: this is {what}: {todo.format(name=shlex.quote(box.path.name))}")


def _of_file(box: Container) -> tuple[str, str] | None:
    start = box.start("", MAX_HEADER_BYTES)
    if start.startswith(b"\x1f\x8b"):
        if _is_tar(_unpacked(start)):
            return "a tar archive, compressed with gzip", _UNPACK_TAR
        return "compressed with gzip", "unpack it (gunzip --keep {name}) and pass the result"
    if _is_tar(start):
        return "a tar archive", _UNPACK_TAR
    for signature, what, todo in _SIGNATURES:
        if start.startswith(signature):
            return what, todo
    if (text := start.lstrip(b"\xef\xbb\xbf \t\r\n")).startswith((b"{", b"[")):
        if b'"endOfRecords"' in text or b'"results"' in text:
            return "JSON, a response of the GBIF API", f"{ASK_FOR_DWCA}, or {_AS_TABLE}"
        return "JSON, not a table", f"if it should be a GBIF download, fetch it again; for your own data, {_AS_TABLE}"
    return _of_table(start, box.path.name)


def _unpacked(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(start, 1024)
    except zlib.error:
        return b""


def _is_tar(start: bytes) -> bool:
    return start[257:262] == b"ustar"


def _of_names(box: Container) -> tuple[str, str] | None:
    """What a zip or a folder is, judging by the names in it."""
    names = box.names
    bases = {name.rpartition("/")[2] for name in names}
    if not bases.isdisjoint(("multimedia.txt", "meta.xml")):
        return None
    if box.is_zip and "[Content_Types].xml" in names:
        is_excel = any(name.startswith("xl/") for name in names)
        return ("an Excel workbook", _AS_CSV) if is_excel else ("an Office document", _AS_CSV)
    if box.is_zip and {"mimetype", "content.xml"} <= set(names):
        return "an OpenDocument file", _AS_CSV
    if any(".parquet" in name for name in names):
        return "a Parquet table (GBIF's format SIMPLE_PARQUET)", f"{ASK_FOR_DWCA}, or {_AS_TABLE}"
    if any(name.endswith(".avro") for name in names):
        return "an Avro table (GBIF's formats SIMPLE_AVRO and BIONOMIA)", f"{ASK_FOR_DWCA}, or {_AS_TABLE}"
    if "datapackage.json" in bases:
        return "a Data Package (DwC-DP, Camtrap DP or similar)", f"ask for a Darwin Core Archive instead, or {_AS_TABLE}"
    tables = [name for name in names if name.lower().endswith((".csv", ".tsv", ".txt"))]
    return _of_table(box.start(tables[0], MAX_HEADER_BYTES), tables[0]) if len(tables) == 1 else None


def _of_table(start: bytes, name: str) -> tuple[str, str] | None:
    """Which GBIF download format a table without media is."""
    header = first_line(decoded(start, encoding_of(start)))
    terms = set(map(term, header.split("\t" if "\t" in header else ",")))
    if terms & {"identifier", "associatedmedia", *LINK_TERMS}:
        return None
    download = _format_of(terms, is_named_by_key=_NAMED_BY_KEY(name) is not None)
    if download is None:
        return None
    return f"a GBIF download in the format {download}, which has no image URLs", ASK_FOR_DWCA


def _format_of(terms: set[str], *, is_named_by_key: bool) -> str | None:
    if {"taxonkey", "numberofoccurrences"} <= terms:
        return "Species list (SPECIES_LIST)"
    # Darwin Core Archives have these columns too, in a table with some hundred more.
    if {"gbifid", "datasetkey", "occurrenceid", "basisofrecord"} <= terms and terms.isdisjoint(("lastcrawled", "protocol")):
        return "Simple (SIMPLE_CSV)"
    if not is_named_by_key:
        return None
    return "SQL (a cube)" if terms & {"occurrences", "occurrencecount", "eeacellcode"} else "SQL or similar"
