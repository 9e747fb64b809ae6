"""Publishers that have exactly one URL per photo: it names the photo's own number or file, and no size or format.

So there is nothing to rank or derive, and two URLs matching one of these patterns are two photos. The key omits the scheme, since
the rest names the photo either way. Other URLs of these hosts fall to the exact rule.

To add a publisher of this kind, add a row to the table below, with a real URL among the examples.
"""

from __future__ import annotations

import re

from d4c_images.identity.pattern import PICTURE, UUID
from d4c_images.identity.rule import Example, Rank, Rule, Shortcut
from d4c_images.identity.url import Url
from d4c_images.model import Image

NAME = "single"
VERSION = 1

_PICTURE = rf"[^/?]+\.{PICTURE}"
# Before 2014 a number; of its sizes the rows name the large one alone.
_ARTPORTALEN_FILE = rf"(?:[0-9]{{4}}/[0-9]{{1,2}}/{UUID}_image|[a-z]+/[0-9]{{4}}/large/[0-9]+)\.jpe?g"
_ARTPORTALEN = f"/MediaLibrary/{_ARTPORTALEN_FILE}"

_TABLE: dict[str, str] = {
    # Portals of observations: the number, or the UUID, is the photo's.
    "observation.org": r"/(?:photos|media/photo)/[0-9]+\.jpe?g",
    "waarneming.nl": r"/(?:photos|media/photo)/[0-9]+\.jpe?g",
    "waarnemingen.be": r"/(?:photos|media/photo)/[0-9]+\.jpe?g",
    "observations.be": r"/(?:photos|media/photo)/[0-9]+\.jpe?g",
    "www.artsobservasjoner.no": _ARTPORTALEN,
    "www.artportalen.se": _ARTPORTALEN,
    # The letters after `_` or `-` are the photo's, the number before them is the observation's.
    "svampe.databasen.org": rf"/uploads/{_PICTURE}",
    "arter.dk": rf"/media/{UUID}\.jpe?g",
    # Camera traps, by the asset's UUID.
    "multimedia.agouti.eu": rf"/assets/{UUID}/file",
    # Herbaria and museums: the file. More than one file may show a specimen, so nothing is read out of its name.
    "beaty.b-cdn.net": rf"/{_PICTURE}",
    "www.westafricanplants.senckenberg.de": rf"/images/pictures/{_PICTURE}",
    "sesam.senckenberg.de": rf"/pictures/originale/[0-9]+/{_PICTURE}",
    "pictures.snsb.info": rf"/[A-Za-z]+/(?:web/)?[A-Z]+-[0-9]+/{_PICTURE}",
    "media.canadensys.net": rf"/[a-z-]+/(?:large/)?{_PICTURE}",
    "mam.ansp.org": rf"/image/[A-Z]+/Fullsize/[0-9]+/{_PICTURE}",
    "id.digitarium.fi": rf"/api/[A-Z]+\.[0-9]+/{_PICTURE}",
    "www.kew.org": r"/herbcatimg/[0-9]+\.jpg",
    "d2seqvvyy3b8p2.cloudfront.net": r"/[0-9a-f]{32}\.jpg",  # Kew
    "d2jcv3kl45hlgi.cloudfront.net": r"/[0-9a-f]{32}\.jpg",
    "www.pnwherbaria.org": rf"/images/jpeg\.php\?Image={_PICTURE}",
    "cdn.plantatlas.org": rf"/img/specimens/[A-Z]+/{_PICTURE}",
    "www.zobodat.at": rf"/bilder/belege/{_PICTURE}",
    "photos.gbif.fr": rf"/(?:[^/?]+/)+{_PICTURE}",
    "fm-digital-assets.fieldmuseum.org": rf"/[0-9]+/[0-9]+/{_PICTURE}",
    "mm.fieldmuseum.org": rf"/{UUID}",
    "monarch.calacademy.org": rf"/mnt/target-images/(?:[^/?]+/)*{_PICTURE}",
    "storage.gbif-no.sigma2.no": rf"/[a-z]+/{UUID}/{_PICTURE}",
    "www.digit.snm.ku.dk": rf"/DanBIF/[^/?]+/{_PICTURE}",
    "digit.snm.ku.dk": rf"/Papis/[^/?]+/{_PICTURE}",
    "archimg.mnhn.lu": rf"/Collections/Collections/{_PICTURE}",
    "www.gbif.irb.hr": rf"/multimedia/{_PICTURE}",
    "herbarium.sanjuancollege.edu": rf"/herbphotos/[^/?]+/{_PICTURE}",
    "plantdata.bio.cmich.edu": rf"/images/specimens/[^/?]+/{_PICTURE}",
    "cdn.floridamuseum.ufl.edu": rf"/[Hh]erbarium/(?:{UUID}|jpg/[0-9]+/{_PICTURE})",
    "data.landcareresearch.co.nz": r"/Image/[A-Z0-9]+/[A-Z]+",
    "procyon.acadiau.ca": r"/(?:ecsmith/)?cgi-bin/image\.cgi\?[0-9]+[A-Z]?,jpeg",
    # A library of sounds. Its PNG are spectrograms and no photos.
    "www.xeno-canto.org": r"/sounds/uploaded/[A-Z]{10}/(?:ffts/XC[0-9]+-[a-z]+\.png|[^/?]+\.(?:mp3|wav))",
    "xeno-canto.org": r"/sounds/uploaded/[A-Z]{10}/(?:ffts/XC[0-9]+-[a-z]+\.png|[^/?]+\.(?:mp3|wav))",
}
"""Host -> what path and query of a photo look like in the publisher's pages and its rows in GBIF downloads."""

