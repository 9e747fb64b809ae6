"""What does a IIIF document name? Tables of well-formed, odd and hostile documents, in the manner of the specifications'
examples and of what publishers really send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.identity import Document, DocumentKind, Fault, names_document, read_document, usable_url
from d4c_images.identity.manifest import MAX_BYTES, MAX_NAMED, need_bytes

MANIFEST_URL = "https://iiif.example.org/iiif/2/ab/manifest"
INFO_URL = "https://h.org/svc/x/info.json"


def read(document: Any, url: str = MANIFEST_URL) -> Document | Fault:
    return read_document(json.dumps(document).encode(), url)


def named(document: Any, url: str = MANIFEST_URL) -> list[list[str]]:
    """The URLs of each picture."""
    found = read(document, url)
    return [list(one.urls) for one in found.named] if isinstance(found, Document) else []


def manifest_3(*bodies: Any, motivation: Any = "painting") -> dict[str, Any]:
    pages = [{"type": "AnnotationPage", "items": [{"motivation": motivation, "body": body}]} for body in bodies]
    canvases = [{"type": "Canvas", "items": [page]} for page in pages]
    return {"@context": "http://iiif.io/api/presentation/3/context.json", "type": "Manifest", "items": canvases}


def manifest_2(*resources: Any) -> dict[str, Any]:
    canvases = [{"images": [{"motivation": "sc:painting", "resource": resource}]} for resource in resources]
    return {"@type": "sc:Manifest", "sequences": [{"canvases": canvases}]}


SVC = "https://h.org/svc/x"
BODY = {"id": "https://h.org/view.jpg", "type": "Image", "format": "image/jpeg"}
V3 = {"id": SVC, "type": "ImageService3", "profile": "level2"}
V2 = {"@context": "http://iiif.io/api/image/2/context.json", "@id": SVC, "profile": "http://iiif.io/api/image/2/level1.json"}
AUTH = {"@id": "https://h.org/login", "profile": "http://iiif.io/api/auth/1/login"}
SEARCH = {"@id": "https://h.org/search", "profile": "http://iiif.io/api/search/1/search"}
UV = {**BODY, "id": "https://h.org/uv.jpg"}
MAX, FULL, INFO = f"{SVC}/full/max/0/default.jpg", f"{SVC}/full/full/0/default.jpg", f"{SVC}/info.json"
OWN = BODY["id"]


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        pytest.param(manifest_3({**BODY, "service": [V3]}), [[MAX, OWN, INFO]], id="v3, service in a list"),
        pytest.param(manifest_3({**BODY, "service": V3}), [[MAX, OWN, INFO]], id="v3, service as an object"),
        pytest.param(
            manifest_3({**BODY, "service": [AUTH, SEARCH, V2]}), [[FULL, MAX, OWN, INFO]], id="a v2 service behind others"
        ),
        pytest.param(
            manifest_3({**BODY, "service": {**V3, "id": f"{SVC}/", "service": AUTH}}), [[MAX, OWN, INFO]], id="slash, login"
        ),
        pytest.param(
            manifest_3({**BODY, "id": f"{SVC}/full/!1024,1024/0/default.jpg", "service": [V2]}),
            [[FULL, MAX, INFO, f"{SVC}/full/!1024,1024/0/default.jpg"]],
            id="Wellcome shows a smaller view",
        ),
        pytest.param(manifest_3(BODY, motivation="Painting"), [[OWN]], id="RBGE's capital P"),
        pytest.param(manifest_3(BODY, motivation=["painting"]), [[OWN]], id="motivation in a list"),
        pytest.param(manifest_3(BODY, motivation="commenting"), [], id="a comment paints nothing"),
        pytest.param(manifest_3([BODY]), [[OWN]], id="body in a list"),
        pytest.param(manifest_3({"type": "Choice", "items": [BODY, UV]}), [[OWN]], id="of a choice the first"),
        pytest.param(manifest_3({"type": "SpecificResource", "source": BODY}), [[OWN]], id="v3 with a selector"),
        pytest.param(manifest_2({"@type": "oa:SpecificResource", "full": BODY}), [[OWN]], id="v2 with a selector"),
        pytest.param(manifest_3({"type": "Sound", "id": "https://h.org/a.mp3", "format": "audio/mpeg"}), [], id="sound"),
        pytest.param(
            manifest_3(None, {"type": "TextualBody"}, BODY, UV), [[OWN], [UV["id"]]], id="a canvas without a picture is passed over"
        ),
        pytest.param(manifest_3(BODY, UV, BODY), [[OWN], [UV["id"]]], id="the same picture on two canvases is one"),
        pytest.param(
            manifest_3({"id": "view.jpg", "type": "Image"}), [["https://iiif.example.org/iiif/2/ab/view.jpg"]], id="relative id"
        ),
        pytest.param(
            manifest_3({**BODY, "service": {**V3, "id": "http://iiif.example.org/iiif/3/ark:%2F1%2FA b"}}),
            [
                [
                    "https://iiif.example.org/iiif/3/ark:%2F1%2FA%20b/full/max/0/default.jpg",
                    OWN,
                    "https://iiif.example.org/iiif/3/ark:%2F1%2FA%20b/info.json",
                ]
            ],
            id="encoded identifier, http on a host that speaks https",
        ),
        pytest.param(manifest_3({"id": "file:///etc/passwd", "type": "Image"}), [], id="no file"),
        pytest.param(manifest_3([{"id": "http://[", "type": "Image"}, BODY]), [[OWN]], id="no URL"),
        pytest.param(manifest_2({"@id": OWN, "@type": "dctypes:Image", "service": V2}), [[FULL, MAX, OWN, INFO]], id="v2"),
        pytest.param(
            manifest_2({"@id": OWN, "service": {"@id": SVC, "profile": "http://library.stanford.edu/iiif/image-api/1.1/x#level1"}}),
            [[f"{SVC}/full/full/0/native.jpg", OWN, INFO]],
            id="v2 with a 1.1 service",
        ),
        pytest.param(
            manifest_2({"@type": "oa:Choice", "default": {"@id": OWN}, "item": [{"@id": "https://h.org/2.jpg"}]}),
            [[OWN]],
            id="v2 choice",
        ),
        pytest.param(
            {"@type": "sc:Manifest", "sequences": [manifest_2(BODY)["sequences"][0], manifest_2(UV)["sequences"][0]]},
            [[OWN]],
            id="a second sequence is another order",
        ),
        pytest.param(
            {"type": "Collection", "items": [{"id": "https://h.org/m/1", "type": "Manifest"}, {"id": "c2", "type": "Collection"}]},
            [["https://h.org/m/1"], ["https://iiif.example.org/iiif/2/ab/c2"]],
            id="collection 3",
        ),
        pytest.param(
            {
                "@type": "sc:Collection",
                "collections": [{"@id": "https://h.org/c", "@type": "sc:Collection"}],
                "manifests": [{"@id": "https://h.org/m/1", "@type": "sc:Manifest"}, {"@id": "https://h.org/m/1"}],
                "members": [{"@id": "https://h.org/m/2", "@type": "sc:Manifest"}, {"@id": "https://h.org/x", "@type": "sc:Range"}],
            },
            [["https://h.org/m/1"], ["https://h.org/c"], ["https://h.org/m/2"]],
            id="collection 2",
        ),
        pytest.param({"error": "not found"}, [], id="an error"),
        pytest.param({"width": 100, "height": 50, "html": "<iframe>"}, [], id="oEmbed"),
        pytest.param([], [], id="a list"),
        pytest.param(None, [], id="null"),
    ],
)
def test_a_document_names_these_pictures(document: Any, wanted: list[list[str]]) -> None:
    assert named(document) == wanted


INFO_3 = {"@context": "http://iiif.io/api/image/3/context.json", "id": SVC, "type": "ImageService3", "width": 6000, "height": 4000}
INFO_2 = {"@context": "http://iiif.io/api/image/2/context.json", "@id": SVC, "width": 6000, "height": 4000}
LEVEL = "http://iiif.io/api/image/2/level{}.json"
SIZES = [{"width": 150, "height": 100}, {"width": 1500, "height": 1000}, {"width": 3000, "height": 2000}, {"width": "9"}]


@pytest.mark.parametrize(
    ("info", "wanted"),
    [
        pytest.param(INFO_3, ["full/max"], id="3"),
        pytest.param({**INFO_3, "profile": "level1", "maxWidth": 3000}, ["full/max", "full/3000,"], id="3 with a limit"),
        pytest.param({**INFO_3, "maxWidth": 9000, "maxArea": 10**9}, ["full/max"], id="limits beyond the picture"),
        pytest.param({**INFO_2, "profile": LEVEL.format(2)}, ["full/full", "full/max"], id="2"),
        pytest.param(
            {**INFO_2, "profile": [LEVEL.format(2), {"maxWidth": 3000, "supports": ["sizeByW"]}]},
            ["full/max", "full/3000,", "full/full"],
            id="2 with a limit in its profile",
        ),
        pytest.param(
            {**INFO_2, "width": 4000, "height": 6000, "profile": [LEVEL.format(2), {"maxWidth": 3000}]},
            ["full/max", "full/2000,", "full/full"],
            id="2 with a limit of its width, which is that of its height too",
        ),
        pytest.param(
            {**INFO_2, "profile": [LEVEL.format(2), {"maxWidth": 6000, "maxHeight": 1000}]},
            ["full/max", "full/1500,", "full/full"],
            id="2 with a limit of its height",
        ),
        pytest.param(
            {**INFO_2, "profile": [LEVEL.format(2), {"maxArea": 400_000}]},
            ["full/max", "full/774,", "full/full"],
            id="2 with a limit of its area, as in cantaloupe-project/cantaloupe issue 635",
        ),
        pytest.param(
            {**INFO_2, "profile": LEVEL.format(2), "sizes": SIZES},
            ["full/full", "full/max", "full/3000,", "full/3000,2000", "full/1500,", "full/150,"],
            id="2 with sizes: for the case of limits that it does not tell",
        ),
        pytest.param(
            {**INFO_3, "profile": "level0", "sizes": SIZES},
            ["full/max", "full/3000,2000", "full/3000,", "full/1500,1000", "full/150,100"],
            id="3 of level 0",
        ),
        pytest.param(
            {**INFO_2, "profile": [LEVEL.format(0)], "tiles": [{"width": 512, "scaleFactors": [1, 2, 4, 8, 16, 32]}]},
            ["full/full", "full/max", "full/375,", "full/375,250"],
            id="2 of level 0 with nothing but tiles: the biggest one that holds all of the picture",
        ),
        pytest.param(
            {**INFO_3, "profile": "level0", "tiles": [{"width": 256, "scaleFactors": [1, 2, 4]}]},
            ["full/max"],
            id="no tile holds all of the picture",
        ),
        pytest.param({**INFO_3, "preferredFormats": ["heic", "png"]}, ["full/max.png", "full/max"], id="a preferred format"),
        pytest.param(
            {**INFO_2, "profile": [LEVEL.format(0), {"formats": ["png"]}]}, ["full/full.png", "full/max.png"], id="only PNG"
        ),
        pytest.param(
            {"@context": "http://library.stanford.edu/iiif/image-api/1.1/context.json", "@id": SVC, "width": 9, "height": 9},
            ["full/full/native"],
            id="1.1",
        ),
        pytest.param(
            {
                "identifier": "x",
                "width": 9,
                "height": 9,
                "profile": "http://library.stanford.edu/iiif/image-api/compliance.html#level1",
            },
            ["full/max", "full/full"],
            id="1.0 does not say its own address",
        ),
        pytest.param({"@id": SVC, "width": 9, "height": 9}, ["full/max", "full/full"], id="of no known version"),
        pytest.param({**INFO_3, "id": "http://h.org/svc/x/"}, ["full/max"], id="http, with a slash"),
    ],
)
def test_what_a_service_is_asked_for(info: Any, wanted: list[str]) -> None:
    def url(view: str) -> str:
        view, _, extension = view.partition(".")
        view, quality = (view.removesuffix("/native"), "native") if view.endswith("/native") else (view, "default")
        return f"{SVC}/{view}/0/{quality}.{extension or 'jpg'}"

    assert named(info, INFO_URL) == [[url(view) for view in wanted]]


def test_a_service_that_calls_itself_otherwise_is_asked_under_both_names() -> None:
    """A server behind a proxy that does not know its own address."""
    [urls] = named({**INFO_3, "id": "http://localhost:8182/iiif/3/x"}, INFO_URL)
    assert urls == ["http://localhost:8182/iiif/3/x/full/max/0/default.jpg", MAX]


def test_a_picture_is_what_the_document_calls_it_however_it_is_asked_for() -> None:
    """A row may name it as the document does: by http."""
    found = read(manifest_3({"id": "http://iiif.example.org/1.jpg", "type": "Image"}))
    assert isinstance(found, Document)
    assert found.named == (("http://iiif.example.org/1.jpg", ("https://iiif.example.org/1.jpg",)),)


def test_memory_for_a_document_is_that_of_its_widest_character() -> None:
    """A text that is no number, so that nothing else is counted."""
    assert [need_bytes([one.encode()]) for one in ("aaaa", "aaä", "aa\N{CJK UNIFIED IDEOGRAPH-4E2D}", "\N{HERB}")] == [
        4 * 3, 4 * 5, 5 * 5, 4 * 9,
    ]  # fmt: skip
    assert need_bytes([b"aaaa", "\N{HERB}".encode(), b"aaaa"]) == 12 * 9


def test_the_document_says_how_much_was_left_out() -> None:
    many = manifest_3(*({**BODY, "id": f"https://h.org/{n}.jpg"} for n in range(MAX_NAMED + 50)))
    found = read(many)
    assert isinstance(found, Document)
    assert (found.kind, len(found.named), found.n_named) == (DocumentKind.MANIFEST, MAX_NAMED, MAX_NAMED + 50)


WHOLE = json.dumps(manifest_3(BODY)).encode()


@pytest.mark.parametrize(
    ("body", "is_broken"),
    [
        pytest.param(b"", True, id="nothing"),
        pytest.param(b"<html>", True, id="a page"),
        pytest.param(WHOLE[:-1], True, id="cut off at the end"),
        pytest.param(WHOLE[:40], True, id="cut off early"),
        pytest.param(b"\xff\xfe\x00", True, id="no text"),
        pytest.param(b"[" * 100_000, False, id="nested for ever"),
        pytest.param(b'{"a":' * 100_000, False, id="nested for ever, objects"),
        pytest.param(b"9" * 5000, True, id="a number without end"),
        pytest.param(b'{"items": "x"}', False, id="no canvases"),
        pytest.param(json.dumps(manifest_3()).encode(), False, id="an empty manifest"),
        pytest.param(b'{"type": "Collection", "items": []}', False, id="an empty collection"),
        pytest.param(b"{}" + b" " * MAX_BYTES, False, id="too large"),
    ],
)
def test_a_document_that_cannot_be_read_is_a_fault(body: bytes, is_broken: bool) -> None:
    fault = read_document(body, MANIFEST_URL)
    assert isinstance(fault, Fault)
    assert fault.is_broken is is_broken
    assert len(fault.detail) <= 200


def test_endless_choices_end() -> None:
    body: Any = BODY
    for _ in range(50):
        body = {"type": "Choice", "items": [body]}
    assert named(manifest_3(body)) == []


@pytest.mark.parametrize(
    ("url", "is_document"),
    [
        ("https://h.org/iiif/2/x/info.json", True),
        ("https://h.org/x/manifest", True),
        ("https://herbarium.bgbm.org/data/iiif/BW00746010/manifest.json", True),
        ("https://api.jacq.org/v1/iiif/manifest/1739342", True),
        ("https://zenodo.org/api/iiif/record:1/manifest", True),
        ("https://h.org/iiif/collection/top", True),
        ("https://iiif.example.org/?manifest=https://h.org/m.json", True),
        ("https://h.org/collections/birds/1.jpg", False),
        ("https://h.org/manifesto.jpg", False),
        ("https://h.org/iiif/2/x/full/full/0/default.jpg", False),
    ],
)
def test_how_documents_are_called(url: str, is_document: bool) -> None:
    assert names_document(url) is is_document


NAMES = [
    *("items", "sequences", "canvases", "images", "resource", "body", "service", "id", "@id", "type", "profile", "sizes", "tiles"),
    *("width", "height", "maxWidth", "maxArea", "scaleFactors", "formats", "preferredFormats", "manifests", "@context"),
]
WORDS = ["https://h.org/x", "level0", "painting", "Image", "http://[", "Collection", "ImageService3", "png"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=40,
)


@given(JSON)
def test_any_json_is_survived(document: Any) -> None:
    odd = document if isinstance(document, dict) else {"profile": document, "sizes": document, "tiles": document}
    for one in (
        document, {**INFO_3, **odd}, {**odd, **INFO_2}, manifest_3(document), manifest_2(document),
        manifest_3({**BODY, "service": document}), {"type": "Collection", "items": document},
    ):  # fmt: skip
        urls = [url for picture in named(one) for url in picture]
        assert all(usable_url(url) == url for url in urls)
