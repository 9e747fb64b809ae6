"""Which image is a URL about? Tables of real URLs, and properties that hold for any text."""

from __future__ import annotations

import itertools
import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from d4c_images.identity import (
    RULES,
    Images,
    identify,
    identify_all,
    merge,
    parts,
    split_cell,
    unusable_reason,
    usable_url,
)
from d4c_images.identity.rule import SHORTCUT_PREFIX, Shortcut
from d4c_images.model import RejectReason
from tests.support.sweep import holds_for_each
from tests.support.tabular import rows

REASONS = (RejectReason.NO_IDENTIFIER, RejectReason.NOT_HTTP, RejectReason.MALFORMED_URL)
SERVICE = "https://iiif.example.org/iiif/2/ab"


def key(url: str) -> str:
    image = identify(url)
    assert image is not None, url
    return image.key


def test_cell_becomes_a_normal_url_or_a_reason() -> None:
    def check(cell: str, wanted: str) -> None:
        if wanted in REASONS:
            assert usable_url(cell) is None
            assert unusable_reason(cell) == wanted
            assert identify(cell) is None
        else:
            assert usable_url(cell) == wanted
            assert unusable_reason(cell) is None
            assert usable_url(wanted) == wanted
            image = identify(cell)
            assert image is not None
            assert wanted in image.urls

    holds_for_each(rows("urls.tsv"), check)


def test_two_photos_stay_apart() -> None:
    def check(one: str, other: str) -> None:
        assert key(one) != key(other)

    holds_for_each(rows("apart.tsv"), check)


def test_one_photo_has_one_key() -> None:
    def check(one: str, other: str) -> None:
        assert key(one) == key(other)

    holds_for_each(rows("same.tsv"), check)


URLS = sorted(
    {cell for row in rows("apart.tsv") + rows("same.tsv") for cell in row}
    | {one.identifier for rule in RULES for one in rule.examples}
    | {wanted for _, wanted in rows("urls.tsv") if wanted not in REASONS}
)


def test_all_candidates_lead_back_to_the_image() -> None:
    def check(url: str) -> None:
        image = identify(url)
        assert image is not None
        assert usable_url(url) in image.urls
        assert len(set(image.urls)) == len(image.urls)
        assert [key(candidate) for candidate in image.urls] == [image.key] * len(image.urls)
        assert merge(image.urls, ()) == image.urls
        assert all(usable_url(candidate) == candidate for candidate in image.urls)

    holds_for_each(((url,) for url in URLS), check)


def test_plain_urls_take_the_short_way_with_the_same_answer() -> None:
    """The fast path must never say anything else than the long one."""
    for url in URLS:
        image = identify(url)
        long_way = identify(" " + url)
        assert image == long_way


SHORTCUTS = [(rule.name, one) for rule in RULES for one in rule.shortcuts]


def test_each_shortcut_is_found_by_its_prefix() -> None:
    prefixes = [one.prefix for _, one in SHORTCUTS]
    assert all(len(prefix) >= SHORTCUT_PREFIX for prefix in prefixes)
    assert len({prefix[:SHORTCUT_PREFIX] for prefix in prefixes}) == len(prefixes)


@pytest.mark.parametrize(("name", "shortcut"), SHORTCUTS)
@given(data=st.data())
def test_a_shortcut_gives_the_same_answer(name: str, shortcut: Shortcut, data: st.DataObject) -> None:
    url = shortcut.prefix + data.draw(st.from_regex(shortcut.photo, fullmatch=True))
    image = identify(url)
    assert image is not None
    assert image.rule == name
    expected = Images([], [], [])
    expected.add(image)
    assert identify_all([url.encode()]) == (expected, [])


@given(st.lists(st.sampled_from([one.identifier for rule in RULES for one in rule.examples]) | st.text()))
def test_many_are_identified_as_each_by_itself(cells: list[str]) -> None:
    raw = [cell.encode(errors="surrogatepass") for cell in cells]
    found, odd = identify_all(raw)
    expected = Images([], [], [])
    for at, cell in enumerate(raw):
        text = cell.decode(errors="replace")
        expected.add(identify(text))
        assert at in odd or (identify(text) is not None and split_cell(text) == [text])
    assert found == expected


