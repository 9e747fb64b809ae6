"""`python -m tests.rows.big --rows 2000000 OUT.txt`: a multimedia.txt as large as wished. Rows are made up; no photo exists.

What is like real downloads: the shapes of URLs and rows (a template for each of the larger publishers in `multimedia.txt`);
how often each comes (after Imageomics/TreeOfLife-toolbox, 233 M rows of GBIF: 58 % iNaturalist's bucket, 9 % observation.org,
3.6 % MNHN); how many images a record has (50.4 M plant records: 87.4 % one, 9.4 % two, 2.8 % three); the length of a row
(233 bytes; 234 in the 9,467 rows of SOURCES.md's GBIF files of more than one row). 4.5 % of the rows have no identifier, 2.5 %
are sounds, drawer photos hang on several records; ids are without order, the rows of a record together. Memory does not grow
with `--rows`.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

HEADER = (
    "gbifID\ttype\tformat\tidentifier\treferences\ttitle\tdescription\tsource\taudience\tcreated\tcreator\tcontributor\t"
    "publisher\tlicense\trightsHolder\n"
)
RECORDS_A_CHUNK = 20_000
FIRST_NUMBER = 100_000_000  # nine digits, as the ids of photos have today
_CC = "http://creativecommons.org/licenses"
_LICENSES = (f"{_CC}/by-nc/4.0/", f"{_CC}/by-nc/4.0/", f"{_CC}/by/4.0/", f"{_CC}/by-sa/4.0/", f"{_CC}/by-nc-nd/4.0/")
_NAMES = tuple(
    f"{first} {last}" for first in ("Ada", "Björn", "Chen", "Dolores", "Émile") for last in ("Ek", "Fontaine", "Grünberg", "Hå")
)

Template = Callable[[int, int], str]
"""(gbifID, a number that no other row has) -> the row, newline included; two rows where a manifest stands beside its image."""


def _inaturalist(gbif_id: int, n: int) -> str:
    name = f"observer_{n % 90_007}"
    age = f"?{1_500_000_000 + n % 10**8}" if n % 2 else ""  # rows from before 2023 have it
    return (
        f"{gbif_id}\tStillImage\timage/jpeg\thttps://inaturalist-open-data.s3.amazonaws.com/photos/{n}/original.jpeg{age}\t"
        f"https://www.inaturalist.org/photos/{n}\t\t\t\t\t20{n % 24:02}-0{n % 9 + 1}-{n % 28 + 1:02}T{n % 24:02}:{n % 60:02}"
        f":13Z\t{name}\t\tiNaturalist\t{_LICENSES[n % 5]}\t{name}\n"
    )


def _inaturalist_static(gbif_id: int, n: int) -> str:
    name = f"observer_{n % 90_007}"
    return (
        f"{gbif_id}\tStillImage\timage/jpeg\thttps://static.inaturalist.org/photos/{n}/original.jpg?{1_400_000_000 + n % 10**8}"
        f"\thttps://www.inaturalist.org/photos/{n}\t\t\t\t\t2015-05-{n % 28 + 1:02}T11:{n % 60:02}Z\t{name}\t\tiNaturalist\t"
        f"{_LICENSES[n % 5]}\t{name}\n"
    )


def _observation(gbif_id: int, n: int) -> str:
    name = _NAMES[n % 20]
    url = f"https://observation.org/photos/{n}.jpg"
    return f"{gbif_id}\tStillImage\timage/jpeg\t{url}\t\t\t\t\t\t\t{name}\t\t\t{_CC}/by-nc-nd/4.0/\t{name}\n"


def _mnhn(gbif_id: int, n: int) -> str:
    url = f"http://mediaphoto.mnhn.fr/media/{1_440_000_000_000 + n}{n * 2654435761 % 2**64:016x}"
    return f"{gbif_id}\tStillImage\timage/jpeg\t{url}\t\t\t\t\t\t\t\t\t\tcc-by\t\n"


def _artportalen(gbif_id: int, n: int) -> str:
    url = f"https://www.artportalen.se/MediaLibrary/20{n % 24:02}/{n % 12 + 1}/{_uuid(n)}_image.jpg"
    more = f"https://www.artportalen.se/Image/{n % 10**7}\t\t\t\t\t2023-11-05T00:00:00Z\t\t\t\t© all rights reserved"
    return f"{gbif_id}\tStillImage\timage/jpeg\t{url}\t{more}\t{_NAMES[n % 20]}\n"


def _artsobservasjoner(gbif_id: int, n: int) -> str:
    url = f"https://www.artsobservasjoner.no/MediaLibrary/20{n % 24:02}/{n % 12 + 1}/{_uuid(n)}_image.jpg"
    return f"{gbif_id}\tStillImage\timage/jpeg\t{url}\t\t\t\t\t\t\t\t\t\t© All rights reserved\t{_NAMES[n % 20]}\n"


def _naturalis(gbif_id: int, n: int) -> str:
    url = f"https://medialib.naturalis.nl/file/id/WAG.{n}/format/large"
    holder = "http://creativecommons.org/publicdomain/zero/1.0/\tNaturalis Biodiversity Center"
    return f"{gbif_id}\tStillImage\timage/jpeg\t{url}\t\t\tWAG.{n}_{n * 7919 % 10**10:010}\t\t\t\t\t\t\t{holder}\n"


def _smithsonian(gbif_id: int, n: int) -> str:
    url = f"http://collections.nmnh.si.edu/media/index.php?irn={n}"
    described = "US National Herbarium, Department of Botany, NMNH, Smithsonian Institution"
    titles = f"{n % 10**8:08}.tif\tBarcode {n % 10**8:08}"
    return f"{gbif_id}\tStillImage\timage/jpeg\t{url}\t\t{titles}\t{described}\t\t\tConveyor Belt\t\t\t\t\n"


def _kew(gbif_id: int, n: int) -> str:
    page = f"http://specimens.kew.org/herbarium/K{n % 10**9:09}"
    rights = "© The Board of Trustees of the Royal Botanic Gardens, Kew."
    return f"{gbif_id}\tStillImage\timage/jpeg\thttp://www.kew.org/herbcatimg/{n}.jpg\t{page}\t\t\t\t\t\t\t\t\t{rights}\t\n"


def _kew_page_only(gbif_id: int, n: int) -> str:
    rights = "© The Board of Trustees of the Royal Botanic Gardens, Kew."
    return f"{gbif_id}\t\t\t\thttp://specimens.kew.org/herbarium/K{n % 10**9:09}\t\t\t\t\t\t\t\t\t{rights}\t\n"


def _meise_page_only(gbif_id: int, n: int) -> str:
    return f"{gbif_id}\t\t\t\thttp://www.botanicalcollections.be/specimen/BR{n:013}\t\t\t\t\t\t\t\t\t\t\n"


def _meise_pair(gbif_id: int, n: int) -> str:
    code, holder = f"BR{n:013}", f"Meise Botanic Garden\t\t\t{_CC}/by-sa/4.0/\tMeise Botanic Garden"
    manifest = f"https://iiif-manifest.oxalis.br.fgov.be/specimen/{code}/manifest"
    image = f"https://oxalis.br.fgov.be/images/{code[:3]}/{code[3:6]}/{code[6:9]}/{code[9:12]}/{code}.jpg"
    return (
        f"{gbif_id}\tInteractiveResource\tapplication/ld+json\t{manifest}\t\t\tIIIF Manifest for specimen {code}"
        f"\t\t\t\t{holder}\n"
        f"{gbif_id}\tStillImage\timage/jpeg\t{image}\t\t\tImage of herbarium specimen {code}\t\t\t\t{holder}\n"
    )


def _sound(gbif_id: int, n: int) -> str:
    url = f"https://www.xeno-canto.org/sounds/uploaded/TLPLNAINFU/XC{n}-2021-01052021-SNI-122_ORRFUGL.0900WAV.mp3"
    name = _NAMES[n % 20]
    return f"{gbif_id}\tSound\taudio/mpeg\t{url}\t\t\t{n % 300} s\t\t\t\t{name}\t\t\t{_CC}/by-nc-sa/4.0/\t{name}\n"


def _svampe(gbif_id: int, n: int) -> str:
    name = _NAMES[n % 20]
    url = f"https://svampe.databasen.org/uploads/20{n % 24:02}-{n}_{n * 40503 % 2**32:08x}.JPG"
    return f"{gbif_id}\tStillImage\timage/jpeg\t{url}\t\t\t\t\t\t\t{name}\t\t\t\t{name}\n"


def _drawer(gbif_id: int, n: int) -> str:
    """One photo of an insect drawer, on many records (at most 72 in the field)."""
    url = f"http://biimages.biodiversity.ku.edu/static/Entomology/originals/sp{65796921642024000000 + n // 12_000}.att.JPG"
    return f"{gbif_id}\tStillImage\timage/jpeg\t{url}\t\t\t\t\t\t\t\t\t\t\t\n"


def _iiif(gbif_id: int, n: int) -> str:
    """After RBGE's rows: a JPEG of 300 pixels, though the service has the sheet."""
    code = f"E{n % 10**8:08}"
    url = f"https://iiif.rbge.org.uk/herb/iiif/{code}/full/300,/0/default.jpg"
    page = f"http://data.rbge.org.uk/herb/{code}"
    return f"{gbif_id}\tStillImage\timage/jpeg\t{url}\t{page}\t\t\t\t\t\t\t\t\t{_CC}/by/4.0/\tRoyal Botanic Garden Edinburgh\n"


