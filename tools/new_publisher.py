"""Creates a draft rule for a publisher: `make new-publisher NAME=example` writes its module and puts it into the registry.

The module works as it is, for an invented host. What only its author can know is marked DRAFT, and a test is red until that is
replaced.
"""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent
IDENTITY = "d4c_images/identity"
REGISTRY = "d4c_images/identity/registry.py"
EXIT_USAGE = 2

_GOOD_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*").fullmatch
_PUBLISHERS = re.compile(r'^PUBLISHERS = \(\n(?P<lines>(?:    "\w+",\n)*)\)$', re.MULTILINE)

_MODULE = '''"""DRAFT the publisher's name in full: what its URLs look like, and which files of one photo it serves."""

from __future__ import annotations

import re

from d4c_images.identity.rule import Example, Rule, Variant, Variants
from d4c_images.identity.url import Url

NAME = "@NAME@"
VERSION = 1

_HOST = "@HOST@"  # DRAFT the host as it stands in a normalised URL
_PHOTO = re.compile(r"/photos/([0-9]+)/(original|medium|thumb)\\.jpg").fullmatch  # DRAFT path of its pictures
_SIZES = ("original", "medium", "thumb")  # DRAFT best first


def _read(url: Url) -> Variant | None:
    """Which photo the URL shows, and in which size; None if it has another form: then the next rule is asked."""
    found = None if url.query else _PHOTO(url.path)
    if found is None:
        return None
    number, size = found.groups()
    original = f"{url.root}/photos/{number}/original.jpg"  # DRAFT where the best one is
    return Variant(number, (_SIZES.index(size),), original if size != "original" else "")


_VARIANTS = Variants(NAME, VERSION, _read)
_PHOTOS = f"https://{_HOST}/photos"

RULE = Rule(
    name=NAME,
    version=VERSION,
    publisher="@TITLE@",  # DRAFT the title on the page of publishers
    hosts=frozenset({_HOST}),
    match=_VARIANTS.match,
    rank=_VARIANTS.rank,
    source="https://@HOST@/",  # DRAFT the page, specification or source code that says so
    # DRAFT real URLs: the identifier of a row, its key, and the URL that is tried first if that is another one
    examples=(
        Example(f"{_PHOTOS}/10234567/medium.jpg", f"{NAME}:10234567", f"{_PHOTOS}/10234567/original.jpg"),
        Example(f"{_PHOTOS}/10234567/original.jpg", f"{NAME}:10234567"),
        Example(f"https://{_HOST}/logo.jpg", f"https://{_HOST}/logo.jpg"),  # not a photo, so not this rule's
    ),
    # DRAFT pairs of real URLs that look alike and show two different photos
    traps=(
        (f"{_PHOTOS}/10234567/medium.jpg", f"{_PHOTOS}/10234568/medium.jpg"),
        (f"{_PHOTOS}/10234567/medium.jpg", f"{_PHOTOS}/10234567/medium.jpg?page=2"),
    ),
)
'''


class Refused(Exception):
    """The name cannot be used; the message says why."""


def module_of(name: str) -> str:
    """The text of the module of a new rule."""
    host, title = f"{name.replace('_', '-')}.example.org", name.replace("_", " ").capitalize()
    return _MODULE.replace("@NAME@", name).replace("@HOST@", host).replace("@TITLE@", title)


def with_line(registry: str, name: str) -> str:
    """The text of the registry with the name where the alphabet wants it; the order of the others stays."""
    found = _PUBLISHERS.search(registry)
    if found is None:
        raise Refused(f"{REGISTRY} has no list PUBLISHERS of one name a line")
    lines = found["lines"].splitlines(keepends=True)
    places_behind_smaller = (place for place in range(len(lines), 0, -1) if lines[place - 1].strip('", \n') < name)
    lines.insert(next(places_behind_smaller, 1), f'    "{name}",\n')  # the first name is not in order, and stays the first
    return registry[: found.start("lines")] + "".join(lines) + registry[found.end("lines") :]


def begin(project: Path, name: str) -> Path:
    """Write the module, register it, and return its path. Raises `Refused`, and then changes nothing."""
    if not name:
        raise Refused("say which one: make new-publisher NAME=example")
    if not _GOOD_NAME(name) or keyword.iskeyword(name) or len(name) > 30:
        raise Refused(f"{name!r} cannot be a name: up to 30 small letters, digits and single underscores, a letter first")
    if name in {path.stem for path in (project / IDENTITY).rglob("*.py")}:
        raise Refused(f"the name {name} is taken; a rule for more hosts or other URLs of this publisher belongs in that module")
    registry, module = project / REGISTRY, project / IDENTITY / "publishers" / f"{name}.py"
    registered = with_line(registry.read_text(encoding="utf-8"), name)
    module.write_text(module_of(name), encoding="utf-8")
    registry.write_text(registered, encoding="utf-8")
    return module


def main(arguments: list[str]) -> int:
    try:
        module = begin(PROJECT, " ".join(arguments))
    except Refused as refused:
        print(f"new-publisher: {refused}", file=sys.stderr)
        return EXIT_USAGE
    print(f"written: {module.relative_to(PROJECT)}, and one line in {REGISTRY}")
    print("next: replace what is marked DRAFT until this is green, then make docs: .venv/bin/python -m pytest tests/identity")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
