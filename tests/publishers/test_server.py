"""Tests of the publishers' server itself: each behaviour does to the wire what its line says. No download is tested here."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import os
import signal
import socket
import ssl
import time
from urllib.parse import urlsplit

import pycurl
import pytest
import rawpy
import simplejpeg
from PIL import Image

from tests.publishers import pictures, rawfiles, site
from tests.publishers.client import Publishers
from tests.publishers.expected import expected
from tests.publishers.registry import BEHAVIOURS
from tests.publishers.rules import RuleBook, by_name_of_host, parse_rule, parse_rules
from tests.support.patience import PATIENCE_S

IMAGE_BEHAVIOURS = {
    "jpeg_progressive": "JPEG", "jpeg_rotated": "JPEG", "jpeg_cmyk": "JPEG", "jpeg_icc": "JPEG", "jpeg_as_html": "JPEG",
    "jpeg_as_octets": "JPEG", "jpeg_untyped": "JPEG", "changing": "JPEG", "chunked": "JPEG", "drip": "JPEG", "ok": "JPEG",
    "slow_first_byte": "JPEG", "early_hints": "JPEG", "huge_headers": "JPEG", "http10_no_length": "JPEG", "gzip_image": "JPEG",
    "png": "PNG", "png_16bit": "PNG", "png_palette": "PNG", "png_as_jpeg": "PNG", "gif": "GIF", "gif_frames": "GIF",
    "tiff": "TIFF", "webp": "WEBP", "bmp": "BMP", "jp2": "JPEG2000", "avif": "AVIF", "heic": "HEIF", "jpeg_surplus": "JPEG",
}  # fmt: skip
REFUSED = [
    "png_truncated",
    "gif_truncated",
    "tiff_truncated",
    "webp_truncated",
    "truncated_matching_length",
    "jpeg_head_garbage",
]


class Got:
    """What libcurl makes of one URL."""

    def __init__(
        self, publishers: Publishers, url: str, *, follow: bool = False, timeout_s: float = PATIENCE_S, max_bytes: int = 10**7
    ):
        self.body = b""
        self.headers: list[bytes] = []
        self.error: int = 0
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.CONNECT_TO, [publishers.connect_to])
        curl.setopt(pycurl.CAINFO, str(publishers.cacert))
        curl.setopt(pycurl.TIMEOUT_MS, int(timeout_s * 1000))
        curl.setopt(pycurl.ENCODING, "gzip")
        curl.setopt(pycurl.FOLLOWLOCATION, follow)
        curl.setopt(pycurl.MAXREDIRS, 10)
        curl.setopt(pycurl.MAXFILESIZE_LARGE, max_bytes)
        curl.setopt(pycurl.HEADERFUNCTION, self.headers.append)
        curl.setopt(pycurl.WRITEFUNCTION, self._write)
        try:
            curl.perform()
        except pycurl.error as error:
            self.error = error.args[0]
        self.code: int = curl.getinfo(pycurl.RESPONSE_CODE)
        self.type: str | None = curl.getinfo(pycurl.CONTENT_TYPE)
        self.hops: int = curl.getinfo(pycurl.REDIRECT_COUNT)
        self.final_url: str = curl.getinfo(pycurl.EFFECTIVE_URL)
        curl.close()

    def _write(self, chunk: bytes) -> None:
        self.body += chunk

    def header(self, name: str) -> str | None:
        found = [line for line in self.headers if line.lower().startswith(name.encode() + b":")]
        return found[-1].partition(b":")[2].strip().decode() if found else None

    def image(self) -> Image.Image:
        pictures.heic("registers the opener")
        picture = Image.open(io.BytesIO(self.body))
        picture.load()
        return picture


def evil(name: str, path: str = "/photo.jpg", scheme: str = "http") -> str:
    return f"{scheme}://{name.replace('_', '-')}.evil.test{path}"


def test_the_table_has_a_line_for_each_behaviour_and_each_url_shows_it() -> None:
    table = expected()
    assert {line.behaviour for line in table} == set(BEHAVIOURS)
    assert len(BEHAVIOURS) >= 45
    assert all(found.doc for found in BEHAVIOURS.values())
    for line in table:
        assert by_name_of_host(urlsplit(line.url).hostname or "")[0] == line.behaviour
        assert line.status in ("success", "failed_transient", "failed_permanent")
        assert (line.media_type is not None) == (line.extension is not None) == (line.status == "success")


@pytest.mark.parametrize(("name", "form"), IMAGE_BEHAVIOURS.items())
def test_images_are_whole_and_decode(publishers: Publishers, name: str, form: str) -> None:
    got = Got(publishers, evil(name))
    assert (got.error, got.code) == (0, 200)
    assert got.image().format == form


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_images_arrive_whole_and_do_not_decode(publishers: Publishers, name: str) -> None:
    got = Got(publishers, evil(name))
    assert (got.error, got.code) == (0, 200)
    assert got.header("content-length") == str(len(got.body))
    with pytest.raises((OSError, SyntaxError)):
        got.image()


@pytest.mark.parametrize("name", ["jpeg_hollow", "jpeg_zeroed", "jpeg_bitflips"])
def test_libjpeg_forgives_damage_within_a_jpeg(publishers: Publishers, name: str) -> None:
    got = Got(publishers, evil(name))
    assert (got.error, got.code) == (0, 200)
    assert got.header("content-length") == str(len(got.body))
    assert got.image().format == "JPEG"
    with pytest.raises(ValueError, match=r"premature end|bad Huffman code"):
        simplejpeg.decode_jpeg(got.body)


@pytest.mark.parametrize(
    "line", [line for line in expected() if line.behaviour.startswith(("http_4", "http_5"))], ids=lambda line: line.url
)
def test_plain_codes_say_their_code(publishers: Publishers, line) -> None:  # type: ignore[no-untyped-def]
    got = Got(publishers, line.url)
    assert (got.error, {got.code}) == (0, line.http_statuses)
    assert (got.header("retry-after") is not None) == line.behaviour.endswith("_seconds")
    assert got.body.startswith(b"\x89PNG" if line.behaviour == "http_404_png" else b"<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("name", "media_type", "start"),
    [
        ("html_as_jpeg", "image/jpeg", b"<!DOCTYPE html>"),
        ("html", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("access_denied_200", "text/html", b"<html>"),
        ("json_as_jpeg", "image/jpeg", b"{"),
        ("json", "application/json", b"{"),
        ("xml_as_png", "image/png", b"<?xml"),
        ("text_uri", "text/plain", b"http://"),
        ("svg", "image/svg+xml", b"<?xml"),
        ("pdf", "application/pdf", b"%PDF-"),
        ("mp3", "audio/mpeg", b"ID3"),
        ("zip", "application/zip", b"PK\x03\x04"),
        ("garbage", "image/jpeg", b"\x01"),
        ("empty", "image/jpeg", b""),
        ("png_as_jpeg", "image/jpeg", b"\x89PNG"),
        ("jpeg_as_html", "text/html", b"\xff\xd8\xff"),
        ("jpeg_as_octets", "application/octet-stream", b"\xff\xd8\xff"),
        ("jpeg_untyped", None, b"\xff\xd8\xff"),
    ],
)
def test_bodies_under_200_and_their_types(publishers: Publishers, name: str, media_type: str | None, start: bytes) -> None:
    got = Got(publishers, evil(name))
    assert (got.error, got.code, got.type) == (0, 200, media_type)
    assert got.body.startswith(start)
    assert bool(got.body) == bool(start)


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("close_before_answer", {pycurl.E_GOT_NOTHING}),
        ("reset_before_answer", {pycurl.E_RECV_ERROR}),
        ("reset_mid_body", {pycurl.E_RECV_ERROR}),
        ("close_mid_body", {pycurl.E_PARTIAL_FILE}),
        ("chunked_truncated", {pycurl.E_PARTIAL_FILE, pycurl.E_RECV_ERROR}),
        ("chunked_garbage", {pycurl.E_RECV_ERROR}),
        ("garbage_status", {pycurl.E_UNSUPPORTED_PROTOCOL}),
        ("gzip_lie", {pycurl.E_BAD_CONTENT_ENCODING, pycurl.E_WRITE_ERROR}),
        ("header_flood", {pycurl.E_RECV_ERROR, 100}),
        ("over_size_limit", {pycurl.E_FILESIZE_EXCEEDED}),
    ],
)
def test_broken_answers_break_as_they_say(publishers: Publishers, name: str, errors: set[int]) -> None:
    assert Got(publishers, evil(name)).error in errors


@pytest.mark.parametrize(
    ("name", "code", "some_body"),
    [("hang_before_headers", 0, False), ("hang_in_headers", 200, False), ("hang_mid_body", 200, True), ("crawl", 200, True)],
)
def test_hanging_answers_hang(publishers: Publishers, name: str, code: int, some_body: bool) -> None:
    for timeout_s in (0.3, 3.0, 30.0):  # a busy machine may need a while for what comes before the silence
        got = Got(publishers, evil(name), timeout_s=timeout_s)
        assert got.error == pycurl.E_OPERATION_TIMEDOUT
        if (got.code, bool(got.body)) == (code, some_body):
            break
    assert (got.code, bool(got.body)) == (code, some_body)


def test_slow_answers_are_slow_and_whole(publishers: Publishers) -> None:
    for name, least_s in (("slow_first_byte", 0.25), ("drip", 0.35)):
        started = time.monotonic()
        got = Got(publishers, evil(name))
        assert time.monotonic() - started > least_s
        assert got.body == site.thing_at("http", f"{name.replace('_', '-')}.evil.test", "/photo.jpg").body


def test_an_endless_body_does_not_end(publishers: Publishers) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", publishers.port, timeout=PATIENCE_S)
    connection.request("GET", "/photo.jpg", headers={"Host": "endless.evil.test"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Length"]) == (200, None)
    body = answer.read(5_000_000)
    assert (len(body), body[:3]) == (5_000_000, b"\xff\xd8\xff")
    answer.close()
    connection.close()


def test_a_length_that_is_too_short_hides_the_end(publishers: Publishers) -> None:
    got = Got(publishers, evil("too_short_length"))
    whole = site.thing_at("http", "too-short-length.evil.test", "/photo.jpg").body
    assert (got.error, got.body) == (0, whole[:-1000])


def test_http10_truncated_is_seen_only_in_the_bytes(publishers: Publishers) -> None:
    got = Got(publishers, evil("http10_truncated"))
    assert (got.error, got.code) == (0, 200)
    assert got.body.startswith(b"\xff\xd8")
    assert not got.body.endswith(b"\xff\xd9")


def test_gzip_is_true_or_cut(publishers: Publishers) -> None:
    for name, is_whole in (("gzip_image", True), ("gzip_truncated", False)):
        host = f"{name.replace('_', '-')}.evil.test"
        connection = http.client.HTTPConnection("127.0.0.1", publishers.port, timeout=PATIENCE_S)
        connection.request("GET", "/photo.jpg", headers={"Host": host})
        answer = connection.getresponse()
        packed = answer.read()
        connection.close()
        assert answer.headers["Content-Encoding"] == "gzip"
        if is_whole:
            assert gzip.decompress(packed) == site.thing_at("http", host, "/photo.jpg").body
        else:
            with pytest.raises(EOFError):
                gzip.decompress(packed)


def test_a_bomb_is_a_valid_png_of_2500_megapixels(publishers: Publishers) -> None:
    got = Got(publishers, evil("png_bomb"))
    assert len(got.body) < 1_000_000
    picture = Image.open(io.BytesIO(pictures.png_bomb.__wrapped__(3000)))
    picture.load()
    assert picture.size == (3000, 3000)
    assert got.body[16:24] == (50_000).to_bytes(4, "big") * 2


@pytest.mark.parametrize(
    ("name", "hops"),
    [
        ("redirect_once", 1), ("redirect_relative", 1), ("redirect_to_https", 1), ("redirect_to_host", 1),
        ("redirect_chain", 9), ("redirect_301", 1),
        ("redirect_302", 1), ("redirect_303", 1), ("redirect_307", 1), ("redirect_308", 1),
    ],
)  # fmt: skip
def test_redirects_lead_to_an_image(publishers: Publishers, name: str, hops: int) -> None:
    first = Got(publishers, evil(name))
    assert first.code == (int(name[-3:]) if name[-3:].isdigit() else 301 if name == "redirect_to_https" else 302)
    last = Got(publishers, evil(name), follow=True)
    assert (last.error, last.code, last.hops) == (0, 200, hops)
    assert last.image().format == "JPEG"


def test_redirects_that_lead_nowhere(publishers: Publishers) -> None:
    assert Got(publishers, evil("redirect_loop"), follow=True).error == pycurl.E_TOO_MANY_REDIRECTS
    assert Got(publishers, "http://redirect-chain--12.evil.test/photo.jpg", follow=True).error == pycurl.E_TOO_MANY_REDIRECTS
    locations = {name: Got(publishers, evil(f"redirect_{name}")).header("location") for name in ("to_ftp", "to_file", "nowhere")}
    assert locations == {"to_ftp": "ftp://ftp.example.org/1.jpg", "to_file": "file:///etc/passwd", "nowhere": None}


def test_204_has_no_body(publishers: Publishers) -> None:
    got = Got(publishers, evil("http_204"))
    assert (got.error, got.code, got.body) == (0, 204, b"")


def test_retry_after_as_a_date_lies_ahead(publishers: Publishers) -> None:
    got = Got(publishers, evil("retry_after_date"))
    assert got.code == 429
    assert (got.header("retry-after") or "").endswith(" GMT")


@pytest.mark.parametrize("make", [rawfiles.dng_with_cfa, rawfiles.dng_with_preview])
def test_libraw_opens_the_dngs(make) -> None:  # type: ignore[no-untyped-def]
    with rawpy.imread(io.BytesIO(make("http://example.org/1"))) as raw:
        assert (raw.sizes.raw_width, raw.sizes.raw_height) == rawfiles.CFA_SIZE
        assert raw.postprocess().shape == (96, 128, 3)


def test_one_dng_decodes_as_a_small_tiff_and_the_other_not_at_all() -> None:
    with Image.open(io.BytesIO(rawfiles.dng_with_preview("1"))) as picture:
        assert (picture.format, picture.size) == ("TIFF", rawfiles.PREVIEW_SIZE)
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(rawfiles.dng_with_cfa("1")))


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("cr2", b"II*\x00\x10\x00\x00\x00CR"), ("nef", b"II*\x00"), ("arw", b"II*\x00"), ("orf", b"IIRO"), ("rw2", b"IIU\x00"),
        ("raf", b"FUJIFILMCCD-RAW"), ("cr3", b"\x00\x00\x00\x18ftypcrx "), ("dng_cfa", b"II*\x00"), ("dng_preview", b"II*\x00"),
    ],
)  # fmt: skip
def test_raw_files_begin_as_their_format_does(publishers: Publishers, name: str, start: bytes) -> None:
    got = Got(publishers, evil(name))
    assert (got.error, got.code) == (0, 200)
    assert got.body.startswith(start)


def test_each_url_has_bytes_of_its_own_and_keeps_them(publishers: Publishers) -> None:
    n_urls = pictures.SCENES + 1  # so that two of them show the same scene
    for extension in (*pictures.PICTURES, *rawfiles.RAW_FILES):
        bodies = [Got(publishers, f"http://a.example.org/{number}.{extension}").body for number in range(n_urls)]
        assert len(set(bodies)) == n_urls
        assert bodies[0] == Got(publishers, f"http://a.example.org/0.{extension}").body
    changed = [Got(publishers, evil("changing")).body for _ in range(2)]
    assert changed[0] != changed[1]


@pytest.mark.parametrize(
    ("size", "pixels"),
    [
        ("full", (1000, 1400)), ("max", (1000, 1400)), ("600,", (600, 840)), (",700", (500, 700)), ("!300,300", (214, 300)),
        ("pct:50", (500, 700)), ("1500,", (1000, 1400)), ("^max", (1000, 1400)),
    ],
)  # fmt: skip
def test_iiif_sizes_are_obeyed(publishers: Publishers, size: str, pixels: tuple[int, int]) -> None:
    got = Got(publishers, f"https://iiif.example.org/iiif/3/sheet%2F1/full/{size}/0/default.jpg")
    assert got.image().size == pixels


@pytest.mark.parametrize(("version", "name"), [("2", "@id"), ("3", "id")])
def test_iiif_documents_name_images_that_exist(publishers: Publishers, version: str, name: str) -> None:
    info = json.loads(Got(publishers, f"https://iiif.example.org/iiif/{version}/sheet/info.json").body)
    assert info[name] == f"https://iiif.example.org/iiif/{version}/sheet"
    assert f"image/{version}/context" in info["@context"]
    found = json.loads(Got(publishers, f"https://iiif.example.org/iiif/{version}/sheet/manifest").body)
    if version == "2":
        image = found["sequences"][0]["canvases"][0]["images"][0]["resource"]["@id"]
    else:
        image = found["items"][0]["items"][0]["items"][0]["body"]["id"]
    assert Got(publishers, image).image().size == (1000, 1400)


def test_manifests_of_several_canvases_and_of_none(publishers: Publishers) -> None:
    canvases = {
        name: len(json.loads(Got(publishers, evil(name, "/sheet/manifest")).body)["items"])
        for name in ("manifest_multi", "manifest_empty")
    }
    assert canvases == {"manifest_multi": 3, "manifest_empty": 0}


def test_tls_is_good_for_any_host_and_bad_on_demand(publishers: Publishers) -> None:
    assert Got(publishers, "https://museum.example.org/1.jpg").code == 200
    for name in ("tls_wrong_name", "tls_expired", "tls_unknown_ca"):
        assert Got(publishers, evil(name, scheme="https")).error == pycurl.E_SSL_PEER_CERTIFICATE
    assert Got(publishers, evil("tls_refused", scheme="https")).error == pycurl.E_SSL_CONNECT_ERROR
    assert Got(publishers, evil("tls_expired")).code == 200


def test_the_certificates_satisfy_the_strictest_check(publishers: Publishers) -> None:
    context = ssl.create_default_context(cafile=publishers.cacert)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", publishers.port), timeout=PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname="a.test") as tls,
    ):
        assert tls.selected_alpn_protocol() is None
        assert tls.getpeercert()["subjectAltName"] == (("DNS", "a.test"),)  # type: ignore[index]


def test_head_and_ranges(publishers: Publishers) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", publishers.port, timeout=PATIENCE_S)
    whole = site.thing_at("http", "a.example.org", "/1.jpg").body

    def ask(method: str, **headers: str) -> http.client.HTTPResponse:
        connection.request(method, "/1.jpg", headers={"Host": "a.example.org", **headers})
        return connection.getresponse()

    answer = ask("HEAD")
    assert (answer.read(), answer.headers["Content-Length"]) == (b"", str(len(whole)))
    answer = ask("GET", Range="bytes=100-")
    assert (answer.status, answer.read()) == (206, whole[100:])
    assert answer.headers["Content-Range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"
    answer = ask("GET", Range=f"bytes={len(whole)}-")
    assert (answer.status, answer.read()) == (416, b"")
    connection.close()
    assert publishers.host("a.example.org")["connections"] == 1


def test_counters_count(publishers: Publishers) -> None:
    began = time.monotonic()
    hanging = [socket.create_connection(("127.0.0.1", publishers.port), timeout=PATIENCE_S) for _ in range(3)]
    for number, plain in enumerate(hanging):
        plain.sendall(b"GET /%d HTTP/1.1\r\nHost: busy.example.org\r\n\r\n" % (number % 2))
    publishers.behave("busy.example.org=hang_before_headers")
    for plain in hanging:
        assert plain.recv(10) == b"HTTP/1.1 2"
    late = socket.create_connection(("127.0.0.1", publishers.port), timeout=PATIENCE_S)
    late.sendall(b"GET /late HTTP/1.1\r\nHost: busy.example.org\r\n\r\n")
    found = _wait_for(publishers, "busy.example.org", lambda host: host["requests"] == 4)
    assert (found["connections_max"], found["connections_now"], found["in_flight"]) == (4, 4, 1)
    assert found["behaviours"] == {"ok": 3, "hang_before_headers": 1}
    assert 0 < found["min_spacing_s"] < time.monotonic() - began
    for plain in (*hanging, late):
        plain.close()
    found = _wait_for(publishers, "busy.example.org", lambda host: host["connections_now"] == 0)
    assert (found["connections_max"], found["in_flight"]) == (4, 0)
    assert publishers.requests_of("http://busy.example.org/0") == 2
    assert [line[2] for line in publishers.log()].count("http://busy.example.org/1") == 1
    publishers.reset()
    assert publishers.counters() == {"requests": 0, "hosts": {}, "urls": {}}


def test_the_spacing_between_requests_is_told(publishers: Publishers) -> None:
    publishers.behave("calm.example.org=slow_first_byte:0.2")
    began = time.monotonic()
    for number in range(2):
        Got(publishers, f"http://calm.example.org/{number}")
    assert 0.2 <= publishers.host("calm.example.org")["min_spacing_s"] < time.monotonic() - began
    assert publishers.host("calm.example.org")["in_flight_max"] == 1
    publishers.behave("calm.example.org=ok")
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", publishers.port), timeout=PATIENCE_S) as plain:
        plain.sendall(b"GET /a HTTP/1.1\r\nHost: calm.example.org\r\n\r\n" * 2)
        _wait_for(publishers, "calm.example.org", lambda host: host["requests"] == 4)
    assert publishers.host("calm.example.org")["min_spacing_s"] < max(0.2, time.monotonic() - began)


def test_pipelined_requests_are_answered_in_turn(publishers: Publishers) -> None:
    publishers.behave("a.example.org/1=slow_first_byte:0.05", "a.example.org=text_uri")
    with socket.create_connection(("127.0.0.1", publishers.port), timeout=PATIENCE_S) as plain:
        asked = b"".join(b"GET /%d HTTP/1.1\r\nHost: a.example.org\r\n\r\n" % number for number in (1, 2, 3))
        plain.sendall(asked[:-20])
        plain.sendall(asked[-20:])
        read = b""
        while b"http://a.example.org/3" not in read:
            read += plain.recv(65536)
    assert read.count(b"HTTP/1.1 200 OK") == 3
    assert read.index(b"image/jpeg") < read.index(b"http://a.example.org/2") < read.index(b"http://a.example.org/3")


@pytest.mark.parametrize(("protocol", "header"), [("HTTP/1.1", "Connection: close"), ("HTTP/1.0", "Accept: */*")])
def test_connections_are_closed_where_the_client_wants_it(publishers: Publishers, protocol: str, header: str) -> None:
    with socket.create_connection(("127.0.0.1", publishers.port), timeout=PATIENCE_S) as plain:
        plain.sendall(f"GET /1.jpg {protocol}\r\nHost: a.example.org\r\n{header}\r\n\r\n".encode())
        read = b"".join(iter(lambda: plain.recv(65536), b""))
    assert read.endswith(site.thing_at("http", "a.example.org", "/1.jpg").body)


def _wait_for(publishers: Publishers, host: str, is_so) -> dict[str, object]:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + PATIENCE_S
    while not is_so(found := publishers.host(host)):
        assert time.monotonic() < deadline, found
    return found


def test_rules_are_put_used_up_and_taken_back(publishers: Publishers) -> None:
    url = "http://rules.example.org/photo.jpg"
    publishers.behave("rules.example.org=http_500 x2", "rules.example.org/*.jpg=http_404 x1/url")
    assert [Got(publishers, url).code for _ in range(4)] == [500, 500, 404, 200]
    assert Got(publishers, "http://rules.example.org/other.jpg").code == 404
    publishers.behave("rules.example.org=http_410")
    publishers.behave("rules.example.org/photo*=http_429_seconds:7")
    assert [Got(publishers, url).code, Got(publishers, "http://rules.example.org/x").code] == [429, 410]
    assert Got(publishers, url).header("retry-after") == "7"
    publishers.behave_well()
    assert Got(publishers, url).code == 200
    with pytest.raises(ValueError, match="no behaviour 'http_999'"):
        publishers.behave("a=http_999")


def test_recovers_fails_once_per_url(publishers: Publishers) -> None:
    for host in ("recovers", "recovers--http-429-seconds"):
        assert [Got(publishers, evil(host)).code for _ in range(2)] == [429 if "429" in host else 500, 200]


def test_an_unknown_evil_is_told_and_not_taken_for_well(publishers: Publishers) -> None:
    assert Got(publishers, evil("no_such_thing")).code == 599


@pytest.mark.parametrize("text", ["", "host", "=ok", "host=", "host=nothing_we_know", "host=ok x", "host/a b"])
def test_bad_rules_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rule|behaviour"):
        parse_rule(text)


def test_a_share_of_the_urls_is_the_same_every_time() -> None:
    book = RuleBook(parse_rules("# a comment\n\n*=http_404 30%\n"))
    names = [[book.behaviour_of("a.test", f"/{number}")[0] for number in range(1000)] for _ in range(2)]
    assert names[0] == names[1]
    assert 250 < names[0].count("http_404") < 350


def test_fast_mode_serves_distinct_jpegs_after_the_latency() -> None:
    with Publishers(["--fast", "--image-kb", "40", "--latency-ms", "100"]) as fast:
        started = time.monotonic()
        one, other = (Got(fast, f"http://a.test/{number}") for number in range(2))
        assert time.monotonic() - started > 0.2
        assert one.body != other.body
        assert one.image().size == (640, 480)
        assert 36_000 < len(one.body) <= 41_000
        assert fast.host("a.test")["requests"] == 2


def test_a_connection_that_its_client_has_closed_is_not_open(publishers: Publishers) -> None:
    """However late the server reads of it. Those that the client holds are."""

    def connected(number: int) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", publishers.port))
        client.sendall(f"GET /{number}.jpg HTTP/1.1\r\nHost: example.org\r\n\r\n".encode())
        return client

    os.kill(publishers.pid, signal.SIGSTOP)
    try:
        for number in range(4):
            connected(number).close()
        held = [connected(number) for number in range(4, 6)]
    finally:
        os.kill(publishers.pid, signal.SIGCONT)
    end_at = time.monotonic() + PATIENCE_S
    while publishers.host("example.org")["requests"] < 6:
        assert time.monotonic() < end_at
    assert publishers.host("example.org")["connections_max"] <= 3  # that of a closed one that is just being counted, and two
    for client in held:
        client.close()
