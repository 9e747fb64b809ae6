"""Mutants that no test can kill, each with its reason: `equivalent.toml`. They are found by their text, not by line numbers."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.drawing import Mutant, Project, mutant
from tests.mutants.edits import points

FILE = Path(__file__).parent / "equivalent.toml"


@dataclass(frozen=True, slots=True)
class Argued:
    """Lines as `Mutant.diff` gives them."""

    module: str
    function: str
    line: str
    becomes: str
    reason: str
    costs_only: bool = False  # the program does the same, but slower or in more memory: counts as survived

    def fits(self, one: Mutant) -> bool:
        return (one.module, one.point.function, *one.diff) == (self.module, self.function, self.line, self.becomes)


def argued(path: Path = FILE) -> list[Argued]:
    return [Argued(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])] if path.exists() else []


def reason(one: Mutant, entries: Iterable[Argued]) -> Argued | None:
    return next((entry for entry in entries if entry.fits(one)), None)


def is_possible(entry: Argued, project: Project) -> bool:
    """Whether the program still has the lines, and the campaign could draw the fault."""
    if entry.module not in project.modules():
        return False
    source = project.source(entry.module)
    for point in points(source):
        if point.function == entry.function:
            for edit in point.edits:
                first = source[source.rfind("\n", 0, edit.start) + 1 :].partition("\n")[0]
                if " ".join(first.split()) in entry.line and (one := mutant(entry.module, source, point, edit)) and entry.fits(one):
                    return True
    return False
