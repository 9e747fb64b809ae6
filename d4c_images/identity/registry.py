"""The table of all rules, and which of them apply to a URL. The first one that matches decides."""

from __future__ import annotations

from importlib import import_module

from d4c_images.identity import exact, iiif
from d4c_images.identity.rule import Rank, Rule
from d4c_images.identity.url import Url, parts
from d4c_images.model import Image

# The modules in publishers/, applied to their own hosts. Nothing else registers a rule.
PUBLISHERS = (
    "inat",
    "antweb",
    "arctos",
    "auckland",
    "bgbm",
    "bhl",
    "bioimages",
    "bold",
    "bugwood",
    "byu",
    "calacademy",
    "calphotos",
    "colorado",
    "cyberflora",
    "cyverse",
    "discoverlife",
    "dropbox",
    "eol",
    "figshare",
    "flickr",
    "gbif_cache",
    "geocollections",
    "google_drive",
    "harvard_ids",
    "huh",
    "idigbio",
    "internet_archive",
    "jacq",
    "laji",
    "macaulay",
    "mcz",
    "meise",
    "mnhn",
    "morphbank",
    "morphosource",
    "msu",
    "museums_victoria",
    "mushroom_observer",
    "naturalis",
    "nhm_london",
    "nmnh",
    "nybg",
    "plantnet",
    "plutof",
    "rbge",
    "rocky_mountain",
    "sdplantatlas",
    "single",
    "smithsonian",
    "tela_botanica",
    "tepapa",
    "torch",
    "tropicos",
    "unimus",
    "usda_plants",
    "wikimedia",
    "wix",
    "yale",
    "zenodo",
)

# The modules in software/, applied to any host if one of their hints occurs in the URL.
SOFTWARE = (
    "symbiota",
    "specify",
    "bisque",
    "djatoka",
    "emu",
    "fsi",
    "iip",
    "signed_url",
    "collectionspace",
    "collectiveaccess",
    "taxonworks",
    "drupal",
    "omeka",
    "wordpress",
    "ala",
)


def _rule(module: str) -> Rule:
    rule: Rule = import_module(f"d4c_images.identity.{module}").RULE
    return rule


RULES: tuple[Rule, ...] = (
    *(_rule(f"publishers.{name}") for name in PUBLISHERS),
    *(_rule(f"software.{name}") for name in SOFTWARE),
    # Protocols, and the default.
    iiif.RULE,
    exact.RULE,
)
"""Publishers come before software, since a publisher may know better; the last rule matches everything."""

MAX_HOSTS = 1 << 16  # cached before all are dropped; a download has a few thousand


class _RulesOfHosts(dict[str, tuple[Rule, ...]]):
    """The rules that claim a host by name or domain, computed once per host."""

    def __missing__(self, host: str) -> tuple[Rule, ...]:
        if len(self) >= MAX_HOSTS:
            self.clear()
        self[host] = rules = tuple(rule for rule in RULES if rule.claims(host))
        return rules


RULES_OF_HOST = _RulesOfHosts()
_HINTED = tuple((hint, rule) for rule in RULES for hint in rule.hints)
HINTS = tuple(dict.fromkeys(hint for hint, _ in _HINTED))
"""A URL without any of these, on a host that no rule claims, is decided by the exact rule."""


def image_of(url: Url) -> Image:
    """The result of the first rule that matches."""
    rivals = RULES_OF_HOST[url.host]
    for rule in rivals:
        if (image := rule.match(url)) is not None:
            return image
    text = url.text
    for hint, rule in _HINTED:
        if hint in text:
            if (image := rule.match(url)) is not None:
                return _own(image, url, rivals) if rivals and len(image.urls) > 1 else image
            rivals = (*rivals, rule)
    return exact.image_of(url)


def _own(image: Image, url: Url, rivals: tuple[Rule, ...]) -> Image:
    """The image without derived candidates that a rule with precedence would assign to another image."""
    urls = tuple(one for one in image.urls if one == url.text or not any(rule.match(parts(one)) for rule in rivals))
    return image._replace(urls=urls, host=parts(urls[0]).host)


def rank_of(url: Url) -> Rank:
    """The rank, by the rule that decides about the URL."""
    for rule in RULES_OF_HOST[url.host]:
        if (rank := rule.rank(url)) is not None:
            return rank
    for hint, rule in _HINTED:
        if hint in url.text and (rank := rule.rank(url)) is not None:
            return rank
    return exact.rank_of(url)