_MATCHES = {host: re.compile(pattern).fullmatch for host, pattern in _TABLE.items()}


def _match(url: Url) -> Image | None:
    text, _, host, path, query = url
    photo = path + query
    return tuple.__new__(Image, (f"single:{host}{photo}", (text,), host, NAME, VERSION)) if _MATCHES[host](photo) else None


def _rank(url: Url) -> Rank | None:
    return _match(url) and (url.scheme != "https",)


def _shortcut(prefix: str, photo: str) -> Shortcut:
    place = prefix.partition("://")[2]
    return Shortcut(prefix, f"({photo})", place, place.partition("/")[0])


def _row(url: str) -> Example:
    return Example(url, "single:" + url.partition("://")[2])


RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Publishers with exactly one URL for a photo",
    hosts=frozenset(_TABLE),
    match=_match,
    rank=_rank,
    # Those with the most rows in GBIF; observation.org alone has one of eleven.
    shortcuts=(
        _shortcut("https://observation.org/photos/", r"[0-9]+\.jpe?g"),
        _shortcut("https://observation.org/media/photo/", r"[0-9]+\.jpe?g"),
        _shortcut("https://www.artportalen.se/MediaLibrary/", _ARTPORTALEN_FILE),
        _shortcut("https://www.artsobservasjoner.no/MediaLibrary/", _ARTPORTALEN_FILE),
        _shortcut("https://svampe.databasen.org/uploads/", rf"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.{PICTURE}"),
        _shortcut("http://www.kew.org/herbcatimg/", r"[0-9]+\.jpg"),
    ),
    source="https://www.gbif.org (multimedia of each publisher's data sets)",
    examples=(
        _row("https://observation.org/photos/24850265.jpg"),
        _row("https://observation.org/media/photo/41473277.jpg"),
        _row("https://waarneming.nl/media/photo/4437480.jpg"),
        _row("https://waarnemingen.be/photos/24850265.jpg"),
        _row("https://observations.be/photos/24850265.jpg"),
        _row("https://www.artsobservasjoner.no/MediaLibrary/2021/9/12c5c319-0bac-4219-ac16-c00e3f38fbdd_image.jpg"),
        _row("https://www.artsobservasjoner.no/MediaLibrary/birds/2009/large/84015.jpg"),
        _row("https://www.artportalen.se/MediaLibrary/2023/11/ee7cf05a-de2f-4fe4-a713-364bb21b1a8c_image.jpg"),
        _row("https://svampe.databasen.org/uploads/2022-10310341_HkwEmc4Qo.JPG"),
        _row("https://arter.dk/media/a4eb90fb-b405-4bee-9296-af1400eeb891.jpg"),
        _row("https://multimedia.agouti.eu/assets/6d65f3e4-4770-407b-b2bf-878983bf9872/file"),
        _row("https://beaty.b-cdn.net/V182378.jpg"),
        _row("http://www.westafricanplants.senckenberg.de/images/pictures/tabernaemontana_crassa_16_hoehm_6224_c9e33b.jpg"),
        _row("http://sesam.senckenberg.de/pictures/originale/32/FR-0034853.jpg"),
        _row("http://pictures.snsb.info/BSMschiefcoll/web/M-0037/M-0037746_20020121_155834.jpg"),
        _row("http://pictures.snsb.info/BSMafrplantscoll/M-0103/M-0103310_20050328_164806.jpg"),
        _row("http://media.canadensys.net/cmmf/867.jpg"),
        _row("https://media.canadensys.net/mt-specimens/large/MT00194244.jpg"),
        _row("http://mam.ansp.org/image/PH/Fullsize/00563/PH00563758.jpg"),
        _row("https://id.digitarium.fi/api/C.131915/Preview001.jpg"),
        _row("http://www.kew.org/herbcatimg/606755.jpg"),
        _row("https://d2jcv3kl45hlgi.cloudfront.net/6a94f2fa94ff45fce06189e4c678c02a.jpg"),
        _row("https://www.pnwherbaria.org/images/jpeg.php?Image=SRP012345.jpg"),
        _row("https://cdn.plantatlas.org/img/specimens/USF/32833.jpg"),
        _row("http://www.zobodat.at/bilder/belege/00100544.jpg"),
        _row("http://photos.gbif.fr/Bourges/PrepaZool/2020-10-1_face.JPG"),
        _row("https://d2seqvvyy3b8p2.cloudfront.net/40ab8e7cdddbe3e78a581b84efa4e893.jpg"),
        _row("http://fm-digital-assets.fieldmuseum.org/672/422/28936_Menacanthus_campephili_PT_v_IN.jpg"),
        _row("https://fm-digital-assets.fieldmuseum.org/672/422/28936_Menacanthus_campephili_PT_v_IN.jpg"),
        _row(
            "http://fm-digital-assets.fieldmuseum.org/155/820/Trichobius%20parasparsus%20Male%20Slide%20Venezuela%20SVP9390%20HT.jpg"
        ),
        _row("https://mm.fieldmuseum.org/00a1388e-bc5c-46f2-ab3f-d5b7ce4d6655"),
        _row("https://monarch.calacademy.org/mnt/target-images/CASTYPE/00001/CASTYPE1503_h.jpg"),
        Example("http://specimens.kew.org/herbarium/K001000794", "http://specimens.kew.org/herbarium/K001000794"),
        _row("https://storage.gbif-no.sigma2.no/img/88d6237c-fbce-4135-b509-0aeed1e4222e/Klaus_Hoiland_6510.jpg"),
        _row("http://www.digit.snm.ku.dk/DanBIF/NHMD-BioculturalCollection/NHMD-610526.jpg"),
        _row("http://digit.snm.ku.dk/Papis/Aves/AVES-095279_hab-dor.jpg"),
        _row("https://archimg.mnhn.lu/Collections/Collections/BQ133.JPG"),
        _row("http://www.gbif.irb.hr/multimedia/CIM_627_1.jpg"),
        _row("https://herbarium.sanjuancollege.edu/herbphotos/SJNM-V-002/SJNM-V-0020367.jpg"),
        _row("http://plantdata.bio.cmich.edu/images/specimens/ALBC001789/ALBC001789.JPG"),
        _row("https://cdn.floridamuseum.ufl.edu/herbarium/jpg/092/92321s1.jpg"),
        _row("https://cdn.floridamuseum.ufl.edu/Herbarium/642a18ea-aa17-4148-9a21-f34ca739e2dc"),
        _row("http://data.landcareresearch.co.nz/Image/47T/NZVH"),
        _row("http://procyon.acadiau.ca/ecsmith/cgi-bin/image.cgi?13945F,jpeg"),
        _row("https://www.xeno-canto.org/sounds/uploaded/TLPLNAINFU/ffts/XC645028-large.png"),
        _row("https://www.xeno-canto.org/sounds/uploaded/TLPLNAINFU/120524-001orrhane.mp3"),
        Example("http://observation.org/photos/24850265.jpg", "single:observation.org/photos/24850265.jpg"),
        Example("https://observation.org/photos/24850265.jpg?w=200", "https://observation.org/photos/24850265.jpg?w=200"),
        Example("https://www.artportalen.se/Image/3424862", "https://www.artportalen.se/Image/3424862"),
    ),
    traps=(
        ("https://observation.org/photos/24850265.jpg", "https://observation.org/photos/24850266.jpg"),
        ("https://observation.org/photos/24850265.jpg", "https://observation.org/media/photo/24850265.jpg"),
        ("https://observation.org/photos/24850265.jpg", "https://waarneming.nl/photos/24850265.jpg"),
        ("https://observation.org/photos/24850265.jpg", "https://observation.org/photos/24850265.jpg?w=200"),
        (
            "https://www.artsobservasjoner.no/MediaLibrary/birds/2009/large/84015.jpg",
            "https://www.artsobservasjoner.no/MediaLibrary/plants/2009/large/84015.jpg",
        ),
        (
            "https://svampe.databasen.org/uploads/2022-10310341_HyxvVm5Vmo.JPG",
            "https://svampe.databasen.org/uploads/2022-10310341_HkwEmc4Qo.JPG",
        ),
        (
            "http://pictures.snsb.info/BSMschiefcoll/web/M-0037/M-0037746_20140623_124320.jpg",
            "http://pictures.snsb.info/BSMschiefcoll/web/M-0037/M-0037746_20020121_155834.jpg",
        ),
        (
            "http://sesam.senckenberg.de/pictures/originale/32/FR-0034853.jpg",
            "http://sesam.senckenberg.de/pictures/originale/32/FR-0034853_Vitellaria_paradoxa_001414.jpg",
        ),
        (
            "https://archimg.mnhn.lu/Collections/Collections/BQ133.JPG",
            "https://archimg.mnhn.lu/Collections/Collections/BQ133-1.JPG",
        ),
        ("http://www.gbif.irb.hr/multimedia/CIM_627_1.jpg", "http://www.gbif.irb.hr/multimedia/CIM_627_2.jpg"),
        (
            "http://procyon.acadiau.ca/ecsmith/cgi-bin/image.cgi?13945F,jpeg",
            "http://procyon.acadiau.ca/ecsmith/cgi-bin/image.cgi?13946F,jpeg",
        ),
        ("http://data.landcareresearch.co.nz/Image/47T/NZVH", "http://data.landcareresearch.co.nz/Image/47S/NZVH"),
        ("https://beaty.b-cdn.net/V182378.jpg", "https://beaty.b-cdn.net/v182378.jpg"),
        ("http://www.kew.org/herbcatimg/606755.jpg", "http://www.kew.org/herbcatimg/606756.jpg"),
        (
            "https://www.pnwherbaria.org/images/jpeg.php?Image=SRP012345.jpg",
            "https://www.pnwherbaria.org/images/jpeg.php?Image=SRP012346.jpg",
        ),
        (
            "http://photos.gbif.fr/Bourges/PrepaZool/2020-10-1_face.JPG",
            "http://photos.gbif.fr/Bourges/PrepaZool/2020-10-1_profil.JPG",
        ),
        (
            "https://fm-digital-assets.fieldmuseum.org/1254/792/3130622_Spelobia_quinata_PT_p_IN.jpg",
            "https://fm-digital-assets.fieldmuseum.org/1254/789/3130622_Spelobia_quinata_PT_d_IN.jpg",
        ),
        (
            "http://fm-digital-assets.fieldmuseum.org/807/180/V0264589F.jpg",
            "http://fm-digital-assets.fieldmuseum.org/807/181/V0264589F.jpg",
        ),
        (
            "https://monarch.calacademy.org/mnt/target-images/CASTYPE/00001/CASTYPE1506_l.jpg",
            "https://monarch.calacademy.org/mnt/target-images/CASTYPE/00001/CASTYPE1506_label.jpg",
        ),
        (
            "https://id.digitarium.fi/api/C.131915/Preview001.jpg",
            "https://id.digitarium.fi/api/C.131915/Preview002.jpg",
        ),
    ),
)
