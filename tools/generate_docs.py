"""Writes the pages and scripts that are made from the code. `make docs` runs it; it names what has changed.

docs/reference/cli.md and, in packaging/, the manual page and the completions come from the argument parser,
docs/reference/api.md from docstrings, docs/reference/publishers.md from the rules of identity and their tables, the end of
docs/explanation/architecture.md and its picture from `rooms`, the scripts in jobs/ from `job_scripts`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from d4c_images.batch.job_scripts import JOB_COMMANDS, JobTerms, file_name, script
from d4c_images.cli import build_parser
from d4c_images.commands.arguments import shows_default
from d4c_images.identity import RULES, Rule, identify, merge
from d4c_images.settings import Scheduler, Settings
from tools import api_page, completions, manual, rooms
from tools.command_line import command_line

REFERENCE = Path(__file__).parent.parent / "docs/reference"
ARCHITECTURE = Path(__file__).parent.parent / "docs/explanation/architecture.md"
MADE_FROM_HERE = "<!-- From here on made by `make docs`"
JOBS = Path(__file__).parent.parent / "jobs"
PACKAGING = Path(__file__).parent.parent / "packaging"
CLI_HEAD = """# The command line

<!-- Made by `make docs` from d4c_images/commands/; a test compares the two. -->

`d4c-images COMMAND`, the same as `python -m d4c_images COMMAND`. Options override the environment, the
environment overrides `.env`, and `.env` overrides the defaults ([settings](settings.md)).

| exit code | means |
|---|---|
| 0 | nothing left to do; with `--host`, `--limit` or `--limit-tries`: of what was asked for |
| 75 | work is left: run the same command again |
| 2 | usage error: the command line, a setting, or a file, folder, host or record named there is wrong (missing, forbidden, ...) |
| 1 | any other error, or findings of `check`; one line says which, `--debug` shows a traceback |
| 141 | nobody reads the output any more, as if piped into `head`; commands that stop cleanly on a signal do so, with 0 or 75 |
"""


def job_scripts() -> dict[Path, str]:
    """Path and text of each script in jobs/."""
    return {
        JOBS / file_name(scheduler, command): script(scheduler, command, JobTerms())
        for scheduler in Scheduler
        for command in JOB_COMMANDS
    }


def manual_page() -> str:
    """The whole of packaging/man/d4c-images.1, with the exit codes of the page of the command line."""
    return manual.page(command_line(), re.findall(r"^\| (\d+) \| (.+) \|$", CLI_HEAD, re.MULTILINE))


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name and parser of each command."""
    action = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def cli_page() -> str:
    """The whole of docs/reference/cli.md."""
    parts = [CLI_HEAD]
    for name, parser in commands(build_parser(Settings())).items():
        parts.append(f"\n## {name}\n\n{parser.description}\n")
        for group in parser._action_groups:
            rows = [_row(action) for action in group._group_actions if action.dest != "help"]
            if rows:
                title = {"positional arguments": "argument", "options": "option"}.get(group.title or "", group.title)
                parts.append(f"\n| {title} | |\n|---|---|\n" + "".join(rows))
        if parser.epilog:
            parts.append(f"\n```\n{parser.epilog}\n```\n")
    return "".join(parts)


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in _names(action))
    return f"| {names} | {' '.join(_text(action))} |\n"


def _names(action: argparse.Action) -> Iterator[str]:
    if not action.option_strings:
        yield str(action.metavar or action.dest)
    for option in action.option_strings:
        value = action.metavar or (",".join(map(str, action.choices)) if action.choices else None)
        if action.nargs == 0 or value is None:
            yield option
        else:
            yield f"{option} [{value}]" if action.nargs == "?" else f"{option} {value}"


def _text(action: argparse.Action) -> Iterator[str]:
    yield (action.help or "").replace("|", "\\|")
    if shows_default(action):
        yield f"(default: `{action.default}`)"


PUBLISHERS_HEAD = """# Publishers

<!-- Made by `make docs` from d4c_images/identity/; a test compares the two. -->

Which URLs show the same photo, and which of them is tried first. A rule applies to its own hosts (`*.` stands for a
domain and all its subdomains), or to any URL that contains one of its hints. The first rule on this page that matches
decides; a URL without a rule is identified by its exact normalised form. The ledger records rule and version with each
image. `d4c-images identify URL` shows how a URL is read; [adding a publisher](../how-to/add-a-publisher.md) explains
how to extend the table.

"""
SOURCE_LINK = re.compile(r"https?://[^\s;,)]+")


