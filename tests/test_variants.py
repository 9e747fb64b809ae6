"""Real rows whose columns name one photo several times: what URLs alone tell, and what must not merge."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest

from bench import publishers
from d4c_images.identity import identify

TABLE = Path(__file__).parent / "rows" / "variants.tsv"
LINES = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]]
PHOTOS = [(verdict, tuple(dict.fromkeys(filter(None, urls)))) for verdict, _, _, *urls in LINES]


def keys(urls: tuple[str, ...]) -> set[str]:
    return {image.key for url in urls if (image := identify(url)) is not None}


@pytest.mark.parametrize(("verdict", "urls"), PHOTOS, ids=lambda one: one if isinstance(one, str) else one[0])
def test_urls_of_one_photo_are_one_image(verdict: str, urls: tuple[str, ...]) -> None:
    """`row` is what only the row can tell: where a rule learns it, the verdict has to change, so that the figures stay true."""
    assert (len(keys(urls)) == 1) == (verdict == "one")


def test_no_two_photos_are_one_image() -> None:
    for (_, one), (_, other) in combinations(PHOTOS, 2):
        if not set(one) & set(other):
            assert not keys(one) & keys(other), (one, other)


def test_the_table_holds_what_the_documentation_counts() -> None:
    verdicts = [verdict for verdict, _ in PHOTOS]
    assert [verdicts.count(one) for one in ("one", "row", "apart")] == [90, 13, 2]


def test_the_benchmark_counts_the_same(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["publishers", str(TABLE), "--together", "--sample", "3"])
    publishers.main()
    printed = capsys.readouterr().out
    counted = json.loads(printed.splitlines()[-1])
    assert counted["together"] == {"rows": 105, "hits": 90, "misses": 15, "joined": 0, "false_merges": 0}
    assert counted["ledger"]["images"] == counted["images"]
    assert counted["rules"]["symbiota"]["merged"] > 80
    assert "3 of them by chance" in printed
