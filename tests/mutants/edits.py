"""Which small faults can be put into a module: all single edits of a source text, grouped by the place that they change.

Pure: text in, edits out. Places are found in the syntax tree, but an edit replaces a span of the text, so that all other lines
stay as they are and a fault can be shown as a line of a diff. Docstrings, annotations, decorators, asserts, log lines and messages
are left alone: changing them breaks nothing that a user would miss.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tests.mutants import sql


@dataclass(frozen=True, slots=True)
class Edit:
    start: int  # in characters of the source text
    end: int
    text: str
    operator: str


@dataclass(frozen=True, slots=True)
class Point:
    """One place of a module, and what can be done to it."""

    function: str  # the outermost function around it, as `Class.method`; "" for what runs when the module is loaded
    names: tuple[str, ...]  # what a statement outside functions binds; before it, the classes around it
    edits: tuple[Edit, ...]


class Text:
    """A source text whose tree's positions (lines, and columns in bytes) are looked up in characters."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def _at(self, line: int, column: int) -> int:
        text = self._lines[line - 1]
        return self._starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode()))

    def start(self, node: Any) -> int:
        return self._at(node.lineno, node.col_offset)

    def end(self, node: Any) -> int:
        return self._at(node.end_lineno, node.end_col_offset)

    def of(self, node: Any) -> str:
        return self.source[self.start(node) : self.end(node)]

    def find(self, pattern: str, left: int, right: int) -> tuple[int, int] | None:
        """Where a token stands between two nodes; None if a comment there may contain it too."""
        gap = self.source[left:right]
        found = None if "#" in gap else re.search(pattern, gap)
        return (left + found.start(), left + found.end()) if found else None

    def line(self, offset: int) -> int:
        return self.source.count("\n", 0, offset) + 1


COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Is: (r"\bis\b", ("is not",)),
    ast.IsNot: (r"\bis\s+not\b", ("is",)),
    ast.In: (r"\bin\b", ("not in",)),
    ast.NotIn: (r"\bnot\s+in\b", ("in",)),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "//"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitOr: (r"\|", "&"),
    ast.BitAnd: ("&", "|"),
}
TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}
METHODS = {"startswith": "endswith", "endswith": "startswith", "ceil": "floor", "floor": "ceil", "min": "max", "max": "min"}
SAME_EITHER_WAY = {"isinstance", "issubclass", "print", "getattr", "hasattr", "setattr", "cast"}
STANDING_OUT = {"db", "ledger", "self", "path", "np", "int", "str"}
LOGS = {"log", "logger", "logging", "warnings"}
TUNING = 16  # above it, a constant with a name of its own sets how much or how long, and another value only costs
LARGEST = 1000  # numbers above it are sizes


def _comparison(text: Text, node: ast.Compare) -> Iterator[Edit]:
    operands = [node.left, *node.comparators]
    for op, left, right in zip(node.ops, operands, operands[1:], strict=False):
        pattern, others = COMPARISONS[type(op)]
        if where := text.find(pattern, text.end(left), text.start(right)):
            yield from (Edit(*where, other, "comparison") for other in others)


def _boolean(text: Text, node: ast.BoolOp) -> Iterator[Edit]:
    word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    pairs = zip(node.values, node.values[1:], strict=False)
    found = [text.find(rf"\b{word}\b", text.end(left), text.start(right)) for left, right in pairs]
    words = [where for where in found if where]
    if len(words) != len(found):
        return
    yield from (Edit(*where, other, "and/or") for where in words)
    yield Edit(text.start(node), words[0][1] + 1, "", "clause dropped")
    ends = [start for start, _ in words[1:]] + [text.end(node)]
    for (start, _), end in zip(words, ends, strict=True):
        last = end == text.end(node)
        yield Edit(len(text.source[:start].rstrip()) if last else start, end, "", "clause dropped")


def _unary(text: Text, node: ast.UnaryOp) -> Iterator[Edit]:
    token = {ast.Not: r"not\s*", ast.USub: "-"}.get(type(node.op))
    if token and (where := text.find(token, text.start(node), text.start(node.operand))):
        yield Edit(*where, "", "not" if isinstance(node.op, ast.Not) else "sign")


