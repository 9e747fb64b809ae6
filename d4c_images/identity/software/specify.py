"""Specify's web asset server, on the host of each museum: collection and file name are the image.

`/fileget?coll=C&type=O&filename=F` and `/static/C/originals/F` are the same file. Only `type=T` is scaled, to `scale` pixels, and
kept as `/static/C/thumbnails/F_<scale>`, the scale before the extension. A server of one collection has no folder C, and some
publish the folder of attachments without `/static` (SAIAB): there, only names with `.att.` before the extension are taken for
Specify's.

`downloadname` and `token` never identify the file. The token (made of time and file name) does not depend on type and scale, and
most servers require none for reading, so the original is requested with the parameters as they are, without type and scale.
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "specify"
VERSION = 2

_STATIC = re.compile(r"((?:/[^/]+)*?)/static/([^/]+)/originals/([^/]+)").fullmatch
_FOLDER = r"(?P<prefix>(?:/[^/]+)*?)(?P<static>(?:/static(?=/))?)(?P<collection>(?:/[^/]+)?)"
_ATTACHMENT = re.compile(rf"{_FOLDER}/originals/(?P<name>[^/]+\.att\.[A-Za-z0-9]+)").fullmatch
# A thumbnail in PNG may be that of a PDF, a TIFF or a HEIC.
_THUMBNAIL = re.compile(
    rf"{_FOLDER}/thumbnails/(?P<root>[^/]+\.att)_(?P<scale>[0-9]{{1,5}})(?P<extension>\.(?i:jpe?g|gif))"
).fullmatch
_FILEGET = re.compile(r"((?:/[^/]+)*?)/fileget\?(.+)").fullmatch
_PARAMETERS = frozenset({"coll", "filename", "type", "scale", "downloadname", "token"})
_ORIGINAL, _SCALED = range(2)


def _read(url: Url) -> Variant | None:
    if static := None if url.query else _STATIC(url.path):
        prefix, collection, name = static.groups()
        return Variant(f"{url.host}{prefix}/{collection}/{name}", (_ORIGINAL, 0, 0))
    if attachment := None if url.query else _ATTACHMENT(url.path):
        return Variant(_photo(url, attachment, attachment["name"]), (_ORIGINAL, 0, 0))
    if thumbnail := None if url.query else _THUMBNAIL(url.path):
        name = thumbnail["root"] + thumbnail["extension"]
        original = f"{url.root}{thumbnail['prefix']}{thumbnail['static']}{thumbnail['collection']}/originals/{name}"
        return Variant(_photo(url, thumbnail, name), (_SCALED, -int(thumbnail["scale"]), 0), original)
    fileget = _FILEGET(url.path + url.query)
    if fileget is None:
        return None
    words = [word.partition("=") for word in fileget[2].split("&")]
    values = {name: value for name, _, value in words}
    name, collection = values.get("filename", ""), values.get("coll", "")
    if len(values) != len(words) or not values.keys() <= _PARAMETERS or not name or "/" in name + collection:
        return None
    # A `+` in a query is a space, which a path writes as `%20`.
    photo = f"{url.host}{fileget[1]}/" + "/".join(filter(None, (collection, name))).replace("+", "%20")
    if values.get("type") != "T":
        return Variant(photo, (_ORIGINAL, 0, 1))
    scale = values.get("scale", "")
    kept = "&".join("".join(word) for word in words if word[0] not in ("type", "scale"))
    size = int(scale[:6]) if scale.isdigit() else 0
    return Variant(photo, (_SCALED, -size, 1), f"{url.root}{fileget[1]}/fileget?{kept}")


def _photo(url: Url, folder: re.Match[str], name: str) -> str:
    return f"{url.host}{folder['prefix']}{folder['collection']}/{name}"


_VARIANTS = Variants(NAME, VERSION, _read)

_KU = "http://biimages.biodiversity.ku.edu"
_NAME = "sp65796921642024007584.att.JPG"
_SAIAB = "http://specify-attachments-saiab.saiab.ac.za"
_FISH = "sp6-3853933608872243693.att.JPG"
_DANISH = "https://specify-attachments.science.ku.dk/fileget?coll=NHMD+Vascular+Plants"
_SHEET = "sp68923230029256349442.att.jpg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Specify web asset servers (Kansas, Copenhagen, Cal Academy, TEX-LL, SAIAB and others)",
    hints=("/fileget?", "/originals/", ".att_"),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/specify/web-asset-server, server.py (get_rel_path, resolve_file, static, generate_token)",
    examples=(
        Example(f"{_KU}/static/Entomology/originals/{_NAME}", f"specify:{_KU[7:]}/Entomology/{_NAME}"),
        Example(f"{_KU}/fileget?coll=Entomology&type=O&filename={_NAME}", f"specify:{_KU[7:]}/Entomology/{_NAME}"),
        Example(
            f"{_KU}/fileget?coll=Entomology&type=T&scale=500&filename={_NAME}",
            f"specify:{_KU[7:]}/Entomology/{_NAME}",
            f"{_KU}/fileget?coll=Entomology&filename={_NAME}",
        ),
        Example(
            f"{_DANISH}&type=O&filename={_SHEET}&downloadname=NHMD-679283.jpg&token=d545c06844d5b1fae60be67316374bce%3A1674817928",
            f"specify:specify-attachments.science.ku.dk/NHMD%20Vascular%20Plants/{_SHEET}",
        ),
        Example(
            "http://was.tacc.utexas.edu/fileget?coll=TEX-LL&type=O&filename=sp62952952590483191168.att.jpg",
            "specify:was.tacc.utexas.edu/TEX-LL/sp62952952590483191168.att.jpg",
        ),
        Example(
            "http://ibss-images.calacademy.org:80/fileget?coll=Botany&type=T&filename=sp1.att.jpg&scale=200",
            "specify:ibss-images.calacademy.org/Botany/sp1.att.jpg",
            "http://ibss-images.calacademy.org/fileget?coll=Botany&filename=sp1.att.jpg",
        ),
        Example(f"{_SAIAB}/originals/{_FISH}", f"specify:{_SAIAB[7:]}/{_FISH}"),
        Example(f"{_SAIAB}/fileget?filename={_FISH}", f"specify:{_SAIAB[7:]}/{_FISH}"),
        Example(f"{_SAIAB}/static/originals/{_FISH}", f"specify:{_SAIAB[7:]}/{_FISH}"),
        Example(
            f"{_SAIAB}/thumbnails/sp6-3853933608872243693.att_500.JPG",
            f"specify:{_SAIAB[7:]}/{_FISH}",
            f"{_SAIAB}/originals/{_FISH}",
        ),
        Example(
            f"{_KU}/static/Entomology/thumbnails/sp65796921642024007584.att_200.JPG",
            f"specify:{_KU[7:]}/Entomology/{_NAME}",
            f"{_KU}/static/Entomology/originals/{_NAME}",
        ),
        Example(
            f"{_KU}/static/Entomology/thumbnails/sp65796921642024007584.att_200.png",
            f"{_KU}/static/Entomology/thumbnails/sp65796921642024007584.att_200.png",
        ),
        Example("https://portal.example.org/originals/leaf.jpg", "https://portal.example.org/originals/leaf.jpg"),
    ),
    traps=(
        (f"{_SAIAB}/originals/{_FISH}", f"{_SAIAB}/originals/{_FISH.replace('6-3', '63')}"),
        (f"{_SAIAB}/originals/{_FISH}", f"{_SAIAB}/fish/originals/{_FISH}"),
        (f"{_SAIAB}/originals/{_FISH}", f"{_SAIAB}/originals/{_FISH.lower()}"),
        (f"{_KU}/static/Entomology/originals/{_NAME}", f"{_KU}/static/Botany/originals/{_NAME}"),
        (f"{_KU}/static/Entomology/originals/{_NAME}", f"{_KU}:8080/static/Entomology/originals/{_NAME}"),
        (f"{_KU}/static/Entomology/originals/{_NAME}", f"{_KU}/static/Entomology/originals/{_NAME.lower()}"),
        (f"{_DANISH}&type=O&filename={_SHEET}", f"{_DANISH}&type=O&filename=sp68923230029256349443.att.jpg"),
        (f"{_DANISH}&type=O&filename={_SHEET}", f"{_DANISH}&type=O&page=2&filename={_SHEET}"),
        (f"{_KU}/static/Entomology/originals/{_NAME}", f"{_KU}/static/Entomology/thumbnails/{_NAME}"),
    ),
)