def _uuid(n: int) -> str:
    digits = f"{n * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


TEMPLATES: tuple[tuple[float, Template], ...] = (
    (57.9, _inaturalist),
    (9.3, _observation),
    (3.6, _mnhn),
    (3.0, _inaturalist_static),
    (3.0, _artportalen),
    (3.0, _smithsonian),
    (3.0, _naturalis),
    (3.0, _kew_page_only),
    (2.5, _sound),
    (2.0, _artsobservasjoner),
    (2.0, _kew),
    (2.0, _svampe),
    (2.0, _iiif),
    (1.5, _meise_page_only),
    (1.0, _drawer),
    (0.5, _meise_pair),
)
"""Weights in per cent of the records."""
IMAGES_OF_A_RECORD = (*[1] * 874, *[2] * 94, *[3] * 28, 4, 5, 6, 12)  # of a thousand


def chunks(rows: int, seed: int = 1) -> Iterator[str]:
    """The lines of a file of exactly that many rows, header first, some thousands of rows at a time. Same seed, same file."""
    yield HEADER
    dice = random.Random(seed)
    weights = [weight for weight, _ in TEMPLATES]
    templates = [template for _, template in TEMPLATES]
    record = done = 0
    while done < rows:
        picked = dice.choices(templates, weights, k=RECORDS_A_CHUNK)
        counts = dice.choices(IMAGES_OF_A_RECORD, k=RECORDS_A_CHUNK)
        lines: list[str] = []
        for template, count in zip(picked, counts, strict=True):
            record += 1
            gbif_id = 400_000_000 + (record * 2654435761 + seed) % 2**32  # an odd factor: no id comes twice, and none in order
            if count == 1:
                lines.append(template(gbif_id, FIRST_NUMBER + record * 12))
            else:
                lines.extend(template(gbif_id, FIRST_NUMBER + record * 12 + number) for number in range(count))
        text = "".join(lines)
        n_lines = text.count("\n")
        if done + n_lines > rows:
            text = "".join(line + "\n" for line in text.split("\n")[: rows - done])
        done += n_lines
        yield text


