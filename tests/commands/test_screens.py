"""What a person sees of a run at a terminal, and what Ctrl-C does there; what a pipe and a dumb terminal get instead."""

from __future__ import annotations

import os
import re
import shlex
import signal
import termios
from pathlib import Path

import pytest

from d4c_images.commands.session import Stop
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT, Collection, multimedia, reach
from tests.support.screen import CTRL_C, Terminal

BAR = "━"


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """Five images at each of two hosts."""
    made = Collection(tmp_path)
    hosts = ("well.example.org", "hangs.example.org")
    rows = [(8_000_000_000 + 100 * h + n, f"http://{host}/photos/{n}.jpg") for h, host in enumerate(hosts) for n in range(5)]
    made.load(multimedia(tmp_path / "multimedia.txt", rows))
    return made


def on_terminal(collection: Collection, command: list[str], width: int = 120, height: int = 24, term: str = "xterm") -> Terminal:
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "D4C_CONTACT": "a@example.org", "PYTHONUTF8": "1"}
    return Terminal(command, collection.folder, environ, (width, height), term)


@pytest.mark.slow
@pytest.mark.parametrize("option", [[], ["--progress"]])
def test_a_dumb_terminal_gets_log_lines(option: list[str], collection: Collection, publishers: Publishers) -> None:
    command = collection.command("download", *reach(publishers), "--processes", 1, *option)
    with on_terminal(collection, command, term="dumb") as terminal:
        assert terminal.end() == 0
    assert " start: 10 of 10 images left at 2 hosts" in terminal.sent
    assert " end: nothing left to do; 10 images stored" in terminal.sent
    assert "exit code 0: nothing left to do" in terminal.sent
    assert "\x1b" not in terminal.sent


@pytest.mark.slow
def test_a_pipe_gets_log_lines_even_if_a_live_view_is_asked_for(collection: Collection, publishers: Publishers) -> None:
    output = collection.run("download", *reach(publishers), "--processes", 1, "--progress")
    assert " start: 10 of 10 images left at 2 hosts" in output
    assert "\x1b" not in output


@pytest.mark.slow
def test_ctrl_c_says_what_it_waits_for_and_a_second_one_drops_it(collection: Collection, publishers: Publishers) -> None:
    publishers.behave("hangs.example.org=hang_mid_body")
    command = collection.command("download", *reach(publishers), "--processes", 1, "--timeout", "1h", "--stall-timeout", "1h")
    with on_terminal(collection, command, width=200) as terminal:
        terminal.until(lambda _: publishers.host("well.example.org")["requests"] == 5 and publishers.counters()["requests"] == 6)
        terminal.press(CTRL_C)
        in_flight = "1 request in flight at hangs.example.org"
        terminal.until(f"Ctrl-C: finishing {in_flight}, for up to 1 min 00 s; press Ctrl-C again to drop it")
        terminal.press(CTRL_C)
        terminal.until(f"Ctrl-C again: dropping {in_flight}; the images stay pending, and no attempt is counted")
        terminal.press(3 * CTRL_C)
        assert terminal.end() == 75
        shown = terminal.screen.text
    assert "Ctrl-C, after " in shown
    assert "stored    5 images, " in shown
    assert "left      5 images at 1 host" in shown
    assert "exit code 75: work is left; run the same command again to resume: d4c-images download " in shown
    assert "Traceback" not in shown
    collection.check_invariants()
    found = collection.rows("SELECT host, status, attempts, count(*) FROM images GROUP BY 1, 2, 3 ORDER BY 1")
    assert found == [("hangs.example.org", "pending", 0, 5), ("well.example.org", "success", 1, 5)]
    assert collection.rows("SELECT count(*) FROM leases UNION ALL SELECT count(*) FROM owner") == [(0,), (0,)]
    assert collection.rows("SELECT ending FROM runs ORDER BY run_id DESC LIMIT 1") == [("Ctrl-C",)]
    assert not list(collection.root.rglob(".*.part"))


@pytest.mark.slow
def test_whatever_is_pressed_there_is_one_bar_and_at_the_end_none(collection: Collection, publishers: Publishers) -> None:
    """The terminal echoed keys into the view, which left a copy of itself behind for each Enter."""
    publishers.behave("hangs.example.org=hang_mid_body")
    command = collection.command("download", *reach(publishers), "--processes", 1, "--timeout", "1h", "--stall-timeout", "1h")
    with on_terminal(collection, command, width=80) as terminal:
        terminal.until("5 stored")
        assert not terminal.modes() & termios.ECHO
        terminal.press(b"\n\nls\n")
        drawn = terminal.sent.count(" elapsed ")
        terminal.until(lambda _: terminal.sent.count(" elapsed ") > drawn)
        terminal.press(CTRL_C)
        terminal.until("left; Ctrl-C again drops")
        assert len([line for line in terminal.screen.lines if BAR in line]) == 1, terminal.screen.text
        terminal.press(CTRL_C)
        assert terminal.end() == 75
        assert terminal.modes() & termios.ECHO, "as it was before"
        assert " elapsed " not in terminal.screen.text
        assert BAR not in terminal.screen.text


