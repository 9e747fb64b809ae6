"""A signal in the first moments: sent by the process itself, as it loads a part of the program, to all processes of its job."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from d4c_images.commands.session import Stop
from d4c_images.errors import EXIT_WORK_LEFT
from d4c_images.system import signals
from tests.publishers.client import Publishers
from tests.support.old_ledgers import unpack
from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT, Collection, multimedia, reach

# Python runs this before the program, in each process; only the first one is to send anything.
HOOK = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.killpg(0, {number})

if sys.orig_argv[1:3] == ["-m", "d4c_images"]:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts in the background ignore it
    sys.meta_path.insert(0, Finder())
"""


def struck(folder: Path, module: str, number: signal.Signals) -> Collection:
    """A collection whose program gets a signal as soon as it loads this module."""
    (folder / "hook").mkdir()
    (folder / "hook/sitecustomize.py").write_text(HOOK.format(module=module, number=int(number)))
    return Collection(folder, {"PYTHONPATH": f"{folder / 'hook'}:{PROJECT}"})


def ended(process: subprocess.Popen[str]) -> str:
    """What it has said; its output ends when the last process that has it has ended."""
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == EXIT_WORK_LEFT, output
    assert "Traceback" not in output
    return output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize(
    "module",
    [
        "d4c_images.cli",  # before anything
        "d4c_images.commands.session",
        "d4c_images.ingest.reader_process",
        "d4c_images.report.ingest_progress",  # its reader has been started, and has not begun to load
        "d4c_images.ledger.admission.recovery",
    ],
)
def test_in_the_first_second_of_init(module: str, number: signal.Signals, tmp_path: Path) -> None:
    table = multimedia(tmp_path / "multimedia.txt", [(7_100_000_000 + n, f"http://a.example.org/{n}.jpg") for n in range(9)])
    ended(struck(tmp_path, module, number).start("init", table))
    Collection(tmp_path).run("init", table)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize(
    "module",
    [
        "d4c_images.cli",
        "d4c_images.steward.terms",
        "d4c_images.runners.processes",
        "d4c_images.steward.steward",  # its workers have been started, and have not begun to load
    ],
)
def test_in_the_first_second_of_download(module: str, number: signal.Signals, tmp_path: Path, publishers: Publishers) -> None:
    rows = [(7_100_000_000 + n, f"http://a.example.org/photos/{n}.jpg") for n in range(9)]
    Collection(tmp_path).load(multimedia(tmp_path / "multimedia.txt", rows))
    before = publishers.counters()["requests"]
    ended(struck(tmp_path, module, number).start("download", *reach(publishers)))
    assert publishers.counters()["requests"] == before
    Collection(tmp_path).run("download", *reach(publishers))


@pytest.mark.slow
@pytest.mark.parametrize("module", ["d4c_images.cli", "d4c_images.report.migration_progress", "d4c_images.ledger.file.backup"])
def test_in_the_first_second_of_migrate(module: str, tmp_path: Path) -> None:
    """A small ledger may be done before anybody asks for a signal."""
    unpack(1, tmp_path)
    process = struck(tmp_path, module, signal.SIGTERM).start("migrate")
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, EXIT_WORK_LEFT), output
    assert "Traceback" not in output
    Collection(tmp_path).run("migrate")


@pytest.mark.slow
def test_in_the_first_second_of_a_command_that_does_not_listen(tmp_path: Path) -> None:
    """It is ended by the signal, as any program."""
    Collection(tmp_path).load(multimedia(tmp_path / "multimedia.txt", [(1, "http://a.example.org/1.jpg")]))
    process = struck(tmp_path, "d4c_images.commands.session", signal.SIGTERM).start("status")
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output) == (-signal.SIGTERM, "")


def test_under_nohup_a_run_goes_on_when_the_terminal_hangs_up() -> None:
    ours = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stop.listening():
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, ours)


def test_at_a_prompt_ctrl_c_leaves() -> None:
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)  # also if these tests run in the background of a shell
    before = signal.getsignal(signal.SIGINT)
    signals.note()
    try:
        signal.raise_signal(signal.SIGUSR1)
        assert signals.take() == [signal.SIGUSR1]
        assert signals.take() == []
        with pytest.raises(KeyboardInterrupt), signals.at_a_prompt():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is not before, "signals are noted again"
    finally:
        signals.leave_to_default()
        after = signal.signal(signal.SIGINT, ours)
    assert after is before
