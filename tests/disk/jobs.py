"""The commands that write, one row each: what is there before, what is called, what must be true once it has ended well."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.publishers.client import Publishers
from tests.support import old_ledgers
from tests.support.downloads import zipped
from tests.support.program import PROGRAM, Collection, multimedia, reach

FIRST_ID = 5_000_000_000
N_IMAGES = 6
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


@dataclass(frozen=True, slots=True)
class Job:
    """One row: a command that writes."""

    name: str
    prepare: Callable[[Scene], None]
    command: Callable[[Scene], list[str]]
    is_done: Callable[[Scene], bool]  # after it has ended well
    codes: tuple[int, ...] = (0, 1)  # that it may end with if the disk fails
    moves_files: bool = False  # of those that were there before
    reports: bool = False  # what is wrong with the disk, as a finding, with exit code 1 but without an error


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
)  # fmt: skip
NAMES = tuple(job.name for job in JOBS)


def job_of(name: str) -> Job:
    return next(job for job in JOBS if job.name == name)
