"""Messages and exit codes if something named by the user is missing, forbidden or of the wrong kind. Real processes."""

from __future__ import annotations

import argparse
import ctypes
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from d4c_images import cli
from d4c_images.commands.arguments import connect_to
from tests.support.patience import PATIENCE_S
from tests.support.program import PROGRAM, PROJECT, Collection, multimedia
from tests.support.sweep import thinned

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # linux/prctl.h, linux/capability.h
LIBC = ctypes.CDLL(None)
NO_ALLOWANCE = "ab" * 32

# Command line, exit code, and what is said. `readonly`: a folder that may not be written; `locked`: one that may not be entered.
CASES = [
    (f"{command} --ledger {ledger}", 2, words)
    for command in (
        "download", "status", "runs", "hosts", "hosts pause a.example.org", "check", "placeholders", "unpack --to out",
        "export out.csv", "migrate", "store convert --to pack", "backup out.sqlite",
    )
    for ledger, words in (
        ("nosuch.sqlite", "no ledger at nosuch.sqlite"),
        ("words.txt", "words.txt"),
        ("foreign.sqlite", "foreign.sqlite"),
        ("images", "images"),
        ("locked/ledger.sqlite", "locked/ledger.sqlite"),
    )
]  # fmt: skip
CASES += [
    (f"{command} --ledger readonly/ledger.sqlite", 2, "readonly")
    for command in (
        "download", "hosts pause a.example.org", "placeholders", "init multimedia.txt", "store convert --to pack",
    )
]  # fmt: skip
CASES += [
    ("status --ledger readonly/ledger.sqlite", 0, "0 of 1 image"),
    ("init multimedia.txt", 0, "nothing new"),
    ("init multimedia.txt --ledger nosuch/ledger.sqlite", 2, "no such folder"),
    ("init multimedia.txt --ledger locked/new.sqlite", 2, "locked/new.sqlite"),
    ("init multimedia.txt --ledger readonly/new.sqlite", 2, "readonly/new.sqlite"),
    ("init multimedia.txt --ledger words.txt", 2, "words.txt"),
    ("init", 2, "init needs a SOURCE"),
    ("init nosuch.zip", 2, "no such file: nosuch.zip"),
    ("init words.zip", 2, "words.zip is not a zip file"),
    ("init words.txt", 2, "words.txt"),
    ("init locked/source.zip", 2, "locked/source.zip"),
    ("init half-locked", 2, "half-locked: the folder contains no multimedia.txt"),
    ("init https://api.gbif.org/v1/occurrence/download/request/0000001-250101000000000.zip", 2, "curl"),
    ("init pages.txt --ledger new.sqlite", 1, "no row has a usable image URL"),
    ("download --root words.txt", 2, "words.txt"),
    ("download --root readonly/new", 2, "readonly/new"),
    ("download --hosts-file nosuch.toml", 2, "nosuch.toml"),
    ("download --hosts-file words.txt", 2, "words.txt"),
    ("download --hosts-file locked/hosts.toml", 2, "locked/hosts.toml"),
    ("download --placeholders-file nosuch.toml", 2, "nosuch.toml"),
    ("download --cacert nosuch.pem", 2, "nosuch.pem"),
    ("download --host b.example.org", 2, "no host 'b.example.org' in the ledger; did you mean 'a.example.org'?"),
    ("download --connect-to foo", 2, "argument --connect-to: 'foo' is not of the form HOST1:PORT1:HOST2:PORT2"),
    ("preflight --connect-to foo", 2, "argument --connect-to: 'foo' is not of the form HOST1:PORT1:HOST2:PORT2"),
    ("preflight --offline --hosts-file nosuch.toml", 2, "nosuch.toml"),
    ("hosts pause nowhere.invalid", 2, "no host 'nowhere.invalid' in the ledger"),
    ("hosts --hosts-file nosuch.toml", 2, "nosuch.toml"),
    ("hosts set a.example.org connections=many", 2, "connections"),
    ("check --root nosuch", 2, "no image root at nosuch"),
    ("check --root locked/images", 2, "locked/images"),
    ("check --sha256 --ledger-only", 2, "cannot be combined with --sha256"),
    ("check --repair", 2, "there is no terminal"),
    ("check --repair --yes --json", 2, "cannot be combined with --json"),
    ("check --yes", 2, "--yes needs --repair"),
    ("backup backups/", 0, "1 image, 0 stored; verified"),
    ("backup words.txt", 2, "words.txt exists, and a backup replaces nothing"),
    ("backup nosuch/out.sqlite", 2, "no such folder: "),
    ("backup readonly", 2, "readonly/ledger-"),
    ("backup readonly/new/", 2, "readonly/new: Permission denied"),
    ("backup locked/out.sqlite", 2, "locked/out.sqlite: Permission denied"),
    ("backup words.txt/", 2, "words.txt"),
    ("backup --verify nosuch.sqlite", 2, "nosuch.sqlite: No such file"),
    ("backup --verify words.txt", 2, "words.txt is not an SQLite file"),
    ("backup --verify locked/out.sqlite", 2, "locked/out.sqlite"),
    ("backup --verify ledger.sqlite --keep 7", 2, "cannot be combined with --keep"),
    ("backup backups/ --keep 0", 2, "'0' is less than 1"),
    ("backup backups/ --ledger readonly/ledger.sqlite", 0, "1 image, 0 stored; verified"),
    ("restore readonly/ledger.sqlite --ledger new.sqlite", 0, "new.sqlite is restored"),
    ("restore readonly/ledger.sqlite", 2, "ledger.sqlite exists: --replace"),
    ("restore ledger.sqlite --replace", 2, "is the ledger itself"),
    ("restore readonly/ledger.sqlite --replace --ledger readonly/ledger.sqlite", 2, "is the ledger itself"),
    ("restore ledger.sqlite --replace --ledger readonly/ledger.sqlite", 2, "readonly/ledger.sqlite"),
    ("restore ledger.sqlite --ledger readonly/new.sqlite", 2, "readonly/new.sqlite: Permission denied"),
    ("restore ledger.sqlite --ledger nosuch/new.sqlite", 2, "no such folder"),
    ("restore ledger.sqlite --ledger locked/new.sqlite", 2, "locked/new.sqlite"),
    ("restore nosuch.sqlite --ledger new.sqlite", 2, "nosuch.sqlite"),
    ("restore words.txt --ledger new.sqlite", 2, "words.txt is not an SQLite file"),
    ("restore foreign.sqlite --ledger new.sqlite", 2, "not a d4c-images ledger"),
    ("restore images --ledger new.sqlite", 2, "images: Is a directory"),
    ("placeholders --allow foo", 2, "foo"),
    (f"placeholders --allow {NO_ALLOWANCE}", 2, "this ledger has no such placeholder"),
    ("unpack --to words.txt", 2, "cannot write to words.txt"),
    ("unpack --to readonly/new", 2, "readonly/new"),
    ("unpack --to locked/new", 2, "locked/new"),
    ("unpack --to out --ids nosuch.txt", 2, "nosuch.txt"),
    ("unpack --to out --ids words.txt", 2, "words.txt"),
    ("unpack --to out --gbif-id 5", 2, "1 gbifID not in the ledger: 5"),
    ("store convert", 2, "store convert needs --to files, --to pack or --to-root DIR"),
    ("store convert --to pack --remove-old", 2, "--remove-old needs --to-root DIR"),
    ("store convert --to files --shard-size 1G", 2, "--shard-size needs --to pack"),
    ("store convert --to-root images/new", 2, "one is inside the other"),
    ("store convert --to-root words.txt", 2, "words.txt"),
    ("store convert --to-root readonly/new", 2, "readonly/new"),
    ("store convert --to pack --root words.txt", 2, "words.txt"),
    ("export words.txt/list.csv", 2, "words.txt"),
    ("export readonly/list.csv", 2, "readonly/list.csv: Permission denied"),
    ("export readonly/new/list.csv", 2, "readonly/new/list.csv: Permission denied"),
    ("export locked/list.csv", 2, "locked/list.csv"),
    ("export list.xlsx", 2, "unknown format: use .csv or .parquet"),
    ("status --tables readonly/tables", 2, "readonly/tables"),
    ("status --tables words.txt", 2, "words.txt"),
    ("identify", 2, "identify needs either URLs"),
    ("identify --file nosuch.txt", 2, "no such file: nosuch.txt"),
    ("identify --file locked/source.zip", 2, "locked/source.zip"),
    ("job slurm download --options='", 2, "--options"),
    ("work --cluster words.txt", 2, "words.txt"),
    ("work --cluster readonly/meeting", 2, "readonly/meeting"),
    ("notify-test", 2, "SLACK_WEBHOOK_URL is not set"),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with things of the wrong kind."""
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", [(800, "http://a.example.org/1.jpg")]))
    multimedia(tmp_path / "pages.txt", [(801, "")])
    for name in ("words.txt", "words.zip"):
        (tmp_path / name).write_text("no gbifID, no table\n", encoding="utf-8")
    with sqlite3.connect(tmp_path / "foreign.sqlite") as db:
        db.execute("CREATE TABLE birds (name TEXT)")
    db.close()
    for name in ("images", "readonly", "locked", "half-locked", "half-locked/locked"):
        (tmp_path / name).mkdir()
    (tmp_path / "readonly" / "ledger.sqlite").write_bytes(collection.ledger.read_bytes())
    (tmp_path / "readonly" / "ledger.sqlite").chmod(0o444)
    for name, mode in (("readonly", 0o555), ("locked", 0), ("half-locked/locked", 0)):
        (tmp_path / name).chmod(mode)
    return tmp_path


def obey_rights() -> None:
    """Rights of files hold for root, too, without these capabilities: what is executed next has none of them."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def called(place: Path, line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "SLACK_"))}
    return subprocess.run(
        [*PROGRAM, *line.split(" ")],
        preexec_fn=obey_rights, check=False, capture_output=True, text=True, cwd=place, timeout=PATIENCE_S,
        env=environment | {"PYTHONPATH": str(PROJECT)} | environ,
    )  # fmt: skip


@pytest.mark.parametrize(("line", "code", "words"), [pytest.param(*case, id=case[0]) for case in CASES])
@pytest.mark.slow
def test_the_exit_code_is_that_of_the_table_and_one_line_says_why(place: Path, line: str, code: int, words: str) -> None:
    done = called(place, line)
    assert (done.returncode, words in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    assert "internal error" not in done.stderr
    if code:
        complaint = [text for text in done.stderr.splitlines() if not text.startswith(("try 'd4c-images ", "warning: "))]
        assert len(complaint) == 1, done.stderr
        assert complaint[0].startswith("d4c-images")


def test_no_command_is_left_out() -> None:
    assert {line.split()[0] for line, _, _ in CASES} >= {one.__name__.rpartition(".")[2].replace("_", "-") for one in cli.COMMANDS}


# What is typed, and the two lines that answer.
SLIPS = [
    ("downlod", "d4c-images: error: unknown command 'downlod'; did you mean 'download'?"),
    ("foo", "d4c-images: error: unknown command 'foo': choose from init,"),
    ("--debg status", "d4c-images: error: unknown option '--debg'; did you mean '--debug'?"),
    ("download --limt 5", "d4c-images download: error: unknown option '--limt'; did you mean '--limit'?"),
    ("download --limit=abc", "d4c-images download: error: argument --limit: 'abc' is not a whole number"),
    ("download --max-sise=2G", "d4c-images download: error: unknown option '--max-sise'; did you mean '--max-size'?"),
    ("status now", "d4c-images status: error: unexpected argument 'now'"),
    ("hosts pasue a.example.org", "d4c-images hosts: error: argument ACTION: unknown value 'pasue'; did you mean 'pause'?"),
    ("job slrm download", "d4c-images job: error: argument scheduler: unknown value 'slrm'; did you mean 'slurm'?"),
    ("unpack", "d4c-images unpack: error: the following arguments are required: --to"),
    ("", "d4c-images: error: the following arguments are required: COMMAND"),
]


@pytest.mark.parametrize(("line", "answer"), thinned([pytest.param(*slip, id=slip[0] or "nothing") for slip in SLIPS], 4))
def test_a_usage_error_is_two_lines_of_which_the_second_says_where_help_is(tmp_path: Path, line: str, answer: str) -> None:
    done = subprocess.run(
        [*PROGRAM, *line.split()],
        check=False, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE_S,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    first, second = done.stderr.splitlines()
    assert first.startswith(answer)
    assert second == f"try '{answer.partition(': ')[0]} --help'"
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ("a.example.org:80:127.0.0.1:8080", True), ("::127.0.0.1:8080", True), ("a.example.org:443::8443", True), (":::", True),
        ("[2001:db8::1]:443:[::1]:8443", True), ("::[::1]:8443", True), ("::[fe80::1%lo]:80", True), ("a.org:1:b.org", True),
        ("foo", False), ("", False), ("a:b", False), ("a.org:80", False), ("a.org:http:b.org:80", False),
        ("a.org:80:b.org:65536", False), ("[::1:80:b.org:81", False), ("[nonsense]:80:b.org:81", False),
        ("http://a.org:80:b.org:81", False), ("a b:80:c:81", False), ("a:1:b:2:c", False),
    ],
)  # fmt: skip
def test_where_to_connect_is_written_as_for_curl(text: str, is_taken: bool) -> None:
    if is_taken:
        assert connect_to(text) == text
        return
    with pytest.raises(argparse.ArgumentTypeError, match="HOST1:PORT1:HOST2:PORT2"):
        connect_to(text)


QUIET_ENDS = [
    "status", "hosts --json", "runs", "preflight --offline", "identify http://a.example.org/1.jpg", "export list.csv",
    "hosts pause a.example.org", "job slurm download", "download --help", "--help",
]  # fmt: skip


@pytest.mark.parametrize("line", QUIET_ENDS)
@pytest.mark.slow
def test_output_that_nobody_reads_ends_a_command_quietly(place: Path, line: str) -> None:
    done = unread(place, line)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.slow
def test_copies_are_made_though_nobody_reads_the_summary(place: Path) -> None:
    done = unread(place, "unpack --to out")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_run_whose_output_nobody_reads_ends_in_good_order_and_has_not_died(place: Path) -> None:
    options = "--connect-to ::127.0.0.1:1 --retry-wait 1s --max-idle 1h"  # nobody is there
    done = unread(place, f"download {options}", until="start:")
    assert (done.returncode, "Error" in done.stderr) == (75, False), done.stderr
    (ending,) = Collection(place).rows("SELECT ending FROM runs ORDER BY run_id DESC LIMIT 1")[0]
    assert "died" not in str(ending)


@pytest.mark.slow
def test_a_command_that_holds_the_ledger_and_whose_output_nobody_reads_has_not_died(place: Path) -> None:
    Collection(place).sql("INSERT INTO placeholders VALUES (1, x'00', 'marked', 1, 1)")  # there is something to print
    done = unread(place, "placeholders")
    assert (done.returncode, done.stderr) == (141, "")
    assert Collection(place).rows("SELECT ending FROM runs WHERE command = 'placeholders'") in (
        [("ended early: nobody reads its output any more",)], [("ended",)],
    )  # fmt: skip


def unread(place: Path, line: str, until: str | None = None) -> subprocess.CompletedProcess[str]:
    """As `command | head`: its standard output is read up to a line with this text, or not at all."""
    process = subprocess.Popen(
        [*PROGRAM, *line.split(" ")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place, env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert process.stdout is not None
    if until is not None:
        for text in process.stdout:
            if until in text:
                break
    process.stdout.close()
    process.stdout = None
    _, complaint = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(line, process.returncode, "", complaint)


def test_a_misspelt_host_leaves_no_run_that_died(tmp_path: Path) -> None:
    collection = Collection(tmp_path)
    collection.load(multimedia(tmp_path / "multimedia.txt", [(800, "http://a.example.org/1.jpg")]))
    output = collection.call("download", "--host", "b.example.org", code=2)
    assert "no host 'b.example.org' in the ledger; did you mean 'a.example.org'?" in output
    ((ending,),) = collection.rows("SELECT ending FROM runs WHERE command = 'download'")
    assert str(ending).startswith("refused: no host")
    assert not collection.root.exists()
    assert "did you mean" not in collection.call("download", "--host", "b.nowhere.invalid", code=2)
