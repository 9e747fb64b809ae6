"""Draws mutants from a project: which modules, which places, which faults. Runs nothing.

All places of all modules stand in one line, which is cut into as many strips of equal length as mutants are wanted; each strip
gives one place, and the place one of its faults. So each module has its share, and so has each part of a module. A seed draws the
same mutants from the same text.
"""

from __future__ import annotations

import ast
import difflib
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from tests.mutants.edits import Edit, Point, applied, points

# What a user types and reads, one module for each publisher, and what starts processes on clusters: other tests hold those.
LEFT_OUT = (
    *("commands/*", "report/*", "export/*", "notify/*", "runners/*", "batch/*", "*publishers/*", "*software/*"),
    *("__init__.py", "*/__init__.py", "__main__.py", "cli.py", "job_scripts.py", "terminal.py", "crash.py"),
)
TRIES = 50  # for a strip whose faults are no programs


@dataclass(frozen=True, slots=True)
class Project:
    """A tree with a package and its tests."""

    root: Path
    package: str
    pytest: tuple[str, ...] = ()  # further arguments
    not_judges: tuple[str, ...] = ()  # test files below the root that are about the text of the program

    def modules(self, wanted: str = "*") -> list[str]:
        """Paths of modules below the package."""
        paths = sorted(path.relative_to(self.root / self.package).as_posix() for path in (self.root / self.package).rglob("*.py"))
        return [path for path in paths if not any(fnmatch(path, one) for one in LEFT_OUT) and fnmatch(path, wanted)]

    def source(self, module: str) -> str:
        return (self.root / self.package / module).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Mutant:
    module: str  # path below the package
    point: Point
    edit: Edit
    source: str
    changed: str

    @cached_property
    def line(self) -> int:
        return self.source.count("\n", 0, self.edit.start) + 1

    @cached_property
    def diff(self) -> tuple[str, str]:
        """The lines before and after, without indents and line breaks."""
        before, after = self.source.splitlines(), self.changed.splitlines()
        removed, added = [], []
        for tag, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            if tag != "equal":
                removed += before[a:b]
                added += after[c:d]
        return _one_line(removed), _one_line(added)

    @property
    def above(self) -> str:
        """The line before it, likewise."""
        return _one_line(self.source.splitlines()[max(self.line - 2, 0) : self.line - 1])

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line}"

    @property
    def key(self) -> str:
        return f"{self.module}:{self.edit.start}:{self.edit.end}:{self.edit.text}"


def _one_line(lines: Iterable[str]) -> str:
    return " ".join(" ".join(lines).split())


def mutant(module: str, source: str, point: Point, edit: Edit) -> Mutant | None:
    changed = applied(source, edit)
    return None if changed is None else Mutant(module, point, edit, source, changed)


def draw(project: Project, seed: int, count: int, wanted: str = "*") -> list[Mutant]:
    sources = {module: project.source(module) for module in project.modules(wanted)}
    places = [(module, point) for module, source in sources.items() for point in points(source)]
    dice = random.Random(seed)
    count = min(count, len(places))
    drawn = []
    for number in range(count):
        low, high = number * len(places) // count, (number + 1) * len(places) // count
        for _ in range(TRIES):
            module, point = places[dice.randrange(low, high)]
            if found := mutant(module, sources[module], point, dice.choice(point.edits)):
                drawn.append(found)
                break
    return drawn


def all_mutants(project: Project, module: str) -> Iterator[Mutant]:
    source = project.source(module)
    for point in points(source):
        for edit in point.edits:
            if found := mutant(module, source, point, edit):
                yield found


def at(project: Project, place: str) -> list[Mutant]:
    """All mutants of one line, `module:line`."""
    module, _, line = place.rpartition(":")
    return [one for one in all_mutants(project, module) if one.line == int(line)]


class Users:
    """Which functions use what is bound outside functions: a statement, a table, a class. By name, in modules that name its own."""

    def __init__(self, project: Project) -> None:
        self._functions: dict[str, set[tuple[str, str]]] = {}
        self._constants: dict[str, set[tuple[str, str]]] = {}
        self._mentioned: dict[str, set[str]] = {}
        for path in sorted((project.root / project.package).rglob("*.py")):
            module = path.relative_to(project.root / project.package).as_posix()
            text = path.read_text(encoding="utf-8")
            self._mentioned[module] = set(re.findall(r"\w+", text))
            self._read(module, ast.parse(text).body, ())

    def _read(self, module: str, body: Sequence[ast.stmt], scope: tuple[str, ...]) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                self._read(module, node.body, (*scope, node.name))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for name in _named(node):
                    self._functions.setdefault(name, set()).add((module, ".".join((*scope, node.name))))
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                bound = {name for target in targets for name in _named(target)}
                for name in _named(node.value):
                    self._constants.setdefault(name, set()).update((module, other) for other in bound - {name})

    def of(self, module: str, names: Iterable[str]) -> set[tuple[str, str]]:
        """Also those that use it by way of another constant."""
        todo, seen = [(module, name) for name in names], set()
        found: set[tuple[str, str]] = set()
        while todo:
            where, name = todo.pop()
            if (where, name) not in seen:
                seen.add((where, name))
                todo += [other for other in self._constants.get(name, ()) if self._may_mean(other[0], where)]
                found |= {function for function in self._functions.get(name, ()) if self._may_mean(function[0], where)}
        return found

    def _may_mean(self, user: str, module: str) -> bool:
        """Whether one module names another at all."""
        return user == module or module.removesuffix(".py").rpartition("/")[2] in self._mentioned[user]


def _named(node: ast.AST) -> set[str]:
    names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    return names | {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
