"""The commands that write, one row each: what is there before, what is called, what must be true once it has ended well."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from d4c_images.collection.backup import verify
from d4c_images.errors import D4CError
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.writing import open_and_own
from d4c_images.ledger.queue import wishes
from d4c_images.system import clocks
from tests.publishers.client import Publishers
from tests.support import old_ledgers
from tests.support.downloads import zipped
from tests.support.patience import PATIENCE_S
from tests.support.program import PROGRAM, PROJECT, Collection, kill_all, multimedia, reach

FIRST_ID = 5_000_000_000
N_IMAGES = 6
N_UNKNOWN = 2  # images that the ledger of a damaged collection does not know to be stored
SHARED = {"D4C_LEDGER_DISK": "shared"}
OCCURRENCES = b"gbifID\tscientificName\tfamily\tbasisOfRecord\n"
CHECK_THAT_SAVES = (
    "from d4c_images.collection import check_state; check_state.SAVE_EVERY_S = 0.0; "
    "from d4c_images.cli import main; raise SystemExit(main())"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A collection in a folder that everything that a command touches is in."""

    collection: Collection
    publishers: Publishers

    @property
    def folder(self) -> Path:
        return self.collection.folder

    def download(self, *more: object) -> list[str]:
        options = [*reach(self.publishers), "--hosts-file", self.folder / "hosts.toml", "--retry-wait", "1s", "--no-progress"]
        return self.collection.command("download", *options, "--processes", 1, *more)

    def coordinate(self) -> list[str]:
        options = [*reach(self.publishers), "--hosts-file", self.folder / "hosts.toml", "--retry-wait", "1s", "--no-progress"]
        return self.collection.command("download", *options, "--cluster", self.folder / "cluster")

    def work(self) -> list[str]:
        return [*PROGRAM, "work", "--cluster", str(self.folder / "cluster"), "--processes", "1", "--grace", "1s"]


def nobody(scene: Scene) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Job:
    """One row: a command that writes."""

    name: str
    prepare: Callable[[Scene], None]
    command: Callable[[Scene], list[str]]
    is_done: Callable[[Scene], bool]  # after it has ended well
    codes: tuple[int, ...] = (0, 1)  # that it may end with if the disk fails
    moves_files: bool = False  # of those that were there before: their bytes are still somewhere
    removes: str = ""  # what it may remove of those that were there before, as a pattern
    reports: bool = False  # what is wrong with the disk, as a finding, with exit code 1 but without an error
    holds: Callable[[Scene], bool] = lambda scene: True  # at any moment
    beside: Callable[[Scene], AbstractContextManager[object]] = nobody  # what runs at the same time, undisturbed
    most_lines: int = 1  # that say why
    has_dask: bool = False  # which logs tracebacks of its own, and keeps its certificate in a file for a moment
    images: str = "images"  # folder of the images once it has ended well
    environ: Mapping[str, str] = field(default_factory=dict)


def source(folder: Path, name: str, first: int, n: int = N_IMAGES) -> Path:
    """A GBIF download with images of two hosts."""
    rows = [(FIRST_ID + k, f"http://disk{k % 2}.example.org/photos/{k}.jpg") for k in range(first, first + n)]
    table = multimedia(folder / "multimedia.txt", rows)
    labels = OCCURRENCES + b"".join(b"%d\tQuercus robur L.\tFagaceae\tPRESERVED_SPECIMEN\n" % gbif_id for gbif_id, _ in rows)
    path = zipped(folder / name, {"multimedia.txt": table.read_bytes(), "occurrence.txt": labels})
    table.unlink()
    return path


def nothing_yet(scene: Scene) -> None:
    source(scene.folder, "source.zip", 0)


def loaded(scene: Scene) -> None:
    scene.collection.load(source(scene.folder, "source.zip", 0))
    (scene.folder / "hosts.toml").write_text("[default]\nconnections = 4\nsource = 'a test'\n", encoding="utf-8")


def loaded_and_more(scene: Scene) -> None:
    loaded(scene)
    source(scene.folder, "more.zip", N_IMAGES)


def stored(scene: Scene, *more: object) -> None:
    loaded(scene)
    scene.collection.run("download", *scene.download(*more)[len(PROGRAM) + 1 : -4])


def packed(scene: Scene) -> None:
    stored(scene, "--store", "pack")


