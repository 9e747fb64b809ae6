"""Documents in bounds: nothing is read before its size is known, nothing parsed before it is known what that takes."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from d4c_images.identity import Document, Fault, read_document
from d4c_images.identity.manifest import MAX_BYTES, MAX_NAMED, need_bytes
from d4c_images.model import ErrorType, Reply, Status, Unfolding, Verdict
from d4c_images.worker.threads import Slow
from d4c_images.worker.verify import Examiner
from tests.identity.test_manifest import BODY, JSON, MANIFEST_URL, manifest_3
from tests.support.properties import examples
from tests.support.sweep import thinned

PAGE = Verdict(Status.FAILED_PERMANENT, ErrorType.INVALID_CONTENT_TYPE, "a page", try_next=True)
PATTERNS = [
    *("[]", "{}", "0", '"a"', '"ab"', "1.5", "9e9", "999", "null", '{"":0}', '{"a":0}', "[0]", "[[]]", '{"a":{}}', "[0,0]"),
    *('"é"', '"中"', '"😀"', '"\\ud800"', '"a😀b"', '{"a":[]}', "[[[[]]]]", '{"a":0,"b":0}', '{"items":[]}', "[0,[1,[2]]]"),
]


def reply_of(folder: Path, body: bytes) -> Reply:
    path = folder / "body"
    path.write_bytes(body)
    return Reply(200, MANIFEST_URL, MANIFEST_URL, path=path, size_bytes=len(body), head=body[:65536], tail=body[-1024:])


def taken(act: Callable[[], Any]) -> tuple[Any, int]:
    """What it gives, and the memory that it has taken at most."""
    tracemalloc.start()
    try:
        return act(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def many(pattern: str, size_bytes: int) -> bytes:
    one = pattern.encode()
    return b'{"items":[' + (one + b",") * (size_bytes // (len(one) + 1)) + one + b"]}"


@pytest.mark.parametrize("pattern", thinned(PATTERNS, 4))
def test_a_document_takes_no_more_than_was_reckoned(pattern: str) -> None:
    body = many(pattern, 100_000)
    _, most_bytes = taken(lambda: read_document(body, MANIFEST_URL))
    assert most_bytes + len(body) <= need_bytes([body]), "with the body itself"


def test_nor_does_one_that_names_much() -> None:
    long_id = "https://iiif.example.org/" + "x" * 1500
    canvases = [{**BODY, "id": f"{long_id}/{n}.jpg", "service": {"@id": f"{long_id}/{n}", "profile": "level2"}} for n in range(250)]
    body = json.dumps(manifest_3(*canvases)).encode()
    found, most_bytes = taken(lambda: read_document(body, MANIFEST_URL))
    assert isinstance(found, Document)
    assert found.n_named == 250
    assert 0 < len(found.named) < MAX_NAMED
    assert sum(len(url) for named in found.named for url in named.urls) <= 1 << 20
    assert most_bytes <= need_bytes([body])


@settings(max_examples=examples(25))
@given(JSON)
def test_no_document_takes_more_memory_than_was_reserved_for_it(document: Any) -> None:
    body = json.dumps({"items": [document] * 300}).encode()
    _, most_bytes = taken(lambda: read_document(body, MANIFEST_URL))
    assert most_bytes <= need_bytes([body]) + 300_000, "besides what imports, caches and tables of names take"


@pytest.mark.parametrize("pattern", ["[]", "{}", '{"":0}', "[[]]"])
@pytest.mark.parametrize("size_bytes", [3_000_000, MAX_BYTES - 100])
def test_what_would_take_too_much_is_not_parsed(pattern: str, size_bytes: int, tmp_path: Path) -> None:
    reply = reply_of(tmp_path, many(pattern, size_bytes))
    examiner = Examiner()
    examiner.decoder()
    verdict, most_bytes = taken(lambda: examiner.read(reply, PAGE, MANIFEST_URL, 0))
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.error_type) == (Status.FAILED_PERMANENT, ErrorType.MANIFEST_ERROR)
    assert verdict.detail == "a document with too many parts"
    assert most_bytes < 3_000_000


def test_what_is_too_long_is_not_read(tmp_path: Path) -> None:
    reply = reply_of(tmp_path, b"{}")
    reply.path.unlink()  # type: ignore[union-attr]
    verdict = Examiner().read(
        Reply(200, MANIFEST_URL, MANIFEST_URL, path=reply.path, size_bytes=MAX_BYTES + 1, head=b"{"), PAGE, MANIFEST_URL, 0
    )
    assert isinstance(verdict, Verdict)
    assert verdict.detail == "a document of more than 16 MiB"


def test_a_large_page_comes_back_unread(tmp_path: Path) -> None:
    reply = reply_of(tmp_path, b"<html><title>Log in</title>" + b"[]," * 3_000_000)
    examiner = Examiner()
    examiner.decoder()
    verdict, most_bytes = taken(lambda: examiner.read(reply, PAGE, MANIFEST_URL, 0))
    assert (verdict.status, verdict.detail) == (Status.FAILED_TRANSIENT, "not a IIIF document, but: a page")
    assert most_bytes < 1_000_000


def test_a_large_manifest_is_read_where_it_holds_nobody_up(tmp_path: Path) -> None:
    body = json.dumps(manifest_3(*({**BODY, "id": f"https://h.org/{n}.jpg", "label": "x" * 4_000} for n in range(1_500)))).encode()
    reply = reply_of(tmp_path, body)
    rest = Examiner().read(reply, PAGE, MANIFEST_URL, 0)
    assert isinstance(rest, Slow)
    found = rest.act()
    assert isinstance(found, Unfolding)
    assert found.n_named == 1_500


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"items": [', "not JSON to its end: it is cut off"),
        (b'{"items": nonsense}', "not JSON to its end: it makes no sense at character 11"),
        (b"[" * 100_000, "JSON, but nested too deeply for a IIIF document"),
        (b'{"a":' + b"9" * 5000 + b"}", "JSON with a number too long to be read"),
    ],
)
def test_what_is_wrong_is_said_for_people(body: bytes, detail: str) -> None:
    found = read_document(body, MANIFEST_URL)
    assert isinstance(found, Fault)
    assert found.detail == detail


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_letters_of_any_encoding_are_text(encoding: str) -> None:
    """Unlike those of a Location, they are characters: a URL has them in UTF-8."""
    body = json.dumps(manifest_3({**BODY, "id": "https://h.org/Träne.jpg"}), ensure_ascii=False).encode(encoding)
    found = read_document(body, MANIFEST_URL)
    assert isinstance(found, Document)
    assert "https://h.org/Tr%C3%A4ne.jpg" in found.named[0].urls
