"""`preflight`: its checks of this node, the hosts it connects to, and that it changes nothing; which checks `download` repeats."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from d4c_images.commands import preflight
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import open_ledger
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.settings import Disk, Settings
from d4c_images.system.disk_room import DiskRoom
from tests.publishers.client import Publishers
from tests.support import no_network
from tests.support.patience import PATIENCE_S
from tests.support.program import PROJECT, Collection, multimedia, reach

CONTACT = {"D4C_CONTACT": "me@example.edu"}
NAMES = [
    "ledger", "owner", "image root", "disk", "inodes", "ledger disk", "locks", "memory", "cores", "open files", "clock", "job",
    "contact", "Slack", "TLS roots", "DNS", "way out",
]  # fmt: skip


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """Six hosts with some images each, and a user who has said who asks."""
    for name in ("SLURM_JOB_ID", "SGE_TASK_ID", "SLACK_WEBHOOK_URL", "NSLOTS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("D4C_CONTACT", CONTACT["D4C_CONTACT"])
    made = Collection(tmp_path)
    rows = [(10_000 + n, f"https://{host}/{n}.jpg") for n, host in enumerate(no_network.HOSTS[:6] * 5)]
    made.load(multimedia(tmp_path / "multimedia.txt", rows))
    return made


def checks(collection: Collection, *arguments: object, code: int = 0) -> dict[str, dict[str, Any]]:
    answer = json.loads(collection.call("preflight", "--json", *arguments, code=code))
    return {check["name"]: check for check in answer["checks"]}


def test_all_is_well_and_no_host_was_asked_for_anything(collection: Collection, publishers: Publishers) -> None:
    output = collection.call("preflight", *reach(publishers)).splitlines()
    assert [line[13:26].strip() for line in output[:-1]] == NAMES, "a line for each"
    assert {line[:13].strip() for line in output[:-1]} == {"ok"}, output
    assert output[-1] == "verdict: ready to download"
    assert "5 hosts reached; no request was sent" in output[-2], "at most five"
    assert publishers.counters()["hosts"] == {}


def test_the_answer_for_scripts(collection: Collection, publishers: Publishers) -> None:
    answer = json.loads(collection.call("preflight", "--json", *reach(publishers)))
    assert (answer["verdict"], answer["conclusion"]) == ("ok", "ready to download")
    assert [check["name"] for check in answer["checks"]] == NAMES
    assert all(set(check) == {"name", "grade", "found", "advice"} for check in answer["checks"])


def test_nothing_is_written(collection: Collection, publishers: Publishers) -> None:
    def seen() -> tuple[bytes, list[str]]:
        """But for the two files of SQLite's that any reader of a ledger has made, and that stay empty."""
        names = [path.name for path in collection.folder.iterdir() if not path.name.endswith(("-wal", "-shm"))]
        return collection.ledger.read_bytes(), sorted(names)

    before = seen()
    collection.call("preflight", *reach(publishers))
    assert seen() == before
    assert collection.ledger.with_name("ledger.sqlite-wal").stat().st_size == 0


def test_it_works_beside_a_run(collection: Collection) -> None:
    with closing(open_ledger(collection.ledger)) as ledger:
        owner.take(ledger, "download", owner.this_process("812"), time.time())
        found = checks(collection, "--offline")
        assert found["owner"]["grade"] == "warning"
        assert re.match(r"'download' on host .*, job 812, since ", found["owner"]["found"])
        owner.give_back(ledger, "ended", time.time())
    assert checks(collection, "--offline")["owner"]["found"] == "no run has the ledger"


