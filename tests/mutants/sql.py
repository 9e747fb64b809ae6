"""Small faults in statements: edits of a string literal that holds SQL, or a part of it. Pure; knows no schema.

The literal is taken as it stands in the source, with its quotes. A condition is dropped as `(condition OR 1)`, so that the
parameters of the statement still fit. Statements that create a schema are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Change(NamedTuple):
    start: int
    end: int
    text: str
    operator: str


IS_SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE FROM|REPLACE INTO|WHERE|ORDER BY|LEFT JOIN)\b|^\W*(AND|OR|NOT) ")
IS_SCHEMA = re.compile(r"\b(CREATE|ALTER|DROP|PRAGMA|ATTACH)\b")
OPERATOR = re.compile(r"<>|<=|>=|(?<![<>=!])=(?!=)|(?<!<)<(?![<>=])|(?<![<>-])>(?![>=])")
SWAPPED = {"=": "<>", "<>": "=", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}
CONTEXT = re.compile(r"\b(SET|WHERE|WHEN|ON|HAVING|SELECT|FROM|THEN|AND|OR)\b(?! CONFLICT)")
CLAUSE = re.compile(r"\b(?:WHERE|AND)\s+")
CLAUSE_END = re.compile(r"\b(AND|OR|ORDER BY|GROUP BY|LIMIT|RETURNING|UNION|THEN|ELSE|END)\b")
RESET = re.compile(r"(\w+) = (NULL|-?\d+|'\w*')(?=\s*(,|\bWHERE\b|\"|$))")
WORD = re.compile(r"'([a-z_]{3,})'")
STATUSES = ("pending", "failed_transient", "failed_permanent", "success", "leased")
SIMPLE = (
    (re.compile(r"\bIS NOT\b"), "IS", "null"),
    (re.compile(r"\bIS\b(?! NOT)"), "IS NOT", "null"),
    (re.compile(r"\bNOT (?=EXISTS|IN|\{|\()"), "", "not"),
    (re.compile(r"(?<!NOT )\bIN (?=\()"), "NOT IN ", "not"),
    (re.compile(r"(?<=\w) DESC\b"), "", "order"),
    (re.compile(r" OR (?:IGNORE|REPLACE)(?= INTO)"), "", "conflict"),
    (re.compile(r"\bLEFT JOIN\b"), "JOIN", "join"),
    (re.compile(r"\bDISTINCT "), "", "distinct"),
    (re.compile(r"\bmax(?=\()"), "min", "twin"),
    (re.compile(r"\bmin(?=\()"), "max", "twin"),
    (re.compile(r"(?<=[\w)?]) \+ (?=[\w(?])"), " - ", "arithmetic"),
    (re.compile(r"(?<=[\w)?]) - (?=[\w(?])"), " + ", "arithmetic"),
)


def changes(literal: str) -> Iterator[Change]:
    """Every single change of one literal."""
    if literal.lstrip("rRfF")[:1] != '"' or not IS_SQL.search(literal) or IS_SCHEMA.search(literal):
        return
    masked = _masked(literal)
    yield from _comparisons(masked)
    yield from _clauses(masked, literal)
    yield from _orders(masked)
    for pattern, text, operator in SIMPLE:
        yield from (Change(found.start(), found.end(), text, f"sql {operator}") for found in pattern.finditer(masked))
    for found in RESET.finditer(masked):
        if _is_assigned(masked, found.start(2) - 2):
            yield Change(found.start(2), found.end(2), found[1], "sql reset")
    for found in WORD.finditer(masked):
        yield Change(found.start(1), found.end(1), _other(found[1]), "sql word")


def _masked(literal: str) -> str:
    """The text with what stands in braces made dull: it is Python's. Positions stay."""
    if "f" not in literal[:2].lower():
        return literal
    return re.sub(r"\{[^{}]*\}", lambda found: "{" + "x" * (len(found[0]) - 2) + "}", literal)


def _other(word: str) -> str:
    return STATUSES[(STATUSES.index(word) + 1) % len(STATUSES)] if word in STATUSES else f"not_{word}"


def _is_assigned(masked: str, at: int) -> bool:
    """Whether an equals sign sets a column; else it compares."""
    before = re.sub(r"\bCASE\b.*?\bEND\b", lambda found: " " * len(found[0]), masked[:at], flags=re.S)
    words = [found[1] for found in CONTEXT.finditer(before)]
    return bool(words) and words[-1] == "SET"


def _comparisons(masked: str) -> Iterator[Change]:
    for found in OPERATOR.finditer(masked):
        if not _is_assigned(masked, found.start()):
            yield Change(found.start(), found.end(), SWAPPED[found[0]], "sql comparison")


def _clauses(masked: str, literal: str) -> Iterator[Change]:
    for found in CLAUSE.finditer(masked):
        start = found.end()
        end = len(masked[: _end(masked, start)].rstrip())
        before = max(masked.rfind(word, 0, found.start()) for word in ("AND", "WHERE", "OR "))
        if end > start and "BETWEEN" not in masked[start:end] and "BETWEEN" not in masked[max(before, 0) : found.start()]:
            yield Change(start, end, f"({literal[start:end]} OR 1)", "sql clause dropped")


def _end(masked: str, start: int) -> int:
    """Where a condition ends that begins here: at the next word of the statement, or what closes it from outside."""
    depth = 0
    for at in range(start, len(masked)):
        char = masked[at]
        if char == '"' or (char == ")" and depth == 0):
            return at
        depth += {"(": 1, ")": -1}.get(char, 0)
        if depth == 0 and CLAUSE_END.match(masked, at) and not masked[at - 1].isalnum():
            return at
    return len(masked)


def _orders(masked: str) -> Iterator[Change]:
    for found in re.finditer(r"\s*\bORDER BY\b", masked):
        end = _end(masked, found.end())
        if "?" not in masked[found.end() : end]:
            yield Change(found.start(), len(masked[:end].rstrip()), "", "sql order")
