"""Which image is a URL about? Tables of real URLs, and properties that hold for any text."""

from __future__ import annotations

import itertools
import json
import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from d4c_images import identity
from d4c_images.identity import (
    RULES,
    Example,
    identify,
    image_urls_of_manifest,
    merge,
    parts,
    split_cell,
    unusable_reason,
    usable_url,
)
from d4c_images.identity.url import MALFORMED_URL, NO_IDENTIFIER, NOT_HTTP
from tests.tabular import rows

REASONS = (NO_IDENTIFIER, NOT_HTTP, MALFORMED_URL)
SERVICE = "https://iiif.example.org/iiif/2/ab"


def key(url: str) -> str:
    image = identify(url)
    assert image is not None, url
    return image.key


@pytest.mark.parametrize(("cell", "wanted"), rows("urls.tsv"))
def test_cell_becomes_a_normal_url_or_a_reason(cell: str, wanted: str) -> None:
    if wanted in REASONS:
        assert usable_url(cell) is None
        assert unusable_reason(cell) == wanted
        assert identify(cell) is None
    else:
        assert usable_url(cell) == wanted
        assert unusable_reason(cell) is None
        assert usable_url(wanted) == wanted


@pytest.mark.parametrize(("one", "other"), rows("apart.tsv"))
def test_two_photos_stay_apart(one: str, other: str) -> None:
    assert key(one) != key(other)


@pytest.mark.parametrize(("one", "other"), rows("same.tsv"))
def test_one_photo_has_one_key(one: str, other: str) -> None:
    assert key(one) == key(other)


EXAMPLES = [(rule, one) for rule in RULES for one in rule.examples]


@pytest.mark.parametrize(("rule", "one"), EXAMPLES, ids=lambda x: x.identifier if isinstance(x, Example) else x.name)
def test_rule_does_what_its_table_says(rule: identity.Rule, one: Example) -> None:
    image = identify(one.identifier)
    assert image is not None
    assert image.key == one.key
    assert image.urls[0] == (one.best or one.identifier)
    assert image.host == parts(image.urls[0]).host


def test_every_rule_has_a_source_and_a_name_of_its_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.source and rule.examples and rule.version >= 1 for rule in RULES)
    assert RULES[-1].name == "exact"


URLS = sorted(
    {cell for row in rows("apart.tsv") + rows("same.tsv") for cell in row}
    | {one.identifier for _, one in EXAMPLES}
    | {wanted for _, wanted in rows("urls.tsv") if wanted not in REASONS}
)


@pytest.mark.parametrize("url", URLS)
def test_all_candidates_lead_back_to_the_image(url: str) -> None:
    image = identify(url)
    assert image is not None
    assert usable_url(url) in image.urls
    assert len(set(image.urls)) == len(image.urls)
    assert [key(candidate) for candidate in image.urls] == [image.key] * len(image.urls)
    assert merge(image.urls, ()) == image.urls
    assert all(usable_url(candidate) == candidate for candidate in image.urls)


def test_plain_urls_take_the_short_way_with_the_same_answer() -> None:
    """The fast path must never say anything else than the long one."""
    for url in URLS:
        image = identify(url)
        long_way = identify(" " + url)
        assert image == long_way


PIECES = st.sampled_from(
    ["/", "//", "/.", "/..", "?", "#", "%", "%2f", "%7E", "%41", "&amp;", "&", ";", ":", "@", ".jpg", ".", "full", "max", "0", "info.json"]
    + ["manifest", "default.jpg", "iiif", "é", "\udce9", " ", "|", ",", '"', "<", "\\", "[", "photos", "original", "a", "B", "1,2,3,4", "#!"]
)
URL_LIKE = st.builds(
    lambda scheme, host, rest: scheme + host + "".join(rest),
    st.sampled_from(["http://", "https://", "HTTP://", "ftp://", "//", "", "http:/", "urn:", '"http://']),
    st.sampled_from(["example.org", "EXAMPLE.org:80", "a.b:8080", "static.inaturalist.org", "www.x.org", "x", "", "654355.jpg", "ü.org"]),
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
        f"{SERVICE}/full/full/0/default.jpg",
        f"{SERVICE}/full/max/0/default.jpg",
        f"{SERVICE}/full/pct:100/0/default.jpg",
        f"{SERVICE}/full/1600,/0/default.jpg",
        f"{SERVICE}/full/1600,/0/default.png",
        f"{SERVICE}/full/,900/0/default.jpg",
        f"{SERVICE}/full/!250,250/0/default.jpg",
        f"{SERVICE}/full/max/0/gray.jpg",
        f"{SERVICE}/full/max/90/default.jpg",
        f"{SERVICE}/square/max/0/default.jpg",
        f"{SERVICE}/0,0,500,500/max/0/default.jpg",
        f"{SERVICE}/info.json",
        f"{SERVICE}/manifest",
    ]
    for shift in range(len(best_first)):
        assert list(merge(best_first[shift:], best_first[:shift])) == best_first


