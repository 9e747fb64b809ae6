"""`--help`: its examples parse, its units are explained, its summaries keep proper names."""

from __future__ import annotations

import argparse
import re
import shlex

from d4c_images.cli import build_parser
from d4c_images.commands.examples import HELP_EXAMPLES
from d4c_images.settings import Settings
from tests.support.sweep import holds_for_each
from tools.generate_docs import commands

PARSER = build_parser(Settings())
WIDTH = 80
UNITS = ("SPAN", "SIZE")


def shown_examples(parser: argparse.ArgumentParser) -> list[str]:
    """The command lines of a help page, as a shell would be given them."""
    return re.findall(r"^  (d4c-images .*)$", parser.format_help().partition("\nexamples:\n")[2], re.MULTILINE)


def test_every_command_has_examples_and_no_others() -> None:
    assert HELP_EXAMPLES.keys() == commands(PARSER).keys()


def test_every_example_of_a_help_page_parses() -> None:
    def check(name: str, parser: argparse.ArgumentParser) -> None:
        lines = shown_examples(parser)
        assert len(lines) == len(HELP_EXAMPLES[name])
        for line in lines:
            program, command, *words = shlex.split(line.partition(" > ")[0])
            assert (program, command) == ("d4c-images", name)
            PARSER.parse_args([command, *words])
            assert len(line) < WIDTH - 2

    holds_for_each(commands(PARSER).items(), check)


def test_units_are_explained_where_they_are_used() -> None:
    def check(name: str, parser: argparse.ArgumentParser) -> None:
        used = {unit for unit in UNITS if any(action.metavar == unit for action in parser._actions)}
        assert {unit for unit in UNITS if f"{unit} is " in (parser.epilog or "")} == used

    holds_for_each(commands(PARSER).items(), check)


def test_a_summary_is_the_first_sentence_of_the_description_unchanged() -> None:
    listed = next(action for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
    for summary in listed._choices_actions:
        description = commands(PARSER)[summary.dest].description or ""
        assert summary.help
        assert description.startswith(f"{summary.help}.")
        assert summary.help[0].isupper()


NAMES = (
    "GBIF", "URL", "URLs", "Slack", "Slurm", "Grid Engine", "Darwin Core", "Audiovisual Core", "CSV", "Parquet", "TOML", "JSON",
    "JPEG", "IIIF", "HTTP", "TLS", "DNS", "CA", "SQLite", "Ctrl-C", "ETag", "gbifID", "gbifIDs",
)  # fmt: skip


def test_proper_names_are_spelt_as_their_owners_do() -> None:
    """A summary that was made lower case, or had its first letter made a capital, has lost them. What is typed keeps its case."""

    def check(name: str, text: str) -> None:
        plain = re.sub(r"sge \(Grid Engine\) or slurm|'[^']*'|--?[a-z-]+(?:[ =][A-Z]+)?|\{[^}]*\}|\S*[./_]\S*", " ", text)
        spelt = {said for one in NAMES for said in re.findall(rf"(?<![\w-]){re.escape(one)}(?![\w-])", plain, re.IGNORECASE)}
        assert spelt <= {*NAMES}

    texts = [(name, parser.description or "") for name, parser in commands(PARSER).items()]
    texts += [(name, action.help or "") for name, parser in commands(PARSER).items() for action in parser._actions]
    listed = next(action for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
    texts += [(summary.dest, summary.help or "") for summary in listed._choices_actions]
    assert {one for one in NAMES if any(one in text for _, text in texts)} >= {"GBIF", "URL", "Slack", "Grid Engine", "Slurm"}
    holds_for_each(texts, check)


def test_defaults_are_stated_in_one_way() -> None:
    def check(name: str, parser: argparse.ArgumentParser) -> None:
        text = " ".join(parser.format_help().partition("\nexamples:\n")[0].split())
        assert text.count("default") == text.count("(default: ")
        assert not re.search(r"\(default: [^()]*\) \(default: ", text)

    holds_for_each(commands(PARSER).items(), check)
