"""Writes small Darwin Core Archives, well and badly, for tests. Reads none."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from tests.support.downloads import zipped

DWC, AC, DCTERMS = "http://rs.tdwg.org/dwc/terms/", "http://rs.tdwg.org/ac/terms/", "http://purl.org/dc/terms/"
SIMPLE, AUDUBON = "http://rs.gbif.org/terms/1.0/Multimedia", "http://rs.tdwg.org/ac/terms/Multimedia"
EML = '<eml:eml xmlns:eml="eml://ecoinformatics.org/eml-2.1.1" packageId="{}/v1.{}"><dataset/></eml:eml>'
_NAMESPACES = {
    "identifier": DCTERMS, "type": DCTERMS, "format": DCTERMS, "license": DCTERMS, "creator": DCTERMS, "title": DCTERMS,
    "references": DCTERMS, "rightsHolder": DCTERMS, "PixelXDimension": "http://ns.adobe.com/exif/1.0/",
    "PixelYDimension": "http://ns.adobe.com/exif/1.0/", "gbifID": "http://rs.gbif.org/terms/1.0/",
    "occurrenceID": DWC, "scientificName": DWC, "catalogNumber": DWC, "family": DWC, "associatedMedia": DWC,
}  # fmt: skip


def uri(term: str) -> str:
    return term if ":" in term else _NAMESPACES.get(term, AC) + term


def text(
    rows: Iterable[Sequence[str]],
    delimiter: str = ",",
    quote: str = '"',
    line_end: str = "\n",
    header: Sequence[Sequence[str]] = (),
) -> str:
    """The rows as CSV, or without any quoting."""
    out = io.StringIO()
    writer = csv.writer(
        out,
        delimiter=delimiter,
        lineterminator=line_end,
        **({"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}),
    )
    writer.writerows([*header, *rows])
    return out.getvalue()


def table(
    terms: Sequence[str],
    location: str | Sequence[str] = "multimedia.txt",
    row_type: str = AUDUBON,
    *,
    core: bool = False,
    delimiter: str = ",",
    quote: str = '"',
    line_end: str = "\\n",
    encoding: str = "UTF-8",
    header_lines: int = 1,
    defaults: Iterable[tuple[str, str]] = (),
    id_index: int | None = 0,
) -> str:
    """One element of a meta.xml. The first column is the record; `terms` are those of the other columns."""
    name, id_name = ("core", "id") if core else ("extension", "coreid")
    locations = [location] if isinstance(location, str) else location
    fields = "".join(f'<field index="{at}" term="{uri(term)}"/>' for at, term in enumerate(terms, start=1) if term)
    constants = "".join(f'<field default={quoteattr(value)} term="{uri(term)}"/>' for term, value in defaults)
    the_id = "" if id_index is None else f'<{id_name} index="{id_index}"/>'
    return (
        f'<{name} encoding="{encoding}" fieldsTerminatedBy={quoteattr(delimiter)} linesTerminatedBy={quoteattr(line_end)} '
        f'fieldsEnclosedBy={quoteattr(quote)} ignoreHeaderLines="{header_lines}" rowType="{row_type}"><files>'
        + "".join(f"<location>{one}</location>" for one in locations)
        + f"</files>{the_id}{fields}{constants}</{name}>"
    )


OCCURRENCES = table(["occurrenceID", "scientificName"], "occurrence.txt", DWC + "Occurrence", core=True)


def meta(*tables: str) -> bytes:
    return ('<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="eml.xml">' + "".join(tables) + "</archive>").encode()


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def audubon(path: Path, terms: Sequence[str], rows: Iterable[Sequence[str]], dataset: str = "a-dataset") -> Path:
    """A zip of an archive with one table of media, as CSV."""
    return zipped(
        path,
        {
            "meta.xml": meta(OCCURRENCES, table(terms)),
            "occurrence.txt": b"id,occurrenceID,scientificName\n",
            "eml.xml": EML.format(dataset, 3).encode(),
            "multimedia.txt": text(rows, header=[["coreid", *terms]]).encode(),
        },
    )