def listed(scene: Scene) -> None:
    """With a list and tables of an earlier day."""
    stored(scene)
    for name in ("list.csv", "list.parquet", "images.csv"):
        (scene.folder / name).write_text("of yesterday\n", encoding="utf-8")


def with_placeholders(scene: Scene) -> None:
    """All images of one host are one picture."""
    scene.publishers.behave("disk0.example.org/*=one_picture")
    stored(scene)
    scene.publishers.behave_well()


def with_placeholders_marked(scene: Scene) -> None:
    with_placeholders(scene)
    scene.collection.run("placeholders", "--records", 2)


def of_version_1(scene: Scene) -> None:
    old_ledgers.unpack(1, scene.folder)


def damaged(scene: Scene, *store: str) -> None:
    """A collection with some of everything that a repair mends: its ledger knows nothing of the last two images."""
    loaded(scene)
    collection = scene.collection
    arguments = scene.download(*store)[len(PROGRAM) + 1 : -4]
    collection.run("download", *arguments, "--limit", N_IMAGES - N_UNKNOWN, code=(0, 75))
    collection.call("backup", scene.folder / "yesterday.sqlite")
    collection.run("download", *arguments, code=(0, 75))
    (scene.folder / "yesterday.sqlite.sha256").unlink()
    (scene.folder / "yesterday.sqlite").replace(collection.ledger)
    for suffix in ("-wal", "-shm"):
        collection.ledger.with_name(f"{collection.ledger.name}{suffix}").unlink(missing_ok=True)
    (collection.root / "100").mkdir(exist_ok=True)
    (collection.root / "100" / "notes.txt").write_text("of somebody else\n", encoding="utf-8")


def damaged_files(scene: Scene) -> None:
    damaged(scene)
    known = scene.collection.rows("SELECT file_path FROM images WHERE status = 'success' ORDER BY file_path")
    first, second, third = (scene.collection.root / str(path) for (path,) in known[:3])
    first.rename(first.with_name("renamed.jpg"))
    second.write_bytes(second.read_bytes()[:-9])
    third.write_bytes(third.read_bytes()[:-99] + bytes(99))


def damaged_pack(scene: Scene) -> None:
    """One image has zeros in it, and the shard is torn at its end."""
    damaged(scene, "--store", "pack")
    ((path, offset),) = scene.collection.rows("SELECT file_path, file_offset FROM images WHERE status = 'success' LIMIT 1")
    with (scene.collection.root / str(path)).open("r+b") as file:
        file.seek(int(str(offset)) + 100)
        file.write(bytes(64))
        file.seek(-1024, 2)
        file.truncate()


def backed_up(scene: Scene) -> None:
    """Two backups, and a third of a ledger that has changed since."""
    stored(scene)
    for _ in range(2):
        scene.collection.call("backup", f"{scene.folder}/made/")


def to_be_restored(scene: Scene) -> None:
    stored(scene)
    scene.collection.call("backup", scene.folder / "backup.sqlite")
    scene.collection.sql("INSERT INTO texts (text) VALUES ('written after the backup')")


def n_images(scene: Scene, *statuses: str) -> int:
    marks = ", ".join("?" for _ in statuses)
    ((n,),) = scene.collection.rows(f"SELECT count(*) FROM images WHERE status IN ({marks})", *statuses)
    return int(str(n))


def all_stored(scene: Scene) -> bool:
    return n_images(scene, "success") == N_IMAGES


def all_admitted(scene: Scene) -> bool:
    ((n_labels,),) = scene.collection.rows("SELECT count(*) FROM labels WHERE family = 'Fagaceae'")
    return (n_images(scene, "pending"), n_labels) == (N_IMAGES, N_IMAGES)


def is_new(scene: Scene, name: str) -> bool:
    return (scene.folder / name).read_bytes() != b"of yesterday\n"


def is_unpacked(scene: Scene) -> bool:
    return len([path for path in (scene.folder / "out").rglob("*.jpg") if not path.name.startswith(".")]) == N_IMAGES


def marked_hash(scene: Scene) -> str:
    ((found,),) = scene.collection.rows("SELECT lower(hex(sha256)) FROM placeholders")
    return str(found)


