"""What holds for every rule and for any URL near its examples: no two photos become one, and the order is one order."""

from __future__ import annotations

import itertools
import string
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_images.identity import RULES, Rule, identify, merge, parts, usable_url
from d4c_images.identity.registry import rank_of
from d4c_images.model import Image
from tests.support.sweep import thinned

# A parameter that nobody has heard of may be the number of a photo. The rules that may drop it, and why.
DROPS_QUERIES: dict[str, str] = {}

_CLASSES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_SHORTEST_RUN = 4  # of characters that URL and key must share, to be taken for a piece of the identifier


def image_of(url: str) -> Image:
    image = identify(url)
    assert image is not None, url
    return image


def holds_together(url: str) -> None:
    """What `identify` promises of any image."""
    image, normal = image_of(url), usable_url(url)
    assert normal in image.urls
    assert identify(normal) == image
    assert {(image_of(candidate).key, image_of(candidate).rule) for candidate in image.urls} == {(image.key, image.rule)}
    assert merge(image.urls, ()) == image.urls


def places_of_the_identifier(url: str, key: str) -> list[int]:
    """The letters and digits of path and query that stand in the key too: those of the longest runs that both have."""
    start = len(parts(url).root)
    rest, name = url[start:], key.partition(":")[2]
    places: list[int] = []
    while run := _longest_common_run(name, rest):
        at = rest.index(run)
        places += range(start + at, start + at + len(run))
        name = name.replace(run, "\0", 1)
        rest = rest.replace(run, "\1" * len(run), 1)
    return [place for place in places if url[place].isalnum()]


def _longest_common_run(name: str, rest: str) -> str:
    for length in range(len(name), _SHORTEST_RUN - 1, -1):
        for at in range(len(name) - length + 1):
            if name[at : at + length] in rest:
                return name[at : at + length]
    return ""


def decided(rule: Rule) -> list[tuple[str, Image]]:
    """The examples that the rule decides, normalised, and the images that they are."""
    urls = [url for one in rule.examples if (url := usable_url(one.identifier)) is not None]
    return [(url, image) for url in urls if (image := image_of(url)).rule == rule.name]


EXAMPLES = [(rule.name, url, image) for rule in RULES for url, image in decided(rule)]
IDS = [rule.name for rule in RULES]


@pytest.mark.parametrize("rule", thinned(RULES, 4), ids=IDS)
def test_another_identifier_is_another_image(rule: Rule) -> None:
    """One digit or letter of the identifier is another: never the same key, and no URL that both would be fetched from."""
    tried = 0
    for url, image in decided(rule):
        for place in places_of_the_identifier(url, image.key):
            letters = next((letters for letters in _CLASSES if url[place] in letters), url[place])
            for shift in (1, 5):
                other = url[:place] + letters[(letters.index(url[place]) + shift) % len(letters)] + url[place + 1 :]
                if other == url or (changed := identify(other)) is None:
                    continue
                assert changed.key != image.key, (url, other)
                assert not set(changed.urls) & set(image.urls), (url, other)
                holds_together(other)
                tried += 1
    assert tried >= 5, "the identifier is found in the examples"


@pytest.mark.parametrize("rule", thinned(RULES, 4), ids=IDS)
def test_a_longer_identifier_is_another_image(rule: Rule) -> None:
    for url, image in decided(rule):
        for place in places_of_the_identifier(url, image.key):
            for added in ("0", "a", "A", "-1", "_1", "__1", "/b", "(2)"):
                other = url[: place + 1] + added + url[place + 1 :]
                if (changed := identify(other)) is not None:
                    assert changed.key != image.key, (url, other)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.name not in DROPS_QUERIES], ids=lambda rule: rule.name)
def test_a_parameter_that_no_rule_knows_is_kept(rule: Rule) -> None:
    for (url, image), parameter in itertools.product(decided(rule), ("photo=7", "zz", "page=2")):
        if "#" not in url:
            other = f"{url}{'&' if '?' in url else '?'}{parameter}"
            assert image_of(other).key != image.key, (url, other)


PIECES = ["/", "//", "?", "&", "=", "%2F", "%20", "%E9", "+", "_", ".jpg", "0", "thumb", "_tn", "é?é=é", "&amp;", "#1"]


NEAR = [
    "https://ids.si.edu/ids/deliveryService?id=ark:/65665/m3642ca13b63774a5c9?=7938471ad74f&max=500",
    "https://ids.lib.harvard.edu/ids/iiif/471%2Ffull/1200,/0/default.jpg",
    "https://ibss-images.calacademy.org/fileget?coll=Botany&type=T&filename=be990872-82ef-450e-ba57-cb784cbfdffb.JPG&scale=#page/1",
    "https://web.corral.tacc.utexas.edu/torch/SAT/SAT0042000/SAT0042325_thumb/full/max/0/default.jpgG",
    "https://mczbase.mcz.harvard.edu/specimen_images/ent-lepidoptera/images/2009_07_31/thumbs/IMG_012764/full/9,/0/default.png",
    "https://s3.us-west-2.amazonaws.com/db.herbarium.arizona.edu/images/ARIZ/2024/ARIZ444488_lg/full/max/0/default.jpgg",
    "http://image.laji.fi/MM.248968/JR566_large_full.jpg",
    "https://images.collections.yale.edu/iiif/2/ypm:b14c4b2e-4f11-4d/full/!1920,192%2F0/default.jpg",
]


@pytest.mark.parametrize("url", NEAR)
def test_no_candidate_belongs_to_another_rule(url: str) -> None:
    """Found by chance: what one rule makes up may be of a shape that another rule knows better."""
    holds_together(url)


@given(st.sampled_from(EXAMPLES), st.data())
def test_any_url_near_an_example_holds_together(example: tuple[str, str, Image], data: st.DataObject) -> None:
    _, url, _ = example
    cut = data.draw(st.integers(len(parts(url).root), len(url)))
    end = data.draw(st.integers(cut, min(len(url), cut + 6)))
    middle = data.draw(st.text(max_size=3) | st.sampled_from(PIECES))
    other = url[:cut] + middle + url[end:]
    if identify(other) is not None:
        holds_together(other)


BY_KEY: dict[str, list[str]] = {}
for _, _, an_image in EXAMPLES:
    BY_KEY.setdefault(an_image.key, []).extend(an_image.urls)


@pytest.mark.parametrize(("one", "other"), [("color", "colour"), ("gray", "grey")])
def test_the_spelling_of_a_quality_ranks_nothing(one: str, other: str) -> None:
    ranks = [rank_of(parts(f"https://iiif.example.org/iiif/2/a/full/full/0/{quality}.jpg")) for quality in (one, other)]
    assert ranks[0] == ranks[1]


@given(st.sampled_from(sorted(BY_KEY)), st.randoms())
def test_the_order_of_candidates_is_one_order(key: str, random: Random) -> None:
    """Of all candidates that the examples give for an image: total, and the same whatever the order and grouping of the rows."""
    urls = BY_KEY[key]
    best_first = merge(urls, ())
    assert set(best_first) == set(urls)
    ordered = [(rank_of(parts(url)), url) for url in best_first]
    assert ordered == sorted(ordered)
    merged: tuple[str, ...] = ()
    for url in random.sample(urls, len(urls)):
        merged = merge(merged, (url,))
    assert merged == best_first
