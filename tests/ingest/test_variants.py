"""Evidence of publishers' archives: which URL of a row is best, which rows are one picture, and above all which are not."""

from __future__ import annotations

import random
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.identity import merge, usable_url
from d4c_images.identity.archive_variants import (
    DISAGREE,
    StatedUrl,
    Statement,
    hash_of,
    is_page,
    is_symbol,
    joined,
    picture_of,
    role_of,
    unite,
)
from d4c_images.model import Evidence
from tests.support.archives import audubon
from tests.support.downloads import ask, check_sound, load_all
from tests.support.sweep import thinned

HOST = "https://media.example.org"
UUID = "urn:uuid:3228b6fd-6d68-4cb0-9962-bcd0e51b4fb3"
UUID_2 = "4b578ca9-a932-4c17-9a22-a3604c845fda"


def variant(name: str, role: str = "access", width: int | None = None, height: int | None = None, **more: object) -> StatedUrl:
    url = name if "://" in name else f"{HOST}/{name}"
    return StatedUrl(url, role, bool(more.pop("is_access", role == "access")), width, height, **more)  # type: ignore[arg-type]


def urls(*variants: StatedUrl) -> tuple[str, ...]:
    found = picture_of([Statement(variants)])
    return () if found is None else tuple(url.removeprefix(f"{HOST}/") for url in found[0].urls)


# -- one row


@pytest.mark.parametrize(
    ("variants", "order"),
    [
        ([variant("t.jpg", "thumbnail"), variant("a.jpg"), variant("g.jpg", "good")], ("a.jpg", "g.jpg", "t.jpg")),
        ([variant("a.jpg"), variant("b.jpg", "best"), variant("l.jpg", "lower"), variant("m.jpg", "medium")],
         ("b.jpg", "a.jpg", "m.jpg", "l.jpg")),
        ([variant("a.jpg", "access", 300, 400), variant("g.jpg", "good")], ("g.jpg", "a.jpg")),
        ([variant("a.jpg", "access", 4000, 3000), variant("g.jpg", "good")], ("a.jpg", "g.jpg")),
        ([variant("a.jpg"), variant("a.jpg", "good"), variant("a.jpg", "thumbnail")], ("a.jpg",)),
        ([variant("a.jpg"), variant("nothing://b.jpg", "good")], ("a.jpg",)),
        ([variant("a.jpg", "offline", is_access=True)], ()),
    ],
)  # fmt: skip
def test_the_biggest_is_asked_first(variants: list[StatedUrl], order: tuple[str, ...]) -> None:
    for shuffled in permutations(variants):
        assert urls(*shuffled) == order


def test_the_key_is_that_of_what_the_row_calls_the_picture() -> None:
    for shuffled in permutations([variant("a.jpg", "access", 300, 200), variant("b.jpg", "best"), variant("t.jpg", "thumbnail")]):
        found = picture_of([Statement(shuffled)])
        assert found is not None
        assert (found[0].key, found[0].urls[0]) == (f"{HOST}/a.jpg", f"{HOST}/b.jpg")


PAGES = [
    "https://flora.example.org/HiResDisplay/HiResZoomDisplay.aspx?H=284036",
    "https://www.inaturalist.org/observations/149224374",
    "http://arctos.database.museum/MediaSearch.cfm?collection_object_id=26845568",
    "https://portal.example.org/collections/individual/index.php?occid=1",
    "https://example.org/viewer.html#id=3",
]
PICTURES = [
    "https://BajaFlora.org/SynGetScanZoom.aspx?Thumbnail=Y&ID=284036",
    "https://api.idigbio.org/v2/media/7a15a535bf37eeb4675bd50e65b1a609?size=webview",
    "https://data.huh.harvard.edu/e9d775d8-4a65-489d-936a-b0d8e88e9d8f/image",
    "https://www.tropicos.org/ImageDownload.aspx?imageid=101065934",
    "http://arctos.database.museum/media/10594490?open",
    "https://example.org/view.php?file=a.jpg",
    "https://example.org/individual/index.php.jpg",
]


