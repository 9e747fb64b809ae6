"""What the rules of identity make of real rows of many publishers. `python -m bench.publishers [FILE ...]`.

Reads tables (GBIF downloads, tables of publishers' archives, anything with a column of URLs; by default the real rows
in tests/rows), brings all their rows into a ledger with the real `init`, and prints per rule: rows, distinct URLs,
images, merged variants; how many rows a specific rule decides or proves unique; the hosts that no rule knows; and a
random sample of merges for a human eye. The last line is one JSON object.

With `--together` (and by default), the URLs of one row are taken to be one photo, as in Audubon Core tables with
`accessURI`, `goodQualityAccessURI` and `thumbnailAccessURI`: it tells how many such rows the URLs alone unify (hits),
which they do not (misses), and which rows share an image without sharing a URL: rows of one record, for a human eye,
and rows of different records, which are false merges. Needs no network.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from d4c_images.identity import exact, identify, merge, parts, usable_url
from d4c_images.model import Image
from d4c_images.report.identities import IdentitySurvey, survey_dict, survey_lines
from d4c_images.sources.identifiers import IdentifierCell, identifier_cells

ROWS = Path(__file__).resolve().parents[1] / "tests" / "rows"
DEFAULT = [ROWS / "multimedia.txt", ROWS / "old_order.txt", ROWS / "variants.tsv"]


@dataclass(slots=True)
class Shown:
    """One image, and the URLs that showed it."""

    rule: str
    urls: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Together:
    """What URLs alone find of the URLs that stand together in a row."""

    rows: int  # with more than one URL
    hits: int
    misses: list[tuple[str, ...]]
    joined: list[tuple[str, str]]  # rows of one record
    false_merges: list[tuple[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--together", action="store_true", help="take all URLs of a row, as one photo")
    parser.add_argument("--sample", type=int, default=20, help="merges to show")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if not args.files:
        args.files, args.together = DEFAULT, True
    cells = [
        cell._replace(record=cell.record and f"{path}#{cell.record}", row_no=number * 10**9 + cell.row_no)
        for number, path in enumerate(args.files)
        for cell in identifier_cells(path, every=args.together)
    ]
    survey, images = IdentitySurvey(), dict[str, Shown]()
    survey.take(cells, lambda cell, image: note(images, cell.text, image))
    print("\n".join(survey_lines(survey)))
    counted = survey_dict(survey)
    ledger = ingested(cells)
    assert ledger["images"] == counted["images"] == len(images), (ledger, counted["images"], len(images))
    print(f"\nin the ledger: {ledger['images']:,} images, {ledger['links']:,} links of a record and an image")
    as_they_are = ingested_as_they_are(args.files)
    if as_they_are is not None:
        print(f"init of the files as they are, with what only rows tell: {as_they_are['images']:,} images")
    n_exact = counted["rules"].get(exact.NAME, {"rows": 0})["rows"]
    share = 1 - n_exact / counted["rows"]
    print(f"decided by a specific rule, or provably unique: {100 * share:.1f} % of {counted['rows']:,} rows")
    show_unknown(images)
    show_sample(images, args.sample, random.Random(args.seed))
    result = {"bench": "publishers", "files": len(args.files), **counted, "specific_share": round(share, 4)}
    result |= {"ledger": ledger, "as_they_are": as_they_are}
    if args.together:
        together = compare(cells)
        show_together(together)
        result["together"] = {
            "rows": together.rows,
            "hits": together.hits,
            "misses": len(together.misses),
            "joined": len(together.joined),
            "false_merges": len(together.false_merges),
        }
    print(json.dumps(result))


def note(images: dict[str, Shown], text: str, image: Image | None) -> None:
    if image is not None:
        images.setdefault(image.key, Shown(image.rule)).urls.add(usable_url(text) or text)


def ingested(cells: Iterable[IdentifierCell]) -> dict[str, int]:
    """Counts of a ledger that the real `init` made of the cells, one row each."""
    records: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="d4c-publishers-") as name:
        table = Path(name, "multimedia.txt")
        with table.open("w", encoding="utf-8", newline="\n") as out:
            out.write("gbifID\tidentifier\n")
            for cell in cells:
                gbif_id = records.setdefault(cell.record or str(cell.row_no), len(records) + 1)
                out.write(f"{gbif_id}\t{' '.join(cell.text.split())}\n")
        counts = init([table], Path(name, "ledger.sqlite"))
        assert counts is not None
        return counts


def ingested_as_they_are(files: Iterable[Path]) -> dict[str, int] | None:
    """Counts of a ledger that the real `init` made of the files, where it reads them all: with what only rows tell."""
    with tempfile.TemporaryDirectory(prefix="d4c-publishers-") as name:
        return init(files, Path(name, "ledger.sqlite"))


def init(files: Iterable[Path], ledger: Path) -> dict[str, int] | None:
    for path in files:
        command = [sys.executable, "-m", "d4c_images", "init", str(path), "--ledger", str(ledger), "--no-progress"]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
    db = sqlite3.connect(ledger)
    try:
        return {
            "images": db.execute("SELECT count(*) FROM images").fetchone()[0],
            "links": db.execute("SELECT count(*) FROM occurrence_images").fetchone()[0],
        }
    finally:
        db.close()


def show_unknown(images: dict[str, Shown], n: int = 15) -> None:
    hosts = Counter(parts(url).host for one in images.values() if one.rule == exact.NAME for url in one.urls)
    if hosts:
        print(f"\nhosts that no rule decides about ({len(hosts):,}), by URLs:")
        print("\n".join(f"{count:>8,}  {host}" for host, count in hosts.most_common(n)))


def show_sample(images: dict[str, Shown], n: int, chance: random.Random) -> None:
    merged = [key for key, one in images.items() if len(one.urls) > 1]
    print(f"\n{len(merged):,} images have more than one URL in these rows; {min(n, len(merged))} of them by chance:")
    for key in sorted(chance.sample(merged, min(n, len(merged)))):
        print(f"{key}")
        print("\n".join(f"    {url}" for url in merge(images[key].urls, ())))


def compare(cells: Iterable[IdentifierCell]) -> Together:
    """Rows against rules. Ids of records that are the same in two files are taken for one record."""
    urls_of = defaultdict[tuple[int, str], dict[str, str]](dict)
    for cell in cells:
        if (image := identify(cell.text)) is not None:
            urls_of[cell.row_no, cell.record.rpartition("#")[2]][usable_url(cell.text) or cell.text] = image.key
    several = [urls for urls in urls_of.values() if len(urls) > 1]
    misses = [tuple(urls) for urls in several if len(set(urls.values())) > 1]
    showing = defaultdict[str, list[tuple[str, set[str]]]](list)
    for (_, record), urls in urls_of.items():
        for key in set(urls.values()):
            showing[key].append((record, {url for url in urls if urls[url] == key}))
    joined, false = set[tuple[str, str]](), set[tuple[str, str]]()
    for rows in showing.values():
        for (one, its_urls), (other, other_urls) in combinations(rows, 2):
            if not its_urls & other_urls:
                pair = min(its_urls), min(other_urls)
                (joined if one == other else false).add((min(pair), max(pair)))
    return Together(len(several), len(several) - len(misses), misses, sorted(joined), sorted(false))


def show_together(together: Together) -> None:
    print(f"\n{together.rows:,} rows have several URLs: {together.hits:,} unified by URL alone, {len(together.misses):,} not:")
    by_hosts = defaultdict[tuple[str, ...], list[tuple[str, ...]]](list)
    for urls in together.misses:
        by_hosts[tuple(parts(url).host for url in urls)].append(urls)
    for found in sorted(by_hosts.values(), key=len, reverse=True):
        print(f"{len(found):>8,}  {'  '.join(found[0])}")
    for title, pairs in (("rows of one record that are one image", together.joined), ("false merges", together.false_merges)):
        print(f"{title}: {len(pairs):,}")
        for one, other in pairs:
            print(f"    {one}  {other}")


if __name__ == "__main__":
    main()