def _condition(text: Text, node: ast.If | ast.While | ast.IfExp) -> Iterator[Edit]:
    if not isinstance(node.test, ast.Compare | ast.UnaryOp | ast.Constant):  # those have edits of their own that do the same
        yield Edit(text.start(node.test), text.end(node.test), f"not ({text.of(node.test)})", "condition negated")


def _filter(text: Text, node: ast.comprehension) -> Iterator[Edit]:
    for test in node.ifs:
        yield Edit(text.start(test), text.end(test), "True", "clause dropped")


def _is_type(node: ast.expr) -> bool:
    """`int | None` outside an annotation is a type, too."""
    if isinstance(node, ast.BinOp):
        return _is_type(node.left) and _is_type(node.right)
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    is_none = isinstance(node, ast.Constant) and node.value is None
    return is_none or (name[:1].isupper() and not name.isupper()) or name in ("int", "float", "str", "bytes", "bool")


def _is_words(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _arithmetic(text: Text, node: ast.BinOp) -> Iterator[Edit]:
    if type(node.op) not in ARITHMETIC or _is_type(node) or _is_words(node.left) or _is_words(node.right):
        return
    pattern, other = ARITHMETIC[type(node.op)]
    if where := text.find(pattern, text.end(node.left), text.start(node.right)):
        yield Edit(*where, other, "arithmetic")


def _in_place(text: Text, node: ast.AugAssign) -> Iterator[Edit]:
    if type(node.op) in ARITHMETIC and not _is_words(node.value):
        pattern, other = ARITHMETIC[type(node.op)]
        if where := text.find(pattern, text.end(node.target), text.start(node.value)):
            yield Edit(*where, other, "arithmetic")
    yield from _removed(text, node)


def _constant(text: Text, node: ast.Constant) -> Iterator[Edit]:
    span = text.start(node), text.end(node)
    match node.value:
        case bool(value):
            yield Edit(*span, str(not value), "flag")
        case int(value) if value <= LARGEST:
            yield Edit(*span, str(value + 1), "constant")
            if value > 0:
                yield Edit(*span, str(value - 1), "constant")
        case float(value) if value <= LARGEST:
            yield Edit(*span, str(2 * value or 1.0), "constant")


def _call(text: Text, node: ast.Call) -> Iterator[Edit]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name in TWINS:
        yield Edit(text.start(node.func), text.end(node.func), TWINS[name], "twin")
    if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        yield Edit(text.end(node.func) - len(node.func.attr), text.end(node.func), METHODS[node.func.attr], "twin")
    if name in SAME_EITHER_WAY or name in TWINS or any(isinstance(one, ast.Starred) for one in node.args):
        return
    for left, right in zip(node.args, node.args[1:], strict=False):
        one, other = text.of(left), text.of(right)
        if one != other and not _stands_out(left) and not _stands_out(right):
            between = text.source[text.end(left) : text.start(right)]
            yield Edit(text.start(left), text.end(right), f"{other}{between}{one}", "arguments swapped")


def _stands_out(node: ast.expr) -> bool:
    """An argument that no call could do with elsewhere: a connection, a statement, a collection that is spelled out."""
    if isinstance(node, ast.JoinedStr | ast.Tuple | ast.List | ast.Dict | ast.Lambda | ast.GeneratorExp | ast.ListComp):
        return True
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str | bytes)
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np":
        return True
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lstrip("_") in STANDING_OUT or name.isupper()


def _removed(text: Text, node: ast.stmt) -> Iterator[Edit]:
    yield Edit(text.start(node), text.end(node), "pass", "statement removed")


def _call_removed(text: Text, node: ast.Expr) -> Iterator[Edit]:
    if isinstance(node.value, ast.Call) and not _is_log(node.value):
        yield from _removed(text, node)


def _is_log(node: ast.Call) -> bool:
    root = node.func
    while isinstance(root, ast.Attribute):
        root = root.value
    return isinstance(root, ast.Name) and root.id.lower() in LOGS


