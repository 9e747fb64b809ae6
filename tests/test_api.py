"""What `import d4c_images` offers: the names of `__all__` and no others, described by a page, loaded when they are used."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import d4c_images
from d4c_images import errors

PROJECT = Path(__file__).parent.parent
PAGE = (PROJECT / "docs/reference/api.md").read_text(encoding="utf-8")


def test_every_error_of_the_program_is_exported() -> None:
    raised = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.D4CError)}
    exported = {name for name in d4c_images.__all__ if inspect.isclass(getattr(d4c_images, name))}
    assert raised <= exported
    assert d4c_images.LedgerBusy is errors.LedgerBusy


def test_dir_shows_the_public_names_only() -> None:
    assert dir(d4c_images) == sorted(d4c_images.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'open_legder'"):
        d4c_images.open_legder  # noqa: B018


def test_the_import_loads_nothing_but_itself() -> None:
    code = "import sys, d4c_images; print(*(name for name in sys.modules if name.startswith('d4c_images')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout.split() == ["d4c_images"]


def test_a_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from d4c_images import *", names)
    assert names.keys() - {"__builtins__"} == set(d4c_images.__all__)


def test_an_exported_error_survives_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(d4c_images.LedgerLost("the ledger is lost")))
    assert (type(error), str(error)) == (errors.LedgerLost, "the ledger is lost")


@pytest.mark.parametrize("name", [name for name in d4c_images.__all__ if name != "__version__"])
def test_the_page_describes_each_public_name(name: str) -> None:
    assert f"\n## {name}\n" in PAGE or f"\n| `{name}` | " in PAGE


def test_the_page_describes_each_public_method() -> None:
    for one in (d4c_images.Collection, d4c_images.LedgerFrames):
        methods = [name for name, value in vars(one).items() if inspect.isfunction(value) and not name.startswith("_")]
        assert methods
        for name in methods:
            assert f"\n### {one.__name__}.{name}\n" in PAGE


def test_a_user_of_the_package_gets_its_types() -> None:
    """PEP 561: without this file a type checker takes everything from the package as `Any`."""
    assert (PROJECT / "d4c_images/py.typed").read_bytes() == b""
