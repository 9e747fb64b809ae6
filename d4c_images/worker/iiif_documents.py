"""From a body that is not an image to what a IIIF document in it names, or to what is wrong with it. Sends no request.

Runs in the worker's threads. What arrives in place of a document counts as follows (table in docs/reference/iiif.md): broken or a
page, so that it may be fine another time: transient; well-formed and without an image: permanent.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from d4c_images.identity import Document, manifest, names_document, read_document
from d4c_images.identity.manifest import MAX_BYTES, TOO_LONG, Fault, Named
from d4c_images.model import ErrorType, Image, Reply, Status, Unfolding, Verdict
from d4c_images.policy.judge import MAX_DETAIL
from d4c_images.policy.sniff import Kind, sniff

BLOCK_BYTES = 1 << 18


def need_bytes(reply: Reply, most_bytes: int) -> int | Fault:
    """The most memory that parsing the body takes; or why it is not tried, as if it took more than `most_bytes`.

    Nothing is read before its size is known.
    """
    if reply.path is None:
        raise ValueError("a reply without a stored body")
    if sniff(reply.head, reply.tail, reply.size_bytes).kind in (Kind.HTML, Kind.XML):
        return Fault("a page", is_broken=True)
    if reply.size_bytes > MAX_BYTES:
        return TOO_LONG
    with reply.path.open("rb") as file:
        needed = manifest.need_bytes(iter(partial(file.read, BLOCK_BYTES), b""))
    return needed if needed <= most_bytes else Fault("a document with too many parts", is_broken=False)


def read(reply: Reply, verdict: Verdict, asked: str, url_no: int, needed: int | Fault) -> Unfolding | Verdict:
    """What the body names. `asked` is the candidate that led there, `verdict` what the body is if not a document, `needed` the
    result of `need_bytes`."""
    if reply.path is None:
        raise ValueError("a reply without a stored body")
    found = needed if isinstance(needed, Fault) else read_document(reply.path.read_bytes(), reply.final_url)
    if isinstance(found, Document):
        images = tuple(image for named in found.named if (image := _image(named)) is not None)
        nothing = Verdict(Status.FAILED_PERMANENT, ErrorType.MANIFEST_ERROR, f"a IIIF {found.kind} that names no new image")
        return Unfolding(reply.final_url, url_no, found.kind.value, images, found.n_named, nothing)
    is_expected = names_document(asked) or names_document(reply.url) or b"iiif" in reply.head.lower()
    if not is_expected:
        return verdict
    is_json = sniff(reply.head, reply.tail, reply.size_bytes).kind is Kind.JSON
    detail = found.detail if is_json else f"not a IIIF document, but: {verdict.detail}"
    return replace(
        verdict,
        status=Status.FAILED_TRANSIENT if found.is_broken else Status.FAILED_PERMANENT,
        error_type=ErrorType.MANIFEST_ERROR,
        detail=detail[:MAX_DETAIL],
    )


def _image(named: Named) -> Image | None:
    """The image by its identifying name, with the URLs that the document gives for it."""
    from d4c_images.identity import identify  # imports all publishers' rules, which few workers ever need

    image, first = identify(named.identifier), identify(named.urls[0])
    return image and first and image._replace(urls=named.urls, host=first.host)
