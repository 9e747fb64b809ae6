"""docs/reference/api.md as text, from the signatures and docstrings of what `d4c_images.__all__` names. Writes nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import d4c_images

HEAD = """# Python API

<!-- Made by `make docs` from the docstrings of what d4c_images exports; a test compares the two. -->

For notebooks, data loaders and scripts. The API is read-only; to change a collection, run a [command](cli.md). What this page
describes stays compatible from one release to the next; everything else in the package may change without notice. The package is
typed (`py.typed`).

```
import d4c_images

with d4c_images.open_ledger("ledger.sqlite") as ledger:
    frame = ledger.frame("SELECT host, count(*) AS n FROM images GROUP BY host")
```

[Work with the results](../how-to/work-with-results.md) has more examples, [the ledger in SQL](sql.md) the tables and their columns.
`d4c_images.__version__` is the version.
"""
ERRORS_HEAD = """
## Errors

`str(error)` is one line for the user. A command that ends with one of these prints that line and exits with the code shown.

| error | is a | exit code | means |
|---|---|---|---|
"""


def page() -> str:
    """The whole page: functions, then classes, then errors."""
    public = [getattr(d4c_images, name) for name in d4c_images.__all__ if not name.startswith("_")]
    classes = [one for one in public if isinstance(one, type)]
    errors = [one for one in classes if issubclass(one, Exception)]
    parts = [HEAD]
    for function in public:
        if inspect.isfunction(function):
            parts.append(f"\n## {function.__name__}\n\n{_described(function, 'd4c_images.')}")
    for one in classes:
        if one not in errors:
            parts.append(f"\n## {one.__name__}\n\n{_text(one)}\n")
            parts += [f"\n### {one.__name__}.{method.__name__}\n\n{_described(method, '.')}" for method in _methods(one)]
    return "".join(parts) + ERRORS_HEAD + "".join(map(_row, sorted(errors, key=_ancestry)))


def _described(function: Callable[..., object], prefix: str) -> str:
    signature = inspect.signature(function)
    named = signature.replace(parameters=[one for one in signature.parameters.values() if one.name != "self"])
    return f"```\n{prefix}{function.__name__}{str(named).replace(chr(39), '')}\n```\n\n{_text(function)}\n"


def _methods(one: type) -> Iterator[Callable[..., object]]:
    """In the order of the class; not what `with` calls."""
    return (value for name, value in vars(one).items() if inspect.isfunction(value) and not name.startswith("_"))


def _text(one: object) -> str:
    text = inspect.getdoc(one)
    if not text:
        raise ValueError(f"{one} is public and has no docstring")
    return text


def _ancestry(error: type) -> list[str]:
    return [base.__name__ for base in reversed(error.__mro__)]


def _row(error: type[d4c_images.D4CError]) -> str:
    return f"| `{error.__name__}` | `{error.__base__.__name__}` | {error.exit_code} | {_text(error).splitlines()[0]} |\n"
