"""Output, whatever the locale and whoever wrote what is shown: no command dies of it, and no terminal obeys it."""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from d4c_images.errors import D4CError, printable
from d4c_images.model import Reply
from d4c_images.notify.slack import _escaped
from d4c_images.policy.judge import CodePolicy, judge, readable_text
from d4c_images.report.live import LiveProgress
from d4c_images.report.progress import LogProgress
from d4c_images.steward.terms import Drain
from d4c_images.system.terminal import clean
from tests.fetch.test_fetch import PATIENCE_S
from tests.publishers import pictures
from tests.support.program import PROGRAM, PROJECT, multimedia
from tests.support.scripted import Asked, Scripted, answer

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31m 服务器 \u202eexe\u2066\x9b31m Träne\r\x08[/bold]{x}%s"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PAGE = f"<html><head><title>{EVIL}</title></head><body>{EVIL}</body></html>"
LOCALES = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin-1": {"LC_ALL": "en_US", "PYTHONIOENCODING": "iso-8859-1", "PYTHONUTF8": "0"},
    "ASCII": {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii:strict", "TERM": "dumb"},
    "UTF-8": {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"},
}


def answers(asked: Asked) -> bytes:
    kind = asked.host.partition(".")[0]
    if kind == "well":
        return answer(
            200, "Content-Type: image/jpeg", f"X-Robots-Tag: {EVIL.replace(chr(13), '')}".encode().decode("latin-1"), body=JPEG
        )
    if kind == "moved":
        return answer(302, "Location: ftp://\x1b[31m\xe4\x9b/")
    code = {"busy": 503, "gone": 404, "page": 200, "limited": 429, "part": 206}[kind]
    more = ["Content-Range: bytes \x1b[31m\x9b\xe4"] if code == 206 else ["Content-Type: text/html; charset=utf-8"]
    return answer(code, *more, body=JPEG[:500] if code == 206 else PAGE.encode())


JPEG = pictures.jpeg("terminal")
KINDS = ("well", "busy", "gone", "page", "limited", "part", "moved")


@dataclass(frozen=True, slots=True)
class Place:
    """A collection in a folder whose name is none of ASCII, and the server of its images."""

    folder: Path
    server: Scripted

    def environ(self, locale: str) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON", "D4C_"))}
        return given | {"PYTHONPATH": str(PROJECT), "D4C_CONTACT": "a@example.org", **LOCALES[locale]}

    def download(self, ledger: str) -> list[str]:
        return [
            "download", "--ledger", ledger, "--root", f"images {ledger}", "--connect-to", self.server.connect_to,
            "--processes", "1", "--max-attempts", "1", "--give-up-after", "0s",
        ]  # fmt: skip

    def run(self, locale: str, *words: str, code: int | tuple[int, ...] = 0) -> str:
        """What a command prints, of both streams, after nothing in it was found that a terminal would obey."""
        environ = self.environ(locale)
        done = subprocess.run(
            [*PROGRAM, *words], capture_output=True, cwd=self.folder, env=environ, timeout=PATIENCE_S, check=False
        )
        said = done.stdout + done.stderr
        shown = said.decode({"Latin-1": "iso-8859-1", "UTF-8": "utf-8"}.get(locale, "ascii"))
        assert done.returncode in ((code,) if isinstance(code, int) else code), shown
        assert not OBEYED.search(shown), OBEYED.findall(shown)
        assert not re.search("Traceback|UnicodeEncodeError|internal error|MarkupError", shown), shown
        return shown


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("sammlung") / "Träne \x1b[31m服"
    folder.mkdir()
    rows = [(1_000_000_000 + n, f"http://{kind}.example.org/{n}.jpg") for n, kind in enumerate(2 * KINDS)]
    table = multimedia(folder / "multimedia.txt", rows, creator=EVIL.replace("\r", ""), license=EVIL.replace("\r", ""))
    with zipfile.ZipFile(folder / f"evil {chr(27)}[31m.zip", "w") as archive:
        archive.writestr("multimedia.txt", table.read_bytes())
        archive.writestr("occurrence.txt", "gbifID\n")
    table.unlink()
    with Scripted(answers) as server:
        yield Place(folder, server)


@pytest.fixture(scope="module")
def filled(place: Place) -> Place:
    place.run("UTF-8", "init", f"evil {chr(27)}[31m.zip", "--ledger", "ledger.sqlite")
    place.run("UTF-8", *place.download("ledger.sqlite"))
    return place


LEDGER = ("--ledger", "ledger.sqlite")
ROOT = ("--root", "images ledger.sqlite")
COMMANDS: dict[str, tuple[tuple[str, ...], int | tuple[int, ...]]] = {
    "status": (("status", *LEDGER), 0),
    "status for scripts": (("status", *LEDGER, "--json"), 0),
    "status with tables": (("status", *LEDGER, "--tables", "Träne"), 0),
    "hosts": (("hosts", *LEDGER, "--all"), 0),
    "hosts for scripts": (("hosts", *LEDGER, "--all", "--json"), 0),
    "a host's pause": (("hosts", "pause", "well.example.org", *LEDGER), 0),
    "a host that is not there": (("hosts", "pause", EVIL.replace("\r", ""), *LEDGER), 2),
    "check": (("check", *LEDGER, *ROOT), (0, 1)),
    "check for scripts": (("check", *LEDGER, *ROOT, "--json"), (0, 1)),
    "placeholders": (("placeholders", *LEDGER, *ROOT), 0),
    "unpack": (("unpack", *LEDGER, *ROOT, "--to", "unpacked Träne"), 0),
    "export": (("export", "Träne \x1b[31m.csv", *LEDGER), 0),
    "export of links": (("export", "links.csv", *LEDGER, "--links"), (0, 2)),
    "migrate": (("migrate", *LEDGER), 0),
    "identify": (("identify", EVIL.replace("\r", ""), f"http://example.org/{EVIL}.jpg"), 0),
    "identify for scripts": (("identify", "--json", f"http://example.org/{EVIL}.jpg"), 0),
    "identify a file": (("identify", "--file", "evil \x1b[31m.zip", "--verbose"), 0),
    "job": (("job", "slurm", "download", "--name", "Träne"), (0, 2)),
    "preflight": (("preflight", *LEDGER, *ROOT, "--offline"), (0, 1)),
    "preflight for scripts": (("preflight", *LEDGER, *ROOT, "--offline", "--json"), (0, 1)),
    "notify-test": (("notify-test",), (1, 2)),
    "work": (("work", "--cluster", "nowhere \x1b[31m服", "--max-wait", "1s"), (0, 1, 2, 75)),
    "init of nothing": (("init", "nothing \x1b[31m\x9b服\udcff.zip", *LEDGER), (1, 2)),
    "init of no archive": (("init", "no archive \x1b[31m服.zip", "--ledger", "other.sqlite"), (1, 2)),
    "a command that is none": ((f"status{chr(27)}[31m",), 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("what", COMMANDS)
def test_every_command_shows_what_can_be_shown(filled: Place, what: str, locale: str) -> None:
    with zipfile.ZipFile(filled.folder / "no archive \x1b[31m服.zip", "w") as archive:
        archive.writestr("a\x1b[31m\u202e服/meta.xml", f"<archive x='{EVIL[5:6]}'>")
    words, code = COMMANDS[what]
    shown = filled.run(locale, *words, code=code)
    if "--json" in words:
        for text in shown.splitlines() if words[0] == "check" else [shown]:
            json.loads(text)


@pytest.mark.slow
@pytest.mark.parametrize("locale", LOCALES)
def test_a_run_goes_to_its_end(place: Place, locale: str) -> None:
    ledger = f"{locale}.sqlite"
    place.run(locale, "init", f"evil {chr(27)}[31m.zip", "--ledger", ledger)
    shown = place.run(locale, *place.download(ledger))
    assert " end: " in shown
    table = place.folder / f"{locale}.csv"
    place.run(locale, "export", table.name, "--ledger", ledger)
    written = table.read_text(encoding="utf-8")
    assert "服务器" in written, "files are in UTF-8 whatever the locale"
    with closing(sqlite3.connect(place.folder / ledger)) as db:
        details = [detail for (detail,) in db.execute("SELECT error_detail FROM images WHERE error_detail IS NOT NULL")]
    assert sum("服务器" in detail for detail in details) >= 8
    assert not OBEYED.search("".join(details))


@pytest.mark.slow
@pytest.mark.parametrize("locale", LOCALES)
def test_the_live_view_goes_to_its_end(place: Place, locale: str) -> None:
    ledger = f"live {locale}.sqlite"
    place.run(locale, "init", f"evil {chr(27)}[31m.zip", "--ledger", ledger)
    ours, theirs = os.openpty()
    environ = {**place.environ(locale), "TERM": LOCALES[locale].get("TERM", "xterm-256color")}
    words = place.download(ledger)
    process = subprocess.Popen([*PROGRAM, *words], stdout=theirs, stderr=theirs, cwd=place.folder, env=environ)
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:  # EIO: the other end is closed (pty(7))
        pass
    finally:
        os.close(ours)
    assert process.wait(PATIENCE_S) == 0, shown
    assert b"nothing left to do" in shown
    assert b"exit code 0: nothing left to do" in shown
    assert not re.search(rb"Traceback|UnicodeEncodeError|internal error|owned", shown), shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ä, 服, 😀\n\t", "plain, ä, 服, 😀\n\t"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\x07\x08\x9b", "a\\x0d\\x07\\x08\\x9b"),
        ("\u202e\u2066\u200f", "\\u202e\\u2066\\u200f"),
        ("\udce9", "\\xe9"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert str(D4CError(text)) == shown
    assert printable(shown) == shown


def test_what_a_page_or_a_header_says_is_kept_without_what_a_terminal_obeys() -> None:
    assert not OBEYED.search(readable_text(PAGE.encode(), "text/html"))
    for reply in (
        Reply(-9, "u", "u", error=EVIL),
        Reply(404, "u", "u", error=EVIL),
        Reply(206, "u", "u", error=EVIL, head=b"\xff\xd8\xff", size_bytes=3),
        Reply(503, "u", "u", head=PAGE.encode(), size_bytes=len(PAGE.encode())),
    ):
        verdict = judge(reply, CodePolicy(), 0.0)
        assert verdict.detail
        assert not OBEYED.search(verdict.detail)


def test_the_display_of_a_run_shows_what_can_be_shown() -> None:
    for made in (
        lambda out: LogProgress(out),
        lambda out: LiveProgress(Console(file=out, force_terminal=True, color_system=None, width=500)),
    ):
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding="ascii", errors="backslashreplace")
        view = made(out)
        view.host_blocked(EVIL, 1e9, EVIL)
        view.host_given_up(EVIL, 7, EVIL)
        view.idle(1e9, EVIL, EVIL)
        view.worker_died(EVIL)
        view.draining(Drain(EVIL, 1e9, 60.0), {EVIL: 7})
        out.flush()
        shown = raw.getvalue().decode("ascii")
        assert not OBEYED.search(shown), OBEYED.findall(shown)
        assert shown.count("[/bold]{x}%s") >= 5


def test_a_message_mentions_nobody() -> None:
    assert _escaped("<!channel> a & b <https://x|y>\x1b\ud800") == "&lt;!channel&gt; a &amp; b &lt;https://x|y&gt;\\x1b\\ud800"


def test_clean_text_is_one_line() -> None:
    assert clean(EVIL) == "]0;owned [2J [31m 服务器 exe 31m Träne [/bold]{x}%s"


def test_children_show_what_can_be_shown() -> None:
    code = "from d4c_images.system.child_process import settle_in; settle_in(); "
    code += "print('\\u670d'); import sys; print('\\u670d', file=sys.stderr)"
    environ = {**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environ, check=True, timeout=PATIENCE_S)
    assert (done.stdout, done.stderr) == (b"\\u670d\n", b"\\u670d\n")