PIECES = (
    st.sampled_from(list('/?#%&;:@ |,"<\\[é\udce9aB.0'))
    | st.sampled_from(
        [
            "//",
            "/.",
            "/..",
            "%2f",
            "%7E",
            "%41",
            "&amp;",
            ".jpg",
            "#!",
            "/iiif/",
            "/full/",
            "max/",
            "0/",
            "1,2,3,4/",
            "photos/",
            "original",
        ]
    )
    | st.sampled_from(["default.jpg", "/info.json", "/manifest"])
)
URL_LIKE = st.builds(
    lambda scheme, host, rest: scheme + host + "".join(rest),
    st.sampled_from(["http://", "https://", "HTTP://", "ftp://", "//", "", "http:/", "urn:", '"http://']),
    st.sampled_from(
        ["example.org", "EXAMPLE.org:80", "a.b:8080", "static.inaturalist.org", "www.x.org", "x", "", "654355.jpg", "ü.org"]
    ),
    st.lists(PIECES, max_size=12),
)
ANY_TEXT = st.text() | st.text(st.characters(codec=None), max_size=40) | URL_LIKE


@given(ANY_TEXT)
@example("http://a/" + "%4" * 50)
@example("www.a.b:80/c")
@example("0" * 9000)
@example("https://a/" + "é" * 5000)
def test_any_text_is_a_stable_url_or_has_a_reason(text: str) -> None:
    url = usable_url(text)
    assert (url is None) == (unusable_reason(text) in REASONS)
    image = identify(text)
    assert (image is None) == (url is None)
    if url is None or image is None:
        return
    assert usable_url(url) == url
    assert set(url) <= set(string.printable) - set(string.whitespace), "only what may stand in a request line"
    assert url in image.urls
    assert identify(url) == image
    assert {key(candidate) for candidate in image.urls} == {image.key}
    assert merge(image.urls, ()) == image.urls
    assert parts(url).host in url


@given(st.lists(st.sampled_from(URLS), max_size=6), st.lists(st.sampled_from(URLS), max_size=6), st.randoms())
def test_merging_hangs_on_the_set_alone(one: list[str], other: list[str], random: Any) -> None:
    one, other = [str(usable_url(url)) for url in one], [str(usable_url(url)) for url in other]
    merged = merge(one, other)
    assert merge(other, one) == merged
    assert set(merged) == {*one, *other}
    shuffled = list(merged)
    random.shuffle(shuffled)
    cut = len(shuffled) // 2
    assert merge(merge(shuffled[:cut], ()), shuffled[cut:]) == merged


def test_iiif_candidates_stand_best_first() -> None:
    best_first = [
        f"{SERVICE}/manifest",
        f"{SERVICE}/full/full/0/default.jpg",
        f"{SERVICE}/full/max/0/default.jpg",
        f"{SERVICE}/info.json",
        f"{SERVICE}/full/pct:100/0/default.jpg",
        f"{SERVICE}/full/1600,/0/default.jpg",
        f"{SERVICE}/full/1600,/0/default.png",
        f"{SERVICE}/full/,900/0/default.jpg",
        f"{SERVICE}/full/!250,250/0/default.jpg",
        f"{SERVICE}/full/max/0/gray.jpg",
        f"{SERVICE}/full/max/90/default.jpg",
        f"{SERVICE}/square/max/0/default.jpg",
        f"{SERVICE}/0,0,500,500/max/0/default.jpg",
    ]
    for shift in range(len(best_first)):
        assert list(merge(best_first[shift:], best_first[:shift])) == best_first


@pytest.mark.parametrize(
    ("given_url", "wanted"),
    [
        ("https://h.org/iiif/3/x/full/600,/0/default.jpg", ["full/max/0/default.jpg", "info.json", "full/600,/0/default.jpg"]),
        (
            "https://h.org/iiif/2/x/full/600,/0/default.jpg",
            ["full/full/0/default.jpg", "full/max/0/default.jpg", "info.json", "full/600,/0/default.jpg"],
        ),
        (
            "https://h.org/img/x/0,0,9,9/600,/90/gray.png",
            ["full/max/0/default.jpg", "full/full/0/default.jpg", "info.json", "0,0,9,9/600,/90/gray.png"],
        ),
        ("https://h.org/img/x/full/600,/0/native.jpg", ["full/full/0/native.jpg", "info.json", "full/600,/0/native.jpg"]),
        ("https://h.org/img/x/full/max/0/default.tif", ["full/max/0/default.tif"]),
        (
            "https://h.org/img/x/full/max/0/default.pdf",
            ["full/max/0/default.jpg", "full/full/0/default.jpg", "info.json", "full/max/0/default.pdf"],
        ),
        ("https://h.org/iiif/3/x/info.json", ["full/max/0/default.jpg", "info.json"]),
        ("https://h.org/iiif/3/x/manifest", ["manifest"]),
    ],
)
def test_iiif_derives_the_whole_picture_and_keeps_the_given(given_url: str, wanted: list[str]) -> None:
    image = identify(given_url)
    assert image is not None
    assert list(image.urls) == [f"{given_url.partition('/x/')[0]}/x/{one}" for one in wanted]