META_XML = """<archive xmlns="http://rs.tdwg.org/dwc/text/">
  <extension encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" ignoreHeaderLines="1"
      rowType="http://rs.gbif.org/terms/1.0/Multimedia">
    <files><location>multimedia.txt</location></files>
    <coreid index="0"/>
  </extension>
</archive>
"""


def write(out: Path, rows: int, seed: int = 1, as_zip: bool = False) -> int:
    """Write such a file, or a zip with one in it; the size of the text in bytes."""
    if not as_zip:
        with out.open("wb") as file:
            return _write_text(file, rows, seed)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("meta.xml", META_XML)
        with archive.open("multimedia.txt", "w", force_zip64=True) as entry:
            return _write_text(entry, rows, seed)


def _write_text(file: IO[bytes], rows: int, seed: int) -> int:
    return sum(file.write(text.encode()) for text in chunks(rows, seed))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rows.big", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--zip", action="store_true", help="OUT is a zip, with the file as its multimedia.txt")
    given = parser.parse_args()
    started = time.perf_counter()
    size = write(given.out, given.rows, given.seed, given.zip)
    elapsed_s = time.perf_counter() - started
    print(f"{given.rows} rows, {size / 1e6:.1f} MB of text, {elapsed_s:.1f} s, {given.rows / elapsed_s:,.0f} rows/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
