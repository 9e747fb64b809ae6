"""Notes which functions of the package each test reaches, also in the processes that it starts. Copied as `sitecustomize.py` into a
copy of the project, so it imports nothing of it; in the tests' process it is pytest's plug-in as well (PYTEST_DONT_REWRITE).

Each new function is written down at once, so that nothing is lost with a process that is killed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

CODE_OF_A_FUNCTION = 1  # inspect.CO_OPTIMIZED
FOR_ALL = "*"  # what a fixture of more than one test does, and the import of a test file
_seen: set[int] = set()
_out = -1
_package = f"{Path(__file__).resolve().parent / os.environ.get('MUTANTS_PACKAGE', '')}{os.sep}"
_name_of_test: str | None = None


def _write(*words: str) -> None:
    os.write(_out, ("\t".join(words) + "\n").encode())


def _called(frame: FrameType, event: str, arg: Any) -> None:
    code = frame.f_code
    if id(code) not in _seen:
        _seen.add(id(code))
        if code.co_flags & CODE_OF_A_FUNCTION and code.co_filename.startswith(_package):
            function = code.co_qualname.partition(".<")[0]
            _write("reached", _name_of_test or _inherited(), code.co_filename[len(_package) :], function)


def _inherited() -> str:
    return os.environ.get("MUTANTS_TEST") or os.environ.get("PYTEST_CURRENT_TEST", FOR_ALL).rpartition(" (")[0] or FOR_ALL


def _enter(test: str) -> str | None:
    global _name_of_test
    before = _name_of_test
    _name_of_test = os.environ["MUTANTS_TEST"] = test
    _seen.clear()
    return before


def pytest_runtest_logstart(nodeid: str, location: object) -> None:
    if _out >= 0:
        _enter(nodeid)


def pytest_runtest_logreport(report: Any) -> None:
    if _out >= 0:
        _write("ran", report.nodeid, report.outcome, f"{report.duration:.3f}")


def pytest_runtest_logfinish(nodeid: str, location: object) -> None:
    if _out >= 0:
        _enter(FOR_ALL)


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Only the tests that were picked, in their order."""
    if wanted := os.environ.get("MUTANTS_PICKED"):
        lines = Path(wanted).read_text(encoding="utf-8").split("\n")
        order = {line: number for number, line in enumerate(lines)}
        left_out = [item for item in items if item.nodeid not in order]
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])
        config.hook.pytest_deselected(items=left_out)


class _Fixtures:
    """What is made once for several tests is reached by all of them."""

    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[None]:
        if fixturedef.scope == "function":
            return (yield)
        before = _enter(FOR_ALL)
        try:
            return (yield)
        finally:
            _enter(before or FOR_ALL)


def pytest_configure(config: Any) -> None:
    if _out >= 0:
        import pytest

        pytest.hookimpl(wrapper=True)(_Fixtures.pytest_fixture_setup)
        config.pluginmanager.register(_Fixtures())


if os.environ.get("MUTANTS_REACH"):
    import threading

    _out = os.open(os.environ["MUTANTS_REACH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    threading.settrace(_called)
    sys.settrace(_called)