def test_pages_and_pictures() -> None:
    assert [url for url in PAGES if not is_page(url)] == []
    assert [url for url in PICTURES if is_page(url)] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_no_candidate_beside_a_file(page: str) -> None:
    found = picture_of([Statement((variant(page), variant("a.jpg", "good"), variant("t.jpg", "thumbnail")))])
    assert found is not None
    assert (found[0].key, found[0].urls) == (f"{HOST}/a.jpg", (f"{HOST}/a.jpg", f"{HOST}/t.jpg"))
    alone = picture_of([Statement((variant(page),))])
    assert alone is not None
    assert usable_url(page) in alone[0].urls


def test_a_page_that_a_rule_knows_is_what_the_rule_says() -> None:
    page = "https://www.tropicos.org/ImageFullView.aspx?imageid=101065934"
    found = picture_of([Statement((variant(page), variant("t.jpg", "thumbnail")))])
    assert found is not None
    assert found[0].key == "tropicos:101065934"


@pytest.mark.parametrize(
    "logo",
    ["iNat_Observ-Logo3-r6_1674672514_lg.jpg", "logo.png", "img/icon_camera.gif", "no-image.jpg", "noPhoto.png", "placeholder.svg"],
)
def test_two_pages_with_one_logo_are_two_images(logo: str) -> None:
    """As SDSU's rows at cch2.org: a false merge would throw away all but one."""
    assert is_symbol(f"{HOST}/{logo}")
    for role in ("good", "thumbnail"):
        one, other = (picture_of([Statement((variant(page), variant(logo, role)))]) for page in PAGES[:2])
        assert one is not None
        assert other is not None
        assert one[0].key != other[0].key
        assert all("media.example.org" not in url for url in (*one[0].urls, *other[0].urls))
    assert urls(variant("a.jpg"), variant(logo, "thumbnail")) == ("a.jpg",)


def test_names_that_only_look_like_symbols() -> None:
    assert not any(map(is_symbol, [f"{HOST}/Catalogo_x.jpg", f"{HOST}/Silicon.jpg", f"{HOST}/logo/1.jpg"]))


@pytest.mark.parametrize(
    ("cell", "role"),
    [
        ("ac:BestQuality", "best"), ("http://rs.tdwg.org/ac/terms/BestQuality", "best"), ("Best Quality", "best"),
        ("ac:GoodQuality", "good"), ("Good quality", "good"), ("MediumQuality", "medium"), ("ac:LowerQuality", "lower"),
        ("Thumbnail", "thumbnail"), ("thumb", "thumbnail"), ("original", "best"), ("ac:Offline", "offline"),
        ("mediumQualityFurtherInformationURL", "medium"), ("", None), ("Trailer", None), ("photograph", None),
    ],
)  # fmt: skip
def test_a_cell_of_the_table_names_this_role(cell: str, role: str | None) -> None:
    assert role_of(cell) == role


MD5, SHA1, SHA256 = "1bfec3514840dbee4a00d16663f02904", "4eabf83df44a7cffea17c42f26a99a8f112a5ded", "ab" * 32


@pytest.mark.parametrize(
    ("function", "value", "hashed"),
    [
        ("MD5", MD5, ("md5", MD5)), ("md-5", MD5.upper(), ("md5", MD5)), ("Md5", f" {MD5}\n", ("md5", MD5)),
        ("SHA1", SHA1, ("sha1", SHA1)), ("SHA-1", SHA1, ("sha1", SHA1)), ("sha", SHA1, ("sha1", SHA1)),
        ("SHA-256", SHA256, ("sha256", SHA256)), ("sha_256", SHA256, ("sha256", SHA256)), ("SHA2", SHA256, ("sha256", SHA256)),
        ("http://www.w3.org/2001/04/xmlenc#sha256", SHA256, ("sha256", SHA256)), ("", f"md5:{MD5}", ("md5", MD5)),
        ("sha256", f"hash://sha256/{SHA256}", ("sha256", SHA256)), ("", f"urn:sha1:{SHA1}", ("sha1", SHA1)),
        ("md5", "0x" + MD5, ("md5", MD5)), ("md5", " ".join(MD5[at : at + 8] for at in range(0, 32, 8)), ("md5", MD5)),
        ("", MD5, None), ("md5", SHA1, None), ("md5", "", None), ("crc32", "0a0b0c0d", None), ("md5", "g" * 32, None),
        ("MD5", "null", None), ("SHA-512", "ab" * 64, None),
    ],
)  # fmt: skip
def test_hashes_however_they_are_spelled(function: str, value: str, hashed: tuple[str, str] | None) -> None:
    assert hash_of(function, value) == hashed