def publishers_page() -> str:
    """The whole of docs/reference/publishers.md."""
    summary = ["| rule | publisher or software | applies to |\n|---|---|---|\n"]
    summary += [f"| [{rule.name}](#{rule.name}) | {_cell(rule.publisher)} | {_cell(_asked(rule))} |\n" for rule in RULES]
    return PUBLISHERS_HEAD + "".join(summary) + "".join(map(_section, RULES))


def _section(rule: Rule) -> str:
    text = (_module_of(rule).__doc__ or "").strip()
    source = SOURCE_LINK.sub(lambda found: f"<{found[0]}>", rule.source)
    parts = [f"\n## {rule.name}\n\n**{rule.publisher}** (version {rule.version}). {text}\n"]
    parts.append(f"\nApplies to: {_asked(rule)}.\n\nSource: {source}\n")
    if ranking := _ranking(rule):
        parts.append("\nBest first:\n\n" + "".join(f"1. `{url}`\n" for url in ranking))
    parts.append("\n| URL | key | tried first |\n|---|---|---|\n")
    for one in rule.examples:
        key = "*by another rule:* " if _rule_of(one.identifier) != rule.name else ""
        best = f"`{_cell(one.best)}`" if one.best else "itself"
        parts.append(f"| `{_cell(one.identifier)}` | {key}`{_cell(one.key)}` | {best} |\n")
    if rule.traps:
        parts.append("\nTwo photos each:\n\n| | |\n|---|---|\n")
        parts += [f"| `{_cell(one)}` | `{_cell(other)}` |\n" for one, other in rule.traps]
    return "".join(parts)


def _ranking(rule: Rule) -> tuple[str, ...]:
    """All candidates that the examples give of one image, of the image that has most."""
    urls: dict[str, tuple[str, ...]] = {}
    for one in rule.examples:
        image = identify(one.identifier)
        if image is not None and image.rule == rule.name:
            urls[image.key] = merge(urls.get(image.key, ()), image.urls)
    most = max(urls.values(), key=len, default=())
    return most if len(most) > 1 else ()


def _rule_of(identifier: str) -> str:
    image = identify(identifier)
    return image.rule if image is not None else ""


def _asked(rule: Rule) -> str:
    hosts = [f"`{host}`" for host in sorted(rule.hosts)] + [f"`*.{domain}`" for domain in sorted(rule.domains)]
    if rule.hints:
        hosts.append("URLs with " + " or ".join(f"`{hint}`" for hint in rule.hints))
    return ", ".join(hosts) or "everything"


def _module_of(rule: Rule) -> ModuleType:
    loaded = [module for name, module in sys.modules.items() if name.startswith("d4c_images.identity.")]
    return next(module for module in loaded if vars(module).get("RULE") is rule)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def architecture_page() -> str:
    """docs/explanation/architecture.md: its hand-written part as it is, and the list of rooms and modules."""
    written, marker, made = ARCHITECTURE.read_text(encoding="utf-8").partition(MADE_FROM_HERE)
    return f"{written}{marker}{made.partition(chr(10))[0]}\n\n{rooms.table()}"


PAGES: dict[Path, Callable[[], str]] = {
    REFERENCE / "cli.md": cli_page,
    REFERENCE / "api.md": api_page.page,
    PACKAGING / "man/d4c-images.1": manual_page,
    PACKAGING / "bash/d4c-images": lambda: completions.bash(command_line()),
    PACKAGING / "zsh/_d4c-images": lambda: completions.zsh(command_line()),
    PACKAGING / "fish/d4c-images.fish": lambda: completions.fish(command_line()),
    REFERENCE / "publishers.md": publishers_page,
    ARCHITECTURE: architecture_page,
    ARCHITECTURE.with_name("rooms.svg"): rooms.picture,
}


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    for path, page in PAGES.items():
        _write(path, page())
    for path, text in job_scripts().items():
        _write(path, text)
        path.chmod(0o755)
