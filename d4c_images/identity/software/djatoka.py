"""aDORe djatoka, a JPEG 2000 server (Missouri Botanical Garden, JACQ's herbaria and others): `rft_id` names the picture.

`svc.level` and `svc.scale` make it smaller; without them the server gives the highest level. Regions and rotations are ignored.
"""

from __future__ import annotations

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "djatoka"
VERSION = 1

_SIZES = ("svc.level", "svc.scale")
_SHOWN_AS = frozenset({"url_ver", "svc_id", "svc_val_fmt", "svc.format", "svc.rotate", *_SIZES})
_SERVICE = ("info:lanl-repo/svc/getRegion",)


def _read(url: Url) -> Variant | None:
    arguments = url.arguments() if url.path.endswith("/resolver") else None
    if arguments is None or _plain(arguments.get("svc_id", "")) not in _SERVICE or arguments.get("svc.rotate", "0") != "0":
        return None
    picture = _plain(arguments.pop("rft_id", ""))
    if not picture or not arguments.keys() <= _SHOWN_AS:
        return None
    level, scale = (arguments.get(size, "") for size in _SIZES)
    if not level and not scale:
        return Variant(f"{url.host}/{picture}", (0, 0, 0))
    pairs = [pair for pair in url.query[1:].split("&") if not pair.startswith(tuple(f"{size}=" for size in _SIZES))]
    rank = (1, -_thousandths(scale), -_thousandths(level))
    return Variant(f"{url.host}/{picture}", rank, f"{url.root}{url.path}?{'&'.join(pairs)}")


def _plain(value: str) -> str:
    return value.replace("%3A", ":").replace("%2F", "/")


def _thousandths(size: str) -> int:
    """Of a level such as `3`, or a scale such as `0.2`, `600` or `600,0`; a missing one means the whole picture."""
    if not size:
        return 10**9
    whole, _, fraction = size.partition(",")[0].partition(".")
    digits = (whole or "0") + (fraction + "000")[:3]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 12 else 0


_VARIANTS = Variants(NAME, VERSION, _read)
_SERVER = "http://mbgserv18.mobot.org/adore-djatoka/resolver?url_ver=Z39.88-2004"
_KEY = "djatoka:mbgserv18.mobot.org/http://mbgserv18.mobot.org/images/100309162.jp2"
_PICTURE = f"{_SERVER}&rft_id=http://mbgserv18.mobot.org/images/100309162.jp2"
_REGION = "&svc_id=info:lanl-repo/svc/getRegion&svc_val_fmt=info:ofi/fmt:kev:mtx:jpeg2000&svc.format=image/jpeg"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="aDORe djatoka (Missouri Botanical Garden, JACQ's herbaria and others)",
    hints=("/adore-djatoka/resolver?",),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://sourceforge.net/p/djatoka/wiki/ (OpenURL services: svc.level is by default the highest level, svc.scale none)",
    examples=(
        Example(f"{_PICTURE}{_REGION}", _KEY),
        Example(f"{_PICTURE}{_REGION}&svc.scale=0.2", _KEY, f"{_PICTURE}{_REGION}"),
        Example(f"{_PICTURE}{_REGION}&svc.level=3&svc.rotate=0", _KEY, f"{_PICTURE}{_REGION}&svc.rotate=0"),
        Example(
            "http://african.lanl.gov/adore-djatoka/resolver?url_ver=Z39.88-2004&svc.scale=600"
            "&rft_id=info%3Alanl-repo%2Fds%2F5aa182c2-c092-4596-af6e-e95d2e263de3"
            "&svc_val_fmt=info%3Aofi%2Ffmt%3Akev%3Amtx%3Ajpeg2000&svc_id=info%3Alanl-repo%2Fsvc%2FgetRegion",
            "djatoka:african.lanl.gov/info:lanl-repo/ds/5aa182c2-c092-4596-af6e-e95d2e263de3",
            "http://african.lanl.gov/adore-djatoka/resolver?url_ver=Z39.88-2004"
            "&rft_id=info%3Alanl-repo%2Fds%2F5aa182c2-c092-4596-af6e-e95d2e263de3"
            "&svc_val_fmt=info%3Aofi%2Ffmt%3Akev%3Amtx%3Ajpeg2000&svc_id=info%3Alanl-repo%2Fsvc%2FgetRegion",
        ),
        Example(f"{_PICTURE}{_REGION}&svc.region=0,0,500,500", f"{_PICTURE}{_REGION}&svc.region=0,0,500,500"),
        Example(f"{_PICTURE}&svc_id=info:lanl-repo/svc/getMetadata", f"{_PICTURE}&svc_id=info:lanl-repo/svc/getMetadata"),
    ),
    traps=(
        (f"{_PICTURE}{_REGION}", f"{_PICTURE.replace('162.', '163.')}{_REGION}"),
        (f"{_PICTURE}{_REGION}", f"{_PICTURE}{_REGION}&svc.region=0,0,500,500"),
        (f"{_PICTURE}{_REGION}", f"{_PICTURE}{_REGION}&svc.rotate=90"),
    ),
)