def check_that_saves(scene: Scene) -> list[str]:
    """A check that saves its state at every mark, not every few seconds."""
    return [sys.executable, "-c", CHECK_THAT_SAVES, *scene.collection.command("check", "--sha256")[len(PROGRAM) :]]


def of(name: str, *arguments: object) -> Callable[[Scene], list[str]]:
    """A command whose arguments that begin with `./` are paths in the scene's folder."""

    def command(scene: Scene) -> list[str]:
        words = [str(scene.folder / str(word)[2:]) if str(word).startswith("./") else word for word in arguments]
        return scene.collection.command(name, *words)

    return command


def is_limited(scene: Scene) -> bool:
    return scene.collection.rows("SELECT limits FROM wanted_limits") == [('{"connections": 1}',)]


def is_paused(scene: Scene) -> bool:
    return scene.collection.rows("SELECT count(*) FROM hosts WHERE paused_at IS NOT NULL") == [(1,)]


def has_more(scene: Scene) -> bool:
    return n_images(scene, "pending") == 2 * N_IMAGES


def is_repaired(scene: Scene) -> bool:
    """Damaged images wait for a request, and so does a renamed one whose file could not be read; all others have their bytes."""
    strangers = list((scene.collection.root / ".strangers").rglob("notes.txt"))
    return 1 <= n_images(scene, "pending", "failed_transient") <= 3 <= n_images(scene, "success") and len(strangers) == 1


def named_backups(scene: Scene) -> list[Path]:
    return sorted((scene.folder / "made").glob("*.sqlite"))


def backups_are_whole(scene: Scene) -> bool:
    try:
        return all(verify(path, lambda step: None)[1] is not None for path in named_backups(scene))
    except D4CError:
        return False


def two_are_kept(scene: Scene) -> bool:
    return len(named_backups(scene)) == 2 and backups_are_whole(scene)


def is_one_ledger_or_the_other(scene: Scene) -> bool:
    """There is a ledger at every moment, and the one that is replaced is never lost."""
    ledgers = [scene.collection.ledger, *scene.folder.glob("ledger.sqlite.replaced-*Z*")]
    newer = [path for path in ledgers if not path.name.endswith(("-wal", "-shm", "-journal")) and _is_newer(path)]
    return scene.collection.ledger.exists() and bool(newer)


def _is_newer(ledger: Path) -> bool:
    with closing(sqlite3.connect(ledger)) as db:
        found: tuple[int] = db.execute("SELECT count(*) FROM texts WHERE text = 'written after the backup'").fetchone()
    return found == (1,)


def is_restored(scene: Scene) -> bool:
    return not _is_newer(scene.collection.ledger) and is_one_ledger_or_the_other(scene)


def n_in_shards(scene: Scene) -> int:
    ((n,),) = scene.collection.rows("SELECT count(*) FROM images WHERE status = 'success' AND file_offset IS NOT NULL")
    return int(str(n))


def is_packed(scene: Scene) -> bool:
    return n_in_shards(scene) == N_IMAGES and not list(scene.collection.root.rglob("*.jpg"))


def is_files(scene: Scene) -> bool:
    return n_in_shards(scene) == 0 and all_stored(scene) and not list(scene.collection.root.rglob("*.tar"))


def is_moved(scene: Scene) -> bool:
    return all_stored(scene) and not scene.collection.root.exists()


def is_queued(scene: Scene) -> bool:
    return bool(list(wishes.folder_of(scene.collection.ledger).glob("*.json")))