# -- several rows


def row(
    name: str,
    *guids: str,
    role: str | None = None,
    size: tuple[int, int] | tuple[None, None] = (None, None),
    derived: str = "",
    title: str = "",
) -> Statement:
    one = variant(name, role or "access", *size, is_access=True)
    return Statement((one,), frozenset(guids), derived, role, (title,))


SAME = {
    "variants of one id": [row("a.jpg", "17", role="best"), row("b.jpg", "17", role="thumbnail")],
    "three of them": [row("a.jpg", "17", role="good"), row("b.jpg", "17", role="thumbnail"), row("c.jpg", "17", role="best")],
    "sizes of one shape": [row("a.jpg", "17", size=(4000, 3000)), row("b.jpg", "17", size=(800, 600))],
    "a square thumbnail": [row("a.jpg", "17", role="best", size=(4000, 3000)), row("b.jpg", "17", role="thumbnail", size=(90, 90))],
    "one UUID": [row("a.jpg", UUID), row("b.jpg", UUID)],
    "derived from an id": [row("a.jpg", "17", role="best"), row("b.jpg", "18", role="lower", derived="17")],
    "derived from a URL": [row("a.jpg", f"{HOST}/a.jpg", role="best"), row("b.jpg", "18", role="lower", derived=f"{HOST}/a.jpg")],
    "the same URL": [row("a.jpg", "17"), row("a.jpg", "17")],
}
APART = {
    "nothing shared": [row("a.jpg", "17", role="best"), row("b.jpg", "18", role="thumbnail")],
    "no ids": [row("a.jpg", role="best"), row("b.jpg", role="thumbnail")],
    "an id that may be anything": [row("a.jpg", "KU-17"), row("b.jpg", "KU-17")],
    "twice the best": [row("a.jpg", UUID, role="best"), row("b.jpg", UUID, role="best")],
    "other shapes": [row("a.jpg", UUID, size=(4000, 3000)), row("b.jpg", UUID, size=(600, 800))],
    "other shapes, told apart": [
        row("a.jpg", UUID, role="best", size=(4000, 3000)),
        row("b.jpg", UUID, role="good", size=(600, 800)),
    ],
    "one size": [row("a.jpg", UUID, size=(4000, 3000)), row("b.jpg", UUID, size=(4000, 3000))],
    "other titles": [row("a.jpg", UUID, title="dorsal"), row("b.jpg", UUID, title="label")],
    "derived, and no more is said": [row("a.jpg", "17"), row("b.jpg", "18", derived="17")],
    "other UUIDs": [row("a.jpg", UUID), row("b.jpg", UUID_2)],
}


@pytest.mark.parametrize("case", SAME)
def test_rows_of_one_picture(case: str) -> None:
    for shuffled in permutations(SAME[case]):
        assert joined(shuffled) == [list(range(len(shuffled)))]


@pytest.mark.parametrize("case", APART)
def test_rows_that_may_be_two_photos(case: str) -> None:
    for shuffled in permutations(APART[case]):
        assert joined(shuffled) == [[0], [1]]


def test_one_contradiction_keeps_all_of_them_apart() -> None:
    """Two photos and a thumbnail of one of them: nobody can say of which."""
    rows = [row("a.jpg", "17", role="best"), row("b.jpg", "17", role="best"), row("t.jpg", "17", role="thumbnail")]
    assert joined(rows) == [[0], [1], [2]]


