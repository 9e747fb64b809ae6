"""Tests of the demo rows and of the generator of big files: that they hold what other tests and benchmarks rely on."""

from __future__ import annotations

import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.publishers.demo import RULES
from tests.publishers.rules import parse_rules
from tests.rows import big

ROWS = Path(__file__).parents[1] / "rows"


def cells(path: Path) -> list[dict[str, str]]:
    header, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    names = header.split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]


def test_the_demo_rows_hold_the_oddities_of_the_field() -> None:
    rows = cells(ROWS / "multimedia.txt")
    hosts = Counter(urlsplit(row["identifier"]).netloc for row in rows)
    assert (len(rows), len(hosts) - 1) == (465, 36)
    assert hosts[""] == 25
    assert Counter(row["type"] for row in rows)["Sound"] == 3
    with_manifest = {row["gbifID"] for row in rows if row["type"] == "InteractiveResource"}
    assert {row["type"] for row in rows if row["gbifID"] in with_manifest} == {"InteractiveResource", "StillImage"}
    records_of = {url: {row["gbifID"] for row in rows if row["identifier"] == url} for url in {row["identifier"] for row in rows}}
    assert sorted(len(ids) for url, ids in records_of.items() if url and len(ids) > 1) == [3, 5, 5]
    assert Counter(Counter(row["gbifID"] for row in rows).values()) == {1: 328, 2: 53, 3: 9, 4: 1}


def test_labels_belong_to_demo_rows() -> None:
    labels = cells(ROWS / "occurrence.txt")
    assert len(labels) == 28
    assert {row["gbifID"] for row in labels} <= {row["gbifID"] for row in cells(ROWS / "multimedia.txt")}
    assert all(row["scientificName"] and row["datasetKey"] and row["basisOfRecord"] for row in labels)


def test_the_old_order_is_another_order_of_the_same_columns() -> None:
    old, new = (
        (ROWS / name).read_text(encoding="utf-8").split("\n")[0].split("\t") for name in ("old_order.txt", "multimedia.txt")
    )
    assert old != new
    assert sorted(old) == sorted(new)
    assert all(row["license"] == "" or row["source"] == "" for row in cells(ROWS / "old_order.txt"))


def test_the_demo_misbehaves_only_for_hosts_that_it_has() -> None:
    hosts = {urlsplit(row["identifier"]).netloc for row in cells(ROWS / "multimedia.txt")}
    rules = parse_rules(RULES)
    assert len(rules) > 10
    assert all(any(rule.host.fullmatch(host) for host in hosts) for rule in rules)


def test_big_files_are_the_same_for_the_same_seed_and_exactly_as_long_as_asked() -> None:
    one, same, other = ("".join(big.chunks(30_001, seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert one.count("\n") == 30_002
    assert one.endswith("\n")


@pytest.mark.slow
def test_big_files_are_like_real_ones() -> None:
    header, *lines = "".join(big.chunks(60_000)).rstrip("\n").split("\n")
    assert header + "\n" == big.HEADER
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    ids = [row["gbifID"] for row in rows]
    runs = 1 + sum(one != next_ for one, next_ in pairwise(ids))
    assert runs == len(set(ids))
    assert ids != sorted(ids)
    of_records = Counter(Counter(ids).values())
    assert 0.86 < of_records[1] / runs < 0.88
    assert 0.04 < sum(not row["identifier"] for row in rows) / len(rows) < 0.05
    assert 0.02 < sum(row["type"] == "Sound" for row in rows) / len(rows) < 0.03
    urls = Counter(row["identifier"] for row in rows if row["identifier"])
    shared = {url for url, n in urls.items() if n > 1}
    assert shared
    assert all("biimages.biodiversity.ku.edu" in url for url in shared)
    assert 225 < sum(len(line.encode()) + 1 for line in lines) / len(lines) < 240


def test_a_big_zip_holds_the_same_text(tmp_path: Path) -> None:
    big.write(tmp_path / "big.txt", 3000)
    big.write(tmp_path / "big.zip", 3000, as_zip=True)
    with zipfile.ZipFile(tmp_path / "big.zip") as archive:
        assert archive.namelist() == ["meta.xml", "multimedia.txt"]
        assert archive.read("multimedia.txt") == (tmp_path / "big.txt").read_bytes()