@contextmanager
def owned(scene: Scene) -> Iterator[None]:
    """Somebody else owns the ledger, and lives."""
    me = owner.this_process()
    with open_and_own(scene.collection.ledger, "a test", me, clocks.now, lambda line: None):
        yield


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """A part of the same download on another node; it ends when nothing is left, or with the block."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, cwd=PROJECT, env=dict(os.environ),
        start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_S)
        finally:
            kill_all(process)


RUN = (0, 1, 75)

JOBS = (
    Job("init", nothing_yet, of("init", "./source.zip", "--labels"), all_admitted),
    Job("init-more", loaded_and_more, of("init", "./more.zip", "--labels"), has_more),
    Job("init-finalize", loaded, of("init", "--finalize-only"), lambda scene: n_images(scene, "pending") == N_IMAGES),
    Job("download", loaded, lambda scene: scene.download(), all_stored, RUN),
    Job("download-pack", loaded, lambda scene: scene.download("--store", "pack"), all_stored, RUN),
    Job("download-small", loaded, lambda scene: scene.download("--max-edge", 16), all_stored, RUN),
    Job("placeholders", with_placeholders, of("placeholders", "--records", 2), lambda scene: n_images(scene, "success") == 3,
        moves_files=True),
    Job("placeholders-allow", with_placeholders_marked, lambda scene: of("placeholders", "--allow", marked_hash(scene))(scene),
        all_stored),
    Job("unpack", packed, of("unpack", "--to", "./out"), is_unpacked),
    Job("export-csv", listed, of("export", "./list.csv"), lambda scene: is_new(scene, "list.csv")),
    Job("export-parquet", listed, of("export", "--all-images", "./list.parquet"), lambda scene: is_new(scene, "list.parquet")),
    Job("status-tables", listed, of("status", "--tables", "./"), lambda scene: (scene.folder / "hosts.parquet").exists()),
    Job("migrate", of_version_1, of("migrate"), lambda scene: old_ledgers.user_version(scene.collection.ledger) > 1),
    Job("hosts-set", loaded, of("hosts", "set", "disk0.example.org", "connections=1"), is_limited),
    Job("hosts-pause", loaded, of("hosts", "pause", "disk0.example.org"), is_paused),
    Job("check", stored, check_that_saves, all_stored, reports=True),
    Job("preflight", loaded, of("preflight", "--offline"), lambda scene: True, reports=True),
    Job("check-repair-files", damaged_files, of("check", "--repair", "--yes", "--sha256"), is_repaired, moves_files=True,
        reports=True),
    Job("check-repair-pack", damaged_pack, of("check", "--repair", "--yes", "--sha256"), is_repaired, moves_files=True,
        reports=True),
    Job("backup", stored, lambda scene: scene.collection.command("backup", f"{scene.folder}/made/"),
        lambda scene: bool(named_backups(scene)), holds=backups_are_whole),
    Job("backup-keep", backed_up, of("backup", "--keep", 2, "./made/"), two_are_kept, removes="made/*",
        holds=lambda scene: len(named_backups(scene)) >= 2 and backups_are_whole(scene)),
    Job("restore", to_be_restored, of("restore", "./backup.sqlite", "--replace"), is_restored, holds=is_one_ledger_or_the_other),
    Job("store-to-pack", stored, of("store", "convert", "--to", "pack"), is_packed, removes="images/*.jpg", reports=True),
    Job("store-to-files", packed, of("store", "convert", "--to", "files"), is_files, removes="images/*.tar", reports=True),
    Job("store-to-root", stored, of("store", "convert", "--to-root", "./moved", "--remove-old"), is_moved, moves_files=True,
        reports=True, images="moved"),
    Job("store-packs-to-root", packed, of("store", "convert", "--to-root", "./moved", "--remove-old"), is_moved, moves_files=True,
        reports=True, images="moved"),
    Job("download-cluster", loaded, lambda scene: scene.coordinate(), all_stored, RUN, has_dask=True,
        beside=lambda scene: running(scene.work())),
    Job("work", loaded, lambda scene: scene.work(), all_stored, RUN, beside=lambda scene: running(scene.coordinate()),
        has_dask=True, most_lines=2),  # of the worker process, and of its parent, which may meet the same disk
    Job("init-shared", nothing_yet, of("init", "./source.zip", "--labels"), all_admitted, environ=SHARED),
    Job("download-shared", loaded, lambda scene: scene.download(), all_stored, RUN, environ=SHARED),
    Job("restore-shared", to_be_restored, of("restore", "./backup.sqlite", "--replace"), is_restored,
        holds=is_one_ledger_or_the_other, environ=SHARED),
    Job("hosts-pause-queued", loaded, of("hosts", "pause", "disk0.example.org"), is_queued, beside=owned),
)  # fmt: skip
NAMES = tuple(job.name for job in JOBS)
WRITE_NO_FILE = {
    "identify": "reads its arguments only",
    "job": "prints a script",
    "notify-test": "sends a message",
    "runs": "reads the ledger, as `status` does",
}
"""Commands without a row, and why."""


def job_of(name: str) -> Job:
    return next(job for job in JOBS if job.name == name)