@pytest.mark.parametrize(
    ("given_url", "wanted"),
    [
        ("https://h.org/iiif/3/x/full/600,/0/default.jpg", ["full/max/0/default.jpg", "full/600,/0/default.jpg"]),
        (
            "https://h.org/iiif/2/x/full/600,/0/default.jpg",
            ["full/full/0/default.jpg", "full/max/0/default.jpg", "full/600,/0/default.jpg"],
        ),
        (
            "https://h.org/img/x/0,0,9,9/600,/90/gray.png",
            ["full/max/0/default.jpg", "full/full/0/default.jpg", "0,0,9,9/600,/90/gray.png"],
        ),
        ("https://h.org/img/x/full/600,/0/native.jpg", ["full/full/0/native.jpg", "full/600,/0/native.jpg"]),
        ("https://h.org/img/x/full/max/0/default.tif", ["full/max/0/default.tif"]),
        ("https://h.org/img/x/full/max/0/default.pdf", ["full/max/0/default.jpg", "full/full/0/default.jpg", "full/max/0/default.pdf"]),
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


@given(ANY_TEXT)
def test_no_cell_is_lost_or_raises(text: str) -> None:
    pieces = split_cell(text)
    assert all(piece in text for piece in pieces)


# IIIF documents ---------------------------------------------------------------------------------------------------------------

MANIFEST_URL = "https://iiif.example.org/iiif/2/ab/manifest"


def image_urls(document: Any) -> list[str]:
    return list(image_urls_of_manifest(json.dumps(document).encode(), MANIFEST_URL))


def manifest_3(*bodies: Any, motivation: Any = "painting") -> dict[str, Any]:
    canvases = [{"type": "Canvas", "items": [{"type": "AnnotationPage", "items": [{"motivation": motivation, "body": body}]}]} for body in bodies]
    return {"@context": "http://iiif.io/api/presentation/3/context.json", "type": "Manifest", "items": canvases}


def manifest_2(*resources: Any) -> dict[str, Any]:
    canvases = [{"images": [{"motivation": "sc:painting", "resource": resource}]} for resource in resources]
    return {"@type": "sc:Manifest", "sequences": [{"canvases": canvases}]}


BODY = {"id": "https://h.org/view.jpg", "type": "Image", "format": "image/jpeg"}
V3 = {"id": "https://h.org/svc/x", "type": "ImageService3", "profile": "level2"}
V2 = {"@context": "http://iiif.io/api/image/2/context.json", "@id": "https://h.org/svc/x", "profile": "http://iiif.io/api/image/2/level1.json"}
AUTH = {"@id": "https://h.org/login", "profile": "http://iiif.io/api/auth/1/login"}
MAX, FULL = "https://h.org/svc/x/full/max/0/default.jpg", "https://h.org/svc/x/full/full/0/default.jpg"


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        pytest.param(manifest_3({**BODY, "service": [V3]}), [MAX, BODY["id"]], id="v3, service in a list"),
        pytest.param(manifest_3({**BODY, "service": V3}), [MAX, BODY["id"]], id="v3, service as an object"),
        pytest.param(manifest_3({**BODY, "service": [AUTH, V2]}), [FULL, MAX, BODY["id"]], id="v3 with a v2 service behind a login service"),
        pytest.param(manifest_3(BODY, motivation="Painting"), [BODY["id"]], id="RBGE's capital P"),
        pytest.param(manifest_3(BODY, motivation=["painting"]), [BODY["id"]], id="motivation in a list"),
        pytest.param(manifest_3(BODY, motivation="commenting"), [], id="a comment paints nothing"),
        pytest.param(manifest_3([BODY]), [BODY["id"]], id="body in a list"),
        pytest.param(manifest_3({"type": "Choice", "items": [BODY, {**BODY, "id": "https://h.org/uv.jpg"}]}), [BODY["id"], "https://h.org/uv.jpg"], id="choice"),
        pytest.param(manifest_3({"type": "Sound", "id": "https://h.org/a.mp3", "format": "audio/mpeg"}), [], id="sound"),
        pytest.param(manifest_3(None, {"type": "TextualBody"}, BODY, {**BODY, "id": "https://h.org/2.jpg"}), [BODY["id"]], id="first canvas with a picture"),
        pytest.param(manifest_3({"id": "view.jpg", "type": "Image"}), ["https://iiif.example.org/iiif/2/ab/view.jpg"], id="relative id"),
        pytest.param(manifest_3({"id": "file:///etc/passwd", "type": "Image"}), [], id="no file"),
        pytest.param(manifest_3([{"id": "http://[", "type": "Image"}, BODY]), [BODY["id"]], id="no URL"),
        pytest.param(manifest_2({"@id": BODY["id"], "@type": "dctypes:Image", "service": V2}), [FULL, MAX, BODY["id"]], id="v2"),
        pytest.param(manifest_2({"@type": "oa:Choice", "default": {"@id": BODY["id"]}, "item": [{"@id": "https://h.org/2.jpg"}]}), [BODY["id"], "https://h.org/2.jpg"], id="v2 choice"),
        pytest.param({"type": "Collection", "items": [manifest_3(BODY)]}, [], id="a collection"),
        pytest.param({"@context": "http://iiif.io/api/image/3/context.json", "id": "https://h.org/svc/x", "width": 9, "height": 9}, [MAX], id="info.json 3"),
        pytest.param({**V2, "width": 9, "height": 9}, [FULL, MAX], id="info.json 2"),
        pytest.param({**V2, "width": 9, "height": 9, "maxWidth": 5}, [MAX, FULL], id="info.json 2 with a limit"),
        pytest.param(
            {**V3, "profile": "level0", "width": 9, "height": 9, "sizes": [{"width": 3, "height": 3}, {"width": 6, "height": 7}, {"width": "9"}]},
            [MAX, "https://h.org/svc/x/full/6,7/0/default.jpg"],
            id="info.json 3 of level 0",
        ),
        pytest.param(
            {"@context": "http://library.stanford.edu/iiif/image-api/1.1/context.json", "@id": "https://h.org/svc/x", "width": 9, "height": 9},
            ["https://h.org/svc/x/full/full/0/native.jpg"],
            id="info.json 1.1",
        ),
        pytest.param({"error": "not found"}, [], id="an error"),
        pytest.param([], [], id="a list"),
        pytest.param(None, [], id="null"),
    ],
)  # fmt: skip
def test_image_urls_of_a_document(document: Any, wanted: list[str]) -> None:
    assert image_urls(document) == wanted


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"<html>", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe\x00", b"9" * 5000, b'{"items": "x"}', b"{}" + b" " * 5 * 1024**2],
    ids=lambda body: repr(body[:12]),
)
def test_hostile_documents_name_nothing(body: bytes) -> None:
    assert image_urls_of_manifest(body, MANIFEST_URL) == ()


def test_endless_choices_end() -> None:
    body: Any = BODY
    for _ in range(50):
        body = {"type": "Choice", "items": [body]}
    assert image_urls(manifest_3(body)) == []
    many = {"type": "Choice", "items": [{**BODY, "id": f"https://h.org/{n}.jpg"} for n in range(1000)]}
    assert len(image_urls(manifest_3(many))) == 16


NAMES = ["items", "sequences", "canvases", "images", "resource", "body", "service", "id", "@id", "type", "profile", "sizes", "width", "height", "motivation", "default", "format"]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["https://h.org/x", "level0", "painting", "Image", "http://["]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=40,
)  # fmt: skip


@given(JSON)
def test_any_json_is_survived(document: Any) -> None:
    for one in (document, manifest_3(document), manifest_2(document), manifest_3({**BODY, "service": document})):
        urls = image_urls_of_manifest(json.dumps(one).encode(), MANIFEST_URL)
        assert all(usable_url(url) == url for url in urls)
