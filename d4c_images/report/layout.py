"""Facts and tables of a report as text: fitted to the terminal's width, or plain aligned lines in a log. Knows no report.

Nothing is cut. What does not fit next to its row goes below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from d4c_images.durations import counted
from d4c_images.errors import printable

GAP = 2  # between two columns
BLOCK_GAP = 4  # between two tables side by side
FACT_NAME_WIDTH = 10  # of a fact
LEAST_WIDE = 30  # of a column of long text: with less, it goes below its row
INDENT = 4  # of text below a row

GOOD_STYLE, BAD_STYLE, WAITING_STYLE = "green", "red", "yellow"
COLOURS = {
    "success": GOOD_STYLE,
    "done": GOOD_STYLE,
    "running": GOOD_STYLE,
    "failed_permanent": BAD_STYLE,
    "failed": BAD_STYLE,
    "dead": BAD_STYLE,
    "failed_transient": WAITING_STYLE,
    "partial": WAITING_STYLE,
}

Fact = tuple[str, str]  # name and text


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    right: bool = False  # numbers
    fold: int = 0  # numbered columns go below the row if they do not fit, those with 1 first
    says_itself: bool = False  # it needs no name below the row
    wraps: bool = False

    @classmethod
    def of_text(cls, name: str) -> Column:
        """For long text from outside."""
        return cls(name, fold=1, says_itself=True, wraps=True)


@dataclass(frozen=True, slots=True)
class Section:
    """One table of a report. `rows` hold text as displayed; `brief` says the same in a line."""

    title: str
    columns: tuple[Column, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    brief: Fact | None = None


def show(title: str, facts: Sequence[Fact], sections: Sequence[Section], console: Console) -> None:
    """Print a title, named facts and tables."""
    put(whole(title, facts, sections, console), console)


def put(lines: Sequence[Text], console: Console) -> None:
    for line in lines:
        if console.is_terminal:
            console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
        else:
            print(line.plain, file=console.file)


def whole(title: str, facts: Sequence[Fact], sections: Sequence[Section], console: Console) -> list[Text]:
    """Lines fitted to the terminal, or in their natural width."""
    if console.is_terminal:
        return [*_head(title, facts, console), *_tables(sections, console)]
    return [Text(printable(line)) for line in _plain(title, facts, sections)]


def fitted(title: str, facts: Sequence[Fact], sections: Sequence[Section], console: Console, hint: str) -> list[Text]:
    """As much as the terminal's height allows: each section in a line, and the first ones that fit as tables.

    If not even the lines fit, the last sections are left out: what stands first must not scroll away. `hint` says how to see all.
    """
    everything = whole(title, facts, sections, console)
    room = console.height - 1  # for the next prompt
    if len(everything) <= room or not console.is_terminal:
        return everything
    if len(_partly(title, facts, sections, (), console)) >= room:
        facts = _folded(facts)
    while sections and len(_partly(title, facts, sections, (), console)) >= room:
        sections = sections[:-1]
    shown: list[Section] = []
    best = _partly(title, facts, sections, shown, console)
    for section in sections:
        lines = _partly(title, facts, sections, [*shown, section], console)
        if len(lines) < room:
            best, shown = lines, [*shown, section]
    return [*best, Text(hint, "dim")]


def _partly(
    title: str, facts: Sequence[Fact], sections: Sequence[Section], shown: Sequence[Section], console: Console
) -> list[Text]:
    briefs = [section.brief for section in sections if section.brief is not None and section not in shown]
    return [*_head(title, [*facts, *briefs], console), *_tables(shown, console)]


def _folded(facts: Sequence[Fact]) -> list[Fact]:
    """Of several facts with one name the last, and how many there are before it."""
    last, n_of = dict(facts), Counter(name for name, _ in facts)
    more = {name: f"; {counted(n - 1, 'earlier one')}" for name, n in n_of.items() if n > 1}
    return [(name, value + more.get(name, "")) for name, value in last.items()]


def _head(title: str, facts: Sequence[Fact], console: Console) -> list[Text]:
    lines = [Text(part, "bold") for part in _wrapped(title, console.width, console)] if title else []
    for name, value in facts:
        colour = COLOURS.get(value.split(" ")[0].rstrip(":,"), "")
        for n, part in enumerate(_wrapped(value, console.width - FACT_NAME_WIDTH, console)):
            lines.append(Text.assemble((f"{name if n == 0 else '':<{FACT_NAME_WIDTH}}", "dim"), (part, colour)))
    return lines


def _tables(sections: Sequence[Section], console: Console) -> list[Text]:
    """Side by side as far as they fit, each group of them after a blank line."""
    lines: list[Text] = []
    beside: list[list[Text]] = []
    for section in sections:
        block = [Text(section.title, "bold"), *table(section, console)]
        if beside and sum(map(_width, beside)) + _width(block) + BLOCK_GAP * len(beside) > console.width:
            lines += [Text(), *_joined(beside)]
            beside = []
        beside.append(block)
    return [*lines, Text(), *_joined(beside)] if beside else lines


def _joined(blocks: Sequence[list[Text]]) -> Iterator[Text]:
    for n in range(max(map(len, blocks))):
        line = Text()
        for at, block in enumerate(blocks):
            cell = block[n].copy() if n < len(block) else Text()
            if at < len(blocks) - 1:
                cell.pad_right(_width(block) + BLOCK_GAP - cell.cell_len)
            line.append_text(cell)
        line.rstrip()
        yield line


def _width(block: Sequence[Text]) -> int:
    return max(line.cell_len for line in block)


def table(section: Section, console: Console) -> Iterator[Text]:
    """The column names and rows, without the title."""
    widths = _widths(section, console.width)
    beside = [n for n, width in enumerate(widths) if width is not None]
    names = tuple(column.name for column in section.columns)
    yield from _row(section, names, widths, console, "dim")
    for row in section.rows:
        style = COLOURS.get(row[0], "")
        yield from _row(section, row, widths, console, style)
        below = [
            row[n] if column.says_itself else f"{column.name} {row[n]}"
            for n, column in enumerate(section.columns)
            if n not in beside and row[n]
        ]
        for text in _wrapped("; ".join(below), console.width - INDENT, console) if below else ():
            yield Text(" " * INDENT + text, "dim")


def _widths(section: Section, width: int) -> list[int | None]:
    """Width of each column; None: it goes below its row."""
    rows = [tuple(column.name for column in section.columns), *section.rows]
    widths: list[int | None] = [max(cell_len(printable(row[n])) for row in rows) for n in range(len(section.columns))]
    folding = sorted((column.fold, n) for n, column in enumerate(section.columns) if column.fold)
    for _, n in folding:
        room = width - _taken([one for at, one in enumerate(widths) if at != n]) - GAP
        if _taken(widths) <= width:
            break
        widths[n] = room if section.columns[n].wraps and room >= LEAST_WIDE else None
    return widths


def _taken(widths: Sequence[int | None]) -> int:
    known = [one for one in widths if one is not None]
    return sum(known) + GAP * (len(known) - 1)


def _row(section: Section, row: Sequence[str], widths: Sequence[int | None], console: Console, style: str) -> Iterator[Text]:
    """One line, or more if a text is wrapped. A first cell that does not fit gets a line of its own."""
    cells = [
        ("" if width is None else printable(cell), width, column.right)
        for cell, width, column in zip(row, widths, section.columns, strict=True)
        if width is not None
    ]
    over = _taken(widths) - console.width
    first, first_width, _ = cells[0]
    if over > 0:
        narrow = max(1, (first_width or 0) - over)
        if cell_len(first) > narrow:
            yield from (Text(part, style) for part in _wrapped(first, console.width, console))
            first = ""
        cells[0] = (first, narrow, False)
    parts = [_wrapped(cell, width or 1, console) if cell_len(cell) > (width or 1) else [cell] for cell, width, _ in cells]
    for n in range(max(map(len, parts))):
        line = Text(style=style)
        for at, (part, (_, width, is_right)) in enumerate(zip(parts, cells, strict=True)):
            text = part[n] if n < len(part) else ""
            blank = " " * ((width or 0) - cell_len(text))
            line.append((" " * GAP if at else "") + (blank + text if is_right else text + blank))
        line.rstrip()
        yield line


def wrapped(text: Text, console: Console) -> Iterator[Text]:
    """Lines as wide as the terminal, with the style of the text."""
    yield from text.wrap(console, console.width)


def _wrapped(text: str, width: int, console: Console) -> list[str]:
    lines = Text(printable(text)).wrap(console, max(1, width))
    return [line.plain.rstrip() for line in lines] or [""]


def _plain(title: str, facts: Sequence[Fact], sections: Sequence[Section]) -> Iterator[str]:
    yield title
    for name, value in facts:
        yield f"{name:<{FACT_NAME_WIDTH}}{value}"
    for section in sections:
        yield ""
        yield section.title
        table = [tuple(column.name for column in section.columns), *section.rows]
        widths = [max(len(row[n]) for row in table) for n in range(len(section.columns))]
        for row in table:
            cells = [
                cell.rjust(width) if column.right else cell.ljust(width)
                for cell, width, column in zip(row, widths, section.columns, strict=True)
            ]
            yield f"  {'  '.join(cells)}".rstrip()
