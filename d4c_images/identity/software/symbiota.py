"""Symbiota portals: one photo as `X_orig`, `X_lg`, `X`, `X_web` or `X_med`, and `X_tn` in one folder.

The key is host and path without the size. The case of `.jpg` does not matter, since derivatives are always written as `.jpg` next
to a `.JPG`; two originals differing only in that would have overwritten each other's derivatives, and the upload adds a number to a
name that is taken (`cleanFileName`). The host stays in the key: portals copy each other's files, but also reuse names. So one
photo may have two keys: iDigBio lists `/imglib/pollen/Seeds/Cornus-stolonifera-272.jpg` of hasbrouck.asu.edu and of
swbiodiversity.org under one `ac:providerManagedID`, which nothing in the URLs shows.

From a smaller file, the one without a suffix is derived, which is in the same folder in every layout. `_lg` never is: whether it
exists depends on the size of the original. Derivatives with a time in their name (`X_1420151950_web.jpg`), or in another folder or
on another host than their original, are not found by their URL; the row of the publisher's archive links them.
"""

from __future__ import annotations

from d4c_images.identity.rule import Example, Rule, SuffixSizes, Variants

NAME = "symbiota"
VERSION = 1

_SIZES = SuffixSizes(folder=r"(?:/[^/]*)*", sizes=(("_orig",), ("_lg",), ("",), ("_web", "_med"), ("_tn", "_thumb")), derived="")
_VARIANTS = Variants(NAME, VERSION, _SIZES.read)
_ARIZONA = "/db.herbarium.arizona.edu/images/"
_PORTALS = frozenset(
    {
        "bellatlas-images.s3.msi.umn.edu",
        "biodiversidad.gt",
        "biorepo.neonscience.org",
        "bryophyteportal.org",
        "cch2.org",
        "ecdysis.org",
        "hasbrouck.asu.edu",
        "intermountainbiota.org",
        "invertebase.org",
        "library.big-bee.net",
        "lichenportal.org",
        "macroalgae.org",
        "midatlanticherbaria.org",
        "midwestherbaria.org",
        "mycoportal.org",
        "nansh.org",
        "neherbaria.org",
        "ngpherbaria.org",
        "openherbarium.org",
        "pteridoportal.org",
        "scan-bugs.org",
        "sernecportal.org",
        "serv.biokic.asu.edu",
        "soroherbaria.org",
        "storage.idigbio.org",
        "swbiodiversity.org",
        "symbiota.ccber.ucsb.edu",
    }
)