def test_a_ledger_on_a_shared_disk_is_read_in_its_copy(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_LEDGER_DISK", "shared")
    process = owner.this_process("812")
    with open_and_own(collection.ledger, "download", process, time.time, lambda line: None, disk=Disk.SHARED):
        found = checks(collection, "--offline")
    assert found["ledger"]["found"].endswith("30 of 30 images left (by the copy for readers)")
    assert "job 812" in found["owner"]["found"]
    assert re.fullmatch(r"locks work \(\w+, shared disk\)", found["locks"]["found"])


@pytest.fixture
def doors(collection: Collection) -> Iterator[dict[str, socket.socket]]:
    """A socket for each host, at which somebody may connect."""
    with ExitStack() as stack:
        yield {host: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for host in no_network.HOSTS[:6]}


def lead(doors: dict[str, socket.socket]) -> list[str]:
    return [word for host, door in doors.items() for word in ("--connect-to", f"{host}::127.0.0.1:{door.getsockname()[1]}")]


def connected(doors: dict[str, socket.socket]) -> set[str]:
    found = set()
    for host, door in doors.items():
        door.settimeout(0)
        try:
            door.accept()[0].close()
            found.add(host)
        except BlockingIOError:
            pass
    return found


def test_hosts_that_wait_or_are_paused_are_left_in_peace(collection: Collection, doors: dict[str, socket.socket]) -> None:
    until = int(time.time()) + 1000
    collection.sql(f"UPDATE host_rows SET blocked_until = {until} WHERE host = 'h0.invalid'")
    collection.sql("UPDATE host_rows SET paused_at = 1 WHERE host IN ('h1.invalid', 'h2.invalid')")
    found = checks(collection, *lead(doors), "--connect-timeout", "0.3s")
    assert found["way out"]["found"] == "3 hosts reached; no request was sent", "by plain HTTP, since nobody spoke TLS"
    assert connected(doors) == {"h3.invalid", "h4.invalid", "h5.invalid"}


def test_hosts_that_a_living_run_asks_are_left_in_peace(collection: Collection, doors: dict[str, socket.socket]) -> None:
    collection.sql("UPDATE tallies SET status = 'leased'")
    with closing(open_ledger(collection.ledger)) as ledger:
        owner.take(ledger, "download", owner.this_process(), time.time())
        found = checks(collection, *lead(doors), "--connect-timeout", "0.3s")
        assert found["way out"]["grade"] == "not checked"
        assert "in use by a run" in found["way out"]["found"]
        assert connected(doors) == set()
        owner.give_back(ledger, "ended", time.time())


def test_hosts_of_one_group_are_one(collection: Collection, doors: dict[str, socket.socket]) -> None:
    limits = collection.folder / "hosts.toml"
    limits.write_text('[hosts."*.invalid"]\ngroup = "all of them"\n')
    found = checks(collection, *lead(doors), "--connect-timeout", "0.3s", "--hosts-file", limits)
    assert found["way out"]["found"] == "1 host reached; no request was sent"
    assert len(connected(doors)) == 1


def test_a_certificate_that_cannot_be_verified(collection: Collection, publishers: Publishers) -> None:
    found = checks(collection, "--connect-to", publishers.connect_to, code=1)
    assert found["TLS roots"]["grade"] == "failed"
    assert "no certificate could be verified" in found["TLS roots"]["found"]
    assert (found["DNS"]["grade"], found["way out"]["grade"]) == ("ok", "ok"), "somebody was there"


def test_certificates_that_are_none(collection: Collection, publishers: Publishers) -> None:
    junk = collection.folder / "junk.pem"
    junk.write_text("this is no certificate")
    found = checks(collection, "--connect-to", publishers.connect_to, "--cacert", junk, code=1)
    assert found["TLS roots"]["grade"] == "failed"
    assert found["way out"] == {
        "name": "way out", "grade": "not checked", "found": "no CA certificates", "advice": ""
    }  # fmt: skip
    output = collection.call("download", "--cacert", junk, "--connect-to", publishers.connect_to, code=2)
    assert "cannot be loaded" in output, "a download would spend an attempt of every image"
    assert collection.rows("SELECT count(*) FROM images WHERE attempts > 0") == [(0,)]


def test_without_a_ledger_the_rest_is_still_checked(collection: Collection) -> None:
    collection.ledger.unlink()
    found = checks(collection, code=1)
    assert "create one with 'd4c-images init" in found["ledger"]["found"]
    assert {name for name, check in found.items() if check["grade"] == "failed"} == {"ledger"}
    assert list(found) == [name for name in NAMES if name != "owner"]


def test_a_root_that_cannot_be_written(collection: Collection) -> None:
    collection.root.write_text("no folder")
    found = checks(collection, "--offline", code=1)
    assert found["image root"]["found"] == f"{collection.root} is not writable: Not a directory"


def test_another_root_than_that_of_the_last_run_is_told(collection: Collection) -> None:
    collection.sql("""INSERT INTO checkpoints (name, run_id, position)
                      VALUES ('root', 0, '{"path": "/elsewhere", "inode": 1, "code": "c", "left": []}')""")
    assert "the last run used /elsewhere" in checks(collection, "--offline")["image root"]["found"]


def test_a_contact_is_wanted(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("D4C_CONTACT")
    output = collection.call("preflight", "--offline")
    assert output.endswith("verdict: ready to download (1 warning)\n"), "a warning is no failure"
    monkeypatch.setenv("D4C_CONTACT", "not a mail")
    assert checks(collection, "--offline", code=1)["contact"]["grade"] == "failed"


def test_slack_is_only_tried_when_asked_for(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as slack:
        monkeypatch.setenv("SLACK_WEBHOOK_URL", f"http://127.0.0.1:{slack.getsockname()[1]}/secret")
        found = checks(collection, "--offline")["Slack"]
        assert (found["grade"], found["found"]) == ("ok", "set, not tried (--slack sends a message)")
        assert connected({"slack": slack}) == set()
    found = checks(collection, "--offline", "--slack", code=1)["Slack"]
    assert (found["grade"], "secret" in str(found)) == ("failed", False)


def test_too_few_open_files(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d4c_images.system.open_files.grantable", lambda: 30)
    assert "raise it (ulimit -n)" in checks(collection, "--offline", code=1)["open files"]["found"]


def test_a_download_tells_of_a_disk_that_will_not_do(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(room: DiskRoom) -> list[str]:
        monkeypatch.setattr("d4c_images.system.disk_room.room", lambda path: room)
        with closing(open_ledger(collection.ledger)) as ledger:
            preflight.before_download(ledger.connection.execute, collection.ledger, collection.root, Settings())
        return capsys.readouterr().err.splitlines()

    assert told(DiskRoom(10**12, 10**9)) == []
    assert told(DiskRoom(10**12, None)) == []
    assert told(DiskRoom(10**12, 10)) == ["warning: inodes: 10 free; delete files, or use another folder with --root"]
    assert [line.partition(";")[0] for line in told(DiskRoom(10**7, None))] == [
        "warning: disk: full: 10.0 MB free",
        f"warning: ledger disk: 10.0 MB free, the ledger is {collection.ledger.stat().st_size / 1000:.0f} kB",
    ]


@pytest.mark.slow
def test_a_run_tells_of_a_disk_that_will_not_do_before_it_starts(collection: Collection) -> None:
    """The whole program on a disk without inodes, and with nothing to do: all its hosts are paused."""
    collection.call("hosts", "pause", "*")
    full = (
        "import sys; from d4c_images import cli; from d4c_images.system import disk_room; "
        "disk_room.room = lambda path: disk_room.DiskRoom(10**12, 3); sys.exit(cli.main(sys.argv[1:]))"
    )
    arguments = collection.command("download", "--max-idle", "0s", "--processes", 1)[3:]
    done = subprocess.run(
        [sys.executable, "-c", full, *arguments],
        check=False, capture_output=True, text=True, cwd=collection.folder, timeout=PATIENCE_S,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.returncode == 75, done.stderr
    assert "warning: inodes: 3 free; " in done.stderr


def on_a_terminal(command: list[str], folder: Path, columns: int) -> tuple[list[str], int]:
    """The lines that a command shows on a terminal of so many columns, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm"}
    environ.pop("COLUMNS", None)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environ)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # all ends are closed
        pass
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    return text.replace("\r\n", "\n").splitlines(), process.wait(PATIENCE_S)


@pytest.mark.slow
def test_a_node_without_a_network_on_80_columns(collection: Collection) -> None:
    command = no_network.cut_off(collection.command("preflight"))
    lines, code = on_a_terminal(command, collection.folder, 80)
    assert code == 1
    assert max(map(len, lines)) <= 80
    assert [line[13:26].strip() for line in lines[:-1] if not line.startswith(" ")] == NAMES
    assert " ".join(" ".join(lines).split()).endswith(
        "failed DNS none of 5 host names resolved (Could not resolve host: h0.invalid) "
        "failed way out none of 5 hosts could be reached: this node seems to have no way out "
        "-> ask your site which nodes have internet access, or set https_proxy and http_proxy "
        "verdict: not ready: DNS, way out"
    )


@pytest.mark.slow
@pytest.mark.parametrize("limit", [(), ("--limit", 1)])
def test_a_download_without_a_network_says_so_once(collection: Collection, limit: tuple[object, ...]) -> None:
    command = no_network.cut_off(collection.command("download", "--max-idle", "0s", "--processes", 1, *limit))
    environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=collection.folder, env=environ, timeout=PATIENCE_S)
    assert done.returncode == 75, done.stderr
    about_hosts = [line.partition(" ")[2] for line in done.stdout.splitlines() if ".invalid" in line and "hosts" in line]
    (line,) = about_hosts
    assert re.fullmatch(
        r"none of 6 hosts could be reached \(dns: Could not resolve host: h\d\.invalid\): this node seems to have no way out; "
        r"see 'd4c-images preflight'",
        line,
    )
    assert len(re.findall(r"h\d\.invalid", done.stdout)) <= 2, "no line for each host: at most when the next one is tried"
    assert " end: no host can be reached: see 'd4c-images preflight'; 0 images stored" in done.stdout


@pytest.mark.slow
def test_what_is_well_takes_one_line_of_80_columns_each(collection: Collection) -> None:
    command = [*collection.command("preflight", "--offline"), "--root", "/tmp/images"]
    lines, code = on_a_terminal(command, collection.folder, 80)
    assert code == 0
    assert [line[:13].strip() for line in lines] == ["ok"] * 15 + ["not checked"] * 2 + ["verdict: read"], lines
