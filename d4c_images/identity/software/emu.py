"""Axiell EMu's media scripts: `webmedia.php?irn=N` and `imu.php?request=multimedia&irn=N` give the file of record N of that museum.

`thumb=yes`, `size=190x157`, `width`, `height`, `bestfit` and `format=jpg` are presentation; any other parameter (another
module's table, a further resource of the record) leaves the URL to the exact rule. EMu's other addresses of media are
publishers' own (see `nmnh`).
"""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "emu"
VERSION = 1

_MEDIA = re.compile(
    r"(?P<script>(?:/[^/]+)*/objects/[a-z]+/webmedia\.php\?|(?:/[^/]+)*/imu\.php\?request=multimedia&)(?P<words>.+)"
).fullmatch
_WHOLE, _CONVERTED, _SIZED, _THUMB = range(4)


def _read(url: Url) -> Variant | None:
    found = _MEDIA(url.path + url.query)
    if found is None:
        return None
    number, kind, size = "", _WHOLE, 0
    for word in found["words"].split("&"):
        name, _, value = word.partition("=")
        if name == "irn" and value.isdigit() and not number:
            number = value
        elif name in ("width", "height", "size") and re.fullmatch(r"[0-9]{1,6}(?:x[0-9]{1,6})?", value):
            kind, size = max(kind, _SIZED), max(size, *map(int, value.split("x")))
        elif name == "thumb":
            kind = _THUMB
        elif name == "bestfit":
            kind = max(kind, _SIZED)
        elif name == "format":
            kind = max(kind, _CONVERTED)
        else:
            return None
    if not number:
        return None
    script = found["script"]
    better = "" if kind == _WHOLE else f"{url.root}{script}irn={number}"
    return Variant(f"{url.host}{script.partition('?')[0].rpartition('/')[0]}/{number}", (kind, -size), better)


_VARIANTS = Variants(NAME, VERSION, _read)

_FIELD = "http://emuweb.fieldmuseum.org/web/objects/common/webmedia.php?irn=60385"
_MANCHESTER = "http://images.manchester.gov.uk/web/objects/common/webmedia.php?irn=47834"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="EMu (webmedia.php and imu.php of its web pages)",
    hints=("/webmedia.php?", "/imu.php?"),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/EOL/eol_php_code (FieldMuseum connectors); objects/common/webmedia.php of EMu's web pages",
    examples=(
        Example(_FIELD, "emu:emuweb.fieldmuseum.org/web/objects/common/60385"),
        Example(f"{_FIELD}&thumb=yes", "emu:emuweb.fieldmuseum.org/web/objects/common/60385", _FIELD),
        Example(f"{_MANCHESTER}&size=190x157&format=jpg", "emu:images.manchester.gov.uk/web/objects/common/47834", _MANCHESTER),
        Example(
            "http://plantnet.rbgsyd.nsw.gov.au/emuwebnswlive/objects/common/webmedia.php?irn=79359&reftable=ebibliography",
            "http://plantnet.rbgsyd.nsw.gov.au/emuwebnswlive/objects/common/webmedia.php?irn=79359&reftable=ebibliography",
        ),
        Example(
            "https://gallery.its.unimelb.edu.au/imu/imu.php?request=multimedia&irn=101093",
            "emu:gallery.its.unimelb.edu.au/imu/101093",
        ),
        Example(
            "https://gallery.its.unimelb.edu.au/imu/imu.php?request=multimedia&irn=101093&bestfit=yes&width=300",
            "emu:gallery.its.unimelb.edu.au/imu/101093",
            "https://gallery.its.unimelb.edu.au/imu/imu.php?request=multimedia&irn=101093",
        ),
    ),
    traps=(
        (
            "https://gallery.its.unimelb.edu.au/imu/imu.php?request=multimedia&irn=101093",
            "https://gallery.its.unimelb.edu.au/imu/imu.php?request=resource&irn=101093",
        ),
        (_FIELD, _FIELD.replace("60385", "60386")),
        (_FIELD, _FIELD.replace("/web/", "/web2/")),
        (_FIELD, _FIELD.replace("emuweb.fieldmuseum.org", "emuweb.example.org")),
        (_FIELD, f"{_FIELD}&reftable=ebibliography"),
    ),
)
