"""The decisions in docs/adr: each has one form and one page, and the index says what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ADR = Path(__file__).parents[2] / "docs/adr"
FILES = sorted(path for path in ADR.glob("*.md") if path.name != "README.md")
TEXTS = {path: path.read_text(encoding="utf-8") for path in FILES}
HEAD = re.compile(
    r"# (?P<number>\d{4}) (?P<title>\S.*)\n\n"
    r"Date: (?P<date>\d{4}-\d\d-\d\d) · Status: (?P<status>accepted|(?:replaced|amended) by (?P<later>\d{4}))\n\n"
)
SECTIONS = ["Context", "Decision", "Consequences", "What would change our mind"]
MOST_WORDS = 550  # a page


def head(path: Path) -> re.Match[str]:
    found = HEAD.match(TEXTS[path])
    assert found, f"{path.name} begins with number and title, date and status"
    return found


def test_decisions_are_numbered_without_a_hole() -> None:
    assert [path.name[:4] for path in FILES] == [f"{number:04}" for number in range(1, len(FILES) + 1)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_decision_has_the_form_that_the_index_describes(path: Path) -> None:
    assert head(path)["number"] == path.name[:4]
    assert re.findall(r"^## (.*)", TEXTS[path], re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_decision_is_changed_only_by_a_later_one_that_names_it(path: Path) -> None:
    if later := head(path)["later"]:
        assert later > path.name[:4]
        assert [path.name for other in FILES if other.name.startswith(later) and path.name in TEXTS[other]], f"{later} links to it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_decision_has_one_page(path: Path) -> None:
    words = [word for word in TEXTS[path].split() if any(map(str.isalnum, word))]
    assert len(words) <= MOST_WORDS, "move figures to performance.md, manuals to the how-tos"


def test_the_index_has_number_title_date_and_status_of_each_decision_in_order() -> None:
    rows = [line for line in (ADR / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| [")]
    found = [head(path) for path in FILES]
    wanted = [
        f"| [{one['number']}]({path.name}) | {one['title']} | {one['date']} | {one['status']} |"
        for one, path in zip(found, FILES, strict=True)
    ]
    assert rows == wanted