def test_the_open_bucket_is_never_invented() -> None:
    """iNaturalist's open bucket holds only photos under open licences."""
    image = identify("https://static.inaturalist.org/photos/22295/small.jpg")
    assert image is not None
    assert all(url.startswith("https://static.inaturalist.org/") for url in image.urls)


def test_merged_sizes_of_one_photo_put_the_original_first() -> None:
    sizes = ["square", "thumb", "small", "medium", "large", "original"]
    urls = [f"https://static.inaturalist.org/photos/5/{size}.jpg" for size in sizes]
    for order in itertools.islice(itertools.permutations(urls), 0, 720, 97):
        assert list(merge(order, ())) == urls[::-1]


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("http://a.org/1.jpg", ["http://a.org/1.jpg"]),
        ("http://a.org/1.jpg | http://a.org/2.jpg", ["http://a.org/1.jpg", "http://a.org/2.jpg"]),
        ("http://a.org/1.jpg|https://a.org/2.jpg", ["http://a.org/1.jpg", "https://a.org/2.jpg"]),
        ("http://a.org/1.jpg;http://a.org/2.jpg;", ["http://a.org/1.jpg", "http://a.org/2.jpg"]),
        ("http://a.org/1.jpg,HTTP://a.org/2.jpg", ["http://a.org/1.jpg", "HTTP://a.org/2.jpg"]),
        ("http://a.org/1.jpg  ftp://a.org/2.jpg", ["http://a.org/1.jpg", "ftp://a.org/2.jpg"]),
        ("http://a.org/1.jpg|#DELIMITER#|http://a.org/2.jpg", ["http://a.org/1.jpg", "http://a.org/2.jpg"]),
        ("http://a.org/a b.jpg http://a.org/2.jpg", ["http://a.org/a b.jpg", "http://a.org/2.jpg"]),
        ("x|http://a.org/2.jpg", ["x", "http://a.org/2.jpg"]),
        ("http://a.org/x;y,z|w.jpg", ["http://a.org/x;y,z|w.jpg"]),
        ('"http://a.org/1.jpg;http://a.org/2.jpg"', ["http://a.org/1.jpg", "http://a.org/2.jpg"]),
        ('"http://a.org/1.jpg", "http://a.org/2.jpg"', ["http://a.org/1.jpg", "http://a.org/2.jpg"]),
        ('["http://a.org/1.jpg","http://a.org/2[1].jpg"]', ["http://a.org/1.jpg", "http://a.org/2[1].jpg"]),
        ("http://a.org/1.jpg<br/>http://a.org/2.jpg", ["http://a.org/1.jpg", "http://a.org/2.jpg"]),
        ("http://a.org/1.jpg\nhttp://a.org/2.jpg", ["http://a.org/1.jpg", "http://a.org/2.jpg"]),
        ('http://a.org/x?url="https://b.org/1.jpg"', ['http://a.org/x?url="https://b.org/1.jpg"']),
        ('"http://a.org/x?url=https://b.org/1.jpg"', ['"http://a.org/x?url=https://b.org/1.jpg"']),
        (
            "https://img.cyverse.org/resize?width=4000&url=https://data.cyverse.org/a.JPG",
            ["https://img.cyverse.org/resize?width=4000&url=https://data.cyverse.org/a.JPG"],
        ),
        (
            "https://web.archive.org/web/2016/https://example.org/a.jpg",
            ["https://web.archive.org/web/2016/https://example.org/a.jpg"],
        ),
        ("", [""]),
    ],
)
def test_cells_are_cut_only_before_a_url(cell: str, wanted: list[str]) -> None:
    assert split_cell(cell) == wanted


@pytest.mark.parametrize("separator", [" ", ";", "|", "<br>", "|#DELIMITER#|", '" '])
def test_a_long_run_of_separators_is_read_once(separator: str) -> None:
    """A search that restarted at each of them would take half a minute here."""
    cell = f"http://a.org/1.jpg{separator * (40_000 // len(separator))}x http://a.org/2.jpg"
    assert split_cell(cell)[-1] == "http://a.org/2.jpg"


@given(ANY_TEXT)
def test_no_cell_is_lost_or_raises(text: str) -> None:
    pieces = split_cell(text)
    assert all(piece in text for piece in pieces)
