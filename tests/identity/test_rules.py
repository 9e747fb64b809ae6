"""Every identity rule, checked against its own tables of examples and traps."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from d4c_images.identity import RULES, Example, Rule, identify, merge, parts, registry, usable_url
from d4c_images.identity.registry import rank_of
from d4c_images.model import Image
from tests.support.sweep import holds_for_each

BY_NAME = {rule.name: rule for rule in RULES}
TAKES_ALL = "exact"

# Hosts that two rules claim, and why.
SHARED_HOSTS = {"n2t.net": "the resolver of ARKs: Smithsonian's and MorphoSource's have prefixes of their own"}


FOLDERS = {"publishers": registry.PUBLISHERS, "software": registry.SOFTWARE}
MODULES = [
    path for folder in FOLDERS for path in sorted((Path(registry.__file__).parent / folder).glob("*.py")) if path.stem != "__init__"
]


def name(value: object) -> str:
    return value.name if isinstance(value, Rule) else str(value)


def image_of(url: str) -> Image:
    image = identify(url)
    assert image is not None, url
    return image


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_rule_does_what_its_table_says(rule: Rule) -> None:
    def check(one: Example) -> None:
        image = image_of(one.identifier)
        assert image.key == one.key
        assert image.urls[0] == (one.best or one.identifier)
        assert image.host == parts(image.urls[0]).host

    holds_for_each(((one,) for one in rule.examples), check)


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_a_rule_is_complete(rule: Rule) -> None:
    assert rule.version >= 1
    assert rule.publisher
    assert re.search(r"https?://|RFC|section", rule.source), "say where it is written"
    assert len(rule.examples) >= 2
    decided = [image_of(one.identifier) for one in rule.examples]
    assert sum(image.rule == rule.name for image in decided) >= 2, "two examples that the rule itself decides"
    assert rule.name == TAKES_ALL or rule.hosts or rule.domains or rule.hints
    assert all(re.fullmatch(r"[a-z0-9_.-]+(:[0-9]+)?", host) for host in rule.hosts)
    assert all(re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+", domain) for domain in rule.domains)
    assert all(len(hint) >= 4 and usable_url(f"https://a.org/{hint}") == f"https://a.org/{hint}" for hint in rule.hints)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_rule_module_stands_in_the_registry_once(folder: str) -> None:
    """A module that nobody registers is never asked, and none of its own tests would say so."""
    registered, there = sorted(FOLDERS[folder]), sorted(path.stem for path in MODULES if path.parent.name == folder)
    missing = sorted(set(there) - set(registered))
    assert not missing, f"add to {folder.upper()} in {Path(registry.__file__).name}: {', '.join(missing)}"
    assert registered == there


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_rule_is_a_draft(module: Path) -> None:
    """What `make new-publisher` cannot know is marked DRAFT in the module that it writes."""
    lines = enumerate(module.read_text(encoding="utf-8").splitlines(), 1)
    drafts = [f"  {module}:{number}: {line.strip()}" for number, line in lines if "DRAFT" in line]
    assert not drafts, "fill in these lines and remove the word DRAFT:\n" + "\n".join(drafts)


def test_names_are_unique_and_the_last_rule_takes_all() -> None:
    assert len(BY_NAME) == len(RULES)
    assert [rule.name for rule in RULES if not (rule.hosts or rule.domains or rule.hints)] == [TAKES_ALL]
    assert RULES[-1].name == TAKES_ALL


def test_no_two_rules_claim_one_host_without_a_reason() -> None:
    hosts = {host for rule in RULES for host in rule.hosts | rule.domains}
    shared = {host for host in hosts if sum(rule.claims(host) for rule in RULES) > 1}
    assert shared == set(SHARED_HOSTS)


@pytest.mark.parametrize(
    ("host", "claimed"),
    [
        ("cch2.org", True),
        ("www.cch2.org", True),
        ("images.www.cch2.org", True),
        ("notcch2.org", False),
        ("cch2.org.example.net", False),
        ("cch2.org:8080", False),
        ("org", False),
    ],
)
def test_a_domain_is_itself_and_what_is_below_it(host: str, claimed: bool) -> None:
    assert BY_NAME["symbiota"].claims(host) == claimed


def test_a_host_is_no_other_host() -> None:
    rule = BY_NAME["inat"]
    assert rule.claims("static.inaturalist.org")
    assert not rule.claims("x.static.inaturalist.org")
    assert not rule.claims("static.inaturalist.org:8080")


def test_software_is_known_on_hosts_that_nobody_has_heard_of() -> None:
    known = image_of("https://herbarium.example.ac:8443/portal/content/imglib/a/b_lg.jpg")
    assert (known.rule, known.key) == ("symbiota", "symbiota:herbarium.example.ac:8443/portal/content/imglib/a/b.jpg")
    assert image_of("http://10.0.0.1/web-asset-store/fileget?coll=a&filename=b.jpg").rule == "specify"


def test_a_rule_that_knows_nothing_of_a_url_passes_it_on() -> None:
    assert image_of("https://static.inaturalist.org/iiif/2/a/full/max/0/default.jpg").rule == "iiif"
    assert image_of("https://static.inaturalist.org/attachments/5/original.jpg").rule == TAKES_ALL


def test_a_thumbnail_of_a_width_that_is_not_served_is_asked_for_in_the_next_greater_one() -> None:
    commons = "http://upload.wikimedia.org/wikipedia/commons"
    name = "MattiParkkonen_Orava.jpg"
    assert image_of(f"{commons}/thumb/d/dd/{name}/729px-{name}").urls == (
        f"{commons}/d/dd/{name}",
        f"{commons}/thumb/d/dd/{name}/960px-{name}",
        f"{commons}/thumb/d/dd/{name}/729px-{name}",
    )
    assert len(image_of(f"{commons}/thumb/d/dd/{name}/960px-{name}").urls) == 2


def test_a_page_of_flickr_finds_the_file_that_another_row_has() -> None:
    page, file = "http://www.flickr.com/photos/cdtimm/4176771171/", "http://farm3.static.flickr.com/2625/4176771171_63e7621599.jpg"
    assert image_of(page).key == image_of(file).key
    assert merge([page], [file]) == (file, page)


def test_a_million_hosts_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MAX_HOSTS", 50)
    registry.RULES_OF_HOST.clear()  # of what other tests have asked for
    for number in range(200):
        assert image_of(f"https://h{number}.example.org/a.jpg").rule == TAKES_ALL
        assert image_of("https://static.inaturalist.org/photos/5/large.jpg").key == "inat:5"
        assert len(registry.RULES_OF_HOST) <= 50


def urls_of(rule: Rule) -> set[str]:
    """All URLs of its tables; some are decided by another rule."""
    return {one.identifier for one in rule.examples} | {url for pair in rule.traps for url in pair}


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_an_image_is_what_its_rule_promises(rule: Rule) -> None:
    holds_for_each(((url,) for url in sorted(urls_of(rule))), keeps_the_promises)


def keeps_the_promises(url: str) -> None:
    image = image_of(url)
    rule = BY_NAME[image.rule]
    assert image.version == rule.version
    assert image.key.startswith(f"{rule.name}:") or rule.name == TAKES_ALL
    assert usable_url(url) in image.urls, "the row's own URL is always a candidate"
    assert len(set(image.urls)) == len(image.urls)
    for candidate in image.urls:
        assert usable_url(candidate) == candidate
        again = image_of(candidate)
        assert (again.key, again.rule) == (image.key, image.rule), "every candidate leads back to the image"
    assert identify(" " + url) == image, "the short way and the long way say the same"
    ranks = [rank_of(parts(candidate)) for candidate in image.urls]
    assert ranks == sorted(ranks), "candidates stand best first"
    assert merge(image.urls, ()) == image.urls


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.traps], ids=name)
def test_two_photos_stay_apart(rule: Rule) -> None:
    def check(one: str, other: str) -> None:
        images = image_of(one), image_of(other)
        assert images[0].key != images[1].key
        assert not set(images[0].urls) & set(images[1].urls)
        assert rule.name in {image.rule for image in images}, "a trap that the rule never sees proves nothing"

    holds_for_each(rule.traps, check)


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_no_two_images_of_a_rule_share_a_key_or_a_candidate(rule: Rule) -> None:
    """Over all URLs of its tables: one key, one set of candidates that can be told apart from every other."""
    images = [image_of(url) for url in urls_of(rule)]
    for one, other in itertools.combinations(images, 2):
        assert (one.key == other.key) or not set(one.urls) & set(other.urls)


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_the_order_of_candidates_does_not_hang_on_the_order_of_rows(rule: Rule) -> None:
    by_key: dict[str, set[str]] = {}
    for url in {one.identifier for one in rule.examples}:
        image = image_of(url)
        by_key.setdefault(image.key, set()).update(image.urls)
    for urls in by_key.values():
        wanted = merge(urls, ())
        assert set(wanted) == urls
        for cut in range(len(wanted)):
            assert merge(wanted[cut:], wanted[:cut]) == wanted
            assert merge(reversed(wanted[:cut]), merge(wanted[cut:], ())) == wanted
