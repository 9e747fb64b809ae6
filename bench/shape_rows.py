"""Tables of skewed shapes, each of any size: what makes a program that is linear on ordinary rows slow or large. Measures nothing.

A shape is a table like GBIF's `multimedia.txt` with `n` rows or so (what `n` counts stands in `Shape.says`). Same shape and size,
same bytes. Some shapes have a second table that comes after the first one was downloaded, and some an `occurrence.txt` with labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.program import HEADER

FIRST_ID = 1_000_000_000
LAST_ID = 2**63 - 2
MEGABYTE = 1_000_000
CC_BY = "http://creativecommons.org/licenses/by/4.0/legalcode"
_COLUMNS = HEADER.split()
_HEADER = ("\t".join(_COLUMNS) + "\n").encode()
_LABELS = [
    *("gbifID", "scientificName", "taxonKey", "acceptedTaxonKey", "kingdomKey", "phylumKey", "classKey", "orderKey", "familyKey"),
    *("genusKey", "speciesKey", "family", "basisOfRecord", "datasetKey", "institutionCode", "collectionCode", "catalogNumber"),
    *("occurrenceID", "license", "eventDate", "countryCode", "decimalLatitude", "decimalLongitude", "recordedBy"),
]
_FEW_HOSTS, _MANY_HOSTS, _SMALL_ROWS = 50, 500, 100
N_SMALL = 30  # tables of the shape `small_inits`

Rows = Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    says: str
    rows: Callable[[int], Rows]
    least: int  # the size that measuring begins with
    most: int  # and ends with
    later: Callable[[int], Rows] | None = None  # what a second `init` brings; None: the same rows again
    labels: Callable[[int], Rows] | None = None
    header: bytes = _HEADER
    file_name: str = "multimedia.txt"
    is_flat: bool = False  # a small thing done to a large ledger: `n` must not matter
    fault: str = ""  # what in this project made somebody think of it

    def write(self, folder: Path, n: int) -> Path:
        """The first table; returns what to give to `init`."""
        path = folder / self.file_name
        _write(path, self.header, self.rows(n))
        if self.labels is None:
            return path
        _write(folder / "occurrence.txt", ("\t".join(_LABELS) + "\n").encode(), self.labels(n))
        return folder

    def write_later(self, folder: Path, n: int) -> Path:
        """The second one. Where it is the first one again, a last row that is rejected makes it another file."""
        path = folder / f"later-{self.file_name}"
        _write(path, self.header, self.rows(n) if self.later is None else self.later(n), b"-\n" if self.later is None else b"")
        return path

    def write_small(self, folder: Path, n: int) -> Iterator[Path]:
        """Many small tables of new rows, one after the other."""
        for number in range(N_SMALL):
            path = folder / f"small-{number}.txt"
            _write(path, self.header, _small(number, n))
            yield path


def _write(path: Path, header: bytes, rows: Rows, end: bytes = b"") -> None:
    with path.open("wb") as out:
        out.write(header)
        for row in rows:
            out.write(row)
        out.write(end)


def row(gbif_id: int, url: str, **cells: str) -> bytes:
    """A line of the table. Cells may hold lone surrogates for bytes that are not UTF-8."""
    named = {"gbifID": str(gbif_id), "type": "StillImage", "format": "image/jpeg", "identifier": url, "license": CC_BY} | cells
    return ("\t".join(named.get(name, "") for name in _COLUMNS) + "\n").encode(errors="surrogateescape")


def _photo(number: int, host: str = "photos.example.org") -> str:
    return f"https://{host}/photos/{number}/original.jpg"


def _mixed(number: int) -> int:
    """Each number below 2^32 to another one, in no order."""
    return number * 2_654_435_761 % 2**32


# -- records, images, hosts


def _plain(n: int) -> Rows:
    return (row(FIRST_ID + at, _photo(at, f"herbarium{at // 10 % _FEW_HOSTS}.example.org")) for at in range(n))


def _one_record(n: int) -> Rows:
    return (row(FIRST_ID, _photo(at)) for at in range(n))


def _one_image(n: int) -> Rows:
    return (row(FIRST_ID + at, _photo(1)) for at in range(n))


def _drawers(n: int) -> Rows:
    """So many records as images on each: the square root."""
    side = max(1, int(n**0.5))
    return (row(FIRST_ID + at % side, _photo(at // side)) for at in range(side * side))


def _hosts(n: int) -> Rows:
    return (row(FIRST_ID + at, _photo(at, f"host{at}.example{at % 97}.org")) for at in range(n))


def _group(n: int) -> Rows:
    first = 50_000_000_000
    return (row(FIRST_ID + at, f"https://farm{at}.staticflickr.com/65535/{first + at}_0123456789_o.jpg") for at in range(n))


def _half_on_one(n: int) -> Rows:
    """Every other image on one host; of those a quarter each is gone, fails for now, or has the same bytes as others."""
    for at in range(n):
        if at % 2:
            yield row(FIRST_ID + at, _photo(at, f"herbarium{at % _MANY_HOSTS}.example.org"))
        else:
            kind = ("photos", "gone", "later", "photos")[at // 2 % 4]
            yield row(FIRST_ID + at, f"https://bucket.example.org/{kind}/{at}/original.jpg")


def _same_bytes(n: int) -> Rows:
    return (row(FIRST_ID + at, f"https://museum.example.org/same/{at}.jpg") for at in range(n))


# -- the order of rows


def _alternating_records(n: int) -> Rows:
    return (row(FIRST_ID + at % 2, _photo(at)) for at in range(n))


def _alternating_hosts(n: int) -> Rows:
    return (row(FIRST_ID + at, _photo(at, f"herbarium{at % _MANY_HOSTS}.example.org")) for at in range(n))


def _no_order(n: int) -> Rows:
    """Two images for each record, far apart, ids in no order."""
    half = n // 2
    return (row(FIRST_ID + _mixed(at % half if half else 0), _photo(at)) for at in range(n))


def _falling(n: int) -> Rows:
    return (row(FIRST_ID + n - at, _photo(at)) for at in range(n))


def _twice(n: int) -> Rows:
    half = max(1, n // 2)
    return (row(FIRST_ID + at % half, _photo(at % half)) for at in range(2 * half))


def _chain(n: int) -> Rows:
    """Image k on the records k and k + 1: no record but the first one has its images in line."""
    return (row(FIRST_ID + (at + 1) // 2, _photo(at // 2)) for at in range(n))


def _ends_of_the_range(n: int) -> Rows:
    return (row(1 + at // 2 if at % 2 else LAST_ID - at // 2, _photo(at)) for at in range(n))


# -- URLs


def _iiif(size: int) -> str:
    return f"https://iiif.example.org/iiif/2/img1/full/{size + 1},/0/default.jpg"


def _sizes_of_an_image(n: int) -> Rows:
    return (row(FIRST_ID + at, _iiif(at)) for at in range(n))


def _sizes_in_a_record(n: int) -> Rows:
    return (row(FIRST_ID, _iiif(at)) for at in range(n))


def _inaturalist(number: int, size: str) -> str:
    return f"https://inaturalist-open-data.s3.amazonaws.com/photos/{number}/{size}.jpg"


def _two_variants(n: int) -> Rows:
    return (row(FIRST_ID + at, _inaturalist(1, ("medium", "original")[at % 2])) for at in range(n))


def _small_variants(n: int) -> Rows:
    return (row(FIRST_ID + at, _inaturalist(at, "medium")) for at in range(n))


def _large_variants(n: int) -> Rows:
    return (row(FIRST_ID + at, _inaturalist(at, "original")) for at in range(n))


def _long_urls(n: int) -> Rows:
    """Of 2,000 to 60,000 characters."""
    for at in range(n):
        length = 2_000 + _mixed(at) % 58_000
        yield row(FIRST_ID + at, f"https://photos.example.org/{at}/{'x' * length}.jpg")


def _several_urls(n: int) -> Rows:
    return (row(FIRST_ID + at, " | ".join(_photo(8 * at + piece) for piece in range(8))) for at in range(n))


def _urls_in_a_cell(n: int) -> Rows:
    """All of them in the cells of ten rows."""
    each = max(1, n // 10)
    return (row(FIRST_ID + at, "|".join(_photo(each * at + piece) for piece in range(each))) for at in range(10))


# -- cells


def _big_cells(n: int) -> Rows:
    """A cell of a megabyte in each row, in turn creator, rights holder, licence and page; all of them different."""
    for at in range(n):
        name = ("creator", "rightsHolder", "license", "references")[at % 4]
        yield row(FIRST_ID + at, _photo(at), **{name: f"{'https://x.org/' if name == 'references' else ''}{at} " + "x" * MEGABYTE})


def _big_cell(n: int) -> Rows:
    return (row(FIRST_ID + at, _photo(at), creator="x" * MEGABYTE, rightsHolder="y" * MEGABYTE) for at in range(n))


def _texts(n: int) -> Rows:
    for at in range(n):
        yield row(FIRST_ID + at, _photo(at), creator=f"creator {at}", rightsHolder=f"holder {at}", license=f"licence {at}")


def _odd_bytes(n: int) -> Rows:
    odd = ("a\udcff\udcfe", "b\u2028c\u0085d", "\x0ce\x0b", 'said "so', "\x00", "\ufeff \u202e x", "\udced\udca0\udc80")
    return (row(FIRST_ID + at, _photo(at), title=odd[at % len(odd)], creator=odd[(at + 3) % len(odd)]) for at in range(n))


def _rejected(n: int) -> Rows:
    kinds = (
        lambda at: row(FIRST_ID + at, ""),
        lambda at: row(FIRST_ID + at, _photo(at), type="Sound"),
        lambda at: b"no table\n",
        lambda at: row(FIRST_ID + at, "urn:uuid:1234"),
        lambda at: row(FIRST_ID + at, _photo(at)).replace(b"100", b"x", 1),
    )
    return (kinds[at % len(kinds)](at) for at in range(n))


# -- further tables


def _late_images(n: int) -> Rows:
    return (row(FIRST_ID + at, _photo(n + at, "late.example.org")) for at in range(n))


def _small(number: int, n: int) -> Rows:
    first = n + number * _SMALL_ROWS
    return (row(FIRST_ID + _mixed(at), _photo(at)) for at in range(first, first + _SMALL_ROWS))


def _labels(n: int) -> Rows:
    for at in range(n):
        number = FIRST_ID + (at * 7_919 + 13) % n if n % 7_919 else FIRST_ID + at
        cells = [str(number), f"Quercus robur {at} L.", *map(str, range(at, at + 9)), "Fagaceae", "PRESERVED_SPECIMEN"]
        cells += ["7e380070-f762-11e1-a439-00145eb45e9a", "B", "herbarium", f"B 10 {at:07}", f"urn:catalog:B:10:{at:07}"]
        cells += ["CC_BY_4_0", f"1885-06-{at % 30 + 1:02}", "DE", f"{at % 90 + 0.457}", f"{at % 180 + 0.305}", f"Collector {at}"]
        yield ("\t".join(cells) + "\n").encode()


def _publisher(n: int) -> Rows:
    """A publisher's table: several sizes of each photo, with what is said of each."""
    for at in range(n):
        base = f"https://media.example.org/{at}"
        yield f"occ-{at // 3},{base}/full.jpg,{base}/large.jpg,{base}/thumb.jpg,4000,3000,{CC_BY}\n".encode()