_DES = "https://swbiodiversity.org/imglib/h_seinet/seinet/DES/DES00057/DES00057177"
_DES_KEY = f"symbiota:{_DES[8:]}.jpg"
_WS = "https://nansh.org/imglib/seinet/nansh/WS/WS037/WS037957"
_S3 = "https://s3.us-west-2.amazonaws.com/db.herbarium.arizona.edu/images/ARIZ/202406/ARIZ444488"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="Symbiota portals (SEINet, CCH2, SERNEC, NANSH, NEON, Ecdysis and others)",
    domains=_PORTALS,
    hints=("/imglib/", _ARIZONA),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://github.com/Symbiota/Symbiota, classes/ImageShared.php and classes/Media.php (names of derivatives)",
    examples=(
        Example(f"{_DES}_lg.jpg", _DES_KEY),
        Example(f"{_DES}.jpg", _DES_KEY),
        Example(f"{_DES}_tn.jpg", _DES_KEY, f"{_DES}.jpg"),
        Example(f"{_WS}.JPG", f"symbiota:{_WS[8:]}.jpg"),
        Example(f"{_WS}_med.jpg", f"symbiota:{_WS[8:]}.jpg", f"{_WS}.jpg"),
        Example(
            "https://swbiodiversity.org/imglib/seinet/sernec/KNK/31973000006/31973000006860_web.jpg",
            "symbiota:swbiodiversity.org/imglib/seinet/sernec/KNK/31973000006/31973000006860.jpg",
            "https://swbiodiversity.org/imglib/seinet/sernec/KNK/31973000006/31973000006860.jpg",
        ),
        Example(f"{_S3}_lg.jpg", f"symbiota:{_S3[8:]}.jpg"),
        Example(f"{_S3}_tn.jpg", f"symbiota:{_S3[8:]}.jpg", f"{_S3}.jpg"),
        Example(
            "https://biorepo.neonscience.org/media/NEON_MAMC-VSS/00000/B00000164938-1_1748039100_lg.jpg",
            "symbiota:biorepo.neonscience.org/media/NEON_MAMC-VSS/00000/B00000164938-1_1748039100.jpg",
        ),
        Example(
            "https://bellatlas-images.s3.msi.umn.edu/SMM/Z2/Z2019_3_26_s_lg.jpg",
            "symbiota:bellatlas-images.s3.msi.umn.edu/SMM/Z2/Z2019_3_26_s.jpg",
        ),
        Example(
            "https://symbiota.ccber.ucsb.edu/content/specimenImages/UCSB_IZC/UCSB-IZC00009/UCSB-IZC00009308_lg.jpg",
            "symbiota:symbiota.ccber.ucsb.edu/content/specimenImages/UCSB_IZC/UCSB-IZC00009/UCSB-IZC00009308.jpg",
        ),
        Example(
            "https://mycoportal.org/cup/mycology/Krieger,FSax2/Krieger,F.Sax.2258_lg.jpg",
            "symbiota:mycoportal.org/cup/mycology/Krieger,FSax2/Krieger,F.Sax.2258.jpg",
        ),
        Example(
            "http://hasbrouck.asu.edu/imglib/pollen/Seeds/Cornus-stolonifera-272.jpg",
            "symbiota:hasbrouck.asu.edu/imglib/pollen/Seeds/Cornus-stolonifera-272.jpg",
        ),
        Example(
            "http://hasbrouck.asu.edu/imglib/seinet/thumbnails/201210/Cornus-stolonifera-272_tn.jpg",
            "symbiota:hasbrouck.asu.edu/imglib/seinet/thumbnails/201210/Cornus-stolonifera-272.jpg",
            "http://hasbrouck.asu.edu/imglib/seinet/thumbnails/201210/Cornus-stolonifera-272.jpg",
        ),
        Example(
            "https://swbiodiversity.org/imglib/h_seinet/seinet/Boraginaceae/herbarium_sheets/PERE_194746_M_tn.jpg",
            "symbiota:swbiodiversity.org/imglib/h_seinet/seinet/Boraginaceae/herbarium_sheets/PERE_194746_M.jpg",
            "https://swbiodiversity.org/imglib/h_seinet/seinet/Boraginaceae/herbarium_sheets/PERE_194746_M.jpg",
        ),
        Example(
            "https://portal.example.org/imglib/iiif/2/a.jpg/full/600,/0/default.jpg",
            "iiif:portal.example.org/imglib/iiif/2/a.jpg",
            "https://portal.example.org/imglib/iiif/2/a.jpg/full/full/0/default.jpg",
        ),
    ),
    traps=(
        (f"{_DES}_lg.jpg", f"{_DES[:-1]}8_lg.jpg"),
        (f"{_DES}.jpg", f"{_DES}_1.jpg"),
        (f"{_DES}.jpg", f"{_DES}.png"),
        (f"{_DES}_lg.jpg", f"{_DES.replace('/DES00057/', '/DES00058/')}_lg.jpg"),
        (
            "https://serv.biokic.asu.edu/imglib/ecdysis/UCSB_IZC/UCSB-IZC00036/UCSB-IZC00036938_1633713553.jpg",
            "https://serv.biokic.asu.edu/imglib/ecdysis/UCSB_IZC/UCSB-IZC00036/UCSB-IZC00036938_1633713559.jpg",
        ),
        ("https://portal.example.org/imglib/a/b_l.jpg", "https://portal.example.org/imglib/a/b_d.jpg"),
        ("https://portal.example.org/imglib/a/b_l.jpg", "https://portal.example.org/imglib/a/b.jpg"),
    ),
)
