"""Meise Botanic Garden: a herbarium sheet as one JPEG below folders made of its barcode, and as a IIIF manifest.

Further photos of a sheet have a number after the barcode and are separate images. The manifest represents the first one and is
requested first, since it lists the others.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "meise"
VERSION = 1

_JPEG = re.compile(r"/images/((?:[A-Z0-9]{3}/)+)([A-Za-z0-9_-]+)\.(?:jpg|JPG)").fullmatch
_MANIFEST = re.compile(r"/specimen/(BR[0-9]+)/manifest").fullmatch


def _read(url: Url) -> Variant | None:
    if url.query:
        return None
    if url.host == "oxalis.br.fgov.be" and (found := _JPEG(url.path)):
        folders, name = found.groups()
        return Variant(name, (1,)) if name.startswith(folders.replace("/", "")) else None
    if url.host == "iiif-manifest.oxalis.br.fgov.be" and (found := _MANIFEST(url.path)):
        return Variant(found[1], (0,))
    return None


_VARIANTS = Variants(NAME, VERSION, _read)
_FOLDER = "https://oxalis.br.fgov.be/images/BR5/020/103/035/216"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Meise Botanic Garden",
    hosts=frozenset({"oxalis.br.fgov.be", "iiif-manifest.oxalis.br.fgov.be"}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://www.botanicalcollections.be (JPEG and manifest of one barcode stand under one gbifID)",
    examples=(
        Example(f"{_FOLDER}/BR5020103035216.jpg", "meise:BR5020103035216"),
        Example("http://oxalis.br.fgov.be/images/BR0/000/013/701/604/BR0000013701604.jpg", "meise:BR0000013701604"),
        Example("https://iiif-manifest.oxalis.br.fgov.be/specimen/BR5020103035216/manifest", "meise:BR5020103035216"),
        Example(
            "http://www.botanicalcollections.be/specimen/BR4010004825505",
            "http://www.botanicalcollections.be/specimen/BR4010004825505",
        ),
    ),
    traps=(
        (f"{_FOLDER}/BR5020103035216.jpg", f"{_FOLDER}/BR5020103035216_2.jpg"),
        (f"{_FOLDER}/BR5020103035216.jpg", "https://iiif-manifest.oxalis.br.fgov.be/specimen/BR5020103035217/manifest"),
        (f"{_FOLDER}/BR5020103035216_2.jpg", "https://iiif-manifest.oxalis.br.fgov.be/specimen/BR5020103035216/manifest"),
    ),
)