def _publisher_record(n: int) -> Rows:
    """One record; each picture by two rows that share an identifier of the picture, far apart."""
    half = max(1, n // 2)
    for at in range(2 * half):
        name = "large" if at < half else "thumb"
        guid = f"{at % half:08x}-0000-4000-8000-000000000000"
        yield f"occ-1,https://media.example.org/{at % half}/{name}.jpg,{guid},{'4000,3000' if at < half else '400,300'}\n".encode()


_RECORD_HEADER = b"occurrenceID,accessURI,providerManagedID,PixelXDimension,PixelYDimension\n"
_PUBLISHER_HEADER = b"occurrenceID,accessURI,goodQualityAccessURI,thumbnailAccessURI,PixelXDimension,PixelYDimension,license\n"

SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("plain", "n ordinary rows", _plain, 80_000, 640_000),
        Shape("one_record", "one record with n images", _one_record, 5_000, 640_000, fault="A8"),
        Shape("one_image", "one image on n records", _one_image, 80_000, 640_000, fault="A10"),
        Shape("drawers", "√n images, each on √n records", _drawers, 80_000, 640_000),
        Shape("hosts", "n hosts with one image each", _hosts, 5_000, 160_000, fault="A7"),
        Shape("group", "n hosts of one group with one image each", _group, 1_000, 32_000, fault="A9"),
        Shape("half_on_one", "one host with half of n images, most of them failed", _half_on_one, 80_000, 640_000),
        Shape("same_bytes", "n images of one host with the same bytes", _same_bytes, 40_000, 320_000),
        Shape("alternating_records", "two records in turn, n images", _alternating_records, 40_000, 320_000),
        Shape("alternating_hosts", "500 hosts in turn, n images", _alternating_hosts, 80_000, 640_000),
        Shape("no_order", "n/2 records with two images far apart, ids in no order", _no_order, 80_000, 640_000),
        Shape("falling", "n ids that fall", _falling, 80_000, 640_000),
        Shape("twice", "n/2 rows twice in one table", _twice, 80_000, 640_000),
        Shape("chain", "n/2 images, each on two records, none in line", _chain, 80_000, 640_000),
        Shape("ends_of_the_range", "n ids at both ends of 1 to 2^63 - 2", _ends_of_the_range, 80_000, 640_000),
        Shape("sizes_of_an_image", "n sizes of one IIIF image, a record each", _sizes_of_an_image, 500, 128_000, fault="A5"),
        Shape("sizes_in_a_record", "n sizes of one IIIF image in one record", _sizes_in_a_record, 500, 128_000, fault="A5"),
        Shape("two_variants", "one image by two URLs in turn, on n records", _two_variants, 80_000, 640_000),
        Shape(
            "late_variants", "n images; then a better URL for each", _small_variants, 80_000, 640_000, later=_large_variants
        ),
        Shape("late_images", "n records; then another image for each", _plain, 80_000, 640_000, later=_late_images),
        Shape("long_urls", "n URLs of 2,000 to 60,000 characters", _long_urls, 2_000, 16_000),
        Shape("several_urls", "eight URLs in each of n cells", _several_urls, 10_000, 160_000),
        Shape("big_cells", "n rows with a cell of a megabyte, all different", _big_cells, 25, 400, fault="A6"),
        Shape("big_cell", "n rows with the same two cells of a megabyte", _big_cell, 25, 400, fault="A6"),
        Shape("texts", "three texts of its own in each of n rows", _texts, 80_000, 640_000),
        Shape("odd_bytes", "n rows with bytes that are no UTF-8, separators, quotes", _odd_bytes, 80_000, 640_000),
        Shape("rejected", "n rows without an image", _rejected, 80_000, 640_000),
        Shape("labels", "n rows, and labels in no order that share nothing", _plain, 80_000, 640_000, labels=_labels, fault="A11"),
        Shape("small_inits", "30 tables of 100 rows into a ledger of n", _plain, 250_000, 500_000, is_flat=True, fault="A12"),
        Shape(
            "publisher", "n rows of a publisher, three sizes each", _publisher, 40_000, 320_000, header=_PUBLISHER_HEADER,
            file_name="media.csv",
        ),
        Shape(
            "publisher_record", "one record of a publisher, n/2 pictures by two rows each", _publisher_record, 1_000, 64_000,
            header=_RECORD_HEADER, file_name="media.csv",
        ),
        Shape("urls_in_a_cell", "n URLs in ten cells", _urls_in_a_cell, 40_000, 320_000),
    )
}  # fmt: skip