def _assignment(text: Text, node: ast.Assign) -> Iterator[Edit]:
    if all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):  # a local name would be missed at once
        yield from _removed(text, node)


def _return(text: Text, node: ast.Return) -> Iterator[Edit]:
    if node.value is None:
        yield from _removed(text, node)


def _answers(text: Text, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Edit]:
    """What a function gives back, by its annotation."""
    answer = ast.unparse(node.returns) if node.returns else ""
    for one in _own(node):
        if not isinstance(one, ast.Return) or one.value is None or isinstance(one.value, ast.Constant):
            continue
        span = text.start(one.value), text.end(one.value)
        if answer == "bool" and not isinstance(one.value, ast.Compare | ast.UnaryOp):
            yield Edit(*span, f"not ({text.of(one.value)})", "answer")
        elif answer.endswith("| None"):
            yield Edit(*span, "None", "answer")


def _own(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own(child)


def _statements(text: Text, node: ast.AST) -> Iterator[Edit]:
    start = text.start(node)
    for change in sql.changes(text.of(node)):
        yield Edit(start + change.start, start + change.end, change.text, change.operator)


OPERATORS: dict[type[ast.AST], Callable[[Text, Any], Iterator[Edit]]] = {
    ast.Compare: _comparison,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _unary,
    ast.If: _condition,
    ast.While: _condition,
    ast.IfExp: _condition,
    ast.comprehension: _filter,
    ast.BinOp: _arithmetic,
    ast.AugAssign: _in_place,
    ast.Constant: _constant,
    ast.Call: _call,
    ast.Expr: _call_removed,
    ast.Assign: _assignment,
    ast.Return: _return,
    ast.Raise: _removed,
    ast.Continue: _removed,
    ast.Break: _removed,
    ast.Delete: _removed,
    ast.FunctionDef: _answers,
    ast.AsyncFunctionDef: _answers,
}


@dataclass
class _Finder:
    text: Text
    points: list[Point] = field(default_factory=list)

    def visit(self, node: ast.AST, scope: tuple[str, ...], function: str, names: tuple[str, ...]) -> None:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            scope = (*scope, node.name)
            if not isinstance(node, ast.ClassDef):
                function = function or ".".join(scope)
        if not function and isinstance(node, ast.stmt):
            names = (*names, *_bound(node))
        is_text = isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        operator = _statements if is_text else OPERATORS.get(type(node))
        edits = () if operator is None else tuple(operator(self.text, node))
        if edits and not self._is_tuning(node, function):
            self.points.append(Point(function, names, edits))
        if not isinstance(node, ast.JoinedStr):  # up to Python 3.11 the positions inside are not to be relied on
            for child in _children(node):
                self.visit(child, scope, function, names)

    def _is_tuning(self, node: ast.AST, function: str) -> bool:
        is_number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
        return is_number and not function and (type(node.value) is float or node.value > TUNING)  # type: ignore[attr-defined]


def _bound(node: ast.stmt) -> tuple[str, ...]:
    """The names that a statement outside functions binds."""
    if isinstance(node, ast.ClassDef):
        return (node.name,)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return tuple(one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "format_spec", "type_ignores"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_left_alone(child):
                yield child


def _is_left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _is_log(node.value):
        return True
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
        return True
    return isinstance(node, ast.Assert | ast.Import | ast.ImportFrom)


def points(source: str) -> list[Point]:
    """All places of a module, in the order of the tree."""
    finder = _Finder(Text(source))
    finder.visit(ast.parse(source), (), "", ())
    return finder.points


def applied(source: str, edit: Edit) -> str | None:
    """The text with one edit; None if that is no program, or the same program."""
    changed = source[: edit.start] + edit.text + source[edit.end :]
    try:
        return None if _dump.__wrapped__(changed) == _dump(source) else changed
    except SyntaxError:
        return None


@lru_cache(maxsize=8)
def _dump(source: str) -> str:
    return ast.dump(ast.parse(source))
