"""The rooms of the package and the one rule of who may import whom, as data; and the picture and the table that docs/explanation
show of them. Changes nothing.

Imports go downward only. Rooms of a layer use each other or do not, as its `siblings` says. A test walks the code and compares.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "d4c_images"


@dataclass(frozen=True, slots=True)
class Layer:
    name: str
    does: str
    rooms: tuple[str, ...]  # packages, or modules at the root
    siblings: bool  # whether its rooms may use each other


LAYERS = (  # from the ground up
    Layer("ground", "nouns, errors, settings, the process", ("model", "errors", "settings", "durations", "crash", "system"), True),
    Layer("pure", "decide; no clock, no file, no network", ("identity", "policy"), True),
    Layer("one thing each", "touch one thing outside", ("sources", "ledger", "fetch", "decode", "stores", "notify"), False),
    Layer("stages", "put them together, each for one task", ("ingest", "worker", "steward", "collection"), False),
    Layer("around", "read, report, fit into a cluster; never write the ledger", ("batch", "report", "export"), True),
    Layer("top", "choose implementations; one module per command", ("runners", "commands", "cli", "__main__", "__init__"), True),
)
# Within the ledger, from the ground up: a room uses those before it. Three modules of its file are on top of it all, by their task.
LEDGER = ("file", "rows", "queue", "admission", "questions")
LEDGER_TOP = {
    "d4c_images/ledger/file/views.py": "shows what is lent as the queue sees it",
    "d4c_images/ledger/file/writing.py": "does first what a killed process has left of an admission",
    "d4c_images/ledger/file/version_changes.py": "fills labels in as an admission does",
}
LATER = {  # rooms that are still to come, and the layer of each
    "catalogue": "around",
    "service": "around",
}
LEVEL = {room: level for level, layer in enumerate(LAYERS) for room in layer.rooms}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by its path below the project, parsed when somebody asks."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE.parent).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def room_of(module: str) -> str:
    """`d4c_images/ledger/queue/lending.py` and `d4c_images.ledger.queue.lending` are of the room `ledger`."""
    parts = module.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported(module: str, tree: ast.Module) -> Iterator[str]:
    """Full names of all that a module imports, also inside functions; relative imports are resolved."""
    package = module.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, [base, node.module]))
            yield from (f"{source}.{alias.name}" for alias in node.names)


def breaches(module: str, tree: ast.Module) -> list[str]:
    """What a module imports and may not, a line each."""
    mine, names = room_of(module), list(imported(module, tree))
    found = []
    for name in names:
        if name.split(".")[0] in ("tests", "bench", "tools"):
            found.append(f"{module} imports {name}")
        if not name.startswith("d4c_images"):
            continue
        theirs = room_of(name)
        if theirs not in LEVEL or theirs == "__init__":
            continue  # d4c_images.__version__
        above = LEVEL[theirs] - LEVEL[mine]
        if mine != theirs and (above > 0 or (above == 0 and not LAYERS[LEVEL[mine]].siblings)):
            found.append(f"{module} ({LAYERS[LEVEL[mine]].name}) imports {name} ({LAYERS[LEVEL[theirs]].name})")
    return found + _ledger_breaches(module, names)


def _ledger_breaches(module: str, names: Sequence[str]) -> list[str]:
    mine = _ledger_room(module)
    if mine is None or module in LEDGER_TOP:
        return []
    above = [name for name in names if LEDGER.index(_ledger_room(name) or mine) > LEDGER.index(mine)]
    return [f"{module} imports {name}, a room of the ledger above its own" for name in above]


def _ledger_room(module: str) -> str | None:
    parts = module.removesuffix(".py").replace("/", ".").split(".")
    return parts[2] if parts[:2] == ["d4c_images", "ledger"] and len(parts) > 2 and parts[2] in LEDGER else None


def first_line(tree: ast.Module) -> str:
    """The sentence with which a module says what it is."""
    return (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")


def table() -> str:
    """The rooms with what each is for, from the top down, then the modules of each."""
    lines = ["| layer | rooms | they |\n|---|---|---|\n"]
    for layer in reversed(LAYERS):
        rooms = [f"`{room}`" for room in layer.rooms if room != "__init__"] + [f"*{room}* (to come)" for room in _later(layer)]
        lines.append(f"| {layer.name} | {', '.join(rooms)} | {layer.does} |\n")
    for layer in reversed(LAYERS):
        for room in layer.rooms:
            lines += _section(room)
    return "".join(lines)


def _later(layer: Layer) -> list[str]:
    return [room for room, name in LATER.items() if name == layer.name]


def _section(room: str) -> Iterator[str]:
    mine = {path: tree for path, tree in modules().items() if path.startswith(f"d4c_images/{room}/")}
    if not mine:
        return
    yield f"\n### {room}\n\n{first_line(mine[f'd4c_images/{room}/__init__.py'])}\n\n| module | what it is |\n|---|---|\n"
    for path, tree in mine.items():
        name = path.removeprefix(f"d4c_images/{room}/").removesuffix(".py").removesuffix("__init__").rstrip("/")
        is_one_of_many = "/publishers/" in path or "/software/" in path  # a page of its own lists the rules of identity
        if name and not (is_one_of_many and not path.endswith("__init__.py")):
            yield f"| `{name}` | {first_line(tree).replace('|', '&#124;')} |\n"


WIDTH, ROW, GAP, LEFT = 960, 84, 10, 160
HEAD = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {{height}}" font-family="sans-serif">
<title>The rooms of d4c_images: imports go downward only</title>
<rect width="{WIDTH}" height="{{height}}" fill="#ffffff"/>
"""


def picture() -> str:
    """The layers as rows of boxes, the top one first: an SVG. A box has its room's name and number of modules."""
    rows = []
    for n, layer in enumerate(reversed(LAYERS)):
        y = GAP + n * (ROW + GAP)
        rows.append(f'<rect x="{GAP}" y="{y}" width="{WIDTH - 2 * GAP}" height="{ROW}" rx="6" fill="#eef3f7"/>\n')
        rows.append(f'<text x="{2 * GAP}" y="{y + 24}" font-size="15" font-weight="bold" fill="#1d3346">{layer.name}</text>\n')
        rows.append(f'<text x="{2 * GAP}" y="{y + ROW - 10}" font-size="12" fill="#45596b">{layer.does}</text>\n')
        rows += _boxes(layer, y + 8)
    return HEAD.format(height=GAP + len(LAYERS) * (ROW + GAP)) + "".join(rows) + "</svg>\n"


def _boxes(layer: Layer, y: int) -> Iterator[str]:
    rooms = [room for room in layer.rooms if not room.startswith("__")]
    later = _later(layer)
    width = min(150, (WIDTH - LEFT - 2 * GAP) // len(rooms + later) - GAP)
    for n, room in enumerate(rooms + later):
        x = LEFT + n * (width + GAP)
        many = sum(path.startswith(f"d4c_images/{room}/") for path in modules())
        what = "to come" if room in later else f"{many} modules" if many else f"{room}.py"
        dashes = ' stroke-dasharray="5 4"' if room in later else ""
        yield f'<rect x="{x}" y="{y}" width="{width}" height="46" rx="4" fill="#ffffff" stroke="#3d6a8a"{dashes}/>\n'
        yield f'<text x="{x + width // 2}" y="{y + 20}" font-size="14" text-anchor="middle" fill="#1d3346">{room}</text>\n'
        yield f'<text x="{x + width // 2}" y="{y + 37}" font-size="11" text-anchor="middle" fill="#45596b">{what}</text>\n'
