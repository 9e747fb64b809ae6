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
    """Lines as `Mutant.diff` gives them. The end of a module's path is enough, so that it may move to another folder."""

    module: str
    function: str
    line: str
    becomes: str
    reason: str
    above: str = ""  # the line before it, where a function has two of the kind
    costs_only: bool = False  # the program does the same, but slower or in more memory: counts as survived

    def fits(self, one: Mutant) -> bool:
        is_it = (one.point.function, *one.diff) == (self.function, self.line, self.becomes)
        return is_it and self.is_of(one.module) and self.above in ("", one.above)

    def is_of(self, module: str) -> bool:
        return f"/{module}".endswith(f"/{self.module}")


def argued(path: Path = FILE) -> list[Argued]:
    return [Argued(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])] if path.exists() else []


def reason(one: Mutant, entries: Iterable[Argued]) -> Argued | None:
    return next((entry for entry in entries if entry.fits(one)), None)


def n_places(entry: Argued, project: Project) -> int:
    """In how many places the campaign could draw the fault; none if its line was changed or moved."""
    return sum(_n_places(entry, project, module) for module in project.modules() if entry.is_of(module))


def _n_places(entry: Argued, project: Project, module: str) -> int:
    source, starts = project.source(module), set()
    for point in points(source):
        if point.function == entry.function:
            for edit in point.edits:
                first = source[source.rfind("\n", 0, edit.start) + 1 :].partition("\n")[0]
                if " ".join(first.split()) in entry.line and (one := mutant(module, source, point, edit)) and entry.fits(one):
                    starts.add(edit.start)
    return len(starts)
