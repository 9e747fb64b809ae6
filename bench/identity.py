"""What does it cost to say which image a row is about? `python -m bench.identity [FILE with one identifier a line]`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from d4c_images.identity import identify_all, split_cell
from tests.rows import big

Row = TypeVar("Row")

# One URL of each kind, in the shares that published crawls of GBIF's media report: well over half is iNaturalist's.
KINDS: tuple[tuple[int, str], ...] = (
    (58, "https://inaturalist-open-data.s3.amazonaws.com/photos/{}/original.jpeg?1615126761"),
    (9, "https://observation.org/photos/{}.jpg"),
    (4, "http://mediaphoto.mnhn.fr/media/1441373398150jx5DMS5g{}"),
    (10, "https://www.artsobservasjoner.no/MediaLibrary/2021/9/12c5c319-0bac-4219-ac16-c00e{}_image.jpg"),
    (4, "https://medialib.naturalis.nl/file/id/WAG.{}/format/large"),
    (3, "http://www.tropicos.org/ImageDownload.aspx?imageid={}"),
    (2, "https://images.collections.yale.edu/iiif/2/ypm:{}/full/!1920,1920/0/default.jpg"),
    (1, "https://swbiodiversity.org/imglib/h_seinet/seinet/DES/DES00057/DES{}_lg.jpg"),
    (1, "https://sernec.example.org/imglib/seinet/sernec/KNK/31973000006/{}_web.jpg"),
    (1, "http://biimages.biodiversity.ku.edu/static/Entomology/originals/sp{}.att.JPG"),
    (1, "http://arctos.database.museum/media/{}?open"),
    (1, "https://collections.nmnh.si.edu/media/?i={}&h=2000"),
    (1, "https://ids.si.edu/ids/deliveryService/id/ark:/65665/m3642ca13b63774a5c9f907938471ad74f/{}"),
    (1, "https://api.idigbio.org/v2/media/7a15a535bf37eeb4675bd50e65b1a609?size=webview"),
    (1, "http://sweetgum.nybg.org/images3/2380/631/{}.jpg"),
    (2, "http://fm-digital-assets.fieldmuseum.org/155/820/Trichobius parasparsus {} HT.jpg"),
)
N_ROWS = 200_000
BLOCK_ROWS = 1_000  # that `init` identifies at once, about


def identifiers() -> list[str]:
    if len(sys.argv) > 1:
        with Path(sys.argv[1]).open(encoding="utf-8", newline="\n") as lines:
            return [line.rstrip("\n") for line in lines]
    pattern = [url for share, url in KINDS for _ in range(share)]
    return [pattern[number * 37 % len(pattern)].format(number) for number in range(N_ROWS)]


def identifiers_of_ingest() -> list[str]:
    """Of the rows that `bench.ingest` brings into a ledger."""
    header, *lines = "".join(big.chunks(N_ROWS)).rstrip("\n").split("\n")
    at = header.split("\t").index("identifier")
    return [identifier for line in lines if (identifier := line.split("\t", at + 1)[at])]


def identify_us(rows: list[str]) -> float:
    """What `cost_us` says of identifying rows as `init` does, a block at a time."""
    cells = [row.encode(errors="surrogateescape") for row in rows]
    blocks = [cells[at : at + BLOCK_ROWS] for at in range(0, len(cells), BLOCK_ROWS)]
    return cost_us(identify_all, blocks) * len(blocks) / len(rows)


def cost_us(work: Callable[[Row], object], rows: Sequence[Row]) -> float:
    """Microseconds of CPU a row, the best of five passes."""
    passes = []
    for _ in range(5):
        started = time.process_time()
        for row in rows:
            work(row)
        passes.append(time.process_time() - started)
    return min(passes) / len(rows) * 1e6


def main() -> None:
    rows = identifiers()
    assert sum(share for share, _ in KINDS) == 100
    for host in dict.fromkeys(url.split("/")[2] for _, url in KINDS):
        if mine := [row for row in rows if host in row][:5000]:
            print(f"{identify_us(mine):8.2f} us  {host}")
    result = {
        "bench": "identity",
        "rows": len(rows),
        "identify_us": round(identify_us(rows), 2),
        "identify_us_of_ingest": round(identify_us(identifiers_of_ingest()), 2),
        "split_cell_us": round(cost_us(split_cell, rows), 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
