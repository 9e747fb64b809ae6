"""The words that people meet: what shall not come back into help, messages and pages, and what the glossary has to explain."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from d4c_images.cli import build_parser
from d4c_images.collection.findings import REMEDIES, Reason
from d4c_images.model import RecordStatus, Status
from d4c_images.report.hosts import State
from d4c_images.settings import Settings
from tests.support.sweep import holds_for_each
from tools.generate_docs import commands
from tools.rooms import modules

PROJECT = Path(__file__).parent.parent
GLOSSARY = PROJECT / "docs/explanation/glossary.md"
CHECK_PAGE = PROJECT / "docs/how-to/check-a-collection.md"
PHRASES = PROJECT / "tests/tables/phrases.tsv"

# Modules whose texts a person meets as `status`.
STATUS = ("d4c_images/report/render.py", "d4c_images/report/status.py", "d4c_images/report/render_hosts.py")
# Words of ours, as they are looked for in the texts of `--help` and `status`; each needs its line in the glossary.
WORDS_OF_OURS = {
    "blocked": "blocked",
    "collection": "collections?",
    "coordinator": "coordinator",
    "finalize": "finali[sz]e",
    "finding": "findings?",
    "former": "former",
    "given up": "giv(e|en) up",
    "grace": "grace",
    "image root": "image root",
    "key": "image key",
    "labels": "labels",
    "ledger": "ledger",
    "pending": "pending",
    "placeholder": "placeholders?",
    "quarantine": "quarantined?",
    "rate": "rate",
    "record": "records?",
    "refetch": "refetch",
    "revalidate": "revalidate",
    "round": "rounds?",
    "rule": "rules?",
    "run": "runs?",
    "shard": "shards?",
    "store": "store",
    "transient": "transient",
    "verbatim": "verbatim",
    "worker": "workers?",
}


# The comments of the schema stand in every ledger, so they change with its version only.
SPARED = ("ledger/file/schema.py",)


class Phrase(NamedTuple):
    pattern: str
    better: str


@cache
def phrases() -> list[Phrase]:
    lines = PHRASES.read_text(encoding="utf-8").splitlines()
    return [Phrase(*line.split("\t")) for line in lines if line and not line.startswith("#")]


@cache
def any_phrase() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{phrase.pattern})" for phrase in phrases()), re.IGNORECASE)


def found(text: str) -> list[str]:
    """The phrases in a text that shall not come back, each with what is better."""
    if not any_phrase().search(text):
        return []
    return [f"{match[0]!r}: write {phrase.better}" for phrase in phrases() for match in re.finditer(phrase.pattern, text, re.I)]


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of what a module may say: its strings, f-strings with `{}` for each value, but no docstrings."""
    silent: set[int] = set()  # docstrings, and parts of f-strings
    for node in ast.walk(tree):  # parents come first
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            silent.update(id(statement.value) for statement in node.body if isinstance(statement, ast.Expr))
        elif isinstance(node, ast.JoinedStr):
            silent.update(map(id, node.values))
            yield node.lineno, "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.lineno, node.value


def test_no_message_has_a_phrase_that_shall_not_come_back() -> None:
    def check(module: str, tree: ast.Module) -> None:
        bad = [f"line {line}: {one}" for line, text in strings(tree) if " " in text.strip() for one in found(text)]
        assert not bad, bad

    holds_for_each(((module, tree) for module, tree in modules().items() if not module.endswith(SPARED)), check)


def test_no_help_page_has_such_a_phrase() -> None:
    def check(name: str, parser: argparse.ArgumentParser) -> None:
        assert found(" ".join(parser.format_help().split())) == []

    holds_for_each(commands(build_parser(Settings())).items(), check)


PAGES = ["README.md", "DEPLOYMENT.md", ".env.example", *(f"docs/{kind}" for kind in ("how-to", "tutorial", "reference"))]


def test_no_page_for_users_has_such_a_phrase() -> None:
    paths = [path for name in PAGES for path in ((PROJECT / name).glob("*.md") if (PROJECT / name).is_dir() else [PROJECT / name])]

    def check(path: Path) -> None:
        bad = found(" ".join(path.read_text(encoding="utf-8").split()))
        assert not bad, bad

    holds_for_each(((path,) for path in paths if path.name != "publishers.md"), check)


@pytest.mark.parametrize("phrase", phrases(), ids=lambda phrase: phrase.pattern)
def test_each_phrase_says_what_is_better(phrase: Phrase) -> None:
    assert phrase.better
    assert found(phrase.better) == []


def test_a_phrase_is_seen_within_an_f_string_and_not_in_a_docstring() -> None:
    tree = ast.parse('"""A host that is left alone."""\ndef f(n):\n    """of late"""\n    print(f"{n} hosts are left alone")\n')
    assert [one for _, text in strings(tree) for one in found(text)] == ["'left alone': write blocked"]


# The glossary -----------------------------------------------------------------------------------------------------------------


def entries() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    return {word: (meaning, usual) for word, meaning, usual in rows if word != "word"}


def test_each_word_has_a_sentence_and_the_usual_term() -> None:
    def check(word: str, meaning: str, usual: str) -> None:
        assert re.match(r"[A-Z].*\.( \[.*\]\(.*\)\.?)?$", meaning)
        assert usual.strip()

    holds_for_each(((word, *rest) for word, rest in entries().items()), check)
    assert list(entries()) == sorted(entries())


@cache
def texts_of_help_and_status() -> str:
    helps = [parser.format_help() for parser in commands(build_parser(Settings())).values()]
    return "\n".join(helps + [text for module in STATUS for _, text in strings(modules()[module])])


@pytest.mark.parametrize("word", sorted(WORDS_OF_OURS))
def test_a_word_of_ours_in_help_or_status_stands_in_the_glossary(word: str) -> None:
    assert re.search(rf"\b(?:{WORDS_OF_OURS[word]})\b", texts_of_help_and_status(), re.I), "no longer used: take it out of the list"
    assert word in entries()


@pytest.mark.parametrize("states", [Status, RecordStatus, State], ids=lambda states: states.__name__)
def test_each_status_stands_in_the_glossary(states: type[StrEnum]) -> None:
    assert {str(state) for state in states} <= entries().keys()


def test_each_finding_of_a_check_says_what_to_do_about_it() -> None:
    table = CHECK_PAGE.read_text(encoding="utf-8").partition("| reason |")[2]
    for reason in Reason:
        lines = [line for line in table.splitlines() if f"`{reason}`" in line.partition("|")[2].partition("|")[0]]
        assert len(lines) == 1, reason
        assert f"`{REMEDIES[reason]}`" in lines[0]