def test_ctrl_c_counts_as_a_second_one_once_somebody_can_have_seen_what_the_first_one_does() -> None:
    stop = Stop(is_attended=True)
    hurry = stop.hurry
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # as timeout(1) does: to its child, and to the group
        assert not hurry.is_asked()
        assert stop()
        assert not hurry.is_asked()
        signal.raise_signal(signal.SIGTERM)
        assert not hurry.is_asked(), "a scheduler is no person"
        signal.raise_signal(signal.SIGINT)
        assert hurry.is_asked()
        assert hurry.signal_name() == "Ctrl-C"


@pytest.mark.slow
def test_in_the_background_of_a_terminal_nobody_can_press_anything(collection: Collection, publishers: Publishers) -> None:
    """As `download > log &` in a shell: SIGINT that somebody sends twice is no Ctrl-C."""
    publishers.behave("hangs.example.org=hang_mid_body")
    command = shlex.join(collection.command("download", *reach(publishers), "--processes", 1, "--grace", "3s"))
    log = collection.folder / "log"
    shell = f"set -m; {command} > log 2>&1 & echo pid $!.; wait $!; echo code $?"
    with on_terminal(collection, ["/bin/sh", "-c", shell]) as terminal:
        pid = int(re.findall(r"pid (\d+)\.", terminal.until("."))[0])
        terminal.until(lambda _: publishers.host("well.example.org")["requests"] == 5 and publishers.counters()["requests"] == 6)
        os.kill(pid, signal.SIGINT)
        terminal.until(lambda _: "SIGINT: finishing 1 request in flight" in log.read_text())
        os.kill(pid, signal.SIGINT)
        terminal.until("code 75")
        assert terminal.end() == 0
    assert "Ctrl-C" not in log.read_text()
    assert "3 s are over: dropping 1 request in flight" in log.read_text()


@pytest.mark.slow
def test_a_window_that_is_closed_ends_a_run_in_good_order(collection: Collection, publishers: Publishers) -> None:
    publishers.behave("hangs.example.org=slow_first_byte:3")
    with on_terminal(collection, collection.command("download", *reach(publishers), "--processes", 1)) as terminal:
        terminal.until("5 stored")
        terminal.close()
        assert terminal.process.wait(PATIENCE_S) == 75
    assert collection.rows("SELECT ending FROM runs ORDER BY run_id DESC LIMIT 1") == [("SIGHUP",)]
    assert collection.rows("SELECT count(*) FROM leases UNION ALL SELECT count(*) FROM owner") == [(0,), (0,)]
    collection.check_invariants()


def test_without_a_terminal_signals_that_come_twice_cut_nothing_short() -> None:
    stop = Stop(is_attended=False)
    with stop.listening():
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
            assert stop()
        assert not stop.hurry.is_asked()
        assert stop.hurry.signal_name() == "SIGINT"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "hosts"])
def test_a_watched_report_is_shown_in_place_until_ctrl_c_and_stays(command: str, collection: Collection) -> None:
    with on_terminal(collection, collection.command(command, "--watch", "0.1s")) as terminal:
        terminal.until("hangs.example.org" if command == "hosts" else "0 of 10 images")
        collection.call("hosts", "pause", "hangs.example.org")
        terminal.until("paused")
        assert "\x1b[?1049h" in terminal.sent, "in the alternate screen"
        terminal.press(CTRL_C)
        assert terminal.end() == 0
        left = terminal.sent.rpartition("\x1b[?1049l")[2]
    assert "paused" in left
    assert "Traceback" not in left


@pytest.mark.parametrize(
    "others", [["status", "--json"], ["hosts", "--all"], ["hosts", "resume", "x.org"], ["status", "--tables", "t"]]
)
def test_to_watch_is_to_do_nothing_else(others: list[str], collection: Collection) -> None:
    assert "exclude each other" in collection.call(*others, "--watch", "1s", code=2)


@pytest.mark.slow
def test_the_bar_of_a_check_is_gone_at_its_end_whatever_was_typed(collection: Collection, publishers: Publishers) -> None:
    collection.run("download", *reach(publishers), "--processes", 1)
    with on_terminal(collection, collection.command("check", "--sha256")) as terminal:
        terminal.press(b"\n\nls\n")
        assert terminal.end() == 0
        assert terminal.modes() & termios.ECHO
    assert BAR not in terminal.screen.text
    assert "findings  none" in terminal.screen.text


@pytest.mark.slow
def test_findings_go_into_a_file_while_the_bar_is_on_the_terminal(collection: Collection) -> None:
    collection.root.mkdir(exist_ok=True)
    (collection.root / "stray").write_bytes(b"")
    command = " ".join(map(shlex.quote, collection.command("check")))
    with on_terminal(collection, ["sh", "-c", f"{command} > findings.tsv"]) as terminal:
        assert terminal.end() == 1
    assert "findings  1" in terminal.screen.text
    assert "d4c-images check of" in terminal.sent
    assert (collection.folder / "findings.tsv").read_text().split("\t")[:2] == ["untracked", "stray"]
