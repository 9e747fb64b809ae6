"""Finds every SQL statement of the program: constants of modules, and literals inside functions. Runs none of them.

What is put together at run time cannot be read off the source; it stands in `ASSEMBLED`, by the function that does it. A statement
that is found in neither way is reported by `unknown`, which a test holds empty.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from d4c_images.ledger.admission import keys, new_images, records
from d4c_images.ledger.file import connect, schema
from d4c_images.ledger.questions import overview

PACKAGE = Path(connect.__file__).parents[2]

STATEMENT = re.compile(
    r"\s*(SELECT|WITH|VALUES|INSERT|REPLACE|UPDATE|DELETE|CREATE|DROP|ALTER|PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|ATTACH|"
    r"DETACH|VACUUM|REINDEX|ANALYZE|EXPLAIN)\b"
)
HAS_A_PLAN = re.compile(r"\s*(SELECT|WITH|VALUES|INSERT|REPLACE|UPDATE|DELETE)\b")
TEMPORARY = re.compile(r"\s*CREATE\s+TEMP(ORARY)?\s+(TABLE|VIEW)\b")
ASKS = {"execute", "executemany", "executescript", "rows", "table", "stream", "frame"}  # methods whose first argument is SQL
NO_SQL = {"report/render.py", "report/frames.py"}  # `table` and `rows` of rich; what people ask in notebooks
SCRIPTS = {"ledger.file.schema", "ledger.file.views", "ledger.file.version_changes"}  # many definitions in one string

STAGED = (new_images.SHAPE, keys.NEW_KEYS, records.NEW_RECORDS)  # tables in memory

# By function: what it puts together from its arguments. Only what SQLite can prepare as it stands.
ASSEMBLED: dict[str, tuple[str, ...]] = {
    "ledger.file.connect.open_ledger": (
        "PRAGMA journal_mode = TRUNCATE",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
    ),
    "ledger.file.connect._create": (),  # definitions of schema.py and views.py, one by one
    "ledger.file.connect._drop_statistics": ("DROP TABLE sqlite_stat1", "DROP TABLE sqlite_stat4"),
    "ledger.file.migration_steps.Walk.span": (),  # of a migration that there is not yet; test_migrations.py counts its steps
    "ledger.file.migration_steps.Walk.chunk_end": (),
    "ledger.file.migration_steps.Walk.count": (),  # up to a LIMIT
    "ledger.file.migration_steps.Walk.run": (),
    "ledger.file.migrations._is_done_at_once": (),
    "ledger.admission.labels._numbered": (),  # the two constants for taxa and for what is shared
    "ledger.file.migrations._Work.begin": (),  # DROP VIEW of each view of ours
    "ledger.file.migrations._Work._walk": (),  # what the two of `Walk` give
    "ledger.file.migrations._Work._end": (),  # definitions of views.py
    "ledger.file.migration_steps.change": (),  # new columns, and the scripts of migrations: once for each ledger
    "ledger.file.migration_steps.create": (),  # definitions of schema.py
    "ledger.file.migrations._size_bytes": ("PRAGMA page_count", "PRAGMA page_size"),
    "ledger.questions.overview.ends": (overview.HOST_ENDS, overview.HOST_ENDS + overview.IS_NAMED),
    "ledger.admission.bulk.insert": (),  # the constants that end with VALUES, with their values
    "ledger.admission.staged.TableShape.creation": tuple(one.creation(name) for one in STAGED for name in ("main", "staged")),
    "ledger.admission.staged.TableShape.filling": tuple(one.filling for one in STAGED),
    "ledger.admission.staged._made": (),  # what the two of `TableShape` give
    "ledger.queue.placeholders.allow": ("SELECT host_id, sha256, state FROM placeholders WHERE sha256 = ?",),
}


@dataclass(frozen=True, slots=True)
class Statement:
    name: str  # ledger.rollup.RECOUNT; of a literal: the function that it stands in
    sql: str

    @property
    def has_a_plan(self) -> bool:
        return HAS_A_PLAN.match(self.sql) is not None

    @property
    def complete(self) -> str:
        """With values behind a VALUES that `bulk.insert` completes."""
        sql = self.sql.strip()
        if not sql.upper().endswith("VALUES"):
            return sql
        columns = sql[sql.index("(") + 1 : sql.index(")")].split(",")
        return f"{sql} ({', '.join('?' * len(columns))})"


@cache
def all_statements() -> tuple[Statement, ...]:
    """Each text once, under the name where it is defined."""
    found: dict[str, Statement] = {}
    for module, tree in _modules():
        for statement in [*_constants(module, tree), *_literals(module, tree)]:
            found.setdefault(normal(statement.sql), statement)
    for name, texts in ASSEMBLED.items():
        for sql in texts:
            found.setdefault(normal(sql), Statement(name, sql))
    return tuple(found.values())


def normal(sql: str) -> str:
    """The same for two spellings that differ in white space only."""
    return " ".join(sql.split())


def unknown() -> list[str]:
    """Places where a statement is put together, or comes from, that nothing here knows of."""
    return [line for module, tree in _modules() for line in _Functions(module, tree).unknown()]


@cache
def _modules() -> tuple[tuple[ModuleType, ast.Module], ...]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if name not in NO_SQL and not name.startswith("__main__") and (name.startswith("ledger/") or _mentions_sql(tree)):
            found.append((importlib.import_module(f"d4c_images.{name.removesuffix('.py').replace('/', '.')}"), tree))
    return tuple(found)


def _mentions_sql(tree: ast.Module) -> bool:
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return any(HAS_A_PLAN.match(text) and re.search(r"\b(FROM|INTO|SET)\s", text) for text in texts)


def _short(module: ModuleType) -> str:
    return module.__name__.removeprefix("d4c_images.")


def _constants(module: ModuleType, tree: ast.Module) -> Iterator[Statement]:
    """What is assigned at the top of a module, inside tuples, mappings and dataclasses too."""
    if _short(module) in SCRIPTS:
        for sql in schema.statements(vars(module).get("TABLES", "") + vars(module).get("VIEWS", "")):
            yield Statement(_short(module), sql)
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        for target in targets:
            for name in (one.id for one in ast.walk(target) if isinstance(one, ast.Name)):
                if _short(module) in SCRIPTS and name in ("TABLES", "VIEWS", "MIGRATIONS"):
                    continue
                for path, text in _texts(vars(module).get(name)):
                    if STATEMENT.match(text) and not _is_template(text):
                        yield Statement(".".join([_short(module), name, *path]), text)


def _texts(value: object) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield (), value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from (((str(key), *path), text) for path, text in _texts(one))
    elif isinstance(value, tuple | list | set | frozenset):
        yield from (found for one in value for found in _texts(one))
    elif is_dataclass(value) and not isinstance(value, type):
        name = getattr(value, "name", None)
        for field in fields(value):
            path = (name,) if isinstance(name, str) else (field.name,)
            yield from ((path, text) for _, text in _texts(getattr(value, field.name)))


def _is_template(text: str) -> bool:
    """Text with {names} that `str.format` fills in; what comes of it is a constant of its own."""
    return re.search(r"\{\w*\}", text) is not None


def _literals(module: ModuleType, tree: ast.Module) -> Iterator[Statement]:
    yield from _Functions(module, tree).statements()


class _Functions:
    """The functions of a module, as far as SQL stands in them."""

    def __init__(self, module: ModuleType, tree: ast.Module) -> None:
        self._module = module
        self._tree = tree
        self._texts = list(self._inside(tree, ()))  # function, expression

    def statements(self) -> Iterator[Statement]:
        for name, node in self._texts:
            sql = self._evaluated(node)
            if sql is not None and STATEMENT.match(sql):
                yield Statement(name, sql)

    def unknown(self) -> Iterator[str]:
        for name, node in self._texts:
            if isinstance(node, ast.Call):
                yield from self._unknown_argument(name, node)
            elif self._evaluated(node) is None and name not in ASSEMBLED and self._begins_like_one(node):
                yield f"{name}, line {node.lineno}: {ast.unparse(node)[:80]}"

    def _inside(self, node: ast.AST, path: tuple[str, ...]) -> Iterator[tuple[str, ast.expr]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue  # a docstring
            inner = (*path, child.name) if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else path
            if path and isinstance(child, ast.Constant | ast.JoinedStr | ast.BinOp | ast.Call):
                yield ".".join([_short(self._module), *path]), child
            if not isinstance(child, ast.JoinedStr):
                yield from self._inside(child, inner)

    def _evaluated(self, node: ast.AST) -> str | None:
        """The text of an expression that depends on nothing but the module."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if not isinstance(node, ast.JoinedStr):
            return None
        try:
            value = eval(compile(ast.Expression(node), "<statement>", "eval"), dict(vars(self._module)))
        except NameError:
            return None
        return str(value)

    def _begins_like_one(self, node: ast.AST) -> bool:
        """Whether a text that is put together begins as a statement does, with words or with a constant that is one."""
        if isinstance(node, ast.BinOp):
            return isinstance(node.op, ast.Add | ast.Mod) and self._begins_like_one(node.left)
        if isinstance(node, ast.JoinedStr) and node.values:
            return self._begins_like_one(node.values[0])
        if isinstance(node, ast.FormattedValue):
            return self._begins_like_one(node.value)
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str) and STATEMENT.match(node.value) is not None
        value = vars(self._module).get(node.id) if isinstance(node, ast.Name) else None
        return isinstance(value, str) and STATEMENT.match(value) is not None

    def _unknown_argument(self, name: str, call: ast.Call) -> Iterator[str]:
        """A question whose text is neither a literal, nor a constant, nor handed in."""
        if not (isinstance(call.func, ast.Attribute) and call.func.attr in ASKS and call.args) or name in ASSEMBLED:
            return
        handed_in = self._handed_in(name)
        for node in _choices(call.args[0]):
            is_known = (
                isinstance(node, ast.Constant | ast.Attribute | ast.JoinedStr | ast.BinOp)  # these are looked at by themselves
                or (isinstance(node, ast.Name) and (node.id in vars(self._module) or node.id in handed_in))
            )
            if not is_known:
                yield f"{name}, line {call.lineno}: {ast.unparse(call)[:80]}"

    def _handed_in(self, name: str) -> set[str]:
        """Parameters of the function, and names of its loops over something that is looked at by itself."""
        wanted = name.rpartition(".")[2]
        names: set[str] = set()
        for node in ast.walk(self._tree):
            if isinstance(node, ast.FunctionDef) and node.name == wanted:
                arguments = node.args
                names |= {one.arg for one in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]}
                loops = [one for one in ast.walk(node) if isinstance(one, ast.For) and not isinstance(one.iter, ast.Call)]
                names |= {one.id for loop in loops for one in ast.walk(loop.target) if isinstance(one, ast.Name)}
        return names


def _choices(node: ast.expr) -> list[ast.expr]:
    return [*_choices(node.body), *_choices(node.orelse)] if isinstance(node, ast.IfExp) else [node]
