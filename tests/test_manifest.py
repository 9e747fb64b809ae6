"""What pictures does a IIIF document name? Tables of well-formed, odd and hostile documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.identity import image_urls_of_manifest, usable_url

MANIFEST_URL = "https://iiif.example.org/iiif/2/ab/manifest"


def image_urls(document: Any) -> list[str]:
    return list(image_urls_of_manifest(json.dumps(document).encode(), MANIFEST_URL))


def manifest_3(*bodies: Any, motivation: Any = "painting") -> dict[str, Any]:
    pages = [{"type": "AnnotationPage", "items": [{"motivation": motivation, "body": body}]} for body in bodies]
    canvases = [{"type": "Canvas", "items": [page]} for page in pages]
    return {"@context": "http://iiif.io/api/presentation/3/context.json", "type": "Manifest", "items": canvases}


def manifest_2(*resources: Any) -> dict[str, Any]:
    canvases = [{"images": [{"motivation": "sc:painting", "resource": resource}]} for resource in resources]
    return {"@type": "sc:Manifest", "sequences": [{"canvases": canvases}]}


BODY = {"id": "https://h.org/view.jpg", "type": "Image", "format": "image/jpeg"}
V3 = {"id": "https://h.org/svc/x", "type": "ImageService3", "profile": "level2"}
V2 = {
    "@context": "http://iiif.io/api/image/2/context.json",
    "@id": "https://h.org/svc/x",
    "profile": "http://iiif.io/api/image/2/level1.json",
}
AUTH = {"@id": "https://h.org/login", "profile": "http://iiif.io/api/auth/1/login"}
UV = "https://h.org/uv.jpg"
MAX, FULL = "https://h.org/svc/x/full/max/0/default.jpg", "https://h.org/svc/x/full/full/0/default.jpg"


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        pytest.param(manifest_3({**BODY, "service": [V3]}), [MAX, BODY["id"]], id="v3, service in a list"),
        pytest.param(manifest_3({**BODY, "service": V3}), [MAX, BODY["id"]], id="v3, service as an object"),
        pytest.param(
            manifest_3({**BODY, "service": [AUTH, V2]}),
            [FULL, MAX, BODY["id"]],
            id="v3 with a v2 service behind a login service",
        ),
        pytest.param(manifest_3(BODY, motivation="Painting"), [BODY["id"]], id="RBGE's capital P"),
        pytest.param(manifest_3(BODY, motivation=["painting"]), [BODY["id"]], id="motivation in a list"),
        pytest.param(manifest_3(BODY, motivation="commenting"), [], id="a comment paints nothing"),
        pytest.param(manifest_3([BODY]), [BODY["id"]], id="body in a list"),
        pytest.param(manifest_3({"type": "Choice", "items": [BODY, {**BODY, "id": UV}]}), [BODY["id"], UV], id="choice"),
        pytest.param(manifest_3({"type": "Sound", "id": "https://h.org/a.mp3", "format": "audio/mpeg"}), [], id="sound"),
        pytest.param(
            manifest_3(None, {"type": "TextualBody"}, BODY, {**BODY, "id": "https://h.org/2.jpg"}),
            [BODY["id"]],
            id="first canvas with a picture",
        ),
        pytest.param(
            manifest_3({"id": "view.jpg", "type": "Image"}), ["https://iiif.example.org/iiif/2/ab/view.jpg"], id="relative id"
        ),
        pytest.param(manifest_3({"id": "file:///etc/passwd", "type": "Image"}), [], id="no file"),
        pytest.param(manifest_3([{"id": "http://[", "type": "Image"}, BODY]), [BODY["id"]], id="no URL"),
        pytest.param(
            manifest_2({"@id": BODY["id"], "@type": "dctypes:Image", "service": V2}), [FULL, MAX, BODY["id"]], id="v2"
        ),
        pytest.param(
            manifest_2({"@type": "oa:Choice", "default": {"@id": BODY["id"]}, "item": [{"@id": "https://h.org/2.jpg"}]}),
            [BODY["id"], "https://h.org/2.jpg"],
            id="v2 choice",
        ),
        pytest.param({"type": "Collection", "items": [manifest_3(BODY)]}, [], id="a collection"),
        pytest.param(
            {"@context": "http://iiif.io/api/image/3/context.json", "id": "https://h.org/svc/x", "width": 9, "height": 9},
            [MAX],
            id="info.json 3",
        ),
        pytest.param({**V2, "width": 9, "height": 9}, [FULL, MAX], id="info.json 2"),
        pytest.param({**V2, "width": 9, "height": 9, "maxWidth": 5}, [MAX, FULL], id="info.json 2 with a limit"),
        pytest.param(
            {
                **V3,
                "profile": "level0",
                "width": 9,
                "height": 9,
                "sizes": [{"width": 3, "height": 3}, {"width": 6, "height": 7}, {"width": "9"}],
            },
            [MAX, "https://h.org/svc/x/full/6,7/0/default.jpg"],
            id="info.json 3 of level 0",
        ),
        pytest.param(
            {
                "@context": "http://library.stanford.edu/iiif/image-api/1.1/context.json",
                "@id": "https://h.org/svc/x",
                "width": 9,
                "height": 9,
            },
            ["https://h.org/svc/x/full/full/0/native.jpg"],
            id="info.json 1.1",
        ),
        pytest.param({"error": "not found"}, [], id="an error"),
        pytest.param([], [], id="a list"),
        pytest.param(None, [], id="null"),
    ],
)
def test_image_urls_of_a_document(document: Any, wanted: list[str]) -> None:
    assert image_urls(document) == wanted


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe\x00",
        b"9" * 5000,
        b'{"items": "x"}',
        b"{}" + b" " * 5 * 1024**2,
    ],
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


NAMES = [
    "items",
    "sequences",
    "canvases",
    "images",
    "resource",
    "body",
    "service",
    "id",
    "@id",
    "type",
    "profile",
    "sizes",
    "width",
]
WORDS = ["https://h.org/x", "level0", "painting", "Image", "http://["]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=40,
)


@given(JSON)
def test_any_json_is_survived(document: Any) -> None:
    for one in (document, manifest_3(document), manifest_2(document), manifest_3({**BODY, "service": document})):
        urls = image_urls_of_manifest(json.dumps(one).encode(), MANIFEST_URL)
        assert all(usable_url(url) == url for url in urls)