# -- the same in any order

hashes = st.sampled_from([(None, None), ("md5", MD5), ("sha1", SHA1), ("md5", "0" * 32)])
evidences = st.builds(
    lambda role, edge, width, hashed: Evidence(f"{HOST}/a.jpg", role, edge, width, None, *hashed),
    st.sampled_from(["best", "good", "thumbnail"]),
    st.sampled_from([200, 1600, 4000]),
    st.sampled_from([None, 4000]),
    hashes,
)


@given(st.lists(evidences, min_size=3, max_size=3))
def test_what_rows_say_of_a_url_is_united_in_any_order(said: list[Evidence]) -> None:
    results = set()
    for one, other, third in permutations(said):
        results.add(unite(unite(one, other), third))
        assert unite(one, one) == one
    assert len(results) == 1
    published = {(one.hash_function, one.hash_value) for one in said if one.hash_function}
    assert (results.pop().hash_function == DISAGREE) == (len(published) > 1)


@given(st.permutations(["a", "b", "c", "d"]), st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9000)))
def test_candidates_stand_by_size_in_any_order(names: list[str], sizes: dict[str, int]) -> None:
    edges = {f"{HOST}/{name}.jpg": size for name, size in sizes.items()}
    links = [f"{HOST}/{name}.jpg" for name in names]
    assert merge(links[:2], links[2:], edges) == merge(links[2:], links[:2], edges) == merge(sorted(links), [], edges)


ROWS = [
    ["1", f"{HOST}/1.jpg", f"{HOST}/1-t.jpg", "", "", "p1"],
    ["1", f"{HOST}/2.jpg", "", "ac:BestQuality", "5000", "p2"],
    ["1", f"{HOST}/2-g.jpg", "", "ac:GoodQuality", "1200", "p2"],
    ["1", f"{HOST}/2-t.jpg", "", "ac:Thumbnail", "90", "p2"],
    ["2", f"{HOST}/1.jpg", f"{HOST}/1-tiny.jpg", "", "", "p3"],
    ["3", f"{HOST}/1.jpg", "", "", "7000", "p4"],
    ["4", f"{HOST}/2.jpg", "", "", "", "p5"],
    ["5", f"{HOST}/1.jpg", f"{HOST}/2.jpg", "", "", "p6"],
]


@pytest.mark.parametrize("seed", thinned(range(6), 5))
def test_images_are_the_same_in_any_order_of_rows(seed: int, tmp_path: Path) -> None:
    """Records in any order, and the rows of one in any order."""
    records = [list(group) for group in (ROWS[:4], *([one] for one in ROWS[4:]))]
    chance = random.Random(seed)
    chance.shuffle(records)
    for record in records:
        chance.shuffle(record)
    terms = ["accessURI", "thumbnailAccessURI", "variant", "PixelXDimension", "providerManagedID"]
    ledger = tmp_path / "ledger.sqlite"
    load_all(ledger, *(audubon(tmp_path / f"{n}.zip", terms, record) for n, record in enumerate(records)))
    check_sound(ledger)
    assert sorted(ask(ledger, "SELECT image_key, urls FROM images")) == [
        (f"{HOST}/1.jpg", "\n".join(f"{HOST}/{name}.jpg" for name in ("1", "1-t", "1-tiny", "2"))),
        (f"{HOST}/2.jpg", "\n".join(f"{HOST}/{name}.jpg" for name in ("2", "2-g", "2-t"))),
    ]
    assert ask(ledger, "SELECT url, edge FROM variants JOIN images USING (image_id) WHERE image_key LIKE '%/1.jpg' ORDER BY 1") == [
        (f"{HOST}/1-t.jpg", 200),
        (f"{HOST}/1-tiny.jpg", 200),
        (f"{HOST}/1.jpg", 7000),
        (f"{HOST}/2.jpg", 200),
    ]
